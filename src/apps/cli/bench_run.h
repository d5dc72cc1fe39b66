// What `maru bench` does between its options and its report: opens the ways, runs them in turns beside
// a meter, and looks at all else that is told of them. One thread.
#pragma once

#include <maru/model.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/bench_photo.h"
#include "apps/cli/bench_ways.h"
#include "measure/result.h"

namespace maru::cli {

struct BenchRequest {
  std::string model;
  ModelOptions options;
  std::vector<NamedPolicy> policies;
  std::filesystem::path image;  // empty: a synthetic photo
  std::optional<PhotoSize> size;
  std::uint64_t images = 100, blocks = 6, warmup = 10, seed = 1, cold_starts = 6;
  bool write_photo = false;  // anew before each run, as part of it
  std::string meter = "auto";
};

// A way that the device cannot do is left out and said, also on standard error. Throws Error when none
// is left, and for what is wrong with the model, the photo or the meter.
measure::BenchResult run_bench(const BenchRequest& request);

}  // namespace maru::cli
