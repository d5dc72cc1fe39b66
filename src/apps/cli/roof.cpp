#include "apps/cli/roof.h"

#include <maru/session.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "base/error.h"
#include "measure/probe.h"

namespace maru::cli {
namespace {

namespace fs = std::filesystem;

// C x C x 1 x 1 over C x side x side: a product of matrices, C x C by C x side^2.
struct Size {
  std::int64_t channels, side;
};
// Each has some four times the work of the one before: small ones do not fill a large GPU, and large
// ones take a small CPU too long.
constexpr Size kSizes[] = {{256, 28}, {512, 28}, {512, 56}, {1024, 56}, {2048, 56}, {4096, 56}};
constexpr double kLongEnough = 0.05;  // seconds of one run; what is larger would not be faster
constexpr double kSample = 0.02;      // seconds, at least

class Folder {
 public:
  Folder() : path_((fs::temp_directory_path() / "maru_roof_XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr)
      throw system_error(path_, "a folder for temporary files that can be written to", "TMPDIR");
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code none;
    fs::remove_all(path_, none);
  }
  fs::path path() const { return path_; }

 private:
  std::string path_;
};

// Values from -1 to 1, the same each time: power, and with it clocks, depend on what is multiplied.
class Noise {
 public:
  float operator()() {
    state_ = state_ * 1664525U + 1013904223U;
    return static_cast<float>(state_ >> 8U) / static_cast<float>(1U << 23U) - 1;
  }

 private:
  std::uint32_t state_ = 1;
};

// Field numbers are those of caffe.proto (NetParameter, LayerParameter, BlobProto, BlobShape).
std::string weights_of(std::int64_t channels) {
  std::vector<float> values(static_cast<std::size_t>(channels * channels));
  std::ranges::generate(values, Noise());
  const std::int64_t shape[] = {channels, channels, 1, 1};
  std::string bytes;
  protozero::pbf_writer net(bytes);
  protozero::pbf_writer layer(net, 100);
  layer.add_string(1, "conv");
  layer.add_string(2, "Convolution");
  protozero::pbf_writer blob(layer, 7);
  blob.add_packed_float(5, values.begin(), values.end());
  protozero::pbf_writer dims(blob, 7);
  dims.add_packed_int64(1, std::begin(shape), std::end(shape));
  return bytes;
}

void write(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) throw system_error(path.string(), "room for a temporary file", "TMPDIR");
}

struct Rate {
  double flops = 0, seconds = 0;  // a second, and of one run
};

Rate rate_of(const Size& size, const ModelOptions& options) {
  const Folder folder;
  write(folder.path() / "deploy.prototxt",
        fmt::format("name: \"roof\"\n"
                    "layer {{ name: \"data\" type: \"Input\" top: \"data\"\n"
                    "  input_param {{ shape {{ dim: 1 dim: {0} dim: {1} dim: {1} }} }} }}\n"
                    "layer {{ name: \"conv\" type: \"Convolution\" bottom: \"data\" top: \"conv\"\n"
                    "  convolution_param {{ num_output: {0} kernel_size: 1 bias_term: false }} }}\n",
                    size.channels, size.side));
  write(folder.path() / "roof.caffemodel", weights_of(size.channels));
  const Model model = Model::load(folder.path(), options);
  Session session(model);
  std::ranges::generate(session.input("data").as<float>(), Noise());
  session.run();
  const std::vector<StepInfo> steps = model.steps();
  const auto conv = std::ranges::max_element(steps, {}, &StepInfo::flops);
  const auto index = static_cast<std::size_t>(conv - steps.begin());
  const auto seconds = [&](std::size_t times) {
    const double begin = measure::now_seconds();
    session.run_step(index, times);
    return (measure::now_seconds() - begin) / static_cast<double>(times);
  };
  constexpr int kTries = 5;
  std::size_t times = 1;
  while (times < 4096 && seconds(times) * static_cast<double>(times) < kSample) times *= 2;
  double best = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < kTries; ++attempt) best = std::min(best, seconds(times));
  return {conv->flops / best, best};
}

}  // namespace

measure::Roof measure_roof(const Device& device, const ModelOptions& options) {
  measure::Roof roof;
  roof.device = device.name();
  ModelOptions conv;
  conv.device = roof.device;
  conv.photos = false;
  conv.threads = options.threads;
  conv.tune = options.tune;
  if (options.precision && device.computes(*options.precision)) conv.precision = options.precision;
  for (const Size& size : kSizes) {
    try {
      const Rate rate = rate_of(size, conv);
      if (rate.flops > roof.flops) {
        roof.flops = rate.flops;
        roof.flops_of = fmt::format("1 x 1 convolution, {0} to {0} channels over {1} x {1}, {2:.2f} ms",
                                    size.channels, size.side, rate.seconds * 1e3);
      }
      if (rate.seconds > kLongEnough) break;
    } catch (const Error&) {
      break;  // no memory for it, or no kernel: what smaller ones showed stays
    }
  }
  const DeviceSpeed speed = speed_of(device);
  for (std::size_t i = 0; i < speed.heaps.size(); ++i) {
    if (!speed.measured || speed.heaps[i].device_read <= roof.bytes) continue;
    roof.bytes = speed.heaps[i].device_read;
    roof.bytes_of = fmt::format("read of {} memory, as maru devices has it", device.heaps()[i]->name());
  }
  return roof;
}

}  // namespace maru::cli
