#include "ops/preprocess.h"

#include <algorithm>
#include <limits>

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/preprocess.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostBlocksDeep = 65535;  // CUDA's limit of a grid's third extent
constexpr int kPadded = 4;  // channels of a pixel for the first convolution, the last of them zero

// A photo that leaves the buffer, which a kernel cannot refuse, becomes an image that is not a number.
class PreprocessProvider final : public Provider {
 public:
  std::string name() const override { return "preprocess"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const DType dtype = call.dst[0].dtype;
    if (call.op.as<Preprocess>() == nullptr) return;
    // Pixels, of which a large batch has room for more, are counted in 64 bits.
    if (call.dst[0].count() > std::numeric_limits<std::int32_t>::max()) return;
    if (dtype != DType::f32 && dtype != DType::f16) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.dst[0].bytes()) * 4);
    for (const Layout layout : {Layout::blocked(kPadded), Layout::channels_last(), Layout::plain()}) {
      Offer offer = same_layout_offer(*this, call, Layout::plain(), seconds);
      offer.dst[0] = layout;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Preprocess& op = *call.op.as<Preprocess>();
    const Normalise normalise = op.normalise();
    const TensorDesc& dst = call.dst[0];
    PreprocessParams params{};
    params.is_padded = dst.layout.kind == Layout::Kind::blocked;
    params.dst_strides =
        params.is_padded ? ImageStrides{dst.image_stride(), 1, kPadded} : strides_of(dst);
    params.photos = static_cast<std::int32_t>(dst.shape[0]);
    params.height = static_cast<std::int32_t>(op.height);
    params.width = static_cast<std::int32_t>(op.width);
    std::ranges::copy(normalise.mean, params.mean);
    params.scale = normalise.scale;
    params.is_crop = normalise.fit == Normalise::Fit::crop;
    params.is_bgr = normalise.bgr;
    // Enough blocks for every multiprocessor, few of them that read a frame.
    constexpr std::int64_t kBlocksEach = 16;
    const std::int64_t columns = divide_up(op.width, kPreprocessColumns);
    const std::int64_t wanted = divide_up(kBlocksEach * runtime.facts().multiprocessors,
                                          std::max<std::int64_t>(columns * dst.shape[0], 1));
    const std::int64_t rows = std::min(divide_up(op.height, kPreprocessRows), wanted);
    const auto photos = static_cast<unsigned>(std::min<std::int64_t>(dst.shape[0], kMostBlocksDeep));
    return std::make_unique<CudaKernel>(
        runtime, "preprocess",
        std::vector{stage(function_of("preprocess", dst.dtype),
                          {static_cast<unsigned>(columns), static_cast<unsigned>(rows), photos},
                          {kPreprocessColumns, kPreprocessRows, 1}, [params](const Bound& bound) {
                            PreprocessParams bound_params = params;
                            bound_params.pixels = bound.src<std::uint8_t>(0);
                            bound_params.frames = bound.src<std::int32_t>(1);
                            bound_params.bytes = bound.src_desc(0).count();
                            bound_params.dst = bound.dst(0);
                            bound_params.is_aligned = is_aligned(bound_params.dst, 0);
                            return bound_params;
                          })});
  }
};

}  // namespace

std::unique_ptr<Provider> preprocess_provider() { return std::make_unique<PreprocessProvider>(); }

}  // namespace maru::cuda
