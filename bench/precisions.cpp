// Precisions side by side on one device: the same photo, from its pixels in the session's memory to
// scores, in turns.
//
//   precisions MODEL PHOTO [DEVICE] [BLOCKS] [RUNS]
//
// A session for each precision that the device computes in, with the CPU's threads left to maru. They
// run RUNS times a block, in an order that turns from block to block. Printed: medians of blocks, how
// large weights and arena are, how far scores are from those of fp32, and each against fp32, as a ratio
// with its 95 % interval from a block bootstrap (measure/statistics.h).
#include <maru/maru.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "measure/statistics.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Way {
  const char* name;
  maru::Model model;
  maru::Session session;
  std::vector<double> run_ms{};  // medians of blocks

  std::vector<float> scores() const {
    const auto values = session.output(model.outputs().at(0).name).as<float>();
    return {values.begin(), values.end()};
  }
  std::uint64_t weights() const {
    std::uint64_t bytes = 0;
    const nlohmann::json plan = nlohmann::json::parse(model.plan_json());
    for (const auto& region : plan["regions"])
      if (region["kind"] == "weights") bytes += region["bytes"].get<std::uint64_t>();
    return bytes;
  }
};

double ms_of_run(maru::Session& session) {
  const auto start = Clock::now();
  session.run();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::vector<Way> open_all(const char* path, const char* photo, const char* device) {
  using maru::Precision;
  std::vector<Way> ways;
  for (const auto& [name, precision] :
       {std::pair{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"fp16", Precision::fp16}}) {
    try {
      maru::ModelOptions options;
      options.device = device;
      options.precision = precision;
      const maru::Model model = maru::Model::load(path, options);
      ways.push_back({name, model, maru::Session(model)});
      ways.back().session.load_photo(photo);
    } catch (const maru::Error& error) {
      std::printf("%s: n/a, %s\n", name, error.what());
    }
  }
  return ways;
}

void run(int argc, char** argv) {
  const char* device = argc > 3 ? argv[3] : "opencl";
  const int blocks = argc > 4 ? std::atoi(argv[4]) : 40, runs = argc > 5 ? std::atoi(argv[5]) : 5;
  std::vector<Way> ways = open_all(argv[1], argv[2], device);
  for (int block = -2; block < blocks; ++block) {  // two to warm up
    for (std::size_t i = 0; i < ways.size(); ++i) {
      Way& way = ways[block % 2 == 0 ? i : ways.size() - 1 - i];  // ABBA
      std::vector<double> ms;
      for (int n = 0; n < runs; ++n) ms.push_back(ms_of_run(way.session));
      if (block >= 0) way.run_ms.push_back(maru::measure::median(ms));
    }
  }

  std::printf("%s on %s, %d blocks of %d runs each\n", argv[1], device, blocks, runs);
  std::printf("%-9s %9s %13s %13s %12s   %s\n", "precision", "run ms", "weights", "arena", "off by",
              "time / fp32 (95 %)");
  const std::vector<float> wanted = ways.at(0).scores();
  for (const Way& way : ways) {
    const std::vector<float> scores = way.scores();
    double worst = 0;
    for (std::size_t i = 0; i < scores.size(); ++i)
      worst = std::max(worst, std::fabs(double{scores[i]} - double{wanted[i]}));
    const maru::measure::Interval ratio = maru::measure::ratio_of(way.run_ms, ways[0].run_ms);
    std::printf("%-9s %9.3f %13llu %13llu %12.2e   %.3f  [%.3f, %.3f]\n", way.name,
                maru::measure::median(way.run_ms), static_cast<unsigned long long>(way.weights()),
                static_cast<unsigned long long>(way.session.arena_bytes()), worst, ratio.value,
                ratio.low, ratio.high);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL PHOTO [DEVICE] [BLOCKS] [RUNS]\n", argv[0]);
    return 2;
  }
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
