#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/unary.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

template <class T>
__global__ void unary(UnaryParams p) {
  constexpr int N = kVector<T>;
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  float value[N];
  load(static_cast<const T*>(p.src) + part.row * p.src_stride + part.first, part.count, p.is_aligned,
       value);
  apply_all(p.activation, value);
  store(value, static_cast<T*>(p.dst) + part.row * p.dst_stride + part.first, part.count, p.is_aligned);
}

MARU_CUDA_FUNCTION("unary_f32", unary<float>)
MARU_CUDA_FUNCTION("unary_f16", unary<__half>)

}  // namespace
}  // namespace maru::cuda
