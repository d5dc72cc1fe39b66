// Helpers for shape rules and the plain reference kernels: dispatch on the element type, checks of
// operands, and the loops that several operators share.
#pragma once

#include <cstring>

#include "base/error.h"
#include "graph/op.h"

namespace maru {

// Calls f(T{}) with T = float or double.
template <class F>
void for_real(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw Error("reference", "f32 or f64", to_string(dtype));
  }
}

// Throws Error unless the operator got from `least` to `most` operands.
inline void require_count(Descs src, std::size_t least, std::size_t most) {
  if (src.size() >= least && src.size() <= most) return;
  std::string want = fmt::format("{} inputs", least);
  if (most != least) want += most == SIZE_MAX ? " or more" : fmt::format(" to {}", most);
  throw Error("inputs", want, fmt::format("{}", src.size()), "checking the layer's bottoms");
}

// The same, and the first `data` of them must be of one element type; those behind it, which may be
// parameters, of that or of f32.
inline void require_operands(Descs src, std::size_t least, std::size_t most,
                             std::size_t data = SIZE_MAX) {
  require_count(src, least, most);
  for (std::size_t i = 0; i < src.size(); ++i) {
    if (src[i].dtype == src[0].dtype || (i >= data && src[i].dtype == DType::f32)) continue;
    throw Error("inputs", fmt::format("all of {}", to_string(src[0].dtype)), to_string(src[i].dtype));
  }
}

// Throws Error unless operand `index` has this shape.
inline void require_shape(Descs src, std::size_t index, const Shape& shape, std::string_view role) {
  if (src[index].shape == shape) return;
  throw Error("inputs", fmt::format("{} of {}", role, shape.str()), src[index].shape.str());
}

// Throws Error unless the operands after `first` are the parameters wanted.
inline void require_params(Descs src, std::size_t first, std::span<const Param> wanted) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    require_shape(src, first + i, wanted[i].shape, wanted[i].role);
  }
}

// Bytes of all operands, each counted once: what Cost wants.
inline double traffic(Descs src, Descs dst) {
  double bytes = 0;
  for (const TensorDesc& desc : src) bytes += static_cast<double>(desc.bytes());
  for (const TensorDesc& desc : dst) bytes += static_cast<double>(desc.bytes());
  return bytes;
}

// A plain tensor seen as three axes: the axes of interest and what lies before and behind them.
struct Extents {
  std::int64_t outer = 1, middle = 1, inner = 1;
  bool operator==(const Extents&) const = default;
};

// Of the axes [first, last).
inline Extents extents_around(const Shape& shape, std::size_t first, std::size_t last) {
  return {shape.count(0, first), shape.count(first, last), shape.count(last, shape.rank())};
}

// dst = f(element, its index on the middle axis), computed in double.
template <class T, class F>
void map_middle(const Extents& extents, const T* src, T* dst, F&& f) {
  for (std::int64_t o = 0; o < extents.outer; ++o) {
    for (std::int64_t m = 0; m < extents.middle; ++m) {
      for (std::int64_t i = 0; i < extents.inner; ++i) {
        *dst++ = static_cast<T>(f(static_cast<double>(*src++), m));
      }
    }
  }
}

// Copies `rows` rows of `row` bytes; the steps lead from one row to the next.
inline void copy_rows(void* dst, std::int64_t dst_step, const void* src, std::int64_t src_step,
                      std::int64_t row, std::int64_t rows) {
  if (row == 0) return;
  for (std::int64_t i = 0; i < rows; ++i) {
    std::memcpy(static_cast<std::byte*>(dst) + i * dst_step,
                static_cast<const std::byte*>(src) + i * src_step, static_cast<std::size_t>(row));
  }
}

// The same bytes under another shape.
inline void copy_all(const TensorView& src, const TensorView& dst) {
  copy_rows(dst.data, 0, src.data, 0, static_cast<std::int64_t>(src.desc.bytes()), 1);
}

}  // namespace maru
