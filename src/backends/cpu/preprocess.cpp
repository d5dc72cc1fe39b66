#include "ops/preprocess.h"

#include "backends/cpu/provider.h"

namespace maru::cpu {
namespace {

class PreprocessProvider final : public Provider {
 public:
  std::string name() const override { return "resize and normalise"; }

  void offer(const Call& call, const Cpu&, std::vector<Offer>& offers) const override {
    if (call.op.as<Preprocess>() == nullptr || call.dst[0].dtype != DType::f32) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       memory_seconds(static_cast<double>(call.src[0].bytes()))));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Preprocess op = *call.op.as<Preprocess>();
    const auto width = static_cast<int>(op.width), height = static_cast<int>(op.height);
    const std::int64_t images = call.dst[0].shape[0], image = call.dst[0].shape.count(1, 4);
    return host_kernel(
        "resize and normalise",
        [=](Views src, Views dst, std::span<std::byte> workspace) {
          for (std::int64_t n = 0; n < images; ++n) {
            preprocess(Preprocess::photo(src, n), op.normalise(), width, height,
                       dst[0].as<float>() + n * image, workspace);
          }
        },
        preprocess_workspace_bytes(width));
  }
};

}  // namespace

std::unique_ptr<Provider> preprocess_provider() { return std::make_unique<PreprocessProvider>(); }

}  // namespace maru::cpu
