// Statistics of two ways measured in turns: medians of blocks, their ratio, and a bootstrap interval.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace maru::bench {

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

struct Ratio {
  double value, low, high;  // 95 % interval
};

// a[i] and b[i] were measured next to each other. Block bootstrap: whole pairs are drawn again, with a
// fixed seed, 4000 times; the interval is from the 2.5th to the 97.5th percentile of the ratio of
// medians.
inline Ratio ratio_of(const std::vector<double>& a, const std::vector<double>& b) {
  std::mt19937 random(1);
  std::vector<double> ratios;
  for (int round = 0; round < 4000; ++round) {
    std::vector<double> drawn_a, drawn_b;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::size_t pick = random() % a.size();
      drawn_a.push_back(a[pick]);
      drawn_b.push_back(b[pick]);
    }
    ratios.push_back(median(drawn_a) / median(drawn_b));
  }
  std::ranges::sort(ratios);
  return {median(a) / median(b), ratios[ratios.size() / 40],
          ratios[ratios.size() - 1 - ratios.size() / 40]};
}

}  // namespace maru::bench
