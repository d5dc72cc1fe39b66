#include "ops/dropout.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t b = std::uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(a)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

bool Dropout::keeps(std::uint64_t step, std::uint64_t index) const {
  const std::uint64_t group = index / 4;
  const auto words = philox({static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32),
                             static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32)},
                            {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  constexpr double kRange = 4294967296.0;
  return static_cast<double>(words[index % 4]) >= ratio * kRange;
}

std::vector<TensorDesc> Dropout::infer(Descs src) const {
  require_operands(src, 2, 2, 1);
  if (!(ratio >= 0 && ratio < 1))
    throw Error("dropout", "a ratio of 0 or more, below 1", fmt::format("{}", ratio), "dropout_ratio");
  if (first < 0) throw Error("dropout", "a first index of 0 or more", fmt::format("{}", first));
  if (src[1].count() != 1) throw Error("dropout", "a step of one element", src[1].shape.str());
  return {src[0].with(Layout::plain())};
}

Cost Dropout::cost(Descs src, Descs dst) const {
  constexpr double kFlopsOfPhilox = 30;
  return {kFlopsOfPhilox * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Dropout::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto step = static_cast<std::uint64_t>(src[1].as<const T>()[0]);
    for (std::int64_t i = 0; i < dst[0].desc.count(); ++i) {
      const auto value = static_cast<double>(src[0].as<const T>()[i]);
      dst[0].as<T>()[i] = keeps(step, static_cast<std::uint64_t>(first + i))
                              ? static_cast<T>(value / (1 - ratio))
                              : T(0);
    }
  });
}

Operator dropout_operator() {
  Operator op = operator_of<Dropout>();
  op.gradient = [](GradientCall& call) -> Gradients {
    return {call.add("gradient", call.node.op, {*call.dst[0], call.node.src[1]}), std::nullopt};
  };
  const auto whole_step = [](Views src) {
    for_real(src[1].desc.dtype, [&](auto zero) { src[1].as<decltype(zero)>()[0] = 12345; });
  };
  const auto add = [&](std::string name, const TensorDesc& data, Dropout dropout) {
    op.cases.push_back(make_case(std::move(name), dropout, {data, f32({1})}));
    op.cases.back().fill = whole_step;
  };
  add("half", f32({4, 1024, 1, 1}), {0.5, 7});
  add("0.7", f32({2, 19, 3, 5}), {0.7, 1});
  add("images", f32({3, 16, 5, 7}), {0.4, std::int64_t{1} << 40});
  add("none", f32({3, 10}), {0, 0});
  add("0.7 of halves", f16({2, 19, 3, 5}), {0.7, 1});
  add("matrix of halves", f16({5, 24}), {0.5, 3});
  add("a part of a batch", f32({2, 37}), {0.5, 7, std::int64_t{2} * 37 + (std::int64_t{1} << 33)});
  add("images of a batch", f32({3, 16, 5, 7}), {0.4, 9, std::int64_t{3} * 16 * 5 * 7});
  add("a part in halves", f16({2, 40}), {0.5, 7, 83});
  return op;
}

}  // namespace maru
