// A result as `maru bench` makes it, with all that one can have, for tests of what is made from
// results. Pure function; any thread.
#pragma once

#include <algorithm>

#include "measure/result.h"
#include "measure/summary.h"

namespace maru::measure {

// Two ways in the order ABBA BAAB AB..., `blocks` of each; zero-copy needs four fifths of copy's time
// and energy, which are of a batch of 2.
inline BenchResult test_result(std::size_t blocks = 6, double scale = 1) {
  BenchResult result;
  result.maru_version = "0.1.0";
  result.command = "maru bench --model net --image 'my cat.jpg'";
  result.when = "2026-01-02T03:04:05Z";
  result.device = "opencl";
  result.device_description = "a GPU; driver 1";
  result.machine = {"A processor", 4,       "Debian 12", "A board",
                    "performance", "A GPU", "580",       8000000000};
  result.model = {"net", "models/net", "0badcafe", 28000000, {2, 3, 224, 224}, "fp32", 2};
  result.method = {100, blocks, 10, 1, 10, "cat.jpg, 480 x 360", 4, ""};
  result.meter = MeterFacts{"jetson",
                            "VDD_IN of ina3221",
                            MeterFacts::Boundary::module,
                            MeterFacts::Class::measured,
                            0.1,
                            0,
                            0.001,
                            "the fan"};
  result.idle_watts = 4;
  result.ways = {WayResult{}, WayResult{}};
  result.ways[0].name = "copy";
  result.ways[1].name = "zero-copy";
  result.ways[0].copied_bytes = 526416;
  result.ways[0].crossing_bytes = 522416;
  result.ways[1].cold_start = Interval{0.17, 0.16, 0.19};
  result.ways[1].peak_host_bytes = 97000000;
  result.ways[1].stages = {0.001, 0.0005, 0, 0.0085, 0};
  for (WayResult& way : result.ways) {
    way.label = "tabby, tabby cat";
    way.score = 0.25;
  }
  double clock = 0;
  for (std::size_t i = 0; i < 2 * blocks; ++i) {
    const std::size_t way = (i % 4 == 0 || i % 4 == 3) == (i / 4 % 2 == 0) ? 0 : 1;
    result.method.order += i > 0 && i % 4 == 0 ? " " : "";
    result.method.order += static_cast<char>('A' + way);
    Block block;
    block.way = way;
    block.begin = clock;
    for (int run = 0; run < 17; ++run) {
      const double noise =
          1 + 0.01 * static_cast<double>((i * 7 + static_cast<std::size_t>(run) * 5) % 11);
      block.seconds.push_back(scale * (way == 0 ? 0.010 : 0.008) * noise);
      block.sum += block.seconds.back();
      block.min = run == 0 ? block.seconds.back() : std::min(block.min, block.seconds.back());
      block.max = std::max(block.max, block.seconds.back());
    }
    block.runs = 17;
    clock += block.sum;
    block.end = clock;
    block.joules = 10 * block.sum;
    block.uncertainty_joules = 0.01 * *block.joules;
    block.state = {2.4e9, 1.1e9, 51.5, {}, 0.02, true, true};
    result.blocks.push_back(block);
    result.power.push_back({clock, 10 * clock, 10});
  }
  result.blocks[0].state.throttled_by = {"thermal"};
  result.checks = {{"outputs", Check::Verdict::passed, "all equal"},
                   {"drift", Check::Verdict::unstable, "throttled (thermal) at 1 of 12 blocks"}};
  result.notes = {"auto is left out: it is not there"};
  summarise(result);
  return result;
}

}  // namespace maru::measure
