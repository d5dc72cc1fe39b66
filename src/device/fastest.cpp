#include "device/fastest.h"

#include <algorithm>
#include <limits>

#include "base/cache_folder.h"
#include "base/error.h"

namespace maru {

std::size_t fastest_of(const Contest& contest, std::mutex& measuring,
                       const std::function<TakeTime()>& prepare) {
  const auto& names = contest.names;
  std::string key = contest.key + "\n";
  for (const std::string& name : names) key += name + "\n";
  if (const auto kept = read_cached(contest.kind, key)) {
    const auto found = std::ranges::find(names, std::string(kept->begin(), kept->end()));
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  const std::lock_guard lock(measuring);
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::size_t best = 0;
  double least = kNever;
  try {
    const TakeTime seconds_of = prepare();
    for (std::size_t i = 0; i < names.size(); ++i) {
      try {
        const double seconds = seconds_of(i, least);
        if (seconds < least) {
          least = seconds;
          best = i;
        }
      } catch (const Error&) {
        continue;  // too many registers for this device, say
      }
    }
  } catch (const Error&) {
    return best;  // no memory to try with
  }
  const std::string& name = names[best];
  if (least < kNever)
    write_cached(contest.kind, key, {reinterpret_cast<const unsigned char*>(name.data()), name.size()});
  return best;
}

}  // namespace maru
