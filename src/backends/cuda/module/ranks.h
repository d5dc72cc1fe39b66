// Ranks by NCCL, which is opened when asked for: neither building nor running the module needs it. Part
// of the module; any thread may call anything.
#pragma once

#include <cuda_runtime.h>

#include "backends/cuda/module/maru_cuda.h"

namespace maru::cuda {

int ranks_version(int* version);
int ranks_id(unsigned char* id);
int ranks_create(int device, int ranks, int rank, const unsigned char* id, maru_cuda_ranks** made);
void ranks_destroy(maru_cuda_ranks* ranks, int is_broken);
// On the stream, which may be one that is captured.
int mean_on(cudaStream_t stream, const maru_cuda_mean& mean);
// As part of a graph, whose edges are said, so what is captured becomes a graph in the graph.
int add_mean(cudaGraph_t graph, const maru_cuda_mean& mean, const cudaGraphNode_t* after, size_t count,
             cudaGraphNode_t* node);
// Of the calling thread's last MARU_CUDA_RANKS_FAILED.
const char* ranks_text();

}  // namespace maru::cuda
