// Facts of GPUs for FakeModule: a card of 9.0 with memory of its own, and Orin.
#pragma once

#include <cstdint>
#include <cstring>

#include "backends/cuda/module/maru_cuda.h"

namespace maru::cuda::testing {

struct FakeFacts {
  static maru_cuda_facts discrete() {
    maru_cuda_facts facts{};
    std::strcpy(facts.name, "Fake GPU");
    facts.major = 9;
    facts.multiprocessors = 4;
    facts.memory_bytes = std::uint64_t{1} << 30;
    facts.shared_bytes = 100 << 10;
    facts.maps_host_memory = facts.registers_host_memory = facts.registers_read_only =
        facts.has_managed_memory = facts.concurrent_managed_access = 1;
    return facts;
  }
  static maru_cuda_facts orin() {
    maru_cuda_facts facts = discrete();
    facts.major = 8;
    facts.minor = 7;
    facts.integrated = 1;
    facts.concurrent_managed_access = 0;
    return facts;
  }
};

}  // namespace maru::cuda::testing
