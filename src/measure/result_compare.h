// Two results of `maru bench`, of before and now, held against each other: for CI, and for whoever
// changed something. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

struct ResultComparison {
  // Now over before: value > 1 means that it became slower. The blocks of the two were not measured
  // beside each other, so the interval knows nothing of what differed between the two times.
  struct Way {
    std::string name;
    Interval seconds;
    std::optional<Interval> joules;  // of an image
  };
  std::vector<Way> ways;             // that both have, in the order of before
  std::vector<std::string> missing;  // ways of before that now has not
  std::vector<std::string> warnings;

  // Whether the whole interval of a way's time lies above `factor`; or whether that cannot be told of a
  // way of before, which then has a warning: it has no interval, or is missing.
  bool is_slower(double factor) const;
};

// Throws Error where they have no way in common.
ResultComparison compare_results(const BenchResult& before, const BenchResult& now);
std::string text_of(const ResultComparison& comparison);
std::string to_json(const ResultComparison& comparison);

}  // namespace maru::measure
