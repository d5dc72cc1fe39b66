#include "data/mean.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/mapped_file.h"
#include "data/loader.h"
#include "vision/image.h"

namespace maru {
namespace {

using Wire = protozero::pbf_wire_type;

// caffe.proto, BlobProto.
constexpr std::uint32_t kNum = 1, kChannels = 2, kHeight = 3, kWidth = 4, kData = 5, kShape = 7,
                        kDoubleData = 8, kDims = 1;
constexpr std::int64_t kMostSide = std::int64_t{1} << 15;

struct Extents {
  int channels = 3;
  std::int64_t height = 0, width = 0;
};

// Of the first photo that can be read.
Extents first_extents(const DataSet& data) {
  std::vector<std::byte> scratch;
  std::optional<Error> last;
  for (std::int64_t i = 0; i < data.size(); ++i) {
    try {
      const StoredPhoto photo = data.read(i, scratch);
      if (photo.channels != 0) return {photo.channels, photo.height, photo.width};
      const ImageInfo info = probe_image(photo.bytes, data.name(i));
      return {3, info.height, info.width};
    } catch (const Error& error) {
      last = error;
    }
  }
  throw Error("mean", "photos that can be read", fmt::format("none, the last: {}", last->what()));
}

}  // namespace

std::vector<double> channel_means(const MeanImage& mean) {
  std::vector<double> means;
  const auto plane = static_cast<std::size_t>(mean.height * mean.width);
  for (std::size_t c = 0; c < static_cast<std::size_t>(mean.channels); ++c) {
    double sum = 0;
    for (std::size_t i = 0; i < plane; ++i) sum += static_cast<double>(mean.values[c * plane + i]);
    means.push_back(sum / static_cast<double>(plane));
  }
  return means;
}

MeanImage compute_mean(const std::shared_ptr<const DataSet>& data, const MeanOptions& options) {
  LoaderOptions how;
  Augment& size = how.augment;
  size.height = options.height;
  size.width = options.width;
  const Extents first = first_extents(*data);
  if (options.height == 0 && options.width == 0) {
    size.height = first.height;
    size.width = first.width;
  } else {
    size.new_height = options.height;
    size.new_width = options.width;
  }
  require_valid(size);
  // As many at once as take a few dozen megabytes as floats.
  constexpr std::int64_t kPixels = std::int64_t{1} << 21;
  const std::int64_t most = std::max<std::int64_t>(1, kPixels / (size.height * size.width));
  how.batch = std::min({data->size(), std::int64_t{64}, most});
  how.ahead = 1;
  how.threads = options.threads;
  how.repeat = false;
  how.report = options.report;
  how.floats = FloatInput{};
  how.floats->channels = options.channels != 0 ? options.channels : first.channels;

  MeanImage mean;
  mean.channels = how.floats->channels;
  mean.height = size.height;
  mean.width = size.width;
  const auto values = static_cast<std::size_t>(mean.channels * mean.height * mean.width);
  mean.values.assign(values, 0.0F);
  std::int64_t count = 0, done = 0;
  Loader loader(data, how);
  for (Batch batch = loader.next(); !batch.end; batch = loader.next()) {
    for (std::int64_t n = 0; n < batch.count; ++n) {
      if (batch.samples[static_cast<std::size_t>(n)].stand_in) continue;
      const float* photo = batch.floats.data() + static_cast<std::size_t>(n) * values;
      for (std::size_t i = 0; i < values; ++i) mean.values[i] += photo[i];
      ++count;
    }
    done += batch.count;
    if (options.progress) options.progress(done, data->size());
  }
  for (float& value : mean.values) value /= static_cast<float>(count);
  return mean;
}

namespace {

class BlobReader {
 public:
  explicit BlobReader(const std::filesystem::path& path) : path_(path.string()), file_(path) {}

  MeanImage run() {
    try {
      blob();
    } catch (const protozero::exception& error) {
      fail("protobuf wire data", error.what());
    }
    if (dims_.empty()) dims_.assign(legacy_, legacy_ + 4);
    while (dims_.size() > 3 && dims_.front() == 1) dims_.erase(dims_.begin());
    if (dims_.size() != 3) fail("one image of channels x height x width", extents());
    for (const std::int64_t extent : dims_) {
      if (extent < 1 || extent > kMostSide) fail("extents of 1 or more", extents());
    }
    MeanImage mean{dims_[0], dims_[1], dims_[2], std::move(values_)};
    if (static_cast<std::int64_t>(mean.values.size()) != dims_[0] * dims_[1] * dims_[2]) {
      fail(fmt::format("{} values of {}", dims_[0] * dims_[1] * dims_[2], extents()),
           fmt::format("{}", mean.values.size()));
    }
    return mean;
  }

