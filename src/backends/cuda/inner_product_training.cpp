// Inner products whose weights are data, and their gradients: by the tiles of convolutions where
// operands are whole chunks, else by product_plain.
#include <algorithm>
#include <limits>

#include "backends/cuda/activation.h"
#include "backends/cuda/conv_grad_stages.h"
#include "backends/cuda/conv_stages.h"
#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/conv_grad_plain.h"
#include "ops/inner_product.h"
#include "ops/inner_product_grad.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostCount = std::int64_t{1} << 30;

std::int32_t narrow(std::int64_t value) { return static_cast<std::int32_t>(value); }

// The layer that a call is a product of. `data` is its input, or the gradient of that.
struct Layer {
  std::int64_t rows = 0, length = 0, outputs = 0;
  bool transpose = false, has_images = false;
  std::int64_t channels = 0,
               pixels = 1;  // of a row of data as it lies: channels of one pixel, next one

  Layer(const TensorDesc& data, std::int64_t row_count, std::int64_t output_count, bool is_transposed)
      : rows(row_count),
        length(rows == 0 ? 0 : data.count() / rows),
        outputs(output_count),
        transpose(is_transposed),
        has_images(data.shape.rank() == 4 && data.shape[0] == rows),
        channels(length) {
    if (!has_images || data.layout.kind != Layout::Kind::channels_last) return;
    channels = data.shape[1];
    pixels = length / std::max<std::int64_t>(channels, 1);
  }

  static std::optional<Layer> of(const Call& call) {
    const auto last = [](const Shape& shape) {
      return shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
    };
    if (const auto* product = call.op.as<InnerProduct>()) {
      const Shape& data = call.src[0].shape;
      return Layer(call.src[0], data.count(0, data.axis(product->axis)), product->outputs,
                   product->transpose);
    }
    if (const auto* grad = call.op.as<InnerProductGradData>()) {
      const std::int64_t outputs = std::max<std::int64_t>(last(call.src[0].shape), 1);
      return Layer(call.dst[0], call.src[0].count() / outputs, outputs, grad->transpose);
    }
    if (const auto* grad = call.op.as<InnerProductGradWeight>()) {
      const Shape& data = call.src[0].shape;
      return Layer(call.src[0], data.count(0, data.axis(grad->axis)), last(call.src[1].shape),
                   grad->transpose);
    }
    return std::nullopt;
  }

  bool is_empty() const { return rows * length * outputs == 0; }
  bool is_countable() const {
    return std::max({rows * length, rows * outputs, length * outputs}) <= kMostCount;
  }

  // In the weights, from one output to the next, and from one element of a plain row.
  std::int64_t output_step() const { return transpose ? 1 : length; }
  std::int64_t element_step() const { return transpose ? outputs : 1; }
  // In the weights, by elements of a row as they lie.
  Steps element_steps() const { return {pixels * element_step(), element_step(), narrow(channels)}; }
};

Steps steps(std::int64_t step) { return {step, 0, std::numeric_limits<std::int32_t>::max()}; }

ConvShape conv_shape(std::int64_t rows, std::int64_t channels, std::int64_t outputs) {
  ConvShape shape;  // one pixel of many channels for each row
  shape.images = narrow(rows);
  shape.channels = narrow(channels);
  shape.outputs = narrow(outputs);
  return shape;
}

bool is_half(const Call& call, std::size_t i) {
  return !call.constant[i] && call.src[i].dtype == DType::f16;
}

