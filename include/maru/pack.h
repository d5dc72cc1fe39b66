// Packing: a model made ready for one device, as one file, which Model::load maps instead of reading
// (docs/pack.md). Functions of paths; any thread may call them.
#pragma once

#include <maru/error.h>
#include <maru/export.h>
#include <maru/model.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace maru {

struct PackOptions {
  // How the model is found, rewritten and planned. `photos` does not matter: a packed model takes
  // photos and raw input, as it is loaded.
  ModelOptions model;
  bool replace = false;  // a file that is there already; else that is an Error
  // Called in the calling thread with the bytes of weights that are written, and of all.
  std::function<void(std::uint64_t, std::uint64_t)> progress = {};
};

struct PackedInfo {
  struct Section {
    std::string name;
    std::uint64_t offset, bytes;
    std::uint32_t checksum;
  };
  std::filesystem::path file;
  std::uint64_t bytes = 0;
  std::string maru_version;         // that packed it
  std::string device, description;  // for which it was packed
  std::int64_t batch = 1;
  int threads = 0;        // as asked for; 0: one a core
  bool optimized = true;  // false: every layer is as the model's file had it
  std::vector<Section> sections;
  Precision precision = Precision::fp32;
};

// Writes `file`, which appears when it is whole and was loaded once as a test. Throws Error.
MARU_API PackedInfo pack_model(const std::filesystem::path& model, const std::filesystem::path& file,
                               const PackOptions& options = {});
// Whether the file is meant to be a packed model: it is called *.maru, or begins as one.
MARU_API bool is_packed(const std::filesystem::path& file);
// Throws Error unless the file is whole. Its weights are read, and checked, only when `verify`.
MARU_API PackedInfo packed_info(const std::filesystem::path& file, bool verify = false);

}  // namespace maru
