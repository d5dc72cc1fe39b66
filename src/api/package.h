// Package: the files that make up a model: network, weights, labels, and the card that says how photos
// become its input. A folder with all of them, or a network file with the others beside it or named.
#pragma once

#include <maru/model.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace maru {

struct Package {
  std::filesystem::path network;
  std::optional<std::filesystem::path> weights, labels;
  Preprocessing preprocessing;
  std::string name, origin;  // of the card; empty without one
};

// What options name goes before what the card names, which goes before what lies beside the network.
// Throws Error for a missing or ambiguous network, a named file that is missing, or a damaged card; and
// where several files of weights lie there, unless `wants_weights` is false: then for none of them.
Package find_package(const std::filesystem::path& path, const std::filesystem::path& weights,
                     const std::filesystem::path& labels, bool wants_weights = true);

// Of the card, where the path is a folder with one. Throws Error for a damaged card.
Preprocessing read_preprocessing(const std::filesystem::path& path);

// One label a line; empty lines at the end do not count. Throws Error unless there are `expected`.
std::vector<std::string> read_labels(const std::filesystem::path& path, std::int64_t expected);

}  // namespace maru
