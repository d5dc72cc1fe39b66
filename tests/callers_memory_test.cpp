// Memory of the caller: what sessions hand out, and what they are given, on every device and policy.
#include <gtest/gtest.h>
#include <maru/maru.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tests/devices.h"
#include "tests/tiny_model.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

struct Where {
  const char* device;
  MemoryPolicy memory;
};

constexpr std::size_t kPage = 4096;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Pages = std::unique_ptr<std::byte[], Free>;

Pages pages(std::size_t bytes) {
  return Pages(static_cast<std::byte*>(std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage)));
}

class CallersMemory : public ::testing::TestWithParam<Where> {
 protected:
  CallersMemory()
      : folder_(fs::temp_directory_path() / ("maru_callers_" + std::to_string(::getpid()))) {
    testing::write_tiny_model(folder_);
  }
  ~CallersMemory() override { fs::remove_all(folder_); }

  void SetUp() override {
    MARU_NEEDS_DEVICE(GetParam().device);
    if (GetParam().memory == MemoryPolicy::zero_copy) MARU_NEEDS_SHARED_HEAP(GetParam().device);
  }

  Model load(bool photos, std::int64_t batch = 1) const {
    ModelOptions options;
    options.device = GetParam().device;
    options.memory = GetParam().memory;
    options.photos = photos;
    options.batch = batch;
    return Model::load(folder_, options);
  }
  // Bytes that the plan lets cross in a run.
  static std::uint64_t planned_crossing(const Model& model) {
    const std::string json = model.plan_json();
    const std::string key = "\"crossing_bytes\": ";
    return std::stoull(json.substr(json.find(key) + key.size()));
  }

  // A tensor input that is one colour: blue, green, red planes of 8 x 8.
  static void paint(std::span<float> input, std::size_t channel) {
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = i / 64 % 3 == channel ? 0.9F : -0.9F;
  }
  static std::uint64_t bytes_of(const Session& session, std::string_view step) {
    std::uint64_t sum = 0;
    for (const CopyRecord& copy : session.copies()) sum += copy.step == step ? copy.bytes : 0;
    return sum;
  }
  static std::uint64_t crossed(const Session& session) {
    std::uint64_t sum = 0;
    for (const CopyRecord& copy : session.copies()) sum += copy.crosses ? copy.bytes : 0;
    return sum;
  }

  fs::path folder_;
};

TEST_P(CallersMemory, ViewsOfPlannedMemoryGoInAndOut) {
  const Model model = load(false);
  Session session(model);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    paint(session.input("data").as<float>(), channel);
    EXPECT_EQ(session.input("data").as<float>()[64 * channel], 0.9F) << "a second look shows the same";
    session.run();
    ASSERT_EQ(session.output("prob").as<float>().size(), 4U);
    constexpr std::size_t kIndex[] = {2, 1, 0};
    EXPECT_EQ(session.top(1)[0].index, static_cast<std::int64_t>(kIndex[channel]));
  }
  EXPECT_EQ(crossed(session), 3 * planned_crossing(model));
  if (GetParam().memory == MemoryPolicy::zero_copy) {
    EXPECT_EQ(crossed(session), 0U);
  } else if (GetParam().memory == MemoryPolicy::copy) {
    EXPECT_EQ(crossed(session), 3U * (3 * 64 * 4 + 4 * 4));
  }
}

TEST_P(CallersMemory, AlignedMemoryIsUsedWhereItStands) {
  const Model model = load(false);
  Session session(model);
  const Pages in = pages(3 * 64 * 4), out = pages(4 * 4);
  EXPECT_TRUE(session.bind_input("data", {in.get(), 3 * 64 * 4}));
  EXPECT_TRUE(session.bind_output("prob", {out.get(), 4 * 4}));
  const std::span input(reinterpret_cast<float*>(in.get()), 3 * 64);
  const auto* scores = reinterpret_cast<const float*>(out.get());
  for (std::size_t channel = 0; channel < 3; ++channel) {
    paint(input, channel);
    session.run();
    EXPECT_EQ(std::max_element(scores, scores + 4) - scores, static_cast<std::ptrdiff_t>(2 - channel));
    EXPECT_EQ(session.output("prob").as<float>()[0], scores[0]);
  }
  EXPECT_EQ(bytes_of(session, "bound"), 0U);
  EXPECT_EQ(crossed(session), 3 * planned_crossing(model));
}

TEST_P(CallersMemory, OtherMemoryIsCopiedAndTheLedgerSaysSo) {
  Session session(load(false));
  const Pages in = pages(3 * 64 * 4 + 8), out = pages(4 * 4 + 8);
  EXPECT_FALSE(session.bind_input("data", {in.get() + 4, 3 * 64 * 4}));
  EXPECT_FALSE(session.bind_output("prob", {out.get() + 4, 4 * 4}));
  const std::span input(reinterpret_cast<float*>(in.get() + 4), 3 * 64);
  const auto* scores = reinterpret_cast<const float*>(out.get() + 4);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    paint(input, channel);
    session.run();
    EXPECT_EQ(std::max_element(scores, scores + 4) - scores, static_cast<std::ptrdiff_t>(2 - channel));
  }
  EXPECT_EQ(bytes_of(session, "bound"), 3U * (3 * 64 * 4 + 4 * 4));
}

