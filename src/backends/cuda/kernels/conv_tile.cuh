// conv_tile(): one block's tile of a convolution as a product of matrices (conv.h), for three kinds of
// arithmetic. All of them read the same tiles of shared memory: rows of 8 chunks of 16 bytes, a row for
// each pixel and each output, chunk c of row r at place c ^ (r & 7), so that the 8 rows that are read
// at once lie in different banks.
//
//   Halves   f16, tensor cores, f32 sums
//   Tf32     f32, rounded to 10 bits of mantissa, tensor cores
//   Floats   f32, exact
#pragma once

#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/conv.h"
#include "backends/cuda/kernels/kernel.cuh"

namespace maru::cuda {

constexpr int kRowBytes = kStepChunks * kChunkBytes;

__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Copies kBytes, or zeros where there is nothing to copy.
template <int kBytes>
__device__ inline void copy_async(unsigned to, const void* from, bool is_there) {
#if __CUDA_ARCH__ >= 800
  const int bytes = is_there ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes),
                 "r"(bytes));
  }
#else
  int2 part[kBytes / 8];
#pragma unroll
  for (int i = 0; i < kBytes / 8; ++i) {
    part[i] = is_there ? static_cast<const int2*>(from)[i] : make_int2(0, 0);
    asm volatile("st.shared.v2.s32 [%0], {%1, %2};" ::"r"(to + 8 * i), "r"(part[i].x), "r"(part[i].y));
  }
#endif
}
__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kPending>
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Four 8x8 matrices of b16, or 8x4 of b32; each thread gives the address of a row of one.
__device__ inline void load_matrices(unsigned (&to)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

// The sums of a warp's kPixels x kOutputs, by tensor cores: two chunks of both operands at a time.
// Small tiles wait for nothing but latencies: their matrices are loaded ahead, and every other product
// goes to sums of its own.
template <class Multiply, int kPixels, int kOutputs>
struct MatrixSums {
  static constexpr int kM = kPixels / 16, kN = kOutputs / 8, kPairs = kStepChunks / 2;
  static constexpr int kAhead = kM * kN <= 4   ? kPairs
                                : kM * kN <= 8 ? 2
                                               : 1,
                       kSets = kM * kN <= 4 ? 2 : 1;
  float sums[kSets][kM][kN][4] = {};

  // Of rows from `pixels` and `outputs` on, multiples of 8.
  __device__ void add_step(unsigned pixels, unsigned outputs) {
    const unsigned lane = threadIdx.x % 32, swizzle = lane % 8;
    const unsigned a_row = pixels + lane % 16 * kRowBytes;
    const unsigned b_row = outputs + (lane % 8 + lane / 16 * 8) * kRowBytes;
    unsigned a[kAhead][kM][4], b[kAhead][kN / 2][4];
    const auto load = [&](unsigned pair) {
      const unsigned a_chunk = ((2 * pair + lane / 16) ^ swizzle) * kChunkBytes;
      const unsigned b_chunk = ((2 * pair + lane / 8 % 2) ^ swizzle) * kChunkBytes;
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        load_matrices(a[pair % kAhead][m], a_row + a_chunk + m * 16 * kRowBytes);
        Multiply::prepare(a[pair % kAhead][m]);
      }
#pragma unroll
      for (int n = 0; n < kN / 2; ++n) {
        load_matrices(b[pair % kAhead][n], b_row + b_chunk + n * 16 * kRowBytes);
      }
    };
#pragma unroll
    for (int pair = 0; pair < kAhead - 1; ++pair) load(pair);
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      if (pair + kAhead - 1 < kPairs) load(pair + kAhead - 1);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          const unsigned(&two)[4] = b[pair % kAhead][n / 2];
          Multiply::add(sums[pair % kSets][m][n], a[pair % kAhead][m], two[n % 2 * 2],
                        two[n % 2 * 2 + 1]);
        }
      }
    }
  }

  __device__ void store(float* to, int pitch) {
    const int row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        float(&sum)[4] = sums[0][m][n];
        if constexpr (kSets == 2) {
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[i] += sums[1][m][n][i];
        }
        float* at = to + (m * 16 + row) * pitch + n * 8 + column;
        *reinterpret_cast<float2*>(at) = make_float2(sum[0], sum[1]);
        *reinterpret_cast<float2*>(at + 8 * pitch) = make_float2(sum[2], sum[3]);
      }
    }
  }
};

