#include "ops/pool_lrn.h"

#include "ops/reference.h"

namespace maru {

std::string_view to_string(PoolLrn::Order order) noexcept {
  return order == PoolLrn::Order::pool_first ? "pool_first" : "lrn_first";
}

TensorDesc PoolLrn::between(Descs src) const {
  return order == Order::pool_first ? pool.infer(src)[0] : lrn.infer(src)[0];
}

std::vector<TensorDesc> PoolLrn::infer(Descs src) const {
  require_operands(src, 1, 1);
  const TensorDesc middle[] = {between(src)};
  return order == Order::pool_first ? lrn.infer(middle) : pool.infer(middle);
}

Cost PoolLrn::cost(Descs src, Descs dst) const {
  const TensorDesc middle[] = {between(src)};
  const double flops = order == Order::pool_first
                           ? pool.cost(src, middle).flops + lrn.cost(middle, dst).flops
                           : lrn.cost(src, middle).flops + pool.cost(middle, dst).flops;
  return {flops, traffic(src, dst)};
}

void PoolLrn::reference(Views src, Views dst) const {
  const TensorDesc desc = between(std::vector{src[0].desc});
  std::vector<std::byte> bytes(desc.bytes());
  const TensorView middle[] = {{desc, bytes.data()}};
  if (order == Order::pool_first) {
    pool.reference(src, middle);
    lrn.reference(middle, dst);
  } else {
    lrn.reference(src, middle);
    pool.reference(middle, dst);
  }
}

Operator pool_lrn_operator() {
  Operator op = operator_of<PoolLrn>();
  const auto window = [](std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
    return Window{{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
  };
  const auto add = [&](std::string name, Shape shape, Pool pool, Lrn lrn) {
    for (const auto order : {PoolLrn::Order::pool_first, PoolLrn::Order::lrn_first}) {
      op.cases.push_back(make_case(fmt::format("{} {}", name, to_string(order)),
                                   PoolLrn{order, pool, lrn}, {f32(shape)}, -4, 4));
    }
  };
  using Kind = Pool::Kind;
  add("googlenet", {1, 64, 9, 8}, {Kind::max, window(3, 2, 0)}, {5, 0.1});
  add("odd channels", {2, 19, 6, 9}, {Kind::max, window(3, 2, 1)}, {5, 0.1, 0.75, 2});
  add("average", {2, 24, 7, 5}, {Kind::average, window(2, 2, 0)}, {3, 1, 0.5});
  add("few channels", {3, 3, 5, 5}, {Kind::max, window(3, 1, 1)}, {5, 1});
  return op;
}

}  // namespace maru
