#include "backends/cuda/kernels/cast.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

template <class S, class D>
__global__ void cast(CastParams p) {
  const Part part = part_of<kCastVector>(p.rows);
  if (part.count == 0) return;
  float value[kCastVector];
  load(static_cast<const S*>(p.src) + part.row * p.src_stride + part.first, part.count, p.is_aligned,
       value);
  store(value, static_cast<D*>(p.dst) + part.row * p.dst_stride + part.first, part.count, p.is_aligned);
}

// By what they cast to.
MARU_CUDA_FUNCTION("cast_f32", cast<__half, float>)
MARU_CUDA_FUNCTION("cast_f16", cast<float, __half>)

}  // namespace
}  // namespace maru::cuda
