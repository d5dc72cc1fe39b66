// MARU_CUDA_BOTH: functions for both sides, which the CPU can check against what they stand for.
#pragma once

#ifdef __CUDACC__
#define MARU_CUDA_BOTH __host__ __device__
#else
#define MARU_CUDA_BOTH
#endif
