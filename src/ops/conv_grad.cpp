#include "ops/conv_grad.h"

#include "base/error.h"
#include "ops/conv.h"
#include "ops/reduce.h"
#include "ops/reference.h"
#include "ops/unary_grad.h"

namespace maru {
namespace {

// Calls f(data index, weight index, result index) for each product that the convolution sums.
template <class F>
void each_product(const Window& window, std::int64_t group, const Shape& data, const Shape& result,
                  F&& f) {
  const std::int64_t group_src = data[1] / group, group_dst = result[1] / group;
  const auto [kernel_h, kernel_w] = window.kernel;
  for (std::int64_t n = 0; n < result[0]; ++n) {
    for (std::int64_t o = 0; o < result[1]; ++o) {
      for (std::int64_t c = 0; c < group_src; ++c) {
        const std::int64_t channel = o / group_dst * group_src + c;
        for (std::int64_t ky = 0; ky < kernel_h; ++ky) {
          for (std::int64_t kx = 0; kx < kernel_w; ++kx) {
            const std::int64_t tap = ((o * group_src + c) * kernel_h + ky) * kernel_w + kx;
            for (std::int64_t y = 0; y < result[2]; ++y) {
              const std::int64_t sy = y * window.stride[0] - window.pad[0] + ky * window.dilation[0];
              if (sy < 0 || sy >= data[2]) continue;
              for (std::int64_t x = 0; x < result[3]; ++x) {
                const std::int64_t sx = x * window.stride[1] - window.pad[1] + kx * window.dilation[1];
                if (sx < 0 || sx >= data[3]) continue;
                f(((n * data[1] + channel) * data[2] + sy) * data[3] + sx, tap,
                  ((n * result[1] + o) * result[2] + y) * result[3] + x);
              }
            }
          }
        }
      }
    }
  }
}

void check_result(const Window& window, std::int64_t group, const Shape& data, const Shape& result) {
  window.check(data[2], data[3]);
  if (group < 1 || data[1] % group != 0 || result[1] % group != 0 || data[0] != result[0])
    throw Error("conv", "groups that divide the channels, and as many images",
                fmt::format("{} groups of {} and {}", group, data.str(), result.str()));
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t extent =
        (data[axis + 2] + 2 * window.pad[axis] - window.reach(axis)) / window.stride[axis] + 1;
    if (result[axis + 2] != extent)
      throw Error("conv", fmt::format("a result of {} on axis {}", extent, axis + 2), result.str());
  }
}

double flops_of(const Shape& weight, const Shape& result) {
  return 2 * static_cast<double>(weight.count(1, 4)) * static_cast<double>(result.count());
}

}  // namespace

std::vector<TensorDesc> ConvGradData::infer(Descs src) const {
  require_operands(src, 2, 2, 1);  // a frozen weight is a constant
  for (const TensorDesc& desc : src) require_rank(desc, 4);
  const Shape &result = src[0].shape, &weight = src[1].shape;
  require_shape(src, 1, {result[1], weight[1], window.kernel[0], window.kernel[1]}, "weight");
  const Shape data{result[0], weight[1] * group, extents[0], extents[1]};
  check_result(window, group, data, result);
  return {{src[0].dtype, data, Layout::plain()}};
}

Cost ConvGradData::cost(Descs src, Descs dst) const {
  return {flops_of(src[1].shape, src[0].shape), traffic(src, dst)};
}

void ConvGradData::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *gradient = src[0].as<const T>(), *weight = src[1].as<const T>();
    std::vector<double> sums(static_cast<std::size_t>(dst[0].desc.count()));
    each_product(window, group, dst[0].desc.shape, src[0].desc.shape,
                 [&](std::int64_t pixel, std::int64_t tap, std::int64_t at) {
                   sums[static_cast<std::size_t>(pixel)] +=
                       static_cast<double>(gradient[at]) * static_cast<double>(weight[tap]);
                 });
    for (std::size_t i = 0; i < sums.size(); ++i) dst[0].as<T>()[i] = static_cast<T>(sums[i]);
  });
}

