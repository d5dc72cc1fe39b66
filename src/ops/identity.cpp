#include "ops/identity.h"

#include "ops/reference.h"

namespace maru {

std::string_view to_string(Identity::Reason reason) noexcept {
  switch (reason) {
    case Identity::Reason::dropout:
      return "dropout";
    case Identity::Reason::split:
      return "split";
    case Identity::Reason::stop:
      return "stop";
  }
  return "?";
}

std::vector<TensorDesc> Identity::infer(Descs src) const {
  constexpr std::int64_t kMost = std::int64_t{1} << 16;
  require_operands(src, 1, 1);
  if (outputs < 1 || outputs > kMost) {
    throw Error("identity", fmt::format("1 to {} outputs", kMost), fmt::format("{}", outputs));
  }
  return std::vector<TensorDesc>(static_cast<std::size_t>(outputs), src[0].with(Layout::plain()));
}

Cost Identity::cost(Descs src, Descs dst) const { return {0, traffic(src, dst)}; }

void Identity::reference(Views src, Views dst) const {
  for (const TensorView& view : dst) copy_all(src[0], view);
}

Operator identity_operator() {
  using Reason = Identity::Reason;
  Operator op = operator_of<Identity>();
  op.gradient = [](GradientCall& call) -> Gradients {
    if (call.node.op.as<Identity>()->reason == Reason::stop) return {std::nullopt};
    return {call.sum(call.dst)};
  };
  op.spellings = {{"caffe", "Dropout", "dropout_param",
                   [](const AttrReader& reader, Arity) -> Op {
                     return Identity{Reason::dropout, 1, reader.number("dropout_ratio", 0.5)};
                   }},
                  {"caffe", "Split", "", [](const AttrReader&, Arity arity) -> Op {
                     return Identity{Reason::split, static_cast<std::int64_t>(arity.dst)};
                   }}};
  op.cases = {
      make_case("dropout", Identity{}, {f32({2, 19, 3, 4})}),
      make_case("split", Identity{Reason::split, 3}, {f32({1, 16, 3, 4})}),
  };
  return op;
}

}  // namespace maru
