// The parameters of reduce_columns_* and reduce_runs_*: sums of elements, or of a function of those of
// two tensors. Plain structs, for both sides.
//
// Long sums are made in slices: a launch leaves a row of sums for each slice, and reduce_columns_* adds
// these up. No sum depends on which block comes first, so the bits are the same each time.
#pragma once

#include <cstdint>

namespace maru::cuda {

enum class ReduceTerm : std::int32_t {
  value,          // a
  square,         // a^2
  product,        // a b
  euclidean,      // (a - b)^2 / 2
  cross_entropy,  // max(a, 0) - a b + log(1 + e^-|a|)
};

// Over rows, for each of the columns, which are neighbours. Blocks are vectors of columns by rows,
// whose number is a power of 2; x: columns; y: slices.
struct ReduceColumnsParams {
  const void* a;
  const void* b;                      // of a term of two
  void* dst;                          // [slice][column]
  std::int64_t a_stride, b_stride;    // from one row to the next, in elements
  std::uint32_t rows, columns, each;  // rows of one slice
  ReduceTerm term;
  float factor;  // of the sum
  bool is_aligned;
};

// Over outer and inner ones, for each in the middle. Blocks are threads, a power of 2 and whole warps;
// x: the middle; y: slices.
struct ReduceRunsParams {
  const void* a;
  const void* b;
  void* dst;                           // [slice][middle]
  std::int64_t a_stride, b_stride;     // from one outer to the next, in elements
  std::uint32_t outer, middle, inner;  // a run of inner ones for each in the middle
  std::uint32_t vectors;               // of a run
  std::uint32_t each;                  // vectors of one slice
  ReduceTerm term;
  float factor;
  bool is_whole;  // vectors can be read at once, and there is none that is shorter
};

constexpr int kReduceThreads = 256;  // of a block, at most

}  // namespace maru::cuda
