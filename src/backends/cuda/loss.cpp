#include "ops/loss.h"

#include <limits>

#include "backends/cuda/kernels/loss.h"
#include "backends/cuda/training.h"
#include "ops/reference.h"

namespace maru::cuda {
namespace {

// The losses of classes, each with an axis, and labels that may be ignored.
struct ClassLoss {
  std::int64_t axis;
  std::optional<std::int64_t> ignore;
  LossNorm norm;
};

std::optional<ClassLoss> class_loss_of(const Call& call) {
  const auto of = [](const SoftmaxLoss& loss) { return ClassLoss{loss.axis, loss.ignore, loss.norm}; };
  if (const auto* loss = call.op.as<SoftmaxLoss>()) return of(*loss);
  if (const auto* grad = call.op.as<SoftmaxLossGrad>()) return of(grad->loss);
  if (const auto* accuracy = call.op.as<Accuracy>())
    return ClassLoss{accuracy->axis, accuracy->ignore, LossNorm::valid};
  return std::nullopt;
}

std::size_t axis_of(const Call& call, const ClassLoss& loss) {
  return call.src[0].shape.axis(loss.axis);
}

LossPlaces places_of(const Call& call, const ClassLoss& loss) {
  const std::size_t axis = axis_of(call, loss);
  const Extents extents = extents_around(call.src[0].shape, axis, axis + 1);
  const bool is_last = call.src[0].layout.kind == Layout::Kind::channels_last;
  return {static_cast<std::uint32_t>(extents.outer * extents.inner),
          static_cast<std::uint32_t>(extents.middle),
          static_cast<std::uint32_t>(is_last ? 1 : extents.inner),
          loss.ignore ? static_cast<double>(*loss.ignore) : std::numeric_limits<double>::quiet_NaN()};
}

// Nothing where it is how many labels are not ignored, and some may be.
std::optional<float> divisor_of(const Call& call, const ClassLoss& loss) {
  const Shape& shape = call.src[0].shape;
  const std::int64_t outer = shape.count(0, axis_of(call, loss));
  const std::int64_t places = outer * shape.count(axis_of(call, loss) + 1, shape.rank());
  switch (loss.norm) {
    case LossNorm::full:
      return static_cast<float>(places);
    case LossNorm::valid:
      if (loss.ignore) return std::nullopt;
      return static_cast<float>(std::max<std::int64_t>(places, 1));
    case LossNorm::batch_size:
      return static_cast<float>(outer);
    case LossNorm::none:
      return 1.0F;
  }
  return std::nullopt;
}

class LossProvider final : public Provider {
 public:
  std::string name() const override { return "loss"; }

  // What becomes of scores keeps its digits, so it is f32 where data is f16, too.
  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto loss = class_loss_of(call);
    if (!loss || !is_f32_call(call, 1)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    for (const Layout layout : layouts_where(call, axis_of(call, *loss) == 1)) {
      Offer offer = same_layout_offer(*this, call, Layout::plain(), seconds);
      offer.src[0] = layout;
      // Of a loss, the scores' shares are the second result.
      if (call.op.as<Accuracy>() == nullptr) offer.dst.back() = layout;
      offer.in_place = call.op.as<SoftmaxLossGrad>() != nullptr;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    if (call.op.as<SoftmaxLossGrad>() != nullptr) return gradient(call, runtime);
    const auto* accuracy = call.op.as<Accuracy>();
    const ClassLoss loss = *class_loss_of(call);
    LossParams params{};
    params.at = places_of(call, loss);
    if (accuracy != nullptr) params.top = static_cast<std::uint32_t>(accuracy->top);
    // A block is worth it where a place has something to do for its threads.
    constexpr std::uint32_t kManyClasses = 32;
    const bool has_many = params.at.classes >= kManyClasses;
    const auto blocks = has_many
                            ? params.at.places
                            : static_cast<std::uint32_t>(divide_up(params.at.places, kLossThreads));
    Pieces pieces;
    const std::size_t sums = pieces.add(std::int64_t{blocks} * std::int64_t{sizeof(float)});
    const std::size_t counts = pieces.add(std::int64_t{blocks} * std::int64_t{sizeof(std::uint32_t)});
    const bool has_shares = accuracy == nullptr;
    const std::string name = has_shares ? "softmax_loss" : "accuracy";
    Stage first = stage(has_many ? name : name + "_short", {blocks, 1, 1}, {kLossThreads, 1, 1},
                        [params, sums, counts, has_shares](const Bound& bound) {
                          LossParams bound_params = params;
                          bound_params.scores = bound.src<float>(0);
                          bound_params.labels = bound.src<float>(1);
                          if (has_shares) bound_params.shares = bound.dst<float>(1);
                          bound_params.sums = bound.workspace<float>(sums);
                          bound_params.counts = bound.workspace<std::uint32_t>(counts);
                          return bound_params;
                        });
    const float divisor = divisor_of(call, loss).value_or(0);
    Stage end = stage("loss_end", {1, 1, 1}, {kLossThreads, 1, 1},
                      [blocks, divisor, sums, counts](const Bound& bound) {
                        return LossEndParams{bound.workspace<float>(sums),
                                             bound.workspace<std::uint32_t>(counts),
                                             bound.dst<float>(0), blocks, divisor};
                      });
    return std::make_unique<CudaKernel>(runtime, name, std::vector{std::move(first), std::move(end)},
                                        pieces.bytes());
  }

 private:
  static std::unique_ptr<Kernel> gradient(const Call& call, const Runtime& runtime) {
    const ClassLoss loss = *class_loss_of(call);
    const LossPlaces places = places_of(call, loss);
    const std::optional<float> divisor = divisor_of(call, loss);
    std::vector<Stage> stages;
    if (!divisor) {
      stages.push_back(
          stage("loss_count", {1, 1, 1}, {kLossThreads, 1, 1}, [places](const Bound& bound) {
            return LossCountParams{bound.src<float>(1), bound.workspace<std::uint32_t>(), places};
          }));
    }
    stages.push_back(spread(
        runtime, "softmax_loss_grad", call.src[0].count(), [places, divisor](const Bound& bound) {
          return LossGradParams{
              bound.src<float>(0), bound.src<float>(1),
              bound.src<float>(2), divisor ? nullptr : bound.workspace<std::uint32_t>(),
              bound.dst<float>(0), places,
              divisor.value_or(1)};
        }));
    return std::make_unique<CudaKernel>(runtime, "softmax_loss_grad", std::move(stages),
                                        divisor ? 0 : sizeof(std::uint32_t));
  }
};

}  // namespace

std::unique_ptr<Provider> loss_provider() { return std::make_unique<LossProvider>(); }

}  // namespace maru::cuda
