// Pool and Lrn as functions of the module take them, for the providers of each and of both in one.
#pragma once

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/lrn.h"
#include "backends/cuda/kernels/pool.h"
#include "ops/lrn.h"
#include "ops/pool.h"

namespace maru::cuda {

// All but addresses.
PoolParams pool_params(const Pool& pool, const TensorDesc& src, const TensorDesc& dst);
LrnTerms terms_of(const Lrn& lrn);

// Addresses of src[0] and dst[0], and whether vectors of channels can be read there.
template <class Params>
void bind_images(Params& params, const Bound& bound, DType dtype) {
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  params.src = bound.src(0);
  params.dst = bound.dst(0);
  params.is_aligned = is_aligned(params.src, params.src_strides.pixel * size) &&
                      is_aligned(params.dst, params.dst_strides.pixel * size);
}

}  // namespace maru::cuda
