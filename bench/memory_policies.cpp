// The memory policies side by side on one device: the same photo, from its pixels in the session's
// memory to scores, in turns.
//
//   memory_policies MODEL PHOTO|WIDTHxHEIGHT [DEVICE] [BLOCKS] [RUNS]
//
// MODEL: a folder, a network, a packed file, or `frame` for preprocessing alone (a network that only
// averages its 224 x 224 input). PHOTO is decoded anew before each block, which is timed apart;
// WIDTHxHEIGHT is a frame of noise that is written anew. Three sessions, one for each policy, run RUNS
// times a block, in an order that turns from block to block. Printed: medians of blocks, and auto
// against each of the others, as a ratio with its 95 % interval from a block bootstrap
// (measure/statistics.h).
#include <maru/maru.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "measure/statistics.h"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kAverage = R"(name: "frame"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
)";

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Mode {
  const char* name;
  maru::Session session;
  std::vector<double> run_ms{}, fill_ms{};  // medians of blocks
};

maru::Session open(const fs::path& path, const char* device, maru::MemoryPolicy policy) {
  maru::ModelOptions options;
  options.device = device;
  options.memory = policy;
  return maru::Session(maru::Model::load(path, options));
}

class Source {
 public:
  explicit Source(const std::string& word) {
    if (std::sscanf(word.c_str(), "%dx%d", &width_, &height_) == 2 && !fs::exists(word)) {
      noise_.resize(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3);
      std::mt19937 random(1);
      for (std::uint8_t& level : noise_) level = static_cast<std::uint8_t>(random());
    } else {
      photo_ = word;
    }
  }
  void fill(maru::Session& session) const {
    if (!photo_.empty()) return session.load_photo(photo_);
    std::memcpy(session.photo(width_, height_).data(), noise_.data(), noise_.size());
  }

 private:
  int width_ = 0, height_ = 0;
  fs::path photo_;
  std::vector<std::uint8_t> noise_;
};

void print_ratio(const char* what, const std::vector<double>& a, const std::vector<double>& b) {
  const maru::measure::Interval ratio = maru::measure::ratio_of(a, b);
  std::printf("%-34s %.3f  [%.3f, %.3f]\n", what, ratio.value, ratio.low, ratio.high);
}

int run(int argc, char** argv) {
  fs::path model = argv[1];
  const fs::path scratch = fs::temp_directory_path() / ("maru_bench_" + std::to_string(::getpid()));
  if (model == "frame") {
    fs::create_directories(scratch);
    model = scratch / "frame.prototxt";
    std::ofstream(model) << kAverage;
  }
  const Source source(argv[2]);
  const char* device = argc > 3 ? argv[3] : "opencl";
  const int blocks = argc > 4 ? std::atoi(argv[4]) : 40, runs = argc > 5 ? std::atoi(argv[5]) : 5;
  using Policy = maru::MemoryPolicy;
  std::vector<Mode> modes;
  for (const auto& [name, policy] : {std::pair{"copy", Policy::copy},
                                     {"zero-copy", Policy::zero_copy},
                                     {"auto", Policy::automatic}}) {
    try {
      modes.push_back({name, open(model, device, policy)});
    } catch (const maru::Error& error) {
      std::printf("%s: n/a, %s\n", name, error.what());
    }
  }
  fs::remove_all(scratch);

  std::vector<float> scores;
  for (int block = -2; block < blocks; ++block) {  // two to warm up
    for (std::size_t i = 0; i < modes.size(); ++i) {
      // 0 1 2, 2 1 0, 1 2 0, 0 2 1, ...: every mode in every place.
      const auto turn = static_cast<std::size_t>(block + 2);
      const std::size_t shift = (turn / 2 + i) % modes.size();
      Mode& mode = modes[turn % 2 == 0 ? shift : modes.size() - 1 - shift];
      std::vector<double> run_ms, fill_ms;
      for (int n = 0; n < runs; ++n) {
        auto start = Clock::now();
        source.fill(mode.session);
        fill_ms.push_back(ms_since(start));
        start = Clock::now();
        mode.session.run();
        const auto best = mode.session.top(1);
        run_ms.push_back(ms_since(start));
        if (block < 0 && n == 0) scores.push_back(best[0].score);
      }
      if (block < 0) continue;
      mode.run_ms.push_back(maru::measure::median(run_ms));
      mode.fill_ms.push_back(maru::measure::median(fill_ms));
    }
  }
  for (const float score : scores) {
    if (std::abs(score - scores[0]) > 1e-5F * std::max(1.0F, std::abs(scores[0]))) {
      std::fprintf(stderr, "the policies disagree: %g and %g\n", static_cast<double>(score),
                   static_cast<double>(scores[0]));
      return 1;
    }
  }

  std::printf("%s on %s, %d blocks of %d runs each\n", argv[1], device, blocks, runs);
  std::printf("%-10s %10s %12s %22s\n", "memory", "run ms", "pixels ms", "bytes crossing a run");
  for (Mode& mode : modes) {
    std::uint64_t bytes = 0;
    for (const maru::CopyRecord& copy : mode.session.copies())
      bytes += copy.crosses ? copy.bytes / copy.times : 0;
    std::printf("%-10s %10.3f %12.3f %22llu\n", mode.name, maru::measure::median(mode.run_ms),
                maru::measure::median(mode.fill_ms), static_cast<unsigned long long>(bytes));
  }
  for (std::size_t i = 1; i < modes.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const std::string what = std::string(modes[i].name) + " / " + modes[k].name;
      print_ratio(what.c_str(), modes[i].run_ms, modes[k].run_ms);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL|frame PHOTO|WIDTHxHEIGHT [DEVICE] [BLOCKS] [RUNS]\n",
                 argv[0]);
    return 2;
  }
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
