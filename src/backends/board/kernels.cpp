#include "backends/board/kernels.h"

#include <algorithm>

#include "ops/conv.h"
#include "ops/identity.h"
#include "ops/reference.h"

namespace maru::board {
namespace {

// Image by image: either may be a window.
void copy(const TensorView& src, const TensorView& dst) {
  const auto size = static_cast<std::int64_t>(size_of(src.desc.dtype));
  const std::int64_t images = src.desc.shape.rank() > 0 ? src.desc.shape[0] : 1;
  copy_rows(dst.data, dst.desc.image_stride() * size, src.data, src.desc.image_stride() * size,
            src.desc.count() / images * size, images);
}

// Between layouts, element by element; channels that only fill up a block become zero.
void reorder(const TensorView& src, const TensorView& dst) {
  const Shape& shape = src.desc.shape;
  const std::int64_t pixels = shape[2] * shape[3];
  const auto place = [&](const TensorDesc& desc, std::int64_t image, std::int64_t channel) {
    const std::int64_t block = desc.layout.block;
    return image * desc.image_stride() + channel / block * block * pixels + channel % block;
  };
  const std::int64_t unit = dst.desc.layout.is_window() ? 1 : dst.desc.layout.block;
  const std::int64_t filled = (shape[1] + unit - 1) / unit * unit;
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t c = 0; c < filled; ++c) {
      const float* from = src.as<const float>() + place(src.desc, n, std::min(c, shape[1] - 1));
      float* to = dst.as<float>() + place(dst.desc, n, c);
      for (std::int64_t i = 0; i < pixels; ++i)
        to[i * dst.desc.layout.block] = c < shape[1] ? from[i * src.desc.layout.block] : 0;
    }
  }
}

struct Taps {
  std::int64_t first, end;  // of the row's results that this tap has a pixel for
};
Taps taps_of(std::int64_t begin, std::int64_t stride, std::int64_t extent, std::int64_t results) {
  const std::int64_t first = begin >= 0 ? 0 : (-begin + stride - 1) / stride;
  const std::int64_t end = extent > begin ? (extent - begin + stride - 1) / stride : 0;
  return {std::min(first, results), std::clamp<std::int64_t>(end, 0, results)};
}

// Row by row, tap by tap: the innermost loop runs along a row, which compilers turn into vectors.
void conv(const Conv& op, Views src, Views dst) {
  const Shape &in = src[0].desc.shape, &out = dst[0].desc.shape;
  const Window& window = op.window;
  const std::int64_t group_src = in[1] / op.group, group_dst = op.outputs / op.group;
  const std::int64_t kernel_h = window.kernel[0], kernel_w = window.kernel[1];
  const bool is_dense = kernel_h == 1 && kernel_w == 1 &&
                        window.stride == std::array<std::int64_t, 2>{1, 1} &&
                        window.pad == std::array<std::int64_t, 2>{0, 0};
  // A 1x1 convolution is one long row.
  const std::int64_t rows = is_dense ? 1 : out[2], columns = is_dense ? out[2] * out[3] : out[3];
  const std::int64_t in_rows = is_dense ? 1 : in[2], in_columns = is_dense ? in[2] * in[3] : in[3];
  const auto* data = src[0].as<const float>();
  const auto* weight = src[1].as<const float>();
  for (std::int64_t n = 0; n < out[0]; ++n) {
    for (std::int64_t o = 0; o < op.outputs; ++o) {
      float* plane = dst[0].as<float>() + (n * op.outputs + o) * rows * columns;
      std::fill_n(plane, rows * columns, op.bias ? src[2].as<const float>()[o] : 0.0F);
      for (std::int64_t c = 0; c < group_src; ++c) {
        const float* image = data + (n * in[1] + o / group_dst * group_src + c) * in_rows * in_columns;
        const float* taps = weight + (o * group_src + c) * kernel_h * kernel_w;
        for (std::int64_t ky = 0; ky < kernel_h; ++ky) {
          const std::int64_t top = ky * window.dilation[0] - window.pad[0];
          const Taps ys = taps_of(top, window.stride[0], in_rows, rows);
          for (std::int64_t kx = 0; kx < kernel_w; ++kx) {
            const float factor = taps[ky * kernel_w + kx];
            const std::int64_t left = kx * window.dilation[1] - window.pad[1];
            const std::int64_t step = window.stride[1];
            const Taps xs = taps_of(left, step, in_columns, columns);
            for (std::int64_t y = ys.first; y < ys.end; ++y) {
              const float* from = image + (y * window.stride[0] + top) * in_columns + left;
              float* to = plane + y * columns;
              if (step == 1) {
                for (std::int64_t x = xs.first; x < xs.end; ++x) to[x] += factor * from[x];
              } else {
                for (std::int64_t x = xs.first; x < xs.end; ++x) to[x] += factor * from[x * step];
              }
            }
          }
        }
      }
      if (op.activation) {
        for (std::int64_t i = 0; i < rows * columns; ++i)
          plane[i] = static_cast<float>(op.activation->apply(static_cast<double>(plane[i])));
      }
    }
  }
}

}  // namespace

void compute(const Op& op, Views src, Views dst) {
  if (op.as<Identity>() != nullptr) {
    const bool is_same = src[0].desc.layout.dense() == dst[0].desc.layout.dense();
    return is_same ? copy(src[0], dst[0]) : reorder(src[0], dst[0]);
  }
  if (const auto* found = op.as<Conv>(); found != nullptr && src[0].desc.dtype == DType::f32)
    return conv(*found, src, dst);
  op.reference(src, dst);
}

}  // namespace maru::board