 private:
  [[noreturn]] void fail(std::string_view expected, std::string_view got) const {
    throw Error(path_, expected, got, "a mean as Caffe's compute_image_mean writes it (.binaryproto)");
  }

  std::string extents() const { return fmt::format("{}", fmt::join(dims_, " x ")); }

  void blob() {
    protozero::pbf_reader message(file_.text().data(), file_.text().size());
    while (message.next()) {
      const std::uint32_t tag = message.tag();
      if (tag >= kNum && tag <= kWidth) {
        want(message, Wire::varint);
        legacy_[tag - kNum] = message.get_int32();
      } else if (tag == kShape) {
        want(message, Wire::length_delimited);
        shape(message.get_view());
      } else if (tag == kData) {
        append<float>(message, Wire::fixed32);
      } else if (tag == kDoubleData) {
        append<double>(message, Wire::fixed64);
      } else {
        message.skip();
      }
    }
  }

  void want(const protozero::pbf_reader& message, Wire wire) const {
    if (message.wire_type() != wire) fail("a BlobProto", "another kind of file");
  }

  void shape(protozero::data_view view) {
    constexpr std::size_t kMostAxes = 32;
    protozero::pbf_reader message(view);
    while (message.next()) {
      if (message.tag() != kDims) {
        message.skip();
        continue;
      }
      if (message.wire_type() == Wire::varint) {
        dims_.push_back(message.get_int64());
      } else {
        want(message, Wire::length_delimited);
        for (const std::int64_t extent : message.get_packed_int64()) {
          if (dims_.size() < kMostAxes) dims_.push_back(extent);
        }
      }
      if (dims_.size() >= kMostAxes) fail("channels x height x width", "too many axes");
    }
  }

  // Packed, or value by value.
  template <class T>
  void append(protozero::pbf_reader& message, Wire single) {
    if (message.wire_type() == single) {
      values_.push_back(sizeof(T) == sizeof(float) ? message.get_float()
                                                   : static_cast<float>(message.get_double()));
      return;
    }
    want(message, Wire::length_delimited);
    const auto run = message.get_view();
    if (run.size() % sizeof(T) != 0) fail("whole numbers of data", fmt::format("{} bytes", run.size()));
    for (std::size_t at = 0; at < run.size(); at += sizeof(T)) {
      T value;
      std::memcpy(&value, run.data() + at, sizeof(T));
      values_.push_back(static_cast<float>(value));
    }
  }

  std::string path_;
  MappedFile file_;
  std::int64_t legacy_[4] = {1, 1, 1, 1};
  std::vector<std::int64_t> dims_;
  std::vector<float> values_;
};

// Beside the file, then in its place.
void write_whole(const std::filesystem::path& path, std::string_view bytes) {
  const std::string temporary = fmt::format("{}.{}.part", path.string(), ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw system_error(path.string(), "a file that can be written", "checking the folder");
  bool good = true;
  for (std::size_t done = 0; good && done < bytes.size();) {
    const ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    good = count > 0;
    if (good) done += static_cast<std::size_t>(count);
  }
  good = good && ::fsync(fd) == 0;
  const int failed = errno;
  const bool closed = ::close(fd) == 0;
  if (good && closed && ::rename(temporary.c_str(), path.c_str()) == 0) return;
  const int why = good ? errno : failed;
  ::unlink(temporary.c_str());
  errno = why;
  throw system_error(path.string(), "a file that can be written", "room on the disk");
}

}  // namespace

MeanImage read_binaryproto(const std::filesystem::path& path) { return BlobReader(path).run(); }

void write_binaryproto(const std::filesystem::path& path, const MeanImage& mean) {
  MARU_ASSERT(static_cast<std::int64_t>(mean.values.size()) ==
              mean.channels * mean.height * mean.width);
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  writer.add_int32(kNum, 1);
  writer.add_int32(kChannels, static_cast<std::int32_t>(mean.channels));
  writer.add_int32(kHeight, static_cast<std::int32_t>(mean.height));
  writer.add_int32(kWidth, static_cast<std::int32_t>(mean.width));
  writer.add_packed_float(kData, mean.values.begin(), mean.values.end());
  write_whole(path, bytes);
}

}  // namespace maru
