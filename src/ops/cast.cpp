#include "ops/cast.h"

#include "ops/reference.h"
#include "tensor/half.h"

namespace maru {
namespace {

bool is_real(DType dtype) { return dtype != DType::u8 && dtype != DType::i32; }

}  // namespace

std::vector<TensorDesc> Cast::infer(Descs src) const {
  require_count(src, 1, 1);
  if (!is_real(src[0].dtype)) throw Error("inputs", "f32 or f16", to_string(src[0].dtype));
  if (to != DType::f32 && to != DType::f16) throw Error("to", "f32 or f16", to_string(to));
  return {{to, src[0].shape, Layout::plain()}};
}

Cost Cast::cost(Descs src, Descs dst) const {
  return {static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Cast::reference(Views src, Views dst) const {
  const std::int64_t count = dst[0].desc.count();
  const auto store = [&](auto value_at) {
    if (dst[0].desc.dtype == DType::f16) {
      for (std::int64_t i = 0; i < count; ++i)
        dst[0].as<std::uint16_t>()[i] = to_half(static_cast<float>(value_at(i)));
      return;
    }
    for_real(dst[0].desc.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t i = 0; i < count; ++i) dst[0].as<T>()[i] = static_cast<T>(value_at(i));
    });
  };
  if (src[0].desc.dtype == DType::f16) {
    return store([&](std::int64_t i) { return from_half(src[0].as<const std::uint16_t>()[i]); });
  }
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    store([&](std::int64_t i) { return src[0].as<const T>()[i]; });
  });
}

Operator cast_operator() {
  Operator op = operator_of<Cast>();
  const auto add = [&](const std::string& name, Shape shape, double most = 8) {
    op.cases.push_back(make_case(name + " to half", Cast{DType::f16}, {f32(shape)}, -most, most));
    op.cases.push_back(make_case(name + " to single", Cast{}, {f16(shape)}, -most, most));
  };
  add("image", {2, 16, 5, 3});
  add("odd channels", {2, 19, 3, 4});
  add("one pixel", {2, 24, 1, 1});
  add("vectors", {3, 10});
  add("large values", {1, 7, 3, 3}, 6e4);
  return op;
}

}  // namespace maru
