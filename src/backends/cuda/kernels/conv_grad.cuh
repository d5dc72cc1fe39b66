// conv_grad(): one block's tile of a gradient of weights (conv_grad.h), by the arithmetic of
// conv_tile.cuh. Both operands have pixels as rows, of which the product wants columns: halves are
// turned by ldmatrix, numbers of 4 bytes are read one by one.
//
// Shared memory has a row for each pixel; chunk c of row r is at place c ^ turn(r), so that neither 8
// rows of one chunk nor 4 rows of two chunks meet in a bank.
#pragma once

#include "backends/cuda/kernels/conv_grad.h"
#include "backends/cuda/kernels/conv_tile.cuh"

namespace maru::cuda {

__device__ inline unsigned turn(unsigned row) { return (row & 3) << 1 | (row >> 2 & 1); }

// Four 8x8 matrices of b16, turned.
__device__ inline void load_turned(unsigned (&to)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
__device__ inline unsigned load_word(unsigned address) {
  unsigned value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
__device__ inline float4 load_floats(unsigned address) {
  float4 value;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

__device__ inline void take(float* to, float4 value) {
  to[0] = value.x;
  to[1] = value.y;
  to[2] = value.z;
  to[3] = value.w;
}

// The sums of a warp's kOutputs x kColumns by tensor cores: mma's layout of a result.
template <int kOutputs, int kColumns>
struct TurnedSums {
  static constexpr int kM = kOutputs / 16, kN = kColumns / 8;
  float sums[kM][kN][4] = {};

  // f(output, column, two sums) for each two of this thread.
  template <class F>
  __device__ void each(F&& f) const {
    const int row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        f(m * 16 + row, n * 8 + column, sums[m][n][0], sums[m][n][1]);
        f(m * 16 + row + 8, n * 8 + column, sums[m][n][2], sums[m][n][3]);
      }
    }
  }
};

// add_step(): of kStep rows of kOutputBytes at `outputs` and of kColumnBytes at `columns`, a warp's
// from `output` and `column` on, multiples of 16.
template <int kOutputs, int kColumns>
struct HalfGradSums : TurnedSums<kOutputs, kColumns> {
  using Base = TurnedSums<kOutputs, kColumns>;

  template <int kStep, int kOutputBytes, int kColumnBytes>
  __device__ void add_step(unsigned outputs, unsigned columns, int output, int column) {
    const unsigned lane = threadIdx.x % 32, swizzle = turn(lane % 8);
    const unsigned a_row = outputs + (lane % 8 + lane / 16 * 8) * kOutputBytes;
    const unsigned b_row = columns + (lane % 8 + lane / 8 % 2 * 8) * kColumnBytes;
    const unsigned a_chunk = output / 8 + lane / 8 % 2, b_chunk = column / 8 + lane / 16;
#pragma unroll
    for (int k = 0; k < kStep; k += 16) {
      unsigned a[Base::kM][4], b[Base::kN / 2][4];
#pragma unroll
      for (int m = 0; m < Base::kM; ++m)
        load_turned(a[m], a_row + k * kOutputBytes + ((a_chunk + 2 * m) ^ swizzle) * kChunkBytes);
#pragma unroll
      for (int n = 0; n < Base::kN / 2; ++n)
        load_turned(b[n], b_row + k * kColumnBytes + ((b_chunk + 2 * n) ^ swizzle) * kChunkBytes);
#pragma unroll
      for (int m = 0; m < Base::kM; ++m) {
#pragma unroll
        for (int n = 0; n < Base::kN; ++n)
          Halves::add(this->sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
};

template <int kOutputs, int kColumns>
struct Tf32GradSums : TurnedSums<kOutputs, kColumns> {
  using Base = TurnedSums<kOutputs, kColumns>;

  template <int kStep, int kOutputBytes, int kColumnBytes>
  __device__ void add_step(unsigned outputs, unsigned columns, int output, int column) {
    const unsigned lane = threadIdx.x % 32, pixel = lane % 4, own = lane / 4;
    const unsigned chunk = own / 4, within = own % 4 * 4;
    // Rows of pixels `pixel` and `pixel` + 4: turn() of the latter is one more.
    const unsigned swizzle = turn(pixel);
    const unsigned a_row = outputs + pixel * kOutputBytes + within;
    const unsigned b_row = columns + pixel * kColumnBytes + within;
#pragma unroll
    for (int k = 0; k < kStep; k += 8) {
      unsigned a[Base::kM][4];
#pragma unroll
      for (int m = 0; m < Base::kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // 8 outputs further, 4 pixels further
          const unsigned at = output / 4 + 4 * m + i % 2 * 2 + chunk;
          a[m][i] = load_word(a_row + (k + i / 2 * 4) * kOutputBytes +
                              (at ^ (swizzle + i / 2)) * kChunkBytes);
        }
        Tf32::prepare(a[m]);
      }
#pragma unroll
      for (int n = 0; n < Base::kN; n += 2) {
        unsigned b[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // 8 columns further, 4 pixels further
          const unsigned at = column / 4 + 2 * n + i / 2 * 2 + chunk;
          b[i] = load_word(b_row + (k + i % 2 * 4) * kColumnBytes +
                           (at ^ (swizzle + i % 2)) * kChunkBytes);
        }
        Tf32::prepare(b);
#pragma unroll
        for (int m = 0; m < Base::kM; ++m) {
          Tf32::add(this->sums[m][n], a[m], b[0], b[1]);
          Tf32::add(this->sums[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
};

// Threads of a warp lie side by side over outputs, kAcross of them, each with 4 outputs in each of kM
// places, and 4 columns in each of kN.
template <int kOutputs, int kColumns>
struct FloatGradSums {
  static constexpr int kAcross = kOutputs / 8, kAlong = 32 / kAcross;
  static constexpr int kM = kOutputs / kAcross / 4, kN = kColumns / kAlong / 4;
  float sums[kM * 4][kN * 4] = {};

  template <int kStep, int kOutputBytes, int kColumnBytes>
  __device__ void add_step(unsigned outputs, unsigned columns, int output, int column) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned a_chunk = output / 4 + lane % kAcross, b_chunk = column / 4 + lane / kAcross;
#pragma unroll 8
    for (unsigned k = 0; k < kStep; ++k) {
      float a[kM * 4], b[kN * 4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        const unsigned at = (a_chunk + m * kAcross) ^ turn(k % 8);
        take(a + 4 * m, load_floats(outputs + k * kOutputBytes + at * kChunkBytes));
      }
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const unsigned at = (b_chunk + n * kAlong) ^ turn(k % 8);
        take(b + 4 * n, load_floats(columns + k * kColumnBytes + at * kChunkBytes));
      }
#pragma unroll
      for (int m = 0; m < kM * 4; ++m) {
#pragma unroll
        for (int n = 0; n < kN * 4; ++n) sums[m][n] = fmaf(a[m], b[n], sums[m][n]);
      }
    }
  }

  template <class F>
  __device__ void each(F&& f) const {
    const int across = threadIdx.x % 32 % kAcross, along = threadIdx.x % 32 / kAcross;
#pragma unroll
    for (int m = 0; m < kM * 4; ++m) {
#pragma unroll
      for (int n = 0; n < kN * 4; n += 2) {
        f((across + m / 4 * kAcross) * 4 + m % 4, (along + n / 4 * kAlong) * 4 + n % 4, sums[m][n],
          sums[m][n + 1]);
      }
    }
  }
};

struct HalfGrads {
  using Element = __half;
  template <int kOutputs, int kColumns>
  using Sums = HalfGradSums<kOutputs, kColumns>;
};
struct Tf32Grads {
  using Element = float;
  template <int kOutputs, int kColumns>
  using Sums = Tf32GradSums<kOutputs, kColumns>;
};
struct FloatGrads {
  using Element = float;
  template <int kOutputs, int kColumns>
  using Sums = FloatGradSums<kOutputs, kColumns>;
};

__device__ inline void store_weight(const ConvGradParams& p, int output, int column, float sum) {
  const std::int64_t at = weight_of(p.columns, output, column);
  if (at < 0) return;
  if (p.is_half != 0) {
    static_cast<__half*>(p.result)[at] = __float2half_rn(sum);
  } else {
    static_cast<float*>(p.result)[at] = sum;
  }
}

// Where a chunk of the i-th row of a thread lies: they are kPass rows apart.
template <int kPass>
__device__ inline unsigned turned(unsigned chunk, unsigned row, unsigned i) {
  static_assert(kPass % 8 == 0 || kPass == 4);
  return chunk ^ turn(row) ^ (kPass == 4 ? i & 1 : 0);  // of 4 rows, the next 4 are odd ones
}

template <int kOutputs, int kColumns>
constexpr int kGradThreads = conv_grad_threads({kOutputs, kColumns});
template <int kOutputs, int kColumns, int kElement>
constexpr unsigned kGradStageBytes = conv_grad_stage_bytes({kOutputs, kColumns}, kElement);

// kPairs: a chunk of a column is two pixels of 4 channels ("_pixels" in conv_grad.h).
template <class Math, int kOutputs, int kColumns, bool kPairs>
__global__ void __launch_bounds__(kGradThreads<kOutputs, kColumns>,
                                  kGradThreads<kOutputs, kColumns> == 256 ? 2 : 3)
    conv_grad(const __grid_constant__ ConvGradParams p) {
  using Element = typename Math::Element;
  constexpr int kElement = sizeof(Element), kLanes = kChunkBytes / kElement;
  constexpr int kThreads = kGradThreads<kOutputs, kColumns>, kStages = kConvGradStages;
  constexpr int kStep = conv_grad_step(kElement);
  constexpr int kOutputChunks = kOutputs / kLanes, kColumnChunks = kColumns / kLanes;
  constexpr int kOutputBytes = kOutputs * kElement, kColumnBytes = kColumns * kElement;
  constexpr int kOutputPass = kThreads / kOutputChunks, kColumnPass = kThreads / kColumnChunks;
  constexpr unsigned kOutputsBytes = kStep * kOutputBytes;
  constexpr unsigned kStageBytes = kGradStageBytes<kOutputs, kColumns, kElement>;
  extern __shared__ __align__(128) unsigned char shared[];
  const unsigned memory = shared_address(shared);

  int tile = static_cast<int>(blockIdx.x);
  const int column_tile = tile % p.column_tiles;
  tile /= p.column_tiles;
  const int output_tile = tile % p.output_tiles, group = tile / p.output_tiles;
  const int first_step = static_cast<int>(static_cast<std::int64_t>(p.steps) * blockIdx.y / gridDim.y);
  const int end_step =
      static_cast<int>(static_cast<std::int64_t>(p.steps) * (blockIdx.y + 1) / gridDim.y);

  // A thread loads the same chunk of a few pixels of each operand.
  const int thread = static_cast<int>(threadIdx.x);
  const int output_chunk = thread % kOutputChunks, output_row = thread / kOutputChunks;
  const bool has_output = output_tile * kOutputChunks + output_chunk < p.outputs / kLanes;
  const std::int64_t gradient_bytes = p.gradient_pixel_stride * kElement;
  const char* gradient =
      static_cast<const char*>(p.gradient) +
      (static_cast<std::int64_t>(group) * p.outputs + output_tile * kOutputs) * kElement +
      output_chunk * kChunkBytes;
  const unsigned output_place = memory + output_row * kOutputBytes;

  const int column_chunk = thread % kColumnChunks, column_row = thread / kColumnChunks;
  const int chunk = column_tile * kColumnChunks + column_chunk;
  const bool has_column = chunk < p.column_chunks;
  const int tap = chunk / p.tap_chunks, part = chunk - tap * p.tap_chunks;
  const int tap_y = kPairs ? tap : tap / p.kernel_w;
  const int tap_x = kPairs ? 2 * part : tap - tap_y * p.kernel_w;
  const int from_y = tap_y * p.dilation_h - p.pad_h, from_x = tap_x * p.dilation_w - p.pad_w;
  const std::int64_t data_bytes = p.data_pixel_stride * kElement;
  const char* data =
      static_cast<const char*>(p.data) +
      (static_cast<std::int64_t>(group) * p.group_chunks + (kPairs ? 0 : part)) * kChunkBytes;
  const unsigned column_place = memory + kOutputsBytes + column_row * kColumnBytes;
  const auto load = [&](int step, int stage) {
    const unsigned at = stage * kStageBytes;
#pragma unroll
    for (int i = 0; i < kStep / kOutputPass; ++i) {
      const int pixel = step * kStep + output_row + i * kOutputPass;
      copy_async<16>(at + output_place + i * kOutputPass * kOutputBytes +
                         turned<kOutputPass>(output_chunk, output_row, i) * kChunkBytes,
                     gradient + pixel * gradient_bytes, has_output && pixel < p.pixels);
    }
#pragma unroll
    for (int i = 0; i < kStep / kColumnPass; ++i) {
      const unsigned to = at + column_place + i * kColumnPass * kColumnBytes +
                          turned<kColumnPass>(column_chunk, column_row, i) * kChunkBytes;
      const int pixel = step * kStep + column_row + i * kColumnPass;
      const int line = divide(pixel, p.by_width), image = divide(line, p.by_height);
      const int y = (line - image * p.result_height) * p.stride_h + from_y;
      const int x = (pixel - line * p.result_width) * p.stride_w + from_x;
      const bool is_line = has_column && pixel < p.pixels && y >= 0 && y < p.height;
      const char* from =
          data + (static_cast<std::int64_t>(image * p.height + y) * p.width + x) * data_bytes;
      const bool is_there = is_line && x >= 0 && x < p.width;
      if constexpr (kPairs) {
        const int next = x + p.dilation_w;
        copy_async<8>(to, from, is_there);
        copy_async<8>(to + 8, from + p.dilation_w * data_bytes, is_line && next >= 0 && next < p.width);
      } else {
        copy_async<16>(to, from, is_there);
      }
    }
  };

  constexpr int kWarpOutputs = kOutputs * kColumns > 4096 ? 64 : 32, kWarpColumns = 32;
  constexpr int kWarpsAlong = kColumns / kWarpColumns;
  static_assert(kOutputs / kWarpOutputs * kWarpsAlong * 32 == kThreads, "warps cover the tile");
  const int warp = thread / 32;
  const int warp_output = warp / kWarpsAlong * kWarpOutputs;
  const int warp_column = warp % kWarpsAlong * kWarpColumns;
  typename Math::template Sums<kWarpOutputs, kWarpColumns> sums;

#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (first_step + stage < end_step) load(first_step + stage, stage);
    commit_copies();
  }
  int stage = 0;
  for (int step = first_step; step < end_step; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();
    const int ahead = stage == 0 ? kStages - 1 : stage - 1;
    if (step + kStages - 1 < end_step) load(step + kStages - 1, ahead);
    commit_copies();
    const unsigned at = memory + stage * kStageBytes;
    sums.template add_step<kStep, kOutputBytes, kColumnBytes>(at, at + kOutputsBytes, warp_output,
                                                              warp_column);
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }

  const int first_output = output_tile * kOutputs + warp_output;
  const int first_column = column_tile * kColumns + warp_column;
  const std::int64_t split = static_cast<std::int64_t>(blockIdx.y) * p.outputs * p.groups;
  sums.each([&](int output, int column, float one, float next) {
    output += first_output;
    column += first_column;
    if (output >= p.outputs || column >= p.columns.count) return;
    output += group * p.outputs;
    if (p.partial != nullptr) {
      float* to = p.partial + (split + output) * p.columns.count + column;
      *reinterpret_cast<float2*>(to) = make_float2(one, next);
      return;
    }
    store_weight(p, output, column, one);
    store_weight(p, output, column + 1, next);
  });
}

#define MARU_CUDA_CONV_GRAD(name, math, outputs, columns) \
  MARU_CUDA_FUNCTION(name "_" #outputs "x" #columns, conv_grad<math, outputs, columns, false>)

}  // namespace maru::cuda
