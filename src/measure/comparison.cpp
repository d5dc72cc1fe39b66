#include "measure/comparison.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/error.h"

namespace maru::measure {
namespace {

constexpr std::size_t kKept = 10000;  // runs of a block

// Every k-th run, where k doubles when there is no more room: an even sample of all.
class Sample {
 public:
  explicit Sample(std::vector<double>& seconds) : seconds_(seconds) { seconds_.reserve(kKept); }

  void add(double seconds) {
    if (count_++ % stride_ != 0) return;
    if (seconds_.size() == kKept) {
      for (std::size_t i = 0; i < kKept / 2; ++i) seconds_[i] = seconds_[2 * i];
      seconds_.resize(kKept / 2);
      stride_ *= 2;
      if ((count_ - 1) % stride_ != 0) return;
    }
    seconds_.push_back(seconds);
  }

 private:
  std::vector<double>& seconds_;
  std::uint64_t count_ = 0, stride_ = 1;
};

std::vector<std::vector<std::size_t>> rounds_of(std::size_t ways, const ComparisonOptions& options) {
  std::mt19937_64 random(options.seed);
  std::vector<std::size_t> order(ways);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::vector<std::size_t>> rounds;
  for (std::uint64_t round = 0; round < options.blocks; ++round) {
    if (round % 2 == 0) {
      // Fisher and Yates; std::shuffle differs from library to library.
      for (std::size_t i = ways; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    } else {
      std::ranges::reverse(order);
    }
    rounds.push_back(order);
  }
  return rounds;
}

Block run_block(std::size_t index, const Way& way, std::uint64_t runs, double least_seconds,
                const Surroundings& around) {
  Block block;
  block.way = index;
  Sample sample(block.seconds);
  if (around.open) around.open();
  block.begin = around.now();
  double before = block.begin;
  do {
    way.run();
    const double after = around.now(), seconds = after - before;
    before = after;
    sample.add(seconds);
    block.sum += seconds;
    block.min = block.runs == 0 ? seconds : std::min(block.min, seconds);
    block.max = std::max(block.max, seconds);
    ++block.runs;
  } while (block.runs < runs || before - block.begin < least_seconds);
  block.end = before;
  if (around.close) around.close();
  return block;
}

}  // namespace

Timeline compare(const std::vector<Way>& ways, const ComparisonOptions& options,
                 const Surroundings& around) {
  MARU_ASSERT(!ways.empty() && options.blocks > 0);
  if (options.idle_seconds > 0) {
    around.sleep(options.settle_seconds);
    if (around.open) around.open();
    around.sleep(options.idle_seconds);
    if (around.close) around.close();
  }
  for (const Way& way : ways) {
    for (std::uint64_t i = 0; i < options.warmup; ++i) way.run();
  }
  const std::uint64_t runs =
      std::max<std::uint64_t>(1, (options.images + options.blocks - 1) / options.blocks);
  Timeline line;
  std::uint64_t round = 0;
  for (const auto& order : rounds_of(ways.size(), options)) {
    if (round > 0 && round % 2 == 0) line.order += ' ';
    ++round;
    for (const std::size_t index : order) {
      if (around.before) around.before();
      line.blocks.push_back(run_block(index, ways[index], runs, options.block_seconds, around));
      line.order += static_cast<char>('A' + index);
      if (around.state) line.blocks.back().state = around.state();
      if (around.ended) around.ended(line.blocks.size());
    }
  }
  line.zero = line.blocks.front().begin;
  for (Block& block : line.blocks) {
    block.begin -= line.zero;
    block.end -= line.zero;
  }
  return line;
}

double block_seconds_for(const MeterFacts& facts) {
  constexpr double kPeriods = 100, kMost = 30, kLeast = 0.1;
  return facts.period_seconds > 0 ? std::clamp(kPeriods * facts.period_seconds, kLeast, kMost) : 0;
}

}  // namespace maru::measure
