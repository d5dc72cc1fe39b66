#include "graph/constant.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

namespace maru {

Constant::Constant(TensorDesc desc, std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                   Storage storage)
    : desc_(desc), owner_(std::move(owner)), bytes_(bytes), storage_(storage) {
  if (bytes.size() != desc.bytes()) {
    throw Error("constant", fmt::format("{} bytes for {}", desc.bytes(), desc.str()),
                fmt::format("{}", bytes.size()));
  }
}

Constant::Constant(Shape shape, std::vector<float> values) : desc_{DType::f32, shape, Layout::plain()} {
  if (static_cast<std::int64_t>(values.size()) != shape.count()) {
    throw Error("constant", fmt::format("{} values for {}", shape.count(), shape.str()),
                fmt::format("{}", values.size()));
  }
  auto owned = std::make_shared<const std::vector<float>>(std::move(values));
  bytes_ = std::as_bytes(std::span<const float>(*owned));
  owner_ = std::move(owned);
}

std::vector<float> Constant::floats() const {
  MARU_ASSERT(desc_.dtype == DType::f32);
  std::vector<float> values(bytes().size() / sizeof(float));
  std::memcpy(values.data(), bytes_.data(), bytes_.size());
  release_pages();  // whoever asked has them now
  return values;
}

void Constant::release_pages() const noexcept {
  if (storage_ != Storage::file) return;
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes_.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;  // pages at the ends have neighbours
  const std::uintptr_t last = (begin + bytes_.size()) / page * page;
  if (first >= last) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()) + (first - begin), last - first, MADV_DONTNEED);
}

}  // namespace maru