struct Halves {
  using Element = __half;

  __device__ static void prepare(unsigned (&)[4]) {}
  __device__ static void add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    const unsigned b[2] = {b0, b1};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
          "{%0, %1, %2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
  }

  template <int kPixels, int kOutputs>
  struct Warps {  // how a tile is shared out: pixels and outputs of a warp
    static constexpr int kOfPixels = kPixels / 2,
                         kOfOutputs = kOutputs / (kPixels * kOutputs > 8192 ? 4 : 2);
    using Sums = MatrixSums<Halves, kOfPixels, kOfOutputs>;
  };
};

struct Tf32 {
  using Element = float;

  // Weights are rounded when they are packed.
  __device__ static void prepare(unsigned (&a)[4]) {
#if __CUDA_ARCH__ >= 800
#pragma unroll
    for (unsigned& value : a) asm("cvt.rna.tf32.f32 %0, %0;" : "+r"(value));
#endif
  }
  __device__ static void add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
  }

  template <int kPixels, int kOutputs>
  struct Warps {
    static constexpr int kOfPixels = kPixels / 2,
                         kOfOutputs = kOutputs / (kPixels * kOutputs > 8192 ? 4 : 2);
    using Sums = MatrixSums<Tf32, kOfPixels, kOfOutputs>;
  };
};

// A warp is 4 x 8 threads, each with every 4th pixel and every 8th output.
template <int kPixels, int kOutputs>
struct FloatSums {
  static constexpr int kM = kPixels / 4, kN = kOutputs / 8;
  float sums[kM][kN] = {};

  __device__ void add_step(unsigned pixels, unsigned outputs) {
    const unsigned lane = threadIdx.x % 32, m0 = lane / 8, n0 = lane % 8;
#pragma unroll
    for (unsigned chunk = 0; chunk < kStepChunks; ++chunk) {
      float4 b[kN];
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        b[n] = load(outputs + (n0 + 8 * n) * kRowBytes + (chunk ^ n0) * kChunkBytes);
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        const unsigned row = m0 + 4 * m;
        const float4 a = load(pixels + row * kRowBytes + (chunk ^ (row & 7)) * kChunkBytes);
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          sums[m][n] = fmaf(a.x, b[n].x, sums[m][n]);
          sums[m][n] = fmaf(a.y, b[n].y, sums[m][n]);
          sums[m][n] = fmaf(a.z, b[n].z, sums[m][n]);
          sums[m][n] = fmaf(a.w, b[n].w, sums[m][n]);
        }
      }
    }
  }

  __device__ void store(float* to, int pitch) const {
    const int row = threadIdx.x % 32 / 8, column = threadIdx.x % 8;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) to[(4 * m + row) * pitch + 8 * n + column] = sums[m][n];
    }
  }

 private:
  __device__ static float4 load(unsigned address) {
    float4 value;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "r"(address)
                 : "memory");
    return value;
  }
};

struct Floats {
  using Element = float;

  template <int kPixels, int kOutputs>
  struct Warps {
    static constexpr int kOfPixels = kPixels >= 64 && kOutputs >= 64 ? 32 : 16;
    static constexpr int kOfOutputs = kPixels >= 128 ? 64 : kPixels == 32 ? 16 : 32;
    using Sums = FloatSums<kOfPixels, kOfOutputs>;
  };
};

// Blocks of a cluster: those of all splits of one tile.
struct Cluster {
  unsigned rank = 0, blocks = 1;