std::unique_ptr<Kernel> plain_kernel(const Runtime& runtime, const Call& call, const Layer& layer) {
  ProductParams params{};
  params.activation = activation_of(std::nullopt);
  const Steps elements = layer.element_steps(), outputs = steps(layer.output_step());
  const auto half = [&](std::size_t i) { return is_half(call, i) ? 1 : 0; };
  bool has_bias = false, is_weight = false;
  params.rows = narrow(layer.rows);
  if (const auto* product = call.op.as<InnerProduct>()) {
    has_bias = product->bias;
    params.activation = activation_of(product->activation);
    params.columns = narrow(layer.outputs);
    params.length = narrow(layer.length);
    params.a = {nullptr, steps(layer.length), steps(1), half(0)};
    params.b = {nullptr, outputs, elements, half(1)};
    params.bias_is_half = has_bias ? half(2) : 0;
    params.dst_rows = steps(layer.outputs);
    params.dst_columns = steps(1);
  } else if (call.op.as<InnerProductGradData>() != nullptr) {
    params.columns = narrow(layer.length);
    params.length = narrow(layer.outputs);
    params.a = {nullptr, steps(layer.outputs), steps(1), half(0)};
    params.b = {nullptr, elements, outputs, half(1)};
    params.dst_rows = steps(layer.length);
    params.dst_columns = steps(1);
  } else {
    is_weight = true;
    params.rows = narrow(layer.outputs);
    params.columns = narrow(layer.length);
    params.length = narrow(layer.rows);
    params.a = {nullptr, steps(1), steps(layer.outputs), half(1)};
    params.b = {nullptr, steps(1), steps(layer.length), half(0)};
    params.dst_rows = outputs;
    params.dst_columns = elements;
  }
  params.dst_is_half = call.dst[0].dtype == DType::f16 ? 1 : 0;
  const auto bind = [params, has_bias, is_weight](const Bound& bound) {
    ProductParams bound_params = params;
    bound_params.a.data = bound.src(is_weight ? 1 : 0);
    bound_params.b.data = bound.src(is_weight ? 0 : 1);
    bound_params.bias = has_bias ? bound.src(2) : nullptr;
    bound_params.dst = bound.dst(0);
    return bound_params;
  };
  const auto tiles = [](std::int32_t n) { return static_cast<unsigned>(divide_up(n, kProductTile)); };
  return std::make_unique<CudaKernel>(
      runtime, "product plain",
      std::vector{stage("product_plain", {tiles(params.columns), tiles(params.rows), 1},
                        {kProductTile, kProductTile, 1}, bind)});
}

// The product itself, or its gradient by data: weights are packed for it.
struct TiledProduct {
  ConvShape shape;
  std::optional<Unary> activation;
  bool has_bias = false, is_data = false;

  TiledProduct(const Call& call, const Layer& layer) {
    const auto* product = call.op.as<InnerProduct>();
    is_data = product == nullptr;
    if (!is_data) {
      activation = product->activation;
      has_bias = product->bias;
    }
    shape = is_data ? conv_shape(layer.rows, layer.outputs, layer.length)
                    : conv_shape(layer.rows, layer.length, layer.outputs);
  }

  void arrange(ConvPackParams& packing, const Layer& layer) const {
    const Steps elements = layer.element_steps();
    packing.group_step = 0;
    packing.lines = 1;
    packing.line_length = packing.row_length;
    if (is_data) {
      packing.inner_rows = elements.period;
      packing.row_step = elements.step;
      packing.outer_step = elements.far_step;
      packing.channel_step = layer.output_step();
      packing.rows_are_neighbours = layer.transpose ? 0 : 1;
      return;
    }
    packing.columns = narrow(layer.pixels);
    packing.tap_length = packing.channels = elements.period;
    packing.row_step = layer.output_step();
    packing.channel_step = elements.step;
    packing.tap_step = elements.far_step;
    packing.rows_are_neighbours = layer.transpose ? 1 : 0;
  }
};

std::unique_ptr<Kernel> tiled_kernel(const Runtime& runtime, const Call& call, const Layer& layer) {
  const DType dtype = call.dst[0].dtype;
  const TiledProduct product(call, layer);
  ConvOperands operands;
  operands.has_bias = product.has_bias;
  operands.activation = activation_of(product.activation);
  operands.src_pixel_stride = product.shape.channels;
  operands.dst_pixel_stride = product.shape.outputs;
  const ConvPlan plan =
      choose_plan(runtime, fmt::format("{} {} {}", call.op.key(), call.src[0].str(), call.dst[0].str()),
                  ConvPlan::candidates(product.shape, math_of(runtime, dtype),
                                       ConvPlan::Source::channels, conv_device(runtime)),
                  operands);
  Workspace workspace;
  Packing packing;
  packing.params = plan.packing();
  product.arrange(packing.params, layer);
  packing.weights = call.constant[1] ? DType::f32 : dtype;
  packing.math = plan.math;
  packing.to = workspace.add(plan.packed_bytes());
  operands.weights = {true, packing.to};
  if (product.has_bias && is_half(call, 2)) {
    packing.bias_to = workspace.add(static_cast<std::size_t>(layer.outputs) * sizeof(float));
    operands.bias = {true, *packing.bias_to};
  }
  operands.partial_at = workspace.add(plan.workspace_bytes());
  std::vector<Stage> stages = stages_of(plan, operands);
  stages.insert(stages.begin(), stage_of(packing));
  return std::make_unique<ChunkedKernel>(
      runtime, "product by " + plan.name() + " packing", std::move(stages), workspace.bytes(),
      std::vector<std::size_t>{0}, plain_kernel(runtime, call, layer));
}

