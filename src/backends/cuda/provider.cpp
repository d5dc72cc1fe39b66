#include "backends/cuda/provider.h"

#include <algorithm>

#include "backends/cuda/launch.h"
#include "base/error.h"

namespace maru::cuda {

std::vector<std::unique_ptr<Provider>> providers() {
  std::vector<std::unique_ptr<Provider>> all;
  all.push_back(copy_provider());
  all.push_back(rows_provider());
  all.push_back(conv_provider());
  all.push_back(depthwise_provider());
  all.push_back(inner_product_provider());
  all.push_back(inner_product_training_provider());
  all.push_back(conv_grad_data_provider());
  all.push_back(conv_grad_weight_provider());
  all.push_back(cast_provider());
  all.push_back(pool_lrn_provider());
  all.push_back(pool_provider());
  all.push_back(lrn_provider());
  all.push_back(eltwise_provider());
  all.push_back(unary_provider());
  all.push_back(channelwise_provider());
  all.push_back(batch_norm_provider());
  all.push_back(running_statistics_provider());
  all.push_back(softmax_provider());
  all.push_back(preprocess_provider());
  all.push_back(unary_grad_provider());
  all.push_back(pool_grad_provider());
  all.push_back(lrn_grad_provider());
  all.push_back(reduce_provider());
  all.push_back(dropout_provider());
  all.push_back(loss_provider());
  all.push_back(pair_loss_provider());
  all.push_back(update_provider());
  all.push_back(all_reduce_provider());
  return all;
}

CudaKernel::CudaKernel(const Runtime& runtime, std::string name, std::vector<Stage> stages,
                       std::size_t workspace_bytes)
    : runtime_(runtime),
      name_(std::move(name)),
      stages_(std::move(stages)),
      workspace_bytes_(workspace_bytes) {
  for (const Stage& stage : stages_) functions_.push_back(runtime_.find(stage.function));
}

std::unique_ptr<Launch> CudaKernel::bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                         const Tensor& workspace) const {
  const Bound bound(src, dst, workspace);
  std::vector<CudaLaunch::One> all;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    if (std::ranges::find(stage.grid, 0u) != stage.grid.end()) continue;
    all.push_back({{functions_[i],
                    {stage.grid[0], stage.grid[1], stage.grid[2]},
                    {stage.block[0], stage.block[1], stage.block[2]},
                    stage.shared_bytes,
                    stage.cluster,
                    nullptr},
                   stage.params(bound),
                   nullptr});
  }
  for (CudaLaunch::One& one : all) one.launch.params = one.params.data();
  return std::make_unique<CudaLaunch>(runtime_, std::move(all));
}

Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds) {
  Offer offer;
  offer.kernel = provider.name();
  offer.src.assign(call.src.size(), layout);
  offer.dst.assign(call.dst.size(), layout);
  offer.seconds = seconds;
  return offer;
}

bool is_known(const Layout& layout) {
  return layout.kind == Layout::Kind::plain || layout.kind == Layout::Kind::channels_last;
}

std::vector<Layout> natural_layouts(const Call& call) {
  const TensorDesc& first = call.src[0];
  if (is_known(first.layout)) return {first.layout.dense()};
  if (first.shape.rank() == 4) return {Layout::channels_last(), Layout::plain()};
  return {Layout::plain()};
}

std::vector<Layout> layouts_where(const Call& call, bool is_last_fine) {
  return is_last_fine ? natural_layouts(call) : std::vector{Layout::plain()};
}

std::optional<DType> data_type(const Call& call) {
  std::optional<DType> found;
  const auto is_fine = [&](const TensorDesc& desc) {
    if (!found) found = desc.dtype;
    return desc.dtype == *found && (desc.dtype == DType::f32 || desc.dtype == DType::f16);
  };
  for (std::size_t i = 0; i < call.src.size(); ++i) {
    if (!call.constant[i] && !is_fine(call.src[i])) return std::nullopt;
  }
  for (const TensorDesc& desc : call.dst) {
    if (!is_fine(desc)) return std::nullopt;
  }
  return found;
}

std::string function_of(std::string_view name, DType dtype) {
  return fmt::format("{}_{}", name, to_string(dtype));
}

double memory_seconds(const Runtime& runtime, double bytes) {
  // A tenth of a card with the best memory; of one with the CPU's, about what that has.
  constexpr double kOfACard = 500e9, kShared = 50e9, kLaunchSeconds = 3e-6;
  return kLaunchSeconds + bytes / (runtime.facts().integrated != 0 ? kShared : kOfACard);
}

Images::Images(const TensorDesc& desc) {
  const bool has_images = desc.shape.rank() >= 2;
  const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
  count = has_images ? desc.shape[0] : 1;
  channels = has_images ? desc.shape[1] : 1;
  pixels = has_images ? desc.shape.count(2, desc.shape.rank()) : desc.count();
  image_stride = has_images ? desc.image_stride() : pixels;
  const std::int64_t stored = desc.layout.is_window() ? desc.layout.stored_channels : channels;
  channel_stride = is_last ? 1 : pixels;
  pixel_stride = is_last ? stored : 1;
}

}  // namespace maru::cuda
