#include "ops/conv.h"

#include "base/error.h"
#include "ops/conv_grad.h"
#include "ops/reference.h"

namespace maru {

std::vector<Param> Conv::params(Descs src) const {
  require_operands(src, 1, 1);
  require_rank(src[0], 4);
  const std::int64_t channels = src[0].shape[1];
  if (outputs < 1 || group < 1 || channels % group != 0 || outputs % group != 0) {
    throw Error("conv", "outputs and input channels that the groups divide",
                fmt::format("{} outputs, {} channels, {} groups", outputs, channels, group));
  }
  std::vector<Param> wanted{
      {"weight", {outputs, channels / group, window.kernel[0], window.kernel[1]}}};
  if (bias) wanted.push_back({"bias", {outputs}});
  return wanted;
}

std::vector<TensorDesc> Conv::infer(Descs src) const {
  const std::size_t operands = bias ? 3 : 2;
  require_operands(src, operands, operands, 1);
  require_params(src, 1, params(src.first(1)));
  const Shape& in = src[0].shape;
  window.check(in[2], in[3]);
  const auto extent = [&](std::size_t axis) {
    return (in[axis + 2] + 2 * window.pad[axis] - window.reach(axis)) / window.stride[axis] + 1;
  };
  return {{src[0].dtype, {in[0], outputs, extent(0), extent(1)}, Layout::plain()}};
}

Cost Conv::cost(Descs src, Descs dst) const {
  const double taps = static_cast<double>(src[1].shape.count(1, 4));
  return {2 * taps * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Conv::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& in = src[0].desc.shape;
    const Shape& out = dst[0].desc.shape;
    const T* data = src[0].as<const T>();
    const T* weight = src[1].as<const T>();
    const std::int64_t group_src = in[1] / group, group_dst = outputs / group;
    const auto [kernel_h, kernel_w] = window.kernel;
    for (std::int64_t n = 0; n < out[0]; ++n) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        for (std::int64_t y = 0; y < out[2]; ++y) {
          for (std::int64_t x = 0; x < out[3]; ++x) {
            double sum = bias ? static_cast<double>(src[2].as<const T>()[o]) : 0.0;
            for (std::int64_t c = 0; c < group_src; ++c) {
              const std::int64_t channel = o / group_dst * group_src + c;
              for (std::int64_t ky = 0; ky < kernel_h; ++ky) {
                const std::int64_t sy = y * window.stride[0] - window.pad[0] + ky * window.dilation[0];
                if (sy < 0 || sy >= in[2]) continue;
                for (std::int64_t kx = 0; kx < kernel_w; ++kx) {
                  const std::int64_t sx =
                      x * window.stride[1] - window.pad[1] + kx * window.dilation[1];
                  if (sx < 0 || sx >= in[3]) continue;
                  sum += static_cast<double>(data[((n * in[1] + channel) * in[2] + sy) * in[3] + sx]) *
                         static_cast<double>(
                             weight[((o * group_src + c) * kernel_h + ky) * kernel_w + kx]);
                }
              }
            }
            if (activation) sum = activation->apply(sum);
            dst[0].as<T>()[((n * out[1] + o) * out[2] + y) * out[3] + x] = static_cast<T>(sum);
          }
        }
      }
    }
  });
}

Operator conv_operator() {
  Operator op = operator_of<Conv>();
  op.gradient = conv_gradient;
  op.spellings = {
      {"caffe", "Convolution", "convolution_param", [](const AttrReader& reader, Arity) -> Op {
         Conv conv;
         conv.outputs = reader.integer("num_output", 0);
         conv.window = Window::from_caffe(reader);
         conv.group = reader.integer("group", 1);
         conv.bias = reader.boolean("bias_term", true);
         if (reader.integer("axis", 1) != 1) {
           throw Error("axis", "channels on axis 1", fmt::format("{}", reader.integer("axis", 1)));
         }
         return conv;
       }}};
  const auto add = [&](std::string name, Shape data, Conv conv) {
    op.cases.push_back(make_case(std::move(name), conv, {f32(data)}));
  };
  const auto window = [](std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                         std::int64_t dilation = 1) {
    return Window{{kernel, kernel}, {stride, stride}, {pad, pad}, {dilation, dilation}};
  };
  const Unary relu{};
  add("1x1", {2, 32, 7, 9}, {48, window(1, 1, 0)});
  add("3x3", {1, 16, 8, 8}, {32, window(3, 1, 1)});
  add("3x3 relu", {1, 16, 8, 8}, {32, window(3, 1, 1), 1, true, relu});
  add("5x5 no bias", {1, 16, 9, 7}, {32, window(5, 1, 2), 1, false});
  add("first 7x7", {1, 3, 30, 31}, {64, window(7, 2, 3), 1, true, relu});
  add("odd channels", {2, 5, 9, 9}, {7, window(3, 2, 1)});
  add("dilated", {1, 8, 15, 15}, {8, window(3, 1, 2, 2)});
  add("grouped", {1, 16, 9, 9}, {32, window(3, 1, 1), 2});
  add("grouped odd", {1, 6, 9, 9}, {9, window(3, 1, 1), 3});
  add("depthwise", {2, 24, 11, 11}, {24, window(3, 2, 1), 24, true, relu});
  add("rectangular", {1, 16, 9, 12}, {16, Window{{1, 7}, {1, 2}, {0, 3}, {1, 1}}});
  add("leaky", {1, 16, 5, 5}, {16, window(3, 1, 1), 1, true, Unary{Unary::Kind::relu, 0.1}});
  add("elu", {1, 16, 5, 5}, {16, window(3, 1, 1), 1, true, Unary{Unary::Kind::elu, 1}});
  add("large 3x3", {2, 32, 30, 29}, {48, window(3, 1, 1), 1, true, relu});
  add("whole image", {1, 32, 4, 4}, {10, window(4, 1, 0)});
  // In training weights and biases are data.
  const auto add_training = [&](std::string name, Shape data, Conv conv) {
    add("training " + std::move(name), data, conv);
    op.cases.back().data = op.cases.back().src.size();
  };
  add_training("1x1", {2, 32, 7, 9}, {48, window(1, 1, 0)});
  add_training("3x3 relu", {2, 40, 12, 11}, {72, window(3, 1, 1), 1, true, relu});
  add_training("5x5 no bias", {1, 16, 9, 7}, {32, window(5, 1, 2), 1, false});
  add_training("first 7x7", {2, 3, 30, 31}, {64, window(7, 2, 3), 1, true, relu});
  add_training("odd channels", {2, 5, 9, 9}, {7, window(3, 2, 1)});
  add_training("dilated", {1, 8, 15, 15}, {8, window(3, 1, 2, 2)});
  add_training("grouped", {2, 16, 9, 9}, {32, window(3, 1, 1), 2});
  add_training("depthwise", {2, 24, 11, 11}, {24, window(3, 2, 1), 24});
  add_training("one pixel", {1, 64, 1, 1}, {10, window(1, 1, 0), 1, true, Unary{Unary::Kind::elu, 1}});
  return op;
}

}  // namespace maru
