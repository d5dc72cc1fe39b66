// Writer of .caffemodel files in the present form (V2), for read_caffemodel() and for Caffe itself.
// No state; any thread, but one at a time for one path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"

namespace maru {

struct CaffemodelBlob {
  std::vector<std::int64_t> shape;
  std::span<const float> values;  // as many as the shape says; borrowed
};

struct CaffemodelLayer {
  std::string name, type;
  std::vector<CaffemodelBlob> blobs;
};

// Whole or not at all: a temporary file beside it, flushed to the disk, takes its place. Throws Error
// where that fails (no space, no such folder, ...), and for more than the 2 GB that a reader of
// protocol buffers takes; then what was at `path` is untouched and no temporary file is left.
void write_caffemodel(const std::filesystem::path& path, std::string_view net_name,
                      std::span<const CaffemodelLayer> layers);
// The same of a file that the caller commits.
void write_caffemodel(AtomicFile& file, std::string_view net_name,
                      std::span<const CaffemodelLayer> layers);

}  // namespace maru
