// maru::Error with what the rooms need beside it. What a caller, a file or a machine did wrong is an
// Error; mistakes of our own are MARU_ASSERT.
#pragma once

#include <fmt/format.h>
#include <maru/error.h>

#include <string_view>

namespace maru {

// For failed system calls: `got` becomes "<what>: <strerror(errno)>".
Error system_error(std::string_view where, std::string_view expected, std::string_view hint = {});

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace maru

// A promise that maru makes to itself; broken only by a bug in maru. Throws std::logic_error, since a
// library never aborts.
#define MARU_ASSERT(condition) \
  ((condition) ? void(0) : ::maru::assertion_failed(#condition, __FILE__, __LINE__))