  __device__ Cluster() {
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
#endif
  }
  // Until all its blocks are here, and what they wrote before is seen by all.
  __device__ void sync() const {
#if __CUDA_ARCH__ >= 900
    if (blocks > 1) {
      asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                       : "memory");
      return;
    }
#endif
    __syncthreads();
  }
  // Of what all its blocks have here in shared memory, in their order.
  __device__ float4 sum(const float* here) const {
#if __CUDA_ARCH__ >= 900
    if (blocks > 1) {
      float4 part[kMostSplits];
#pragma unroll
      for (unsigned i = 0; i < kMostSplits; ++i) {
        if (i < blocks) part[i] = load(shared_address(here), i);
      }
      float4 sum = part[0];
#pragma unroll
      for (unsigned i = 1; i < kMostSplits; ++i) {
        if (i >= blocks) break;
        sum = make_float4(sum.x + part[i].x, sum.y + part[i].y, sum.z + part[i].z, sum.w + part[i].w);
      }
      return sum;
    }
#endif
    return *reinterpret_cast<const float4*>(here);
  }

 private:
#if __CUDA_ARCH__ >= 900
  __device__ static float4 load(unsigned address, unsigned block) {
    float4 value;
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "r"(there)
                 : "memory");
    return value;
  }
#endif
};

// Taps along one axis that lie within the image, as bits; `start` is where the first one does.
__device__ inline unsigned taps_inside(int start, int dilation, int taps, int extent) {
  int first = max(-start, 0), end = max(extent - start, 0);
  if (dilation != 1) {
    first = (first + dilation - 1) / dilation;
    end = (end + dilation - 1) / dilation;
  }
  return ((1u << min(end, taps)) - 1) & ~((1u << min(first, taps)) - 1);
}

// The kinds that are seldom, kept out of the way.
__device__ __noinline__ inline float apply_other(const Activation& activation, float x) {
  return apply(activation, x);
}

__device__ inline void store4(float* to, float4 value) { *reinterpret_cast<float4*>(to) = value; }
__device__ inline void store4(__half* to, float4 value) {
  __half2 pair[2] = {__floats2half2_rn(value.x, value.y), __floats2half2_rn(value.z, value.w)};
  *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(pair);
}

// What a thread does with its sums: 4 outputs of some pixels.
template <class T>
struct Finish {
  const ConvParams& p;
  int left;  // outputs from here to the end of the group
  T* to;     // of pixel 0
  float bias[4];
  bool is_aligned;

  __device__ Finish(const ConvParams& params, int first, int output)
      : p(params), left(params.outputs - output), to(static_cast<T*>(params.dst) + first + output) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      bias[i] = p.bias != nullptr && i < left ? p.bias[first + output + i] : 0;
    is_aligned = left >= 4 && reinterpret_cast<std::uintptr_t>(to) % (4 * sizeof(T)) == 0 &&
                 p.dst_pixel_stride % 4 == 0;
  }

  __device__ void operator()(int pixel, float4 sum) const {
    float value[4] = {sum.x + bias[0], sum.y + bias[1], sum.z + bias[2], sum.w + bias[3]};
    if (p.activation.kind == Activation::Kind::relu) {
#pragma unroll
      for (float& one : value) one = apply_relu(one, p.activation.alpha);
    } else {
#pragma unroll
      for (float& one : value) one = apply_other(p.activation, one);
    }
    T* at = to + pixel * p.dst_pixel_stride;
    if (is_aligned) return store4(at, make_float4(value[0], value[1], value[2], value[3]));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) at[i] = from_float<T>(value[i]);
    }
  }
};

template <int kPixels, int kOutputs>
constexpr int kTileThreads = conv_threads({kPixels, kOutputs, 0});
template <int kOutputs>
constexpr int kSumsPitch = conv_sums_pitch(kOutputs);

