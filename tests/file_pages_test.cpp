// Pages of a file, which can only be read, as operands of a device's kernels: what weights of packed
// files are where memory is shared.
#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "ops/identity.h"
#include "tests/devices.h"
#include "tests/files.h"

namespace maru {
namespace {

class FilePages : public ::testing::TestWithParam<const char*> {
 protected:
  // What the device's kernel reads from there, by copying it into other memory of the heap.
  static std::vector<std::uint8_t> read_by_device(const Device& device, const Buffer& src) {
    const Buffer dst = src.heap().allocate(src.bytes(), "a test");
    const Op op = Identity{};
    const TensorDesc desc[] = {{DType::u8, {static_cast<std::int64_t>(src.bytes())}, Layout::plain()}};
    const bool constant[] = {false};
    const Call call{op, desc, desc, constant};
    const std::vector<Offer> offers = device.offers(call);
    if (offers.empty()) throw std::logic_error("a device without copies");
    const auto kernel = device.compile(call, offers[0]);
    const Buffer workspace = kernel->workspace_bytes() > 0
                                 ? src.heap().allocate(kernel->workspace_bytes(), "a test")
                                 : Buffer();
    const Tensor from[] = {{desc[0], &src, 0}}, to[] = {{desc[0], &dst, 0}};
    const auto queue = device.make_queue();
    kernel->bind(from, to, {{}, workspace ? &workspace : nullptr, 0})->run(*queue);
    queue->finish();
    const HostView view = dst.map(Access::read);
    const auto bytes = view.as<std::uint8_t>();
    return {bytes.begin(), bytes.end()};
  }
};

TEST_P(FilePages, AreReadWhereTheyStand) {
  MARU_NEEDS_DEVICE(GetParam());
  const auto device = open_device(GetParam(), {});
  // More than a page, and no whole number of them.
  std::string content(100'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 251);
  const testing::Folder folder;
  const MappedFile file(folder.write("weights", content));
  const std::vector<std::uint8_t> written(content.begin(), content.end());
  int heaps = 0;
  for (const Heap* heap : device->heaps()) {
    if (!heap->traits().imports_read_only) continue;
    ++heaps;
    const Buffer pages = heap->import_read_only(file.bytes().data(), file.bytes().size());
    EXPECT_EQ(pages.map(Access::read).bytes().data(), file.bytes().data()) << heap->name();
    EXPECT_EQ(read_by_device(*device, pages), written) << heap->name();
  }
  ASSERT_TRUE(heaps > 0 || device->name() != "cpu");
  if (heaps == 0) GTEST_SKIP() << GetParam() << " has no heap that takes pages which can only be read";
}

INSTANTIATE_TEST_SUITE_P(Devices, FilePages, ::testing::Values("cpu", "opencl", "cuda"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace maru
