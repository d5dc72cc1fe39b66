// MeanImage: the mean of a data set's photos, as Caffe's compute_image_mean makes it, and its files
// (.binaryproto). Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/data_set.h"

namespace maru {

struct MeanImage {
  std::int64_t channels = 3, height = 0, width = 0;
  std::vector<float> values;  // channels x height x width, levels of 0..255; blue, green, red; or grey

  float at(std::int64_t c, std::int64_t y, std::int64_t x) const {
    return values[static_cast<std::size_t>((c * height + y) * width + x)];
  }
  bool operator==(const MeanImage&) const = default;
};

// Of each channel, in the order of the image: what Caffe calls mean_value.
std::vector<double> channel_means(const MeanImage& mean);

struct MeanOptions {
  std::int64_t height = 0, width = 0;  // photos are resized to this; 0: all must be as the first is
  int channels = 0;                    // 3, or 1 for grey; 0: as the first has, but files have 3
  int threads = 0;                     // 0: as many as the machine has
  // A photo that cannot be read, and is left out of the mean; called once for each, from any thread,
  // one at a time.
  std::function<void(const std::string& name, const Error&)> report = {};
  std::function<void(std::int64_t done, std::int64_t of)> progress = {};  // from the calling thread
};

// In the order of the data set, summed in single precision and divided by the number of photos, so that
// the result is that of Caffe's tool to the bit. Throws Error when no photo can be read or sizes differ
// and none was given.
MeanImage compute_mean(const std::shared_ptr<const DataSet>& data, const MeanOptions& options);

// A BlobProto (caffe.proto): legacy extents or a shape, float or double data. Throws Error, with the
// path, for what is none, is cut off, or holds another number of values than its extents say.
MeanImage read_binaryproto(const std::filesystem::path& path);
// As Caffe writes it: num 1, channels, height, width, packed data. Whole or not at all.
void write_binaryproto(const std::filesystem::path& path, const MeanImage& mean);

}  // namespace maru