// What was bound before is the caller's again: it may be gone.
TEST_P(CallersMemory, MemoryOfTheCallerIsLetGo) {
  Session session(load(false));
  const Pages other = pages(3 * 64 * 4 + 8), result = pages(4 * 4 + 8);
  const auto* scores = reinterpret_cast<const float*>(result.get() + 4);
  for (int times = 0; times < 3; ++times) {
    Pages in = pages(3 * 64 * 4), out = pages(4 * 4);
    ASSERT_TRUE(session.bind_input("data", {in.get(), 3 * 64 * 4}));
    ASSERT_TRUE(session.bind_output("prob", {out.get(), 4 * 4}));
    paint({reinterpret_cast<float*>(in.get()), 3 * 64}, 2);
    session.run();
    EXPECT_EQ(session.top(1)[0].index, 0);
    EXPECT_FALSE(session.bind_input("data", {other.get() + 4, 3 * 64 * 4}));
    EXPECT_FALSE(session.bind_output("prob", {result.get() + 4, 4 * 4}));
    std::fill_n(in.get(), 3 * 64 * 4, std::byte{7});
    std::fill_n(out.get(), 4 * 4, std::byte{7});
    paint({reinterpret_cast<float*>(other.get() + 4), 3 * 64}, 0);
    session.run();
    EXPECT_EQ(std::max_element(scores, scores + 4) - scores, 2);
    EXPECT_TRUE(
        std::all_of(in.get(), in.get() + 3 * 64 * 4, [](std::byte b) { return b == std::byte{7}; }));
    EXPECT_TRUE(
        std::all_of(out.get(), out.get() + 4 * 4, [](std::byte b) { return b == std::byte{7}; }));
  }
  std::size_t entries = 0;
  for (const CopyRecord& copy : session.copies()) entries += copy.step == "bound";
  EXPECT_EQ(entries, 2U) << "one for each tensor, however often it is bound";
}

TEST_P(CallersMemory, AFrameOfACameraIsReadWhereItStands) {
  Session session(load(true));
  constexpr std::int64_t kWidth = 300, kHeight = 200, kRow = 1024;
  const Pages frame = pages(kRow * kHeight);
  const auto paint_frame = [&](std::size_t channel) {
    for (std::int64_t y = 0; y < kHeight; ++y) {
      for (std::int64_t x = 0; x < kRow; ++x) {
        const bool lit = x < 3 * kWidth && static_cast<std::size_t>(x % 3) == channel;
        frame[static_cast<std::size_t>(y * kRow + x)] = std::byte(x >= 3 * kWidth ? 77
                                                                  : lit           ? 250
                                                                                  : 10);
      }
    }
  };
  constexpr const char* kRgb[] = {"red", "green", "blue"};
  EXPECT_TRUE(session.bind_photo({frame.get(), kRow * kHeight}, kWidth, kHeight, kRow));
  for (std::size_t channel = 0; channel < 3; ++channel) {
    paint_frame(channel);
    session.run();
    EXPECT_EQ(session.top(1)[0].label, kRgb[channel]);
  }
  EXPECT_EQ(bytes_of(session, "photo"), 0U);
  // One byte further it is copied, and right.
  paint_frame(1);
  EXPECT_EQ(session.bind_photo({frame.get() + 3, kRow * (kHeight - 1)}, kWidth - 1, kHeight - 1, kRow),
            false);
  session.run();
  EXPECT_EQ(session.top(1)[0].label, "green");
  EXPECT_EQ(bytes_of(session, "photo"), static_cast<std::uint64_t>(3 * (kWidth - 1) * (kHeight - 1)));
  // And back to memory of the session's own, larger than any before.
  std::ranges::fill(session.photo(2000, 1500), std::uint8_t{5});
  session.run();
  EXPECT_EQ(session.top(1)[0].label, "dark");
}

TEST_P(CallersMemory, ALargerPhotoMakesRoomOnBothSides) {
  Session session(load(true, 2));
  for (const int size : {10, 3000, 20}) {
    for (std::int64_t slot = 0; slot < 2; ++slot) {
      const std::span<std::uint8_t> pixels = session.photo(size, size / 2, slot);
      for (std::size_t i = 0; i < pixels.size(); ++i)
        pixels[i] = i % 3 == static_cast<std::size_t>(slot) ? 250 : 10;
    }
    session.run();
    EXPECT_EQ(session.top(1, 0)[0].label, "red") << size;
    EXPECT_EQ(session.top(1, 1)[0].label, "green") << size;
  }
}

TEST_P(CallersMemory, WhatCannotBeBoundIsExplained) {
  Session session(load(false));
  std::byte memory[16]{};
  EXPECT_THROW(session.bind_input("data", memory), Error) << "too little";
  EXPECT_THROW(session.bind_input("dat", memory), Error);
  EXPECT_THROW(session.bind_photo(memory, 2, 2, 6), Error) << "the model takes tensors";
  Session photos(load(true));
  EXPECT_THROW(photos.bind_photo(memory, 2, 2, 5), Error) << "rows overlap";
  EXPECT_THROW(photos.bind_photo(memory, 3, 3, 9), Error) << "too little";
  EXPECT_THROW(photos.bind_input("data.pixels", memory), Error);
}

std::string name_of(const ::testing::TestParamInfo<Where>& info) {
  return std::string(info.param.device) + (info.param.memory == MemoryPolicy::copy        ? "_copy"
                                           : info.param.memory == MemoryPolicy::zero_copy ? "_zero_copy"
                                                                                          : "_auto");
}

INSTANTIATE_TEST_SUITE_P(Devices, CallersMemory,
                         ::testing::Values(Where{"cpu", MemoryPolicy::automatic},
                                           Where{"opencl", MemoryPolicy::automatic},
                                           Where{"opencl", MemoryPolicy::copy},
                                           Where{"opencl", MemoryPolicy::zero_copy}),
                         name_of);

}  // namespace
}  // namespace maru
