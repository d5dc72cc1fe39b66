// How functions that go over tensors see them: rows of elements side by side, vectors of 16 bytes, and
// launches of a thread for each. For providers.
#pragma once

#include <span>

#include "backends/cuda/kernels/images.h"
#include "backends/cuda/kernels/rows.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

// Whether functions can count the elements of each operand, for which they have 31 bits.
bool is_countable(const Call& call);

// Elements in 16 bytes.
int vector_of(DType dtype);
// Whether vectors can be read and written at once, from an address and at steps of so many bytes.
bool is_aligned(const void* address, std::int64_t step_bytes);

// Tensors of one shape and layout, but for windows; by vectors of so many elements.
Rows rows_of(std::span<const TensorDesc> tensors, int vector);
// From one row to the next, in elements; 0 where there is but one.
std::int64_t row_stride(const TensorDesc& tensor, const Rows& rows);

ImageStrides strides_of(const TensorDesc& images);

// A thread for each of so many, in blocks small enough that every multiprocessor has some.
template <class F>
Stage spread(const Runtime& runtime, std::string function, std::int64_t threads, F make) {
  constexpr unsigned kMost = 256, kLeast = 64;
  unsigned block = kMost;
  while (block > kLeast && threads < std::int64_t{block} * runtime.facts().multiprocessors) block /= 2;
  const auto blocks = static_cast<unsigned>(divide_up(threads, block));
  return stage(std::move(function), {blocks, 1, 1}, {block, 1, 1}, std::move(make));
}
template <class F>
Stage spread(const Runtime& runtime, std::string function, const Rows& rows, F make) {
  return spread(runtime, std::move(function), std::int64_t{rows.count} * rows.vectors, std::move(make));
}

}  // namespace maru::cuda
