// Constant: bytes of a parameter that outlive the graph: in a mapped file (possibly not aligned),
// owned, or, for a placeholder, not here at all. Immutable and shared; any thread may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "tensor/tensor_desc.h"

namespace maru {

class Constant {
 public:
  enum class Storage : std::uint8_t {
    memory,
    file,  // a read-only mapping, whose pages the kernel can take back and read again
  };

  // Borrows `bytes`, which `owner` keeps alive. The layout of desc must be plain and its size must fit.
  Constant(TensorDesc desc, std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
           Storage storage = Storage::memory);
  // A placeholder, whose bytes are elsewhere and in another form: in the packed weights of a model.
  explicit Constant(TensorDesc desc) : desc_(desc) {}
  // Owns the values; one f32 tensor of this shape. Throws Error when the counts differ.
  Constant(Shape shape, std::vector<float> values);

  const TensorDesc& desc() const noexcept { return desc_; }
  bool has_bytes() const noexcept { return bytes_.size() == desc_.bytes(); }
  std::span<const std::byte> bytes() const {
    MARU_ASSERT(has_bytes());
    return bytes_;
  }
  bool is_in_file() const noexcept { return storage_ == Storage::file; }
  // A copy as floats, for rewriting. Only f32 constants.
  std::vector<float> floats() const;
  // The bytes are not needed for now: pages of a file that hold nothing else need not stay in memory.
  void release_pages() const noexcept;

 private:
  TensorDesc desc_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
  Storage storage_ = Storage::memory;
};

}  // namespace maru
