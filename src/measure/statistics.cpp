#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"

namespace maru::measure {
namespace {

constexpr int kRounds = 4000;
constexpr double kShare = 0.975;
// Of a block in a round of drawing; more would change the median by less than its interval tells.
constexpr std::size_t kKept = 201;

double of_sorted(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double median_in_place(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

// The part of a normal distribution that lies below x.
double normal_below(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

// What a percentile interval leaves out on each side, of figures from so many blocks.
double left_out(std::size_t blocks) {
  const auto n = static_cast<double>(blocks);
  return normal_below(-std::sqrt(n / (n - 1)) * student_quantile(kShare, blocks - 1));
}

class Draws {
 public:
  explicit Draws(std::size_t blocks) : blocks_(blocks) {}
  // The remainder of a 32-bit number is as good as even for few blocks, and the same everywhere,
  // which the distributions of the standard library are not.
  std::size_t next() { return random_() % blocks_; }

 private:
  std::mt19937 random_{1};
  std::size_t blocks_;
};

// figure(): of one round of drawing.
template <class Figure>
Interval interval_of(double value, std::size_t blocks, Figure&& figure) {
  if (blocks < 2) return {value, 0, std::numeric_limits<double>::infinity()};
  std::vector<double> figures;
  figures.reserve(kRounds);
  for (int round = 0; round < kRounds; ++round) figures.push_back(figure());
  std::ranges::sort(figures);
  const double out = left_out(blocks);
  return {value, of_sorted(figures, out), of_sorted(figures, 1 - out)};
}

}  // namespace

double median(std::vector<double> values) {
  MARU_ASSERT(!values.empty());
  return median_in_place(values);
}

double mean(const std::vector<double>& values) {
  MARU_ASSERT(!values.empty());
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double percentile(std::vector<double> values, double share) {
  MARU_ASSERT(!values.empty());
  std::ranges::sort(values);
  return of_sorted(values, share);
}

Interval median_of(const std::vector<std::vector<double>>& blocks) {
  std::vector<double> all;
  std::vector<std::vector<double>> kept;
  std::size_t most = 0;
  for (const std::vector<double>& block : blocks) most = std::max(most, block.size());
  for (const std::vector<double>& block : blocks) {
    MARU_ASSERT(!block.empty());
    all.insert(all.end(), block.begin(), block.end());
    kept.push_back(block);
    std::vector<double>& few = kept.back();
    std::ranges::sort(few);
    if (most <= kKept) continue;
    // In proportion, so that a block of more runs weighs more here too.
    const std::size_t count = std::max<std::size_t>(1, kKept * few.size() / most);
    std::vector<double> thinned;
    for (std::size_t i = 0; i < count; ++i)
      thinned.push_back(of_sorted(few, (static_cast<double>(i) + 0.5) / static_cast<double>(count)));
    few = std::move(thinned);
  }
  Draws draws(blocks.size());
  std::vector<double> drawn;
  return interval_of(median(all), blocks.size(), [&] {
    drawn.clear();
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const std::vector<double>& block = kept[draws.next()];
      drawn.insert(drawn.end(), block.begin(), block.end());
    }
    return median_in_place(drawn);
  });
}

Interval mean_of(const std::vector<double>& blocks) {
  Draws draws(blocks.size());
  return interval_of(mean(blocks), blocks.size(), [&] {
    double sum = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) sum += blocks[draws.next()];
    return sum / static_cast<double>(blocks.size());
  });
}

Interval ratio_of(const std::vector<double>& a, const std::vector<double>& b) {
  MARU_ASSERT(a.size() == b.size());
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  Draws draws(ratios.size());
  std::vector<double> drawn(ratios.size());
  return interval_of(median(ratios), ratios.size(), [&] {
    for (double& ratio : drawn) ratio = ratios[draws.next()];
    return median_in_place(drawn);
  });
}

Interval unpaired_ratio_of(const std::vector<double>& a, const std::vector<double>& b) {
  Draws draws_a(a.size()), draws_b(b.size());
  for (int i = 0; i < 1000; ++i) draws_b.next();  // not in step with the other
  std::vector<double> drawn_a(a.size()), drawn_b(b.size());
  return interval_of(median(a) / median(b), std::min(a.size(), b.size()), [&] {
    for (double& value : drawn_a) value = a[draws_a.next()];
    for (double& value : drawn_b) value = b[draws_b.next()];
    return median_in_place(drawn_a) / median_in_place(drawn_b);
  });
}

double student_quantile(double share, std::size_t freedom) {
  MARU_ASSERT(freedom >= 1 && share >= 0.5 && share < 1);
  const auto n = static_cast<double>(freedom);
  const double scale =
      std::exp(std::lgamma((n + 1) / 2) - std::lgamma(n / 2)) / std::sqrt(n * 3.14159265358979323846);
  // Simpson's rule on the angle whose tangent is t / sqrt(n): the density is then a power of a cosine,
  // and the tails that t has for one degree of freedom are no trouble.
  const auto below = [&](double t) {
    constexpr int kPieces = 256;
    const double end = std::atan(t / std::sqrt(n)), step = end / kPieces;
    double sum = 0;
    for (int i = 0; i <= kPieces; ++i) {
      const double weight = i == 0 || i == kPieces ? 1 : i % 2 == 1 ? 4 : 2;
      sum += weight * std::pow(std::cos(i * step), n - 1);
    }
    return 0.5 + scale * std::sqrt(n) * sum * step / 3;
  };
  double low = 0, high = 1;
  while (below(high) < share) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (below(middle) < share ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace maru::measure
