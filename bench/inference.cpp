// One way to run a network, measured: time, energy and memory, as one line of JSON.
//
//   inference MODEL PHOTO [--device D] [--memory auto|copy|zero-copy] [--precision fp32|tf32|fp16]
//             [--batch N] [--runs N] [--seconds S] [--tune]
//
// PHOTO is decoded once into every slot of the batch; a run is from its pixels in memory of the CPU to
// the scores in memory of the CPU. Printed: percentiles of RUNS single runs after warming up, then the
// energy of the GPU (NVML's counter) over at least SECONDS of runs, idle included; null where nothing
// measures it. Compare ways only within one session of a machine.
#include <maru/maru.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "measure/nvml.h"
#include "measure/statistics.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class T>
nlohmann::json known(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::uint64_t peak_host_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

int run(int argc, char** argv) {
  std::string model, photo, memory = "auto", precision = "fp32";
  maru::ModelOptions options;
  int runs = 300;
  double seconds = 10;
  CLI::App app("One way to run a network, measured.");
  app.add_option("MODEL", model)->required();
  app.add_option("PHOTO", photo)->required();
  app.add_option("--device", options.device);
  const std::map<std::string, maru::MemoryPolicy> policies{
      {"auto", maru::MemoryPolicy::automatic},
      {"copy", maru::MemoryPolicy::copy},
      {"zero-copy", maru::MemoryPolicy::zero_copy}};
  const std::map<std::string, maru::Precision> precisions{{"fp32", maru::Precision::fp32},
                                                          {"tf32", maru::Precision::tf32},
                                                          {"fp16", maru::Precision::fp16}};
  app.add_option("--memory", memory)->check(CLI::IsMember(policies));
  app.add_option("--precision", precision)->check(CLI::IsMember(precisions));
  app.add_option("--batch", options.batch);
  app.add_option("--runs", runs);
  app.add_option("--seconds", seconds);
  app.add_flag("--tune", options.tune);
  CLI11_PARSE(app, argc, argv);
  options.memory = policies.at(memory);
  options.precision = precisions.at(precision);

  std::string why;
  const auto nvml = maru::measure::Nvml::open(0, "libnvidia-ml.so.1", why);
  const auto used_before = nvml ? nvml->used_bytes() : std::nullopt;
  const auto load_start = Clock::now();
  const maru::Model network = maru::Model::load(model, options);
  maru::Session session(network);
  const double load_seconds = seconds_since(load_start);
  for (std::int64_t slot = 0; slot < options.batch; ++slot) session.load_photo(photo, slot);

  std::vector<maru::Score> best;
  const auto once = [&] {
    session.run();
    best = session.top(1);
  };
  const auto warm_start = Clock::now();
  for (int i = 0; i < 20 || seconds_since(warm_start) < 0.5; ++i) once();
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    once();
    times.push_back(seconds_since(start));
  }
  std::ranges::sort(times);
  const auto percentile = [&](double share) {
    return times[std::min(times.size() - 1,
                          static_cast<std::size_t>(share * static_cast<double>(times.size())))];
  };

  nlohmann::json energy = nullptr;
  if (const auto joules = nvml ? nvml->joules() : std::nullopt; joules && seconds > 0) {
    const auto start = Clock::now();
    std::uint64_t count = 0;
    while (seconds_since(start) < seconds) {
      once();
      ++count;
    }
    const double window = seconds_since(start), spent = nvml->joules().value_or(NAN) - *joules;
    auto clock_mhz = nvml->clock_hz();
    if (clock_mhz) *clock_mhz *= 1e-6;
    const double images = static_cast<double>(count) * static_cast<double>(options.batch);
    energy = {{"source", "NVML energy counter"},
              {"boundary", "GPU board"},
              {"window_seconds", window},
              {"joules", spent},
              {"joules_per_image", spent / images},
              {"watts", spent / window},
              {"images_per_second", images / window},
              {"clock_mhz", known(clock_mhz)}};
  }
  nlohmann::json used = nullptr;
  if (const auto used_after = nvml ? nvml->used_bytes() : std::nullopt; used_after && used_before)
    used = *used_after - *used_before;
  std::uint64_t crossing = 0;
  for (const maru::CopyRecord& copy : session.copies())
    crossing += copy.crosses ? copy.bytes / copy.times : 0;
  const double median = maru::measure::median(times);
  const nlohmann::json result{{"engine", "maru " + std::string(maru::version())},
                              {"model", network.name()},
                              {"device", options.device},
                              {"memory", memory},
                              {"precision", precision},
                              {"batch", options.batch},
                              {"runs", runs},
                              {"load_seconds", load_seconds},
                              {"median_seconds", median},
                              {"p10_seconds", percentile(0.1)},
                              {"p90_seconds", percentile(0.9)},
                              {"images_per_second", static_cast<double>(options.batch) / median},
                              {"energy", energy},
                              {"device_bytes", used},
                              {"peak_host_bytes", peak_host_bytes()},
                              {"crossing_bytes_a_run", crossing},
                              {"top", best[0].label},
                              {"score", best[0].score}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
