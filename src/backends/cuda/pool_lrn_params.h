// Pool and Lrn as functions of the module take them, for the providers of each and of both in one.
#pragma once

#include "backends/cuda/kernels/lrn.h"
#include "backends/cuda/kernels/pool.h"
#include "ops/lrn.h"
#include "ops/pool.h"

namespace maru::cuda {

PoolWindow window_of(const Pool& pool, const TensorDesc& src, const TensorDesc& dst);
LrnTerms terms_of(const Lrn& lrn);

}  // namespace maru::cuda
