// What the providers of training share: which calls are theirs, and memory between two launches.
#pragma once

#include "backends/cuda/elements.h"

namespace maru::cuda {

// Data in f32 or f16, all of one type, none of it known before training begins, and countable. A
// constant would be f32 and plain whatever the rest is.
bool is_training_call(const Call& call);
// Everything in f32; operands from `constants` on may be known before.
bool is_f32_call(const Call& call, std::size_t constants = SIZE_MAX);

// Images of the shape, dense and in the order of the layout, channels last in whole vectors: where
// kernels keep something for each element. `count` elements with what fills up the vectors.
struct Kept {
  Kept(const TensorDesc& desc, int vector);
  ImageStrides strides;
  std::int64_t count;
};

// Bytes of a workspace handed out in pieces, each aligned to 256.
class Pieces {
 public:
  // Where it begins.
  std::size_t add(std::int64_t bytes);
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

// Blocks for so many threads of work, few enough that their sums are quickly summed again, yet several
// for each multiprocessor.
unsigned slices_for(const Runtime& runtime, std::int64_t threads, unsigned block);

}  // namespace maru::cuda
