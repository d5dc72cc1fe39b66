#include "ops/pool_grad.h"

#include <algorithm>

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> PoolGrad::infer(Descs src) const {
  const std::size_t operands = pool.kind == Pool::Kind::max ? 2 : 1;
  require_operands(src, operands, operands);
  require_rank(src[0], 4);
  const Shape& result = src[0].shape;
  const TensorDesc data{src[0].dtype, {result[0], result[1], extents[0], extents[1]}, Layout::plain()};
  const auto [height, width] = pool.output_extents(data);
  require_shape(src, 0, {result[0], result[1], height, width}, "gradient");
  if (operands == 2) require_shape(src, 1, data.shape, "input");
  return {data};
}

Cost PoolGrad::cost(Descs src, Descs dst) const {
  const auto [height, width] = pool.window_for(dst[0]).kernel;
  return {
      static_cast<double>(src[0].count()) * static_cast<double>(height) * static_cast<double>(width),
      traffic(src, dst)};
}

void PoolGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape &in = dst[0].desc.shape, &out = src[0].desc.shape;
    const Window slid = pool.window_for(dst[0].desc);
    const bool is_max = pool.kind == Pool::Kind::max;
    const T* gradient = src[0].as<const T>();
    const T* image = is_max ? src[1].as<const T>() : nullptr;
    std::vector<double> sums(static_cast<std::size_t>(in.count(2, 4)));
    const auto at = [&](std::int64_t y, std::int64_t x) {
      return static_cast<std::size_t>(y * in[3] + x);
    };
    for (std::int64_t plane = 0; plane < in.count(0, 2); ++plane) {
      std::ranges::fill(sums, 0);
      for (std::int64_t y = 0; y < out[2]; ++y) {
        const Pool::Taps rows = pool.taps(slid, 0, in[2], y);
        for (std::int64_t x = 0; x < out[3]; ++x) {
          const Pool::Taps columns = pool.taps(slid, 1, in[3], x);
          const auto share = static_cast<double>(*gradient++);
          if (is_max) {
            std::size_t most = at(rows.begin, columns.begin);
            for (std::int64_t sy = rows.begin; sy < rows.end; ++sy) {
              for (std::int64_t sx = columns.begin; sx < columns.end; ++sx)
                if (image[at(sy, sx)] > image[most]) most = at(sy, sx);
            }
            sums[most] += share;
            continue;
          }
          const double counted =
              static_cast<double>(rows.counted) * static_cast<double>(columns.counted);
          for (std::int64_t sy = rows.begin; sy < rows.end; ++sy) {
            for (std::int64_t sx = columns.begin; sx < columns.end; ++sx)
              sums[at(sy, sx)] += share / counted;
          }
        }
      }
      T* to = dst[0].as<T>() + plane * in.count(2, 4);
      for (std::size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<T>(sums[i]);
      if (is_max) image += in.count(2, 4);
    }
  });
}

Gradients pool_gradient(GradientCall& call) {
  const Pool& pool = *call.node.op.as<Pool>();
  const Shape in = call.src_desc(0).shape;  // adding nodes moves the graph's
  std::vector<ValueId> src{*call.dst[0]};
  if (pool.kind == Pool::Kind::max) src.push_back(call.node.src[0]);
  return {call.add("gradient", PoolGrad{pool, {in[2], in[3]}}, std::move(src))};
}

Operator pool_grad_operator() {
  Operator op = operator_of<PoolGrad>();
  for (const Operator& forward = pool_operator(); const Case& one : forward.cases) {
    const Pool& pool = *one.op.as<Pool>();
    const Shape& in = one.src[0].shape;
    std::vector<TensorDesc> src{one.op.infer(one.src)[0]};
    if (pool.kind == Pool::Kind::max) src.push_back(one.src[0]);
    op.cases.push_back(make_case(one.name, PoolGrad{pool, {in[2], in[3]}}, std::move(src)));
  }
  return op;
}

}  // namespace maru
