#include <cstring>

#include "backends/cpu/onednn.h"
#include "ops/identity.h"
#include "ops/reference.h"

namespace maru::cpu {
namespace {

bool is_known(const TensorDesc& desc) {
  using Kind = Layout::Kind;
  if (desc.layout.kind == Kind::channels_last) return desc.shape.rank() == 4;
  return desc.layout.kind == Kind::plain || desc.layout.kind == Kind::blocked;
}

// Where elements of 4 axes are, in elements; `step` is from one channel to the next within a block.
struct Strides {
  explicit Strides(const TensorDesc& desc) : image(desc.image_stride()), block(desc.layout.block) {
    const std::int64_t pixels = desc.shape.count(2, 4);
    const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
    pixel = is_last ? image / pixels : block;
    of_block = is_last ? 1 : pixels * block;
  }
  std::int64_t at(std::int64_t n, std::int64_t c, std::int64_t p) const {
    return n * image + c / block * of_block + c % block + p * pixel;
  }

  std::int64_t image, block, pixel, of_block;
};

// One by one, for types and blocks that oneDNN does not move. What fills up the last block is zero.
void copy_elements(const TensorView& src, const TensorView& dst) {
  const auto size = static_cast<std::int64_t>(size_of(src.desc.dtype));
  const Strides from(src.desc), to(dst.desc);
  const Shape& shape = src.desc.shape;
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t c = 0; c < shape[1]; ++c) {
      for (std::int64_t p = 0; p < shape.count(2, 4); ++p) {
        std::memcpy(dst.as<std::byte>() + to.at(n, c, p) * size,
                    src.as<const std::byte>() + from.at(n, c, p) * size,
                    static_cast<std::size_t>(size));
      }
    }
    const std::int64_t padded = (shape[1] + to.block - 1) / to.block * to.block;
    for (std::int64_t c = shape[1]; c < padded; ++c) {
      for (std::int64_t p = 0; p < shape.count(2, 4); ++p)
        std::memset(dst.as<std::byte>() + to.at(n, c, p) * size, 0, static_cast<std::size_t>(size));
    }
  }
}

// Both channels last: what of a pixel's channels a window has lies together.
void copy_pixels(const TensorView& src, const TensorView& dst) {
  const auto size = static_cast<std::int64_t>(size_of(src.desc.dtype));
  const Shape& shape = src.desc.shape;
  copy_rows(dst.data, Strides(dst.desc).pixel * size, src.data, Strides(src.desc).pixel * size,
            shape[1] * size, shape[0] * shape.count(2, 4));
}

// Copies and changes of layout of one tensor, windows included.
class CopyProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN reorder"; }

  void offer(const Call& call, const Cpu&, std::vector<Offer>& offers) const override {
    if (call.op.as<Identity>() == nullptr || call.dst.size() != 1) return;
    if (!is_known(call.src[0]) || !is_known(call.dst[0])) return;
    if (call.src[0].shape.rank() != 4 && !all_f32(call) && call.src[0].layout != call.dst[0].layout)
      return;
    Offer offer = same_layout_offer(*this, call, call.dst[0].layout.dense(),
                                    memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
    offer.src[0] = call.src[0].layout.dense();
    offer.src_window = offer.dst_window = true;
    offers.push_back(std::move(offer));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const ImageLoop loop(call);
    const bool is_whole =
        loop.images() == 1 &&
        !(call.src[0].layout.is_window() && call.src[0].layout.kind == Layout::Kind::channels_last);
    if (is_whole && call.src[0].layout == call.dst[0].layout) {
      const std::size_t bytes = call.dst[0].bytes();
      return host_kernel("memcpy", [bytes](Views src, Views dst, std::span<std::byte>) {
        std::memcpy(dst[0].data, src[0].data, bytes);
      });
    }
    const auto is_last = [](const TensorDesc& desc) {
      return desc.layout.kind == Layout::Kind::channels_last;
    };
    // Not by oneDNN: 3.7.2 leaves out elements of such windows (its issue 3280, it seems).
    if (is_last(call.src[0]) && is_last(call.dst[0])) {
      return host_kernel("memcpy by pixel", [](Views src, Views dst, std::span<std::byte>) {
        copy_pixels(src[0], dst[0]);
      });
    }
    const auto is_foreign = [](const TensorDesc& desc) {
      const std::int64_t block = desc.layout.block;
      return block != 1 && block != 8 && block != 16;  // of another device
    };
    // oneDNN goes image by image, while a constant is packed as one.
    const bool is_ours = !all_f32(call) || (call.constant[0] && loop.images() > 1);
    const bool by_element = is_ours || is_foreign(call.src[0]) || is_foreign(call.dst[0]);
    if (by_element && call.src[0].shape.rank() == 4) {
      return host_kernel("by element", [](Views src, Views dst, std::span<std::byte>) {
        copy_elements(src[0], dst[0]);
      });
    }
    if (is_ours) {
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
