#include "apps/cli/photo_reader.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "vision/image.h"

namespace maru::cli {
namespace {

// Planes of blue, green, red, or one of grey.
void interleave(const StoredPhoto& stored, ReadPhoto& photo) {
  const std::size_t plane = static_cast<std::size_t>(photo.height) * photo.width;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(stored.bytes.data());
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t c = 0; c < 3; ++c)
      photo.pixels[3 * i + c] = bytes[stored.channels == 3 ? (2 - c) * plane + i : i];
  }
}

void read(const DataSet& data, ReadPhoto& photo, std::vector<std::byte>& scratch) {
  try {
    const StoredPhoto stored = data.read(photo.index, scratch);
    photo.label = stored.label;
    photo.height = stored.height;
    photo.width = stored.width;
    const std::string name = data.name(photo.index);
    if (stored.channels == 0) {
      const ImageInfo info = probe_image(stored.bytes, name);
      photo.height = info.height;
      photo.width = info.width;
    }
    photo.pixels.resize(static_cast<std::size_t>(photo.height) * photo.width * 3);
    if (stored.channels > 0) {
      interleave(stored, photo);
    } else {
      decode_image(
          stored.bytes, name,
          {photo.pixels.data(), photo.width, photo.height, static_cast<std::size_t>(photo.width) * 3});
    }
  } catch (const Error& error) {
    photo.error = error.what();
    photo.pixels.clear();
  }
}

std::vector<ReadPhoto> read_batch(const DataSet& data, std::int64_t first, std::int64_t count,
                                  int threads) {
  std::vector<ReadPhoto> photos(static_cast<std::size_t>(count));
  std::atomic<std::size_t> next{0};
  std::exception_ptr failed;
  std::mutex mutex;
  const auto work = [&] {
    std::vector<std::byte> scratch;
    try {
      for (std::size_t i = next++; i < photos.size(); i = next++) {
        photos[i].index = first + static_cast<std::int64_t>(i);
        read(data, photos[i], scratch);
        // A wrong label is a wrong data set, not a broken photo.
        if (photos[i].error.empty()) data.require_label(photos[i].index, photos[i].label);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failed = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  if (failed) std::rethrow_exception(failed);
  return photos;
}

}  // namespace

PhotoReader::PhotoReader(std::shared_ptr<const DataSet> data, std::int64_t batch, int threads)
    : data_(std::move(data)),
      batch_(batch),
      threads_(threads > 0 ? threads
                           : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {
  begin_next();
}

PhotoReader::~PhotoReader() {
  if (coming_.valid()) coming_.wait();
}

void PhotoReader::begin_next() {
  const std::int64_t count = std::min(batch_, data_->size() - first_);
  coming_ = std::async(std::launch::async, [this, first = first_, count] {
    return read_batch(*data_, first, count, threads_);
  });
  first_ += count;
}

std::vector<ReadPhoto> PhotoReader::next() {
  std::vector<ReadPhoto> photos = coming_.get();
  begin_next();
  return photos;
}

}  // namespace maru::cli
