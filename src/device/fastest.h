// Which of several ways to compute something is fastest here: each is tried once, and the answer is
// kept in the cache folder. What a way is, and how its time is taken, is the backend's.
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace maru {

struct Contest {
  std::string_view kind;               // folder of the cache: "opencl-tuning"
  std::string key;                     // device, kernels and what is computed
  std::span<const std::string> names;  // of the ways; one is kept by its name
};

// Seconds of one run of way `index`; may be infinite where it is no better than `least` by far. Throws
// Error for a way that fails here.
using TakeTime = std::function<double(std::size_t index, double least)>;

// The place of the fastest way. `prepare` makes ready what all tries share, and is not called where the
// answer was kept. A way that fails is not chosen; the first where all do, or where preparing fails.
// `measuring` is held meanwhile: two tries at once would slow each other.
std::size_t fastest_of(const Contest& contest, std::mutex& measuring,
                       const std::function<TakeTime()>& prepare);

}  // namespace maru
