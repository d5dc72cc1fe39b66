#include <cstring>

#include "backends/cpu/onednn.h"
#include "ops/identity.h"
#include "ops/reference.h"

namespace maru::cpu {
namespace {

bool is_known(const Layout& layout) {
  return layout.kind == Layout::Kind::plain || layout.kind == Layout::Kind::blocked;
}

// Copies and changes of layout of one tensor, windows included.
class CopyProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN reorder"; }

  void offer(const Call& call, const Cpu&, std::vector<Offer>& offers) const override {
    if (call.op.as<Identity>() == nullptr || call.dst.size() != 1) return;
    if (!is_known(call.src[0].layout) || !is_known(call.dst[0].layout)) return;
    if (!all_f32(call) && call.src[0].layout != call.dst[0].layout) return;
    Offer offer = same_layout_offer(*this, call, call.dst[0].layout.dense(),
                                    memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
    offer.src[0] = call.src[0].layout.dense();
    offer.src_window = offer.dst_window = true;
    offers.push_back(std::move(offer));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const ImageLoop loop(call);
    if (loop.images() == 1 && call.src[0].layout == call.dst[0].layout) {
      const std::size_t bytes = call.dst[0].bytes();
      return host_kernel("memcpy", [bytes](Views src, Views dst, std::span<std::byte>) {
        std::memcpy(dst[0].data, src[0].data, bytes);
      });
    }
    if (!all_f32(call)) {
      return host_kernel("memcpy by image", [](Views src, Views dst, std::span<std::byte>) {
        const auto size = static_cast<std::int64_t>(size_of(src[0].desc.dtype));
        const TensorDesc image{src[0].desc.dtype, src[0].desc.shape.with(0, 1),
                               src[0].desc.layout.dense()};
        copy_rows(dst[0].data, dst[0].desc.image_stride() * size, src[0].data,
                  src[0].desc.image_stride() * size, static_cast<std::int64_t>(image.bytes()),
                  src[0].desc.shape[0]);
      });
    }
    const dnnl::reorder::primitive_desc pd(cpu_engine(), memory_desc(loop.image(call.src[0])),
                                           cpu_engine(), memory_desc(loop.image(call.dst[0])),
                                           attributes(std::nullopt));
    return std::make_unique<OnednnKernel>(
        dnnl::reorder(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector{loop.argument(DNNL_ARG_FROM, false, 0, call.src[0]),
                    loop.argument(DNNL_ARG_TO, true, 0, call.dst[0])},
        loop.images());
  }
};

}  // namespace

std::unique_ptr<Provider> copy_provider() { return std::make_unique<CopyProvider>(); }

}  // namespace maru::cpu
