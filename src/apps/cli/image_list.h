// Which photos the words of a command line mean.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace maru::cli {

// Each word is a file, a folder (its .jpg, .jpeg, .png, .ppm and .pgm files, in any case, sorted; not
// those of folders inside it) or a pattern of glob(7). A file is not looked at yet, a folder or a
// pattern that gives no photo is an Error.
std::vector<std::filesystem::path> image_list(const std::vector<std::string>& words);

}  // namespace maru::cli
