// Cold starts: how long a program needs from exec to its first answer, and how much memory it took
// then, by starting this very program again. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace maru::cli {

struct ColdStart {
  double seconds = 0;            // from before the fork to the first byte of the answer
  std::uint64_t peak_bytes = 0;  // resident, of the whole life of the process
};

// `words` are the arguments. Throws Error when the program cannot be started, says nothing, or fails;
// the error has what it said on standard error. Linux counts the caller's own memory at the fork as
// the child's: call it while that is small.
ColdStart start_cold(const std::vector<std::string>& words);

}  // namespace maru::cli
