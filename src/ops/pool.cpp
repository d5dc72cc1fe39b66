#include "ops/pool.h"

#include <algorithm>
#include <limits>

#include "ops/pool_grad.h"
#include "ops/reference.h"

namespace maru {
std::string_view to_string(Pool::Kind kind) noexcept {
  return kind == Pool::Kind::max ? "max" : "average";
}

std::string_view to_string(Pool::Divisor divisor) noexcept {
  return divisor == Pool::Divisor::padded ? "padded" : "valid";
}

Pool::Taps Pool::taps(const Window& slid, std::size_t axis, std::int64_t in, std::int64_t out) const {
  const std::int64_t begin = out * slid.stride[axis] - slid.pad[axis];
  const std::int64_t end = std::min(begin + slid.kernel[axis], in + slid.pad[axis]);
  const Taps taps{std::max<std::int64_t>(begin, 0), std::min(end, in), end - begin};
  return divisor == Divisor::padded ? taps : Taps{taps.begin, taps.end, taps.end - taps.begin};
}

Window Pool::window_for(const TensorDesc& src) const {
  require_rank(src, 4);
  if (!global) return window;
  if (window != Window{}) {
    throw Error("pool", "no kernel, pad 0 and stride 1 in global pooling", print_fields(*this));
  }
  return {{src.shape[2], src.shape[3]}, {1, 1}, {0, 0}, {1, 1}};
}

std::array<std::int64_t, 2> Pool::output_extents(const TensorDesc& src) const {
  const Window slid = window_for(src);
  slid.check();
  const bool is_padded = slid.pad[0] > 0 || slid.pad[1] > 0;
  std::array<std::int64_t, 2> extents{};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (slid.dilation[axis] != 1) {
      throw Error("pool", "windows without dilation", fmt::format("dilation {}", slid.dilation[axis]));
    }
    if (slid.pad[axis] >= slid.kernel[axis]) {
      throw Error("pool", fmt::format("a pad below the kernel of {}", slid.kernel[axis]),
                  fmt::format("{}", slid.pad[axis]));
    }
    const std::int64_t in = src.shape[axis + 2];
    const std::int64_t slack = in + 2 * slid.pad[axis] - slid.kernel[axis];
    const std::int64_t stride = slid.stride[axis];
    // Rounded up, a kernel may be larger than the input by less than a stride.
    if (in < 1 || slack <= (ceil ? -stride : -1)) {
      throw Error("pool",
                  fmt::format("a kernel within the padded input of {}", in + 2 * slid.pad[axis]),
                  fmt::format("a kernel of {}", slid.kernel[axis]), "a larger input");
    }
    const std::int64_t rounding = ceil && slack > 0 ? stride - 1 : 0;
    std::int64_t& out = extents[axis];
    out = (slack + rounding) / stride + 1;
    const std::int64_t bound = in + slid.pad[axis];
    if (is_padded && (out - 1) * stride >= bound) --out;
    if ((out - 1) * stride >= bound) {
      throw Error("pool", fmt::format("windows that begin in the input of {}", in),
                  fmt::format("the last at {}", (out - 1) * stride), "round_mode: FLOOR");
    }
  }
  return extents;
}

std::vector<TensorDesc> Pool::infer(Descs src) const {
  require_operands(src, 1, 1);
  const auto [height, width] = output_extents(src[0]);
  return {{src[0].dtype, {src[0].shape[0], src[0].shape[1], height, width}, Layout::plain()}};
}

Cost Pool::cost(Descs src, Descs dst) const {
  const auto [height, width] = window_for(src[0]).kernel;
  return {
      static_cast<double>(dst[0].count()) * static_cast<double>(height) * static_cast<double>(width),
      traffic(src, dst)};
}

void Pool::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& in = src[0].desc.shape;
    const Shape& out = dst[0].desc.shape;
    const Window slid = window_for(src[0].desc);
    const T* image = src[0].as<const T>();
    T* to = dst[0].as<T>();
    for (std::int64_t plane = 0; plane < in.count(0, 2); ++plane, image += in.count(2, 4)) {
      for (std::int64_t y = 0; y < out[2]; ++y) {
        const Taps rows = taps(slid, 0, in[2], y);
        for (std::int64_t x = 0; x < out[3]; ++x) {
          const Taps columns = taps(slid, 1, in[3], x);
          double sum = 0, most = -std::numeric_limits<double>::infinity();
          for (std::int64_t sy = rows.begin; sy < rows.end; ++sy) {
            for (std::int64_t sx = columns.begin; sx < columns.end; ++sx) {
              const auto value = static_cast<double>(image[sy * in[3] + sx]);
              sum += value;
              most = std::max(most, value);
            }
          }
          const double counted =
              static_cast<double>(rows.counted) * static_cast<double>(columns.counted);
          *to++ = static_cast<T>(kind == Kind::max ? most : sum / counted);
        }
      }
    }
  });
}

Operator pool_operator() {
  Operator op = operator_of<Pool>();
  op.gradient = pool_gradient;
  op.spellings = {
      {"caffe", "Pooling", "pooling_param", [](const AttrReader& reader, Arity arity) -> Op {
         if (arity.dst > 1) {
           throw Error("top", "one top", fmt::format("{}", arity.dst),
                       "a layer without the mask of maxima");
         }
         Pool pool;
         pool.kind = enumerator(reader, "pool", Pool::Kind::max,
                                {{"MAX", Pool::Kind::max}, {"AVE", Pool::Kind::average}});
         pool.global = reader.boolean("global_pooling", false);
         pool.window = Window::from_caffe(reader, !pool.global);
         pool.ceil = enumerator(reader, "round_mode", true, {{"CEIL", true}, {"FLOOR", false}});
         return pool;
       }}};
  using Kind = Pool::Kind;
  const auto window = [](std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
    return Window{{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
  };
  const auto valid = Pool::Divisor::valid;
  const auto add = [&](std::string name, Shape shape, Pool pool) {
    for (const Kind kind : {Kind::max, Kind::average}) {
      pool.kind = kind;
      op.cases.push_back(make_case(fmt::format("{} {}", to_string(kind), name), pool, {f32(shape)}));
    }
  };
  add("3x3 overhanging", {1, 16, 8, 8}, {Kind::max, window(3, 2, 0)});
  add("3x3 same", {1, 32, 7, 7}, {Kind::max, window(3, 1, 1)});
  add("3x3 clipped", {2, 19, 6, 9}, {Kind::max, window(3, 2, 1)});
  add("2x2 clipped", {1, 16, 5, 5}, {Kind::max, window(2, 2, 1)});
  add("floor", {1, 16, 8, 8}, {Kind::max, window(3, 2, 0), false, false});
  add("valid", {2, 17, 6, 9}, {Kind::max, window(3, 2, 1), false, true, valid});
  add("5x5 stride 3", {1, 5, 13, 11}, {Kind::max, window(5, 3, 0)});
  add("rectangular", {2, 3, 9, 12}, {Kind::max, Window{{3, 2}, {2, 3}, {1, 0}, {1, 1}}});
  add("larger than the input", {1, 16, 2, 3}, {Kind::max, window(3, 2, 0)});
  add("one pixel", {2, 24, 1, 1}, {Kind::max, window(1, 1, 0)});
  add("global", {2, 19, 7, 5}, {Kind::max, {}, true});
  add("global 7x7", {1, 64, 7, 7}, {Kind::max, {}, true});
  return op;
}

}  // namespace maru
