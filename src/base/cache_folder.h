// The folder where maru keeps what it can compute again: compiled kernels, measurements. Losing it
// costs time alone; a folder that cannot be written is as none. Any thread and any process may use it
// at once.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace maru {

// $MARU_CACHE_DIR, else $XDG_CACHE_HOME/maru, else ~/.cache/maru; nothing where none is set. It may not
// exist yet.
std::optional<std::filesystem::path> cache_folder();

// What was kept under this key, in the folder `kind` of the cache; nothing when there is none, or it is
// damaged, or of another key. `key` may be long: it is hashed for the name and compared by its hash.
std::optional<std::vector<unsigned char>> read_cached(std::string_view kind, std::string_view key);
// Whole or not at all, whoever else writes. Does nothing for no bytes.
void write_cached(std::string_view kind, std::string_view key, std::span<const unsigned char> bytes);

// The file that these use.
std::optional<std::filesystem::path> cached_file(std::string_view kind, std::string_view key);

}  // namespace maru
