// The part of a CUDA module for tests (fake_module.h) that has to do with ranks: the others have the
// same, so a mean is what is there. One at a time.
#pragma once

#include <cstring>

#include "backends/cuda/module/maru_cuda.h"

struct maru_cuda_ranks {
  int ranks, rank;
};

namespace maru::cuda::testing {

struct FakeRanks {
  int nccl_code = 0;  // of whatever asks for NCCL
  int means = 0;      // that were launched, or became nodes of a graph
  int ranks_alive = 0, ranks_broken = 0;

  FakeRanks() { here() = this; }

  void count_means(const maru_cuda_node* nodes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) means += nodes[i].mean != nullptr ? 1 : 0;
  }

  static FakeRanks*& here() {
    static FakeRanks* fake = nullptr;
    return fake;
  }

  static void add_to(maru_cuda_api& api) {
    api.ranks_version = [](int* version) {
      *version = 22809;
      return here()->nccl_code;
    };
    api.ranks_id = [](unsigned char* id) {
      std::memset(id, 7, MARU_CUDA_RANKS_ID);
      return 0;
    };
    api.ranks_create = [](int, int ranks, int rank, const unsigned char*, maru_cuda_ranks** made) {
      *made = new maru_cuda_ranks{ranks, rank};
      ++here()->ranks_alive;
      return 0;
    };
    api.ranks_destroy = [](maru_cuda_ranks* ranks, int is_broken) {
      --here()->ranks_alive;
      here()->ranks_broken += is_broken;
      delete ranks;
    };
    api.mean = [](maru_cuda_stream*, const maru_cuda_mean* mean) {
      for (std::size_t i = 0; i < mean->count; ++i) {
        if (mean->dst[i] != mean->src[i])
          std::memcpy(mean->dst[i], mean->src[i], mean->elements[i] * sizeof(float));
      }
      ++here()->means;
      return 0;
    };
  }
};

}  // namespace maru::cuda::testing
