// Results as benches and profiles find them, made up: for tests of what is made from them. Always the
// same.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "measure/profile.h"
#include "measure/result.h"

namespace maru::testing {

// From 0 to 1; the same on every machine, which distributions of the library need not be.
class ReportNoise {
 public:
  double operator()() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(state_ >> 11U) / static_cast<double>(std::uint64_t{1} << 53U);
  }

 private:
  std::uint64_t state_ = 1;
};

inline constexpr double kReportSeconds[] = {16.9e-3, 14.6e-3, 14.5e-3};
inline constexpr const char* kReportNames[] = {"copy", "zero-copy", "auto"};

inline measure::WayResult report_way_of(std::size_t way, bool with_meter) {
  const double median = kReportSeconds[way];
  measure::WayResult result;
  result.name = kReportNames[way];
  result.median = {median, median * 0.985, median * 1.012};
  result.mean = median * 1.02;
  result.p90 = median * 1.06;
  result.p99 = median * 1.2;
  result.min = median * 0.93;
  result.max = median * 1.8;
  if (with_meter) {
    result.joules = measure::Interval{median * 210, median * 200, median * 219};
    result.joules_net = measure::Interval{median * 135, median * 125, median * 144};
    result.peak_device_bytes = 210'000'000;
  }
  const double start = 0.174 - 0.009 * static_cast<double>(way);
  result.cold_start = measure::Interval{start, start - 0.004, start + 0.007};
  result.peak_host_bytes = 113'000'000 - way * 20'000'000;
  result.copied_bytes = result.crossing_bytes = way == 0 ? 522'416 : 0;
  result.stages.decode = 1.5e-3;
  result.stages.preprocess = 0.3e-3;
  if (way == 0) result.stages.copy_in = 0.4e-3;
  result.stages.infer = median - 2e-3;
  result.label = "n02123159 tiger cat";
  result.score = 0.5003;
  return result;
}

inline void add_report_power(measure::BenchResult& result, ReportNoise& noise) {
  const double end = result.blocks.back().end;
  for (double seconds = -1; seconds < end + 1; seconds += 0.02) {
    double watts = 75;
    for (const measure::Block& block : result.blocks) {
      if (seconds > block.begin && seconds < block.end)
        watts = 205 + 12 * std::sin(seconds * 9) + (block.way == 0 ? 14 : -10);
    }
    measure::Reading reading;
    reading.seconds = seconds;
    reading.watts = watts + 5 * noise();
    result.power.push_back(reading);
  }
}

// Three ways in 18 blocks. With a meter: energy, idle power and a trace of it.
inline measure::BenchResult sample_bench(bool with_meter) {
  measure::BenchResult result;
  result.maru_version = "0.1.0";
  result.command = "maru bench --model net --compare copy,zero-copy,auto --html report.html";
  result.when = "2026-11-22T22:40:00Z";
  result.device = with_meter ? "cuda" : "opencl";
  result.device_description = with_meter ? "NVIDIA H200, CUDA 12.8" : "pthread-EPYC, 2 compute units";
  result.machine.cpu = "AMD EPYC 9654 96-Core Processor";
  result.machine.cores = 2;
  result.machine.memory_bytes = std::uint64_t{8} << 30;
  result.model = {"<b>net</b>", "models/net", "d6d1f6a1", 28000000, {1, 3, 224, 224}, "fp32", 1};
  result.method = {100, 6, 10, 42, 0, "cat.jpg, 480 x 360", 2, "ABC CBA BCA ACB CAB BAC"};
  if (with_meter) {
    measure::MeterFacts meter;
    meter.name = "nvml";
    meter.source = "energy counter of GPU 0, NVIDIA H200, driver 580.95";
    meter.period_seconds = 0.1;
    meter.resolution_joules = 1e-3;
    meter.blind = "the CPU and its memory";
    result.meter = meter;
    result.idle_watts = 75;
  } else {
    result.meter_absences = {{"rapl", "/sys/class/powercap/intel-rapl:0/energy_uj is not readable",
                              "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"},
                             {"nvml", "libnvidia-ml.so.1 is not there", "installing NVIDIA's driver"}};
  }
  for (std::size_t way = 0; way < 3; ++way) result.ways.push_back(report_way_of(way, with_meter));
  const auto energy = [&](measure::Interval ratio) {
    return with_meter ? std::optional<measure::Interval>(ratio) : std::nullopt;
  };
  result.ratios = {{1, {0.864, 0.851, 0.877}, energy({0.81, 0.79, 0.83})},
                   {2, {0.858, 0.84, 1.012}, energy({0.80, 0.78, 0.83})}};
  ReportNoise noise;
  double now = 0;
  for (const char letter : std::string_view("ABCCBABCAACBCABBAC")) {
    measure::Block block;
    block.way = static_cast<std::size_t>(letter - 'A');
    block.begin = now;
    for (int run = 0; run < 100; ++run) {
      double seconds = kReportSeconds[block.way] * (0.95 + 0.05 * noise() + 0.05 * noise());
      if (noise() < 0.007) seconds *= 1.9;
      block.seconds.push_back(seconds);
      now += seconds;
    }
    block.end = now;
    block.runs = 100;
    block.state.cpu_hz = 3.7e9;
    result.blocks.push_back(block);
    now += 0.25;
  }
  if (with_meter) add_report_power(result, noise);
  result.checks = {{"outputs", measure::Check::Verdict::passed, "equal in all ways"},
                   {"ledger", measure::Check::Verdict::passed, "copied as planned"}};
  return result;
}

// Three steps on two devices, two of them without energy.
inline measure::ProfileResult sample_profile() {
  measure::ProfileResult result;
  result.model = {"net \"a\" & b", "models/net", "", 0, {1, 3, 224, 224}, "fp32", 1};
  result.maru_version = "0.1.0";
  result.command = "maru profile --model models/net";
  result.when = "2026-11-22T22:40:00Z";
  result.device = "cpu";
  result.device_description = "AMD EPYC, 2 threads";
  result.memory = "auto";
  result.runs = 30;
  result.run = {10e-3, 9.9e-3, 10.1e-3};
  result.overhead_seconds = 11e-6;
  result.notes = {"told by a test"};
  measure::MeterFacts meter;
  meter.name = "command";
  meter.source = "a test";
  meter.period_seconds = 0.1;
  result.meter = meter;
  result.roofs = {{"cpu", 225e9, 43e9, "1 x 1 convolution", "read of host memory"}};

  measure::ProfiledStep pool;
  pool.name = "pool1/3x3_s2";
  pool.op = "pool kernel=3x3";
  pool.kernel = "oneDNN jit:avx512_core";
  pool.kind = "kernel";
  pool.device = "cpu";
  pool.seconds = {1e-3, 0.9e-3, 1.2e-3};
  pool.share = 0.1;
  pool.flops = 1e6;
  pool.bytes = 1e6;
  measure::ProfiledStep conv = pool;
  conv.name = "conv2/3x3";
  conv.op = "conv outputs=64";
  conv.seconds = {8e-3, 7.8e-3, 8.1e-3};
  conv.share = 0.8;
  conv.flops = 468e9 * 8e-3;
  conv.roof_share = 2.08;
  conv.joules = 0.02;
  conv.uncertainty_joules = 0.001;
  measure::ProfiledStep copy = pool;
  copy.name = "<prob>";
  copy.kind = "copy";
  copy.op = "";
  copy.kernel = "";
  copy.device = "opencl";
  copy.flops = 0;
  result.steps = {pool, conv, copy};
  return result;
}

}  // namespace maru::testing
