// SampleMaker: what one thread of the loader needs to make samples: reads, decodes and augments one
// photo after the other, and keeps the memory for it. For one thread at a time; the data set and the
// options are the loader's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "data/loader.h"
#include "vision/image.h"

namespace maru::data {

struct MadeSample {
  int height = 0, width = 0;  // of the photo in bytes; 0 where it is floats
  float label = 0;
};

class SampleMaker {
 public:
  SampleMaker(const DataSet& set, const LoaderOptions& options) : set_(set), options_(options) {}

  // Into dst: rows of RGB without gaps, or floats. What speaks against this photo is returned, and what
  // speaks against all of them (a label, a mean of another size) is thrown.
  std::optional<Error> make(std::int64_t index, std::uint64_t position, std::span<std::byte> dst,
                            MadeSample& made);

 private:
  PixelView decode(const StoredPhoto& photo, std::int64_t index, std::uint64_t position,
                   std::span<std::byte> dst, Augmented& how);
  void to_floats(const Augmented& how, ConstPixelView photo, std::int64_t index, float* dst) const;

  const DataSet& set_;
  const LoaderOptions& options_;
  ImageDecoder decoder_;
  std::vector<std::byte> file_;
  std::vector<std::uint8_t> decoded_, part_;
  AugmentScratch scratch_;
};

}  // namespace maru::data
