#include "ops/preprocess.h"

#include "backends/opencl/provider.h"

namespace maru::opencl {
namespace {

// In two launches: where each column and row of the result comes from, then the pixels. A photo that
// leaves the buffer, which a kernel cannot refuse, becomes an image that is not a number.
class PreprocessProvider final : public Provider {
 public:
  std::string name() const override { return "preprocess.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Preprocess>() == nullptr) return;
    if (call.dst[0].dtype == DType::f16 && !runtime.has_halves()) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       memory_seconds(static_cast<double>(call.dst[0].bytes()) * 4)));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Preprocess& op = *call.op.as<Preprocess>();
    const Normalise normalise = op.normalise();
    std::string options;
    if (normalise.fit == Normalise::Fit::crop) options += " -DCROP";
    if (normalise.bgr) options += " -DBGR";
    if (call.dst[0].dtype == DType::f16) options += " -DHALF";
    const cl_program program = runtime.program("preprocess", options);
    constexpr std::size_t kTap = 16;
    const std::int64_t images = call.dst[0].shape[0], taps = op.width + op.height;
    const auto height = static_cast<cl_int>(op.height), width = static_cast<cl_int>(op.width);
    return std::make_unique<OpenclKernel>(
        "preprocess.cl",
        std::vector{
            stage(program, "taps", taps, 1, images, {src(1), workspace(kTap), Count{0}, height, width}),
            stage(program, "preprocess", op.width * op.height, 1, images,
                  {src(0), src(1), workspace(kTap), dst(0), height, width, normalise.mean[0],
                   normalise.mean[1], normalise.mean[2], normalise.scale})},
        static_cast<std::size_t>(images * taps) * kTap);
  }
};

}  // namespace

std::unique_ptr<Provider> preprocess_provider() { return std::make_unique<PreprocessProvider>(); }

}  // namespace maru::opencl
