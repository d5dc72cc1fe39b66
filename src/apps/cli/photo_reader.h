// PhotoReader: the photos of a data set, decoded batch after batch by threads of its own, the next
// while the caller works on the last. Used by one thread.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "data/data_set.h"

namespace maru::cli {

struct ReadPhoto {
  std::int64_t index = 0, label = 0;  // in the data set; the class that it says
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // rows of RGB without gaps
  std::string error;                 // of one that cannot be read; the photo is empty then
};

class PhotoReader {
 public:
  PhotoReader(std::shared_ptr<const DataSet> data, std::int64_t batch, int threads);
  ~PhotoReader();
  PhotoReader(const PhotoReader&) = delete;
  PhotoReader& operator=(const PhotoReader&) = delete;

  // In the order of the data set; empty after the last. Throws Error for a label that is no class.
  std::vector<ReadPhoto> next();

 private:
  void begin_next();

  std::shared_ptr<const DataSet> data_;
  std::int64_t batch_, first_ = 0;
  int threads_;
  std::future<std::vector<ReadPhoto>> coming_;
};

}  // namespace maru::cli
