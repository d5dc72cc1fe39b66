// An ops/unary function as functions of the module take it.
#pragma once

#include <optional>

#include "backends/cuda/kernels/activation.h"
#include "ops/unary.h"

namespace maru::cuda {

Activation activation_of(const Unary& unary);
// Of what another function computes; none where it has none.
Activation activation_of(const std::optional<Unary>& unary);

}  // namespace maru::cuda