std::vector<TensorDesc> ConvGradWeight::infer(Descs src) const {
  require_operands(src, 2, 2);
  for (const TensorDesc& desc : src) require_rank(desc, 4);
  check_result(window, group, src[0].shape, src[1].shape);
  return {{widen ? DType::f32 : src[0].dtype,
           {src[1].shape[1], src[0].shape[1] / group, window.kernel[0], window.kernel[1]},
           Layout::plain()}};
}

Cost ConvGradWeight::cost(Descs src, Descs dst) const {
  return {flops_of(dst[0].shape, src[1].shape), traffic(src, dst)};
}

void ConvGradWeight::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *data = src[0].as<const T>(), *gradient = src[1].as<const T>();
    std::vector<double> sums(static_cast<std::size_t>(dst[0].desc.count()));
    each_product(window, group, src[0].desc.shape, src[1].desc.shape,
                 [&](std::int64_t pixel, std::int64_t tap, std::int64_t at) {
                   sums[static_cast<std::size_t>(tap)] +=
                       static_cast<double>(data[pixel]) * static_cast<double>(gradient[at]);
                 });
    for (std::size_t i = 0; i < sums.size(); ++i) dst[0].as<T>()[i] = static_cast<T>(sums[i]);
  });
}

Gradients conv_gradient(GradientCall& call) {
  const Conv& conv = *call.node.op.as<Conv>();
  const ValueId gradient = before_activation(call, conv.activation);
  const Shape in = call.src_desc(0).shape;  // adding nodes moves the graph's
  Gradients result(call.node.src.size());
  if (call.wanted[1])
    result[1] = call.add("weight gradient", ConvGradWeight{conv.window, conv.group},
                         {call.node.src[0], gradient});
  if (conv.bias && call.wanted[2]) result[2] = call.add("bias gradient", Reduce{1, 1}, {gradient});
  if (call.wanted[0])
    result[0] = call.add("data gradient", ConvGradData{conv.window, conv.group, {in[2], in[3]}},
                         {gradient, call.node.src[1]});
  return result;
}

Operator conv_grad_data_operator() {
  Operator op = operator_of<ConvGradData>();
  const auto add = [&](std::string name, Shape result, Shape weight, ConvGradData grad) {
    op.cases.push_back(make_case(std::move(name), grad, {f32(result), f32(weight)}));
  };
  add("1x1", {2, 32, 7, 9}, {32, 16, 1, 1}, {{}, 1, {7, 9}});
  add("3x3", {1, 32, 8, 8}, {32, 16, 3, 3}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 1, {8, 8}});
  add("5x5", {2, 16, 9, 7}, {16, 32, 5, 5}, {{{5, 5}, {1, 1}, {2, 2}, {1, 1}}, 1, {9, 7}});
  add("stride 2", {2, 7, 5, 5}, {7, 5, 3, 3}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 1, {9, 10}});
  add("7x7 stride 2", {1, 16, 8, 8}, {16, 3, 7, 7}, {{{7, 7}, {2, 2}, {3, 3}, {1, 1}}, 1, {15, 16}});
  add("dilated", {1, 8, 11, 11}, {8, 8, 3, 3}, {{{3, 3}, {1, 1}, {2, 2}, {2, 2}}, 1, {11, 11}});
  add("grouped", {1, 32, 9, 9}, {32, 8, 3, 3}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 2, {9, 9}});
  add("depthwise", {2, 24, 6, 6}, {24, 1, 3, 3}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 24, {11, 11}});
  add("tiles", {2, 72, 12, 11}, {72, 40, 3, 3}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 1, {12, 11}});
  add("rectangular", {1, 16, 9, 6}, {16, 8, 1, 7}, {{{1, 7}, {1, 2}, {0, 3}, {1, 1}}, 1, {9, 12}});
  add("1x1 padded", {1, 16, 7, 6}, {16, 24, 1, 1}, {{{1, 1}, {1, 1}, {1, 1}, {1, 1}}, 1, {5, 4}});
  add("1x1 stride 2", {2, 16, 4, 5}, {16, 24, 1, 1}, {{{1, 1}, {2, 2}, {0, 0}, {1, 1}}, 1, {8, 9}});
  add("3x3 stride 2", {2, 16, 5, 5}, {16, 24, 3, 3}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 1, {9, 10}});
  add("stride beyond the kernel", {1, 8, 3, 3}, {8, 8, 2, 2},
      {{{2, 2}, {3, 3}, {0, 0}, {1, 1}}, 1, {10, 9}});
  add("grouped stride 2", {2, 32, 5, 4}, {32, 8, 3, 3}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 2, {10, 8}});
  add("one pixel", {1, 64, 1, 1}, {64, 16, 1, 1}, {});
  return op;
}

