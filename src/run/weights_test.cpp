#include "run/weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "device/registry.h"

namespace maru {
namespace {

class OwnMemory final : public Allocation {
 public:
  explicit OwnMemory(std::size_t bytes) : bytes_(bytes) {}
  void* native() const noexcept override { return const_cast<std::byte*>(bytes_.data()); }
  void* map(Access, std::size_t offset, std::size_t, Queue*) override { return bytes_.data() + offset; }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 private:
  std::vector<std::byte> bytes_;
};

// Takes memory of the caller only when told so.
class OwnHeap final : public Heap {
 public:
  explicit OwnHeap(bool imports) : Heap("own", traits_of(imports)) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    return std::make_unique<OwnMemory>(bytes);
  }

 private:
  static MemoryTraits traits_of(bool imports) {
    MemoryTraits traits;
    traits.host_visible = traits.device_visible = traits.coherent = true;
    traits.imports = traits.imports_read_only = imports;
    traits.alignment = 16;
    return traits;
  }
};

struct Taken : ::testing::Test {
  Taken() : device(open_device("cpu", {})) {
    for (std::size_t i = 0; i < file.size(); ++i) file[i] = static_cast<std::byte>(i);
  }
  Weights take(const Heap& heap, std::size_t offset = 0) {
    Plan plan;
    plan.regions.push_back({Region::Kind::weights, "weights", &heap, "", 256});
    plan.regions.push_back({Region::Kind::arena, "arena", &heap, "", 64});
    const std::array devices{static_cast<const Device*>(device.get())};
    const std::array packed{std::span<const std::byte>(file).subspan(offset, 256)};
    return take_weights(plan, devices, packed);
  }
  static bool holds(const Weights& weights, const std::byte* bytes) {
    return std::memcmp(weights.buffers.at(0).map(Access::read).bytes().data(), bytes, 256) == 0;
  }

  std::unique_ptr<Device> device;
  alignas(64) std::array<std::byte, 320> file{};
};

TEST_F(Taken, AsTheyLieWhereTheHeapImports) {
  const Weights weights = take(*device->heaps()[0]);
  EXPECT_EQ(weights.buffers.at(0).native(), file.data());
  EXPECT_EQ(weights.ledger.bytes(), 0u);
  EXPECT_TRUE(weights.in_file.at(0));
}

TEST_F(Taken, ByACountedCopyElsewhere) {
  const OwnHeap imports_nothing(false), fails_to_import(true);
  for (const auto& [heap, offset] : {std::pair<const Heap*, std::size_t>{&imports_nothing, 0},
                                     {&fails_to_import, 0},
                                     {device->heaps()[0], 1}}) {  // not aligned
    const Weights weights = take(*heap, offset);
    EXPECT_NE(weights.buffers.at(0).native(), file.data() + offset);
    EXPECT_TRUE(holds(weights, file.data() + offset));
    EXPECT_FALSE(weights.in_file.at(0));
    ASSERT_EQ(weights.ledger.entries().size(), 1u);
    EXPECT_EQ(weights.ledger.bytes(), 256u);
    EXPECT_EQ(weights.ledger.entries()[0].from, "file");
  }
}

}  // namespace
}  // namespace maru
