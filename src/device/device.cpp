#include "device/device.h"

#include <algorithm>

#include "base/error.h"

namespace maru {

std::size_t Kernel::packed_bytes(std::size_t, const Constant& constant) const {
  return constant.desc().bytes();
}

void Kernel::pack(std::size_t, const Constant& constant, std::span<std::byte> packed) const {
  MARU_ASSERT(packed.size() == constant.bytes().size());
  std::ranges::copy(constant.bytes(), packed.begin());
}

std::string Kernel::packed_form(std::size_t) const { return "plain"; }

void Device::transfer(Queue&, const Buffer&, std::size_t, const Buffer&, std::size_t,
                      std::size_t) const {
  MARU_ASSERT(false && "this device has one memory");
}

std::unique_ptr<Launch> Device::combine(std::span<const OrderedLaunch>) const {
  MARU_ASSERT(false && "this device launches one by one");
  return nullptr;
}

bool may_be_wanted(std::string_view name, const DeviceOptions& options) {
  return options.only.empty() || options.only == "auto" || options.only == name;
}

bool is_the_one(const Device& device, const DeviceOptions& options) {
  if (options.only == "auto") return device.computes(options.precision);
  return options.only == device.name();
}

bool has_kernel(const Device& device, const Op& op, std::span<const TensorDesc> src,
                std::span<const TensorDesc> dst, std::span<const bool> constant) {
  std::vector<TensorDesc> open_src(src.begin(), src.end()), open_dst(dst.begin(), dst.end());
  for (std::size_t i = 0; i < src.size(); ++i) {
    if (!constant[i]) open_src[i].layout = Layout::any();
  }
  for (TensorDesc& desc : open_dst) desc.layout = Layout::any();
  return std::ranges::any_of(device.offers({op, open_src, open_dst, constant}),
                             [](const Offer& offer) { return offer.kernel != "reference"; });
}

}  // namespace maru
