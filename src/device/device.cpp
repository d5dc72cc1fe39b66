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

}  // namespace maru
