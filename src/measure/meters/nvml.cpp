// The GPU's own energy counter, and its power now, both through NVML.
#include "measure/nvml.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "measure/meters/meters.h"

namespace maru::measure {
namespace {

constexpr double kAssumedPeriod = 0.1;  // where the counter did not move while it was watched
constexpr double kProbeSeconds = 0.7;
constexpr std::size_t kProbeUpdates = 8;

// The time between two updates: the counter is watched for some of them.
std::optional<double> probe_period(const Nvml& nvml) {
  const double start = now_seconds();
  std::vector<double> changes;
  auto last = nvml.joules();
  while (last && now_seconds() - start < kProbeSeconds && changes.size() <= kProbeUpdates) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto joules = nvml.joules();
    if (joules && *joules != *last) changes.push_back(now_seconds());
    last = joules;
  }
  if (changes.size() < 3) return std::nullopt;
  std::vector<double> gaps;
  for (std::size_t i = 1; i < changes.size(); ++i) gaps.push_back(changes[i] - changes[i - 1]);
  std::ranges::sort(gaps);
  return gaps[gaps.size() / 2];
}

class NvmlMeter : public Meter {
 public:
  NvmlMeter(std::unique_ptr<Nvml> nvml, int gpu) : nvml_(std::move(nvml)) {
    const auto joules = nvml_->joules();
    const bool tells_power = nvml_->watts().has_value();
    if (!joules && !tells_power)
      throw Error(
          "meter nvml", fmt::format("energy or power of GPU {}", gpu), "neither",
          "another meter: NVML tells neither on Jetson boards (--meter jetson) and on some GeForce");
    first_ = joules;
    facts_.name = "nvml";
    facts_.source = fmt::format("{} of GPU {}, {}, driver {}", joules ? "energy counter" : "power", gpu,
                                nvml_->name(), nvml_->driver());
    facts_.boundary = MeterFacts::Boundary::board;
    facts_.grade = MeterFacts::Class::measured;
    facts_.resolution_joules = joules ? 1e-3 : 0;
    facts_.resolution_watts = tells_power ? 1e-3 : 0;
    facts_.blind = "the CPU and its memory";
    const auto period = joules ? probe_period(*nvml_) : std::nullopt;
    facts_.period_seconds = period.value_or(kAssumedPeriod);
    if (!period) facts_.source += "; its period is assumed";
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    const auto joules = nvml_->joules();
    Reading reading{.seconds = (before + now_seconds()) / 2, .watts = nvml_->watts()};
    if (first_) {
      if (!joules || *joules < *first_)
        throw Error("meter nvml", "an energy counter that goes on",
                    joules ? "one that was set back" : "none any more",
                    "whether the driver was reloaded");
      reading.joules = *joules - *first_;
    } else if (!reading.watts) {
      throw Error("meter nvml", "the GPU's power", "none any more", "whether the driver was reloaded");
    }
    return reading;
  }

 private:
  std::unique_ptr<Nvml> nvml_;
  std::optional<double> first_;
  MeterFacts facts_;
};

}  // namespace

std::unique_ptr<Meter> open_nvml(const MeterOptions& options) {
  const int gpu = options.gpu.value_or(0);
  std::string why;
  auto nvml = Nvml::open(gpu, options.nvml, why, options.gpu_name);
  if (!nvml)
    throw Error(
        "meter nvml", fmt::format("GPU {} through {}", gpu, options.nvml), why,
        "nvidia-smi: if it does not list the GPU either, its driver is not installed or not loaded");
  return std::make_unique<NvmlMeter>(std::move(nvml), gpu);
}

}  // namespace maru::measure
