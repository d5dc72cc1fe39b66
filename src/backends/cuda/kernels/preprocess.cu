// Photos to the input of a network, with the roundings of vision/resize.h. The part of a photo that a
// block needs goes to shared memory first, in pieces of 16 bytes: a photo in the memory of the CPU
// comes over a bus, which wants few and large requests.
#include "backends/cuda/kernels/preprocess.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

constexpr int kColumns = kPreprocessColumns, kRows = kPreprocessRows, kThreads = kColumns * kRows;
constexpr int kPiece = 16;         // bytes
constexpr int kSlots = 2 * kRows;  // rows of the photo
constexpr int kSlotBytes = 3136;   // of one; wider parts of photos are read where they are
constexpr int kPiecesAtOnce = 4;   // of a thread, on their way

// Both pixels that one of the result lies between, and the weights of 2048 that they have.
struct Tap {
  int first, second, first_weight, second_weight;
};

// Step by step as vision/resize.cpp rounds it. What has no weight is not read: photos that have the
// result's size already would have a row in four read twice.
__device__ Tap tap_of(int dst, int dst_size, int src_size, int begin) {
  const double scale = __ddiv_rn(1.0, __ddiv_rn(dst_size, src_size));
  float fraction = __double2float_rn(__dadd_rn(__dmul_rn(dst + 0.5, scale), -0.5));
  const float below = floorf(fraction);
  fraction -= below;
  const int first = static_cast<int>(below), last = src_size - 1;
  const int second_weight = __float2int_rn(fraction * 2048.0f);
  const int second = second_weight == 0 ? first : first + 1;
  return {min(max(first, 0), last) + begin, min(max(second, 0), last) + begin, 2048 - second_weight,
          second_weight};
}

// The part of a photo that is resized.
struct Photo {
  const std::uint8_t* data;
  std::int64_t row_bytes;
  int left, top, width, height;
};

__device__ int side_of_crop(std::int64_t side, std::int64_t numerator, std::int64_t denominator) {
  const std::int64_t rounded = (2 * side * numerator + denominator) / (2 * denominator);
  return static_cast<int>(rounded > 1 ? rounded : 1);
}

// Without data where the frame leaves the buffer.
__device__ Photo photo_of(const PreprocessParams& p, std::uint32_t which) {
  const std::int32_t* frame = p.frames + static_cast<std::int64_t>(which) * 4;
  const int height = frame[0], width = frame[1];
  const std::int64_t row_bytes = frame[2], row = std::int64_t{3} * width;
  const std::int64_t begin = std::int64_t{kPiece} * frame[3];
  const std::int64_t end = begin + (height - std::int64_t{1}) * row_bytes + row;
  if (height < 1 || width < 1 || row_bytes < row || begin < 0 || end > p.bytes) return {};
  Photo photo{p.pixels + begin, row_bytes, 0, 0, width, height};
  if (p.is_crop) {
    if (std::int64_t{width} * p.height > std::int64_t{height} * p.width) {
      photo.width = side_of_crop(height, p.width, p.height);
    } else {
      photo.height = side_of_crop(width, p.height, p.width);
    }
    photo.left = (width - photo.width) / 2;
    photo.top = (height - photo.height) / 2;
  }
  return photo;
}

// What a block reads of a photo: `bytes` of each of some rows.
struct Region {
  const std::uint8_t* begin;  // in the photo's first row
  int bytes, first_row, slots;
  bool is_range;  // slots are neighbouring rows, else the two of each row of the result

  __device__ int row(int slot, const Tap* rows) const {
    if (is_range) return first_row + slot;
    return slot % 2 == 0 ? rows[slot / 2].first : rows[slot / 2].second;
  }
};

__device__ Region region_of(const Photo& photo, const Tap* columns, int column_count, const Tap* rows,
                            int row_count) {
  const int first = columns[0].first, last = columns[column_count - 1].second;
  const int first_row = rows[0].first, range = rows[row_count - 1].second - first_row + 1;
  const bool is_range = range <= kSlots;
  return {photo.data + std::int64_t{3} * first, 3 * (last - first + 1), first_row,
          is_range ? range : 2 * row_count, is_range};
}

__device__ int misalignment(const std::uint8_t* pointer) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(pointer) % kPiece);
}

// One piece of 16 bytes, of which those outside of [begin, end) may be anything.
__device__ uint4 fetch(const std::uint8_t* piece, const std::uint8_t* begin, const std::uint8_t* end,
                       const PreprocessParams& p) {
  if (piece >= p.pixels && piece + kPiece <= p.pixels + p.bytes) {
    return *reinterpret_cast<const uint4*>(piece);
  }
  Elements<std::uint8_t, kPiece> bytes;
  for (int i = 0; i < kPiece; ++i) bytes.at[i] = piece + i >= begin && piece + i < end ? piece[i] : 0;
  return *reinterpret_cast<const uint4*>(&bytes);
}