Operator conv_grad_weight_operator() {
  Operator op = operator_of<ConvGradWeight>();
  const auto add = [&](std::string name, Shape data, Shape result, ConvGradWeight grad) {
    op.cases.push_back(make_case(std::move(name), grad, {f32(data), f32(result)}));
  };
  add("1x1", {2, 16, 7, 9}, {2, 32, 7, 9}, {});
  add("3x3", {2, 16, 8, 8}, {2, 32, 8, 8}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}});
  add("5x5", {2, 32, 9, 7}, {2, 16, 9, 7}, {{{5, 5}, {1, 1}, {2, 2}, {1, 1}}});
  add("stride 2", {2, 5, 9, 10}, {2, 7, 5, 5}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}});
  add("7x7 stride 2", {2, 3, 15, 16}, {2, 16, 8, 8}, {{{7, 7}, {2, 2}, {3, 3}, {1, 1}}});
  add("dilated", {1, 8, 11, 11}, {1, 8, 11, 11}, {{{3, 3}, {1, 1}, {2, 2}, {2, 2}}});
  add("grouped", {2, 16, 9, 9}, {2, 32, 9, 9}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 2});
  add("depthwise", {2, 24, 11, 11}, {2, 24, 6, 6}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 24});
  add("tiles", {2, 136, 12, 11}, {2, 72, 12, 11}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}});
  add("1x1 tiles", {2, 72, 12, 11}, {2, 136, 12, 11}, {});
  add("few channels", {3, 4, 20, 21}, {3, 24, 20, 21}, {{{3, 5}, {1, 1}, {1, 2}, {1, 1}}});
  add("rectangular", {1, 8, 9, 12}, {1, 16, 9, 6}, {{{1, 7}, {1, 2}, {0, 3}, {1, 1}}});
  add("1x1 padded", {1, 24, 5, 4}, {1, 16, 7, 6}, {{{1, 1}, {1, 1}, {1, 1}, {1, 1}}});
  add("3x3 stride 2", {2, 24, 9, 10}, {2, 16, 5, 5}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}});
  add("one pixel", {1, 16, 1, 1}, {1, 64, 1, 1}, {});
  const auto add_widened = [&](Shape data, Shape result, ConvGradWeight grad) {
    grad.widen = true;
    op.cases.push_back(make_case("widened " + data.str(), grad, {f16(data), f16(result)}));
  };
  add_widened({2, 16, 8, 8}, {2, 32, 8, 8}, {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}});
  add_widened({2, 72, 12, 11}, {2, 136, 12, 11}, {});
  add_widened({2, 3, 15, 16}, {2, 16, 8, 8}, {{{7, 7}, {2, 2}, {3, 3}, {1, 1}}});
  add_widened({2, 5, 9, 10}, {2, 7, 5, 5}, {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}});
  return op;
}

}  // namespace maru