// kPairs: a chunk is two pixels of 4 channels ("_pixels" in conv.h).
template <class Math, int kPixels, int kOutputs, int kStages, bool kPairs>
__global__ void __launch_bounds__(kTileThreads<kPixels, kOutputs>)
    conv_tile(const __grid_constant__ ConvParams p) {
  using Element = typename Math::Element;
  using Warps = typename Math::template Warps<kPixels, kOutputs>;
  constexpr int kThreads = kTileThreads<kPixels, kOutputs>;
  constexpr int kPass = kThreads / kStepChunks;  // rows that all threads load at once
  constexpr int kPixelPasses = kPixels / kPass, kOutputPasses = kOutputs / kPass;
  constexpr unsigned kPixelBytes = kPixels * kRowBytes;
  constexpr unsigned kStageBytes = kPixelBytes + kOutputs * kRowBytes;
  extern __shared__ __align__(128) unsigned char shared[];
  const unsigned memory = shared_address(shared);

  const int all_tiles = p.group_tiles * p.groups;
  const int output_tile = static_cast<int>(blockIdx.x) % all_tiles;
  const int first_pixel = static_cast<int>(blockIdx.x) / all_tiles * kPixels;
  const int group = p.groups == 1 ? 0 : output_tile / p.group_tiles;
  const int first_output = (output_tile - group * p.group_tiles) * kOutputs;  // of the group
  const int first_step = static_cast<int>(p.steps * blockIdx.z / gridDim.z);
  const int end_step = static_cast<int>(p.steps * (blockIdx.z + 1) / gridDim.z);

  // A thread loads the same chunk of a few rows, of weights first: nothing must be computed for them.
  const int chunk = threadIdx.x % kStepChunks, row = threadIdx.x / kStepChunks;
  const unsigned place = row * kRowBytes + (chunk ^ (row & 7)) * kChunkBytes;
  const std::int64_t weight_row = static_cast<std::int64_t>(p.steps) * kRowBytes;
  const char* weights =
      static_cast<const char*>(p.weights) +
      (static_cast<std::int64_t>(group) * p.outputs + first_output + row) * weight_row +
      (static_cast<std::int64_t>(first_step) * kStepChunks + chunk) * kChunkBytes;
  const auto load_weights = [&](int stage) {
    const unsigned to = memory + stage * kStageBytes + kPixelBytes + place;
#pragma unroll
    for (int i = 0; i < kOutputPasses; ++i) {
      copy_async<16>(to + i * kPass * kRowBytes, weights + i * kPass * weight_row,
                     first_output + row + i * kPass < p.outputs);
    }
    weights += kRowBytes;
  };
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (first_step + stage < end_step) load_weights(stage);
  }

  // Of pixels: where tap (0, 0) would lie, and which taps lie inside: bits from 0 for rows of taps,
  // from 16 for columns. Bits 15 and 31 are never set.
  const char* pixel[kPixelPasses];
  unsigned inside[kPixelPasses];
  const bool is_pointwise =
      p.kernel_h * p.kernel_w == 1 && p.stride_h * p.stride_w == 1 && p.pad_h + p.pad_w == 0;
  const char* source = static_cast<const char*>(p.src);
  if (p.groups > 1) source += static_cast<std::int64_t>(group) * p.tap_chunks * kChunkBytes;
  const std::int64_t pixel_bytes = p.src_pixel_stride * static_cast<int>(sizeof(Element));