// Each row to a slot, as far from its begin as it is from the last address that 16 divides.
__device__ void stage(const PreprocessParams& p, const Photo& photo, const Region& region,
                      const Tap* rows, std::uint8_t (*slots)[kSlotBytes]) {
  const int thread = static_cast<int>(threadIdx.y) * kColumns + static_cast<int>(threadIdx.x);
  const int pieces = (region.bytes + 2 * kPiece - 2) / kPiece, total = pieces * region.slots;
  for (int first = thread; first < total; first += kThreads * kPiecesAtOnce) {
    uint4 held[kPiecesAtOnce];
#pragma unroll
    for (int i = 0; i < kPiecesAtOnce; ++i) {
      const int at = first + i * kThreads;
      if (at >= total) break;
      const std::uint8_t* begin = region.begin + region.row(at / pieces, rows) * photo.row_bytes;
      const std::uint8_t* piece = begin - misalignment(begin) + at % pieces * kPiece;
      if (piece < begin + region.bytes) held[i] = fetch(piece, begin, begin + region.bytes, p);
    }
#pragma unroll
    for (int i = 0; i < kPiecesAtOnce; ++i) {
      const int at = first + i * kThreads;
      if (at >= total) break;
      *reinterpret_cast<uint4*>(slots[at / pieces] + at % pieces * kPiece) = held[i];
    }
  }
}

// One sample: across in both rows, of 11 bits of fraction 4 dropped, then down.
__device__ float blend(const std::uint8_t* above, const std::uint8_t* below, const Tap& across,
                       const Tap& down) {
  const int upper =
      (above[across.first] * across.first_weight + above[across.second] * across.second_weight) >> 4;
  const int lower =
      (below[across.first] * across.first_weight + below[across.second] * across.second_weight) >> 4;
  return static_cast<float>(
      ((upper * down.first_weight >> 16) + (lower * down.second_weight >> 16) + 2) >> 2);
}

template <class T>
__device__ void write(const PreprocessParams& p, T* dst, const float (&value)[4]) {
  if (p.is_padded) {
    store(value, dst, 4, p.is_aligned);
    return;
  }
  for (int c = 0; c < 3; ++c) dst[c * p.dst_strides.channel] = from_float<T>(value[c]);
}

struct Tile {
  Tap columns[kColumns], rows[kRows];
  alignas(kPiece) std::uint8_t slots[kSlots][kSlotBytes];
};

// All threads of the block; each makes one pixel, those whose pixel is not in the result none.
template <class T>
__device__ void make_tile(const PreprocessParams& p, const Photo& photo, int first_column,
                          int first_row, Tile& tile, T* dst) {
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int thread = y * kColumns + x;
  const int column_count = min(kColumns, p.width - first_column);
  const int row_count = min(kRows, p.height - first_row);
  const bool has_pixel = x < column_count && y < row_count;
  dst += (static_cast<std::int64_t>(first_row + y) * p.width + first_column + x) * p.dst_strides.pixel;
  if (photo.data == nullptr) {
    // A kernel cannot refuse it: an image that is not a number.
    if (has_pixel) write(p, dst, {NAN, NAN, NAN, 0});
    return;
  }
  __syncthreads();  // the tile before may still be read
  if (thread < column_count) {
    tile.columns[thread] = tap_of(first_column + thread, p.width, photo.width, photo.left);
  } else if (thread >= kColumns && thread < kColumns + row_count) {
    tile.rows[thread - kColumns] =
        tap_of(first_row + thread - kColumns, p.height, photo.height, photo.top);
  }
  __syncthreads();
  const Region region = region_of(photo, tile.columns, column_count, tile.rows, row_count);
  const bool is_staged = region.bytes + 2 * kPiece <= kSlotBytes;
  if (is_staged) stage(p, photo, region, tile.rows, tile.slots);
  __syncthreads();
  if (!has_pixel) return;
  const Tap down = tile.rows[y];
  Tap across = tile.columns[x];
  across.first = 3 * (across.first - tile.columns[0].first);
  across.second = 3 * (across.second - tile.columns[0].first);
  const std::uint8_t* above = region.begin + down.first * photo.row_bytes;
  const std::uint8_t* below = region.begin + down.second * photo.row_bytes;
  if (is_staged) {
    const int upper = region.is_range ? down.first - region.first_row : 2 * y;
    const int lower = region.is_range ? down.second - region.first_row : 2 * y + 1;
    above = tile.slots[upper] + misalignment(above);
    below = tile.slots[lower] + misalignment(below);
  }
  float value[4] = {0, 0, 0, 0};
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const int from = p.is_bgr ? 2 - c : c;
    value[c] = (blend(above + from, below + from, across, down) - p.mean[c]) * p.scale;
  }
  write(p, dst, value);
}

// x: columns of the result; y: rows, and beyond; z: photos, and beyond.
template <class T>
__global__ void preprocess(PreprocessParams p) {
  __shared__ Tile tile;
  __shared__ Photo shared_photo;
  const int first_column = static_cast<int>(blockIdx.x) * kColumns;
  for (std::uint32_t which = blockIdx.z; which < static_cast<std::uint32_t>(p.photos);
       which += gridDim.z) {
    __syncthreads();
    // By one thread, and not for each tile: frames, too, may be in the memory of the CPU.
    if (threadIdx.x == 0 && threadIdx.y == 0) shared_photo = photo_of(p, which);
    __syncthreads();
    const Photo photo = shared_photo;
    for (int first_row = static_cast<int>(blockIdx.y) * kRows; first_row < p.height;
         first_row += static_cast<int>(gridDim.y) * kRows) {
      make_tile(p, photo, first_column, first_row, tile,
                static_cast<T*>(p.dst) + which * p.dst_strides.image);
    }
  }
}

MARU_CUDA_FUNCTION("preprocess_f32", preprocess<float>)
MARU_CUDA_FUNCTION("preprocess_f16", preprocess<__half>)

}  // namespace
}  // namespace maru::cuda
