#include "ops/all_reduce.h"

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> AllReduce::infer(Descs src) const {
  require_count(src, 1, SIZE_MAX);
  if (ranks < 1) throw Error("all_reduce", "1 rank or more", fmt::format("{}", ranks));
  std::vector<TensorDesc> dst;
  for (const TensorDesc& desc : src) dst.push_back(desc.with(Layout::plain()));
  return dst;
}

Cost AllReduce::cost(Descs src, Descs dst) const {
  double elements = 0;
  for (const TensorDesc& desc : src) elements += static_cast<double>(desc.count());
  return {static_cast<double>(ranks) * elements, traffic(src, dst)};
}

void AllReduce::reference(Views src, Views dst) const {
  if (ranks != 1)
    throw Error("all_reduce", "a device that was opened with a communicator",
                fmt::format("{} ranks, and a reference kernel", ranks));
  for (std::size_t i = 0; i < src.size(); ++i) copy_all(src[i], dst[i]);
}

bool is_shared(const Op& op) {
  const auto* reduce = op.as<AllReduce>();
  return reduce != nullptr && reduce->ranks > 1;
}

Operator all_reduce_operator() {
  Operator op = operator_of<AllReduce>();
  op.cases = {make_case("one tensor", AllReduce{}, {f32({16, 3, 3, 3})}),
              make_case("a bucket", AllReduce{}, {f32({16, 8, 1, 1}), f32({16}), f32({1})})};
  return op;
}

}  // namespace maru