std::unique_ptr<Kernel> weight_kernel(const Runtime& runtime, const Call& call, const Layer& layer) {
  const ConvGradPlan plan = ConvGradPlan::candidates(
      conv_shape(layer.rows, layer.length, layer.outputs), math_of(runtime, call.src[0].dtype),
      ConvPlan::Source::channels, conv_device(runtime))[0];
  ConvGradParams params = plan.params(layer.output_step());
  const Steps elements = layer.element_steps();
  params.columns.line_length = narrow(layer.length);
  params.columns.tap_length = params.columns.channels = elements.period;
  params.columns.line_taps = narrow(layer.pixels);
  params.columns.channel_step = elements.step;
  params.columns.tap_step = elements.far_step;
  params.data_pixel_stride = layer.length;
  params.gradient_pixel_stride = layer.outputs;
  return std::make_unique<ChunkedKernel>(
      runtime, "product by " + plan.name(), stages_of(plan, params, call.dst[0].dtype),
      plan.workspace_bytes(), std::vector<std::size_t>{0, 1}, plain_kernel(runtime, call, layer));
}

class InnerProductTrainingProvider final : public Provider {
 public:
  std::string name() const override { return "inner_product_training"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const std::optional<Layer> layer = Layer::of(call);
    if (!layer || layer->is_empty() || !layer->is_countable()) return;
    const bool is_weight = call.op.as<InnerProductGradWeight>() != nullptr;
    if (is_weight ? !is_gradient_of_weights(call) : !data_type(call)) return;
    // With constants alone it is one for using networks.
    if (call.op.as<InnerProduct>() != nullptr &&
        std::ranges::all_of(call.constant.subspan(1), std::identity()))
      return;
    constexpr std::int64_t kMostRows = std::int64_t{65535} * kProductTile;  // CUDA's limit of a grid
    if (std::max(layer->rows, layer->outputs) > kMostRows) return;
    const double moved =
        memory_seconds(runtime, call.op.cost(call.src, call.dst).bytes +
                                    2 * static_cast<double>(layer->length * layer->outputs));
    const double seconds = moved + seconds_of(call, *layer, runtime);
    const bool is_data = call.op.as<InnerProductGradData>() != nullptr;
    for (const Layout layout : {Layout::channels_last(), Layout::plain()}) {
      if (layout.kind == Layout::Kind::channels_last && !layer->has_images) continue;
      Offer offer = same_layout_offer(*this, call, Layout::plain(), seconds);
      (is_data ? offer.dst[0] : offer.src[0]) = layout;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Layer layer = *Layer::of(call);
    if (!has_tiles(call, layer, runtime)) return plain_kernel(runtime, call, layer);
    return call.op.as<InnerProductGradWeight>() != nullptr ? weight_kernel(runtime, call, layer)
                                                           : tiled_kernel(runtime, call, layer);
  }

 private:
  static bool has_tiles(const Call& call, const Layer& layer, const Runtime& runtime) {
    const ConvPlan::Math math = math_of(runtime, call.src[0].dtype);
    constexpr auto kSource = ConvPlan::Source::channels;
    if (call.op.as<InnerProductGradWeight>() == nullptr)
      return ConvPlan::takes(TiledProduct(call, layer).shape, math, kSource);
    return ConvGradPlan::takes(conv_shape(layer.rows, layer.length, layer.outputs), math, kSource);
  }

  static double seconds_of(const Call& call, const Layer& layer, const Runtime& runtime) {
    constexpr double kFlopsOfAUnit = 8e9;  // of product_plain
    const ConvPlan::Math math = math_of(runtime, call.src[0].dtype);
    constexpr auto kSource = ConvPlan::Source::channels;
    const ConvDevice device = conv_device(runtime);
    if (!has_tiles(call, layer, runtime)) {
      return call.op.cost(call.src, call.dst).flops / (kFlopsOfAUnit * runtime.facts().multiprocessors);
    }
    if (call.op.as<InnerProductGradWeight>() == nullptr)
      return ConvPlan::candidates(TiledProduct(call, layer).shape, math, kSource, device)[0].seconds;
    return ConvGradPlan::candidates(conv_shape(layer.rows, layer.length, layer.outputs), math, kSource,
                                    device)[0]
        .seconds;
  }
};

}  // namespace

std::unique_ptr<Provider> inner_product_training_provider() {
  return std::make_unique<InnerProductTrainingProvider>();
}

}  // namespace maru::cuda
