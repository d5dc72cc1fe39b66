// The communicator of processes that were started together. Built where Gloo is found; without it there
// is one rank alone (ranks/no_gloo.cpp).
#pragma once

#include <chrono>
#include <memory>

#include "device/communicator.h"
#include "ranks/environment.h"

namespace maru {

struct CommunicatorOptions {
  // How long ranks are waited for at the start.
  std::chrono::milliseconds start = std::chrono::minutes(5);
  // How long a rank may be behind the others: a snapshot, a slow disk. One that ends is noticed at
  // once.
  std::chrono::milliseconds behind = std::chrono::minutes(10);
};

// Null where there is one rank. Waits for the others: throws Error naming who did not come in time, or
// why this one is not wanted; and where maru was built without Gloo.
std::shared_ptr<Communicator> make_communicator(const Ranks& ranks,
                                                const CommunicatorOptions& options = {});

}  // namespace maru
