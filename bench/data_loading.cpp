// How many photos a second the loader decodes and augments, over its threads, beside decoding alone:
//
//   data_loading DATA [--threads 1,2] [--batch 128] [--size 224] [--seconds 3] [--rounds 5] [--plain]
//
// DATA is a folder of classes, a list, .tar files or an LMDB environment. Random resized crops (0.08 to
// 1 of the photo), mirrored, with colour jitter; --plain: the whole photo, as for tests. Decoding alone
// is one thread over the same photos, in memory, into the same place. Ways take turns in each round;
// printed are the medians and the least and most of the rounds. Photos are in the page cache after the
// first round, which is not counted.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "data/loader.h"
#include "vision/image.h"

namespace {

using namespace maru;
using Clock = std::chrono::steady_clock;

// Of this process, all its threads.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Measured {
  double rate = 0;          // photos a second
  double microseconds = 0;  // of processor time a photo
};

struct Way {
  std::string name;
  int threads = 0;  // 0: decoding alone
  std::vector<double> rates, microseconds;
};

class Watch {
 public:
  double seconds() const { return seconds_since(start_); }
  Measured stop(std::int64_t photos) const {
    const double n = static_cast<double>(photos);
    return {n / seconds(), (processor_seconds() - processor_) / n * 1e6};
  }

 private:
  Clock::time_point start_ = Clock::now();
  double processor_ = processor_seconds();
};

Measured decode_alone(const DataSet& data, double seconds) {
  constexpr std::int64_t kPhotos = 2000;
  std::vector<std::vector<std::byte>> files;
  std::vector<std::byte> scratch, pixels;
  for (std::int64_t i = 0; i < std::min(kPhotos, data.size()); ++i) {
    const auto bytes = data.read(i, scratch).bytes;
    files.emplace_back(bytes.begin(), bytes.end());
  }
  ImageDecoder decoder;
  std::int64_t done = 0;
  const Watch watch;
  while (watch.seconds() < seconds) {
    for (const auto& file : files) {
      const ImageInfo info = decoder.open(file, "photo");
      const std::size_t row = static_cast<std::size_t>(info.width) * 3;
      pixels.resize(std::max(pixels.size(), row * static_cast<std::size_t>(info.height)));
      decoder.decode({reinterpret_cast<std::uint8_t*>(pixels.data()), info.width, info.height, row});
      ++done;
      if (done % 64 == 0 && watch.seconds() >= seconds) break;
    }
  }
  return watch.stop(done);
}

Measured load(const std::shared_ptr<const DataSet>& data, const LoaderOptions& options,
              double seconds) {
  Loader loader(data, options);
  loader.next();  // threads have begun
  std::int64_t done = 0;
  const Watch watch;
  while (watch.seconds() < seconds) done += loader.next().count;
  return watch.stop(done);
}

double median(std::vector<double> rates) {
  std::ranges::sort(rates);
  return rates[rates.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("data_loading");
  DataSource source;
  std::vector<int> threads{1, 2};
  LoaderOptions options;
  options.batch = 128;
  std::int64_t size = 224;
  double seconds = 3;
  int rounds = 5;
  bool plain = false;
  app.add_option("data", source.path)->required();
  app.add_option("--root", source.root);
  app.add_option("--threads", threads)->delimiter(',');
  app.add_option("--batch", options.batch);
  app.add_option("--size", size);
  app.add_option("--seconds", seconds);
  app.add_option("--rounds", rounds);
  app.add_flag("--plain", plain);
  CLI11_PARSE(app, argc, argv);
  try {
    const auto data = open_data_set(source);
    options.augment.height = options.augment.width = size;
    if (!plain) {
      options.shuffle = true;
      options.augment.area_low = 0.08;
      options.augment.area_high = 1;
      options.augment.mirror = true;
      options.augment.brightness = options.augment.contrast = options.augment.saturation = 0.4;
    }
    std::vector<Way> ways{{"decoding alone, 1 thread", 0, {}, {}}};
    for (const int count : threads)
      ways.push_back({fmt::format("loader, {} threads", count), count, {}, {}});
    for (int round = 0; round <= rounds; ++round) {
      for (Way& way : ways) {
        options.threads = way.threads;
        const Measured got =
            way.threads == 0 ? decode_alone(*data, seconds) : load(data, options, seconds);
        if (round == 0) continue;
        way.rates.push_back(got.rate);
        way.microseconds.push_back(got.microseconds);
      }
      std::ranges::reverse(ways);  // ABBA
    }
    if (rounds % 2 == 0) std::ranges::reverse(ways);
    fmt::print("{}: {} photos, batches of {}, {} x {}{}; {} cores\n", source.path, data->size(),
               options.batch, size, size, plain ? ", plain" : "", std::thread::hardware_concurrency());
    for (const Way& way : ways) {
      fmt::print("{:26} {:8.0f} photos/s ({:.0f} to {:.0f}), {:.0f} us of processor time a photo\n",
                 way.name, median(way.rates), *std::ranges::min_element(way.rates),
                 *std::ranges::max_element(way.rates), median(way.microseconds));
    }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