#pragma unroll
  for (int i = 0; i < kPixelPasses; ++i) {
    const int at = first_pixel + row + i * kPass;
    pixel[i] = source;
    inside[i] = 0;
    if (at >= p.pixels) continue;
    if (is_pointwise) {
      pixel[i] += at * pixel_bytes;
      inside[i] = 0x10001;
      continue;
    }
    const int line = at / p.out_width, image = line / p.out_height;
    const int y = (line - image * p.out_height) * p.stride_h - p.pad_h;
    const int x = (at - line * p.out_width) * p.stride_w - p.pad_w;
    pixel[i] += ((static_cast<std::int64_t>(image) * p.height + y) * p.width + x) * pixel_bytes;
    inside[i] = taps_inside(y, p.dilation_h, p.kernel_h, p.height) |
                taps_inside(x, p.dilation_w, p.kernel_w, p.width) << 16;
  }
  const int columns = kPairs ? 1 : p.kernel_w;  // of taps, to walk over
  // Where this thread's chunk of the next step lies: row and column of the tap, chunk within it.
  int tap_chunk = first_step * kStepChunks + chunk, tap_x = 0, tap_y = 0;
  if (tap_chunk >= p.tap_chunks) {
    const int tap = tap_chunk / p.tap_chunks;
    tap_chunk -= tap * p.tap_chunks;
    tap_y = tap / columns;
    tap_x = tap - tap_y * columns;
  }
  const auto load_pixels = [&](int stage) {
    const unsigned to = memory + stage * kStageBytes + place;
    const int x = kPairs ? 2 * tap_chunk : tap_x;
    const unsigned wanted = tap_y < p.kernel_h ? 1u << tap_y | 1u << (16 + x) : 1u << 15;
    const std::int64_t offset =
        (static_cast<std::int64_t>(tap_y) * p.dilation_h * p.width + x * p.dilation_w) * pixel_bytes +
        (kPairs ? 0 : tap_chunk * kChunkBytes);
#pragma unroll
    for (int i = 0; i < kPixelPasses; ++i) {
      const unsigned at = to + i * kPass * kRowBytes;
      const bool is_there = (inside[i] & wanted) == wanted;
      if constexpr (kPairs) {
        const unsigned next = tap_y < p.kernel_h ? 1u << tap_y | 1u << (17 + x) : 1u << 15;
        copy_async<8>(at, pixel[i] + offset, is_there);
        copy_async<8>(at + 8, pixel[i] + offset + p.dilation_w * pixel_bytes,
                      (inside[i] & next) == next);
      } else {
        copy_async<16>(at, pixel[i] + offset, is_there);
      }
    }
    tap_chunk += kStepChunks;
    while (tap_chunk >= p.tap_chunks) {
      tap_chunk -= p.tap_chunks;
      if (++tap_x == columns) {
        tap_x = 0;
        ++tap_y;
      }
    }
  };

  constexpr int kWarpsOfOutputs = kOutputs / Warps::kOfOutputs;
  static_assert(kPixels / Warps::kOfPixels * kWarpsOfOutputs * 32 == kThreads, "warps cover the tile");
  const int warp = threadIdx.x / 32;
  const int warp_pixel = warp / kWarpsOfOutputs * Warps::kOfPixels;
  const int warp_output = warp % kWarpsOfOutputs * Warps::kOfOutputs;
  typename Warps::Sums sums;

#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (first_step + stage < end_step) load_pixels(stage);
    commit_copies();
  }
  int stage = 0;
  for (int step = first_step; step < end_step; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();
    const int ahead = stage == 0 ? kStages - 1 : stage - 1;
    if (step + kStages - 1 < end_step) {
      load_pixels(ahead);
      load_weights(ahead);
    }
    commit_copies();
    const unsigned at = memory + stage * kStageBytes;
    sums.add_step(at + warp_pixel * kRowBytes, at + kPixelBytes + warp_output * kRowBytes);
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }
  wait_for_copies<0>();
  __syncthreads();

  // Through shared memory, so that whole lines are written, and that splits can be summed.
  constexpr int kPitch = kSumsPitch<kOutputs>, kQuads = kOutputs / 4;
  static_assert(kPixels * kPitch * sizeof(float) <= kStages * kStageBytes);
  float* tile = reinterpret_cast<float*>(shared);
  sums.store(tile + warp_pixel * kPitch + warp_output, kPitch);
  const Cluster cluster;
  cluster.sync();
  const int first_row = static_cast<int>(kPixels * cluster.rank / cluster.blocks);
  const int end_row =
      min(static_cast<int>(kPixels * (cluster.rank + 1) / cluster.blocks), p.pixels - first_pixel);
  static_assert(kThreads % kQuads == 0, "a thread has the same outputs of every pixel");
  const int quad = threadIdx.x % kQuads, output = first_output + quad * 4;
  const Finish<Element> finish(p, group * p.outputs, output);
  if (finish.left > 0) {
    for (int at = first_row + threadIdx.x / kQuads; at < end_row; at += kThreads / kQuads) {
      const float4 sum = cluster.sum(tile + at * kPitch + quad * 4);
      if (p.partial == nullptr) {
        finish(first_pixel + at, sum);
        continue;
      }
      float* to =
          p.partial +
          (static_cast<std::int64_t>(blockIdx.z) * p.pixels + first_pixel + at) * p.outputs * p.groups +
          group * p.outputs + output;
      const float value[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i < finish.left) to[i] = value[i];
      }
    }
  }
  if (cluster.blocks > 1) cluster.sync();  // its shared memory is read until here
}

#define MARU_CUDA_CONV(name, math, pixels, outputs, stages) \
  MARU_CUDA_FUNCTION(name "_" #pixels "x" #outputs, conv_tile<math, pixels, outputs, stages, false>)

}  // namespace maru::cuda
