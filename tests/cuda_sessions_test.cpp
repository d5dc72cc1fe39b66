// CUDA through the public API: sessions at once, and memory that runs out. Skipped where there is no
// GPU.
#include <gtest/gtest.h>
#include <maru/maru.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "tests/devices.h"
#include "tests/tiny_model.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

class CudaSessions : public ::testing::Test {
 protected:
  CudaSessions() : folder_(fs::temp_directory_path() / fmt::format("maru_cuda_{}", ::getpid())) {
    testing::write_tiny_model(folder_);
  }
  ~CudaSessions() override { fs::remove_all(folder_); }

  static void load(Session& session, int red, int green, int blue, std::int64_t slot = 0) {
    const auto level = [](int value) { return static_cast<unsigned char>(value); };
    const std::string file = testing::tiny_photo(40, 30, level(red), level(green), level(blue));
    session.load_photo(std::as_bytes(std::span(file)), "photo", slot);
  }

  fs::path folder_;
};

TEST_F(CudaSessions, AtOnceDoNotDisturbEachOther) {
  MARU_NEEDS_DEVICE("cuda");
  for (const MemoryPolicy policy :
       {MemoryPolicy::automatic, MemoryPolicy::copy, MemoryPolicy::zero_copy}) {
    ModelOptions options;
    options.device = "cuda";
    options.memory = policy;
    options.check = true;
    const Model model = Model::load(folder_, options);
    std::atomic<int> wrong{0};
    const auto work = [&](int red, int green, std::string_view expected) {
      Session session(model);
      for (int run = 0; run < 200; ++run) {
        load(session, red, green, 10);
        session.run();
        if (session.top(1)[0].label != expected) ++wrong;
      }
    };
    std::thread reds(work, 250, 10, "red"), greens(work, 10, 250, "green");
    reds.join();
    greens.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(CudaSessions, BatchesOfPhotosOfAllSizesAgree) {
  MARU_NEEDS_DEVICE("cuda");
  ModelOptions options;
  options.device = "cuda";
  options.batch = 3;
  Session session(Model::load(folder_, options));
  // Each is larger than the ones before it, so that these move apart.
  for (int slot = 0; slot < 3; ++slot) {
    const std::string file = testing::tiny_photo(16 << slot, 16 << slot, slot == 0 ? 250 : 10,
                                                 slot == 1 ? 250 : 10, slot == 2 ? 250 : 10);
    session.load_photo(std::as_bytes(std::span(file)), "photo", slot);
  }
  session.run();
  EXPECT_EQ(session.top(1, 0)[0].label, "red");
  EXPECT_EQ(session.top(1, 1)[0].label, "green");
  EXPECT_EQ(session.top(1, 2)[0].label, "blue");
}

TEST_F(CudaSessions, WithoutRoomSayForWhatAndGoOn) {
  MARU_NEEDS_DEVICE("cuda");
  ModelOptions options;
  options.device = "cuda";
  options.photos = false;
  options.batch = 65536;
  const Model large = Model::load(folder_, options);
  {
    const auto device = open_device("cuda", {});
    const Heap& own = *device->heaps()[0];
    // All that there is, in smaller and smaller pieces.
    std::vector<Buffer> all;
    for (std::size_t bytes = std::size_t{16} << 30; bytes >= std::size_t{1} << 20;) {
      try {
        all.push_back(own.allocate(bytes, "filling the card"));
      } catch (const Error&) {
        bytes /= 2;
      }
    }
    try {
      const Session session(large);
      FAIL() << "there cannot be room for it";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("bytes for arena"), std::string::npos) << text;
    }
  }
  Session session(large);
  session.run();
}

}  // namespace
}  // namespace maru
