#include "ops/lrn.h"

#include <algorithm>
#include <cmath>

#include "ops/lrn_grad.h"
#include "ops/reference.h"
#include "ops/window.h"

namespace maru {
namespace {

constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;

}  // namespace

std::string_view to_string(Lrn::Region region) noexcept {
  return region == Lrn::Region::across ? "across" : "within";
}

std::vector<TensorDesc> Lrn::infer(Descs src) const {
  require_operands(src, 1, 1);
  require_rank(src[0], 4);
  if (size < 1 || size > kMaxSize || size % 2 == 0) {
    throw Error("lrn", "an odd size from 1 to 2^24", fmt::format("{}", size));
  }
  return {src[0].with(Layout::plain())};
}

Cost Lrn::cost(Descs src, Descs dst) const {
  const auto terms =
      static_cast<double>(size) * (region == Region::within ? static_cast<double>(size) : 1.0);
  return {(2 * terms + 3) * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Lrn::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& shape = src[0].desc.shape;
    const T* from = src[0].as<const T>();
    T* to = dst[0].as<T>();
    std::int64_t i = 0;
    for (std::int64_t n = 0; n < shape[0]; ++n) {
      for (std::int64_t c = 0; c < shape[1]; ++c) {
        for (std::int64_t y = 0; y < shape[2]; ++y) {
          for (std::int64_t x = 0; x < shape[3]; ++x, ++i) {
            double sum = 0;
            each_around(shape, {n, c, y, x}, [&](std::int64_t near) {
              sum += static_cast<double>(from[near]) * static_cast<double>(from[near]);
            });
            to[i] =
                static_cast<T>(static_cast<double>(from[i]) * std::pow(base() + weight() * sum, -beta));
          }
        }
      }
    }
  });
}

Operator lrn_operator() {
  using Region = Lrn::Region;
  Operator op = operator_of<Lrn>();
  op.gradient = lrn_gradient;
  op.spellings = {{"caffe", "LRN", "lrn_param", [](const AttrReader& reader, Arity) -> Op {
                     Lrn lrn;
                     lrn.size = reader.integer("local_size", 5);
                     lrn.alpha = reader.number("alpha", 1);
                     lrn.beta = reader.number("beta", 0.75);
                     lrn.region = enumerator(
                         reader, "norm_region", Region::across,
                         {{"ACROSS_CHANNELS", Region::across}, {"WITHIN_CHANNEL", Region::within}});
                     if (lrn.region == Region::across) lrn.k = reader.number("k", 1);
                     return lrn;
                   }}};
  const auto add = [&](std::string name, Shape shape, Lrn lrn, double most = 1) {
    op.cases.push_back(make_case(std::move(name), lrn, {f32(shape)}, -most, most));
  };
  add("across", {1, 32, 5, 6}, {5, 1e-4, 0.75, 1}, 100);
  add("across odd channels", {2, 19, 3, 4}, {5, 0.1, 0.75, 2}, 4);
  add("across 3", {2, 7, 4, 3}, {3, 1, 0.5, 1});
  add("across without k", {1, 10, 3, 4}, {3, 5, 0.5, 0});
  add("across more than all channels", {1, 3, 2, 2}, {9, 0.5, 0.75, 1});
  add("across one pixel", {2, 16, 1, 1}, {});
  add("within", {1, 16, 7, 5}, {3, 0.5, 0.75, 1, Region::within});
  add("within more than the image", {2, 5, 3, 4}, {9, 1, 0.75, 1, Region::within});
  return op;
}

}  // namespace maru
