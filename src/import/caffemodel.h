// Reader of .caffemodel files (binary NetParameter): layer names, types and weights, in all three forms
// that Caffe has had (V0, V1, V2). Weights stay where they are in the mapped file: a blob is a span
// into it, possibly unaligned; only data that is not stored as one run of floats is copied. The network
// itself comes from the prototxt. Values; any thread may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/constant.h"

namespace maru {

struct CaffeBlob {
  std::vector<std::int64_t> dims;    // as written, 0 or more each; four of them when legacy
  bool legacy = false;               // written as num, channels, height, width
  bool foreign = false;              // holds raw_data that is neither halves nor floats
  std::size_t position = 0;          // byte in the file
  std::span<const std::byte> bytes;  // float32, little-endian, read with memcpy only
  std::shared_ptr<const void> owner;
  Constant::Storage storage = Constant::Storage::memory;  // of bytes

  std::int64_t count() const { return static_cast<std::int64_t>(bytes.size() / sizeof(float)); }
  std::string dims_str() const;  // "64x3x7x7"
  // True when this is how Caffe stores a tensor of that shape: the same extents, aligned right, with
  // any number of 1s before them (legacy blobs always have four: 1x1x1xN for a bias).
  bool fits(const Shape& shape) const;
};

struct CaffeLayer {
  std::string name;
  std::string type;  // as V2 spells it: "Convolution"
  std::vector<CaffeBlob> blobs;
};

struct CaffeModel {
  std::string file;
  std::string name;
  std::vector<CaffeLayer> layers;  // in the order of the file

  // The last layer of that name (as Caffe copies them), or nullptr.
  const CaffeLayer* find(std::string_view layer) const;
};

// Throws Error with the byte position for a truncated or malformed file. Memory used beside the mapping
// is bounded by a small multiple of the file's size.
CaffeModel read_caffemodel(const std::filesystem::path& path);
// The same over bytes that `owner` keeps alive; `file` is for errors.
CaffeModel read_caffemodel(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                           std::string_view file,
                           Constant::Storage storage = Constant::Storage::memory);

// The blob as a constant of `shape`; no copy. The count must agree.
std::shared_ptr<const Constant> make_constant(const CaffeBlob& blob, const Shape& shape);

}  // namespace maru
