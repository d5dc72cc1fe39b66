#include "backends/opencl/opencl.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "backends/opencl/handles.h"
#include "backends/opencl/programs.h"
#include "backends/opencl/test_device.h"
#include "base/cache_folder.h"
#include "device/worker.h"
#include "ops/identity.h"

namespace maru::opencl {
namespace {

namespace fs = std::filesystem;

fs::path own_folder() {
  return fs::path(::testing::TempDir()) /
         fmt::format("maru_opencl_{}_{}", ::getpid(),
                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
}

// The loader reads its folder once a process, so each of these has one of its own.
class OpenclDrivers : public ::testing::Test {
 protected:
  OpenclDrivers() : folder_(own_folder()) {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    fs::create_directories(folder_);
  }
  ~OpenclDrivers() override { fs::remove_all(folder_); }

  // Ends the process with the number of devices.
  void count_devices() const {
    ::setenv("OCL_ICD_VENDORS", folder_.c_str(), 1);
    std::_Exit(static_cast<int>(opencl_devices({}).size()));
  }

  fs::path folder_;
};

TEST_F(OpenclDrivers, WithoutAnyThereIsNoDevice) {
  EXPECT_EXIT(count_devices(), ::testing::ExitedWithCode(0), "");
}

TEST_F(OpenclDrivers, BrokenOnesAreAsNone) {
  std::ofstream(folder_ / "missing.icd") << "/nowhere/libdriver.so\n";
  std::ofstream(folder_ / "garbage.icd") << folder_.string() << "/garbage.icd\n";
  std::ofstream(folder_ / "empty.icd") << "";
  EXPECT_EXIT(count_devices(), ::testing::ExitedWithCode(0), "");
}

using OpenclDevices = testing::OpenclTest;

TEST_F(OpenclDevices, AreNumberedAfterTheFirst) {
  std::set<std::string> names;
  for (const auto& one : opencl_devices({})) {
    names.emplace(one->name());
    EXPECT_FALSE(one->is_host());
    EXPECT_NE(one->description().find("compute unit"), std::string::npos) << one->description();
    EXPECT_TRUE(one->channel_block() == 4 || one->channel_block() == 8 || one->channel_block() == 16);
  }
  EXPECT_EQ(device->name(), "opencl");
  EXPECT_TRUE(names.contains("opencl"));
  EXPECT_EQ(names.contains("opencl:1"), names.size() > 1);
}

TEST_F(OpenclDevices, TellWhichChipTheyAre) {
  const Worker worker = worker_of(*device);
  EXPECT_NE(worker, Worker::unknown);
  if (device->description().starts_with("pthread")) {  // PoCL
    EXPECT_EQ(worker, Worker::host);
  }
}

TEST_F(OpenclDevices, CopyBytesToo) {
  const Op op = Identity{};
  const Heap* shared = heap("mapped");
  if (shared == nullptr) GTEST_SKIP() << "this device has no memory that the CPU sees, too";
  for (const std::int64_t count : {1, 15, 64, 1000, 4099}) {
    const TensorDesc desc[] = {{DType::u8, {count}, Layout::plain()}};
    const bool constant[] = {false};
    const Call call{op, desc, desc, constant};
    const auto offers = device->offers(call);
    ASSERT_FALSE(offers.empty());
    const auto bytes = static_cast<std::size_t>(count);
    const Buffer src = shared->allocate(bytes + 64, "a test"),
                 dst = shared->allocate(bytes + 64, "a test");
    {
      const HostView from = src.map(Access::write), to = dst.map(Access::write);
      for (std::size_t i = 0; i < from.bytes().size(); ++i) {
        from.bytes()[i] = static_cast<std::byte>(i * 7 + 1);
        to.bytes()[i] = std::byte{0};
      }
    }
    const auto kernel = device->compile(call, offers[0]);
    const Tensor from[] = {{desc[0], &src, 3}}, to[] = {{desc[0], &dst, 5}};
    const auto queue = device->make_queue();
    kernel->bind(from, to, {})->run(*queue);
    queue->finish();
    const HostView got = dst.map(Access::read);
    for (std::size_t i = 0; i < bytes + 64; ++i) {
      const bool is_inside = i >= 5 && i < bytes + 5;
      const auto wanted = is_inside ? static_cast<std::byte>((i - 2) * 7 + 1) : std::byte{0};
      ASSERT_EQ(got.bytes()[i], wanted) << "byte " << i << " of " << count;
    }
  }
}

// Programs of a device without anything else around them, and with a cache of their own.
class OpenclPrograms : public ::testing::Test {
 protected:
  void SetUp() override {
    cl_platform_id platform = nullptr;
    cl_uint platforms = 0;
    if (clGetPlatformIDs(1, &platform, &platforms) != CL_SUCCESS || platforms == 0 ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &id_, nullptr) != CL_SUCCESS) {
      GTEST_SKIP() << "no OpenCL device here; pocl-opencl-icd makes the CPU one";
    }
    cl_int code = CL_SUCCESS;
    context_ = ContextHandle(clCreateContext(nullptr, 1, &id_, nullptr, nullptr, &code));
    check(code, "clCreateContext");
    if (const char* before = std::getenv("MARU_CACHE_DIR")) before_ = before;
    ::setenv("MARU_CACHE_DIR", own_folder().c_str(), 1);
  }
  void TearDown() override {
    if (!context_) return;
    fs::remove_all(own_folder());
    ::setenv("MARU_CACHE_DIR", before_.c_str(), 1);
  }

  std::unique_ptr<Programs> programs() const {
    return std::make_unique<Programs>(context_.get(), id_, "a test", "-cl-std=CL1.2 -DV=4");
  }
  static bool has_kernel(cl_program program) {
    cl_int code = CL_SUCCESS;
    const KernelHandle kernel(clCreateKernel(program, "unary", &code));
    return code == CL_SUCCESS;
  }
  static fs::path only_file() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(own_folder() / "opencl")) files.push_back(entry);
    EXPECT_EQ(files.size(), 1u);
    return files.at(0);
  }
  static std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static constexpr const char* kOptions = "-DACTIVATION=ACTIVATE_relu0";
  cl_device_id id_ = nullptr;
  ContextHandle context_;
  std::string before_;
};

TEST_F(OpenclPrograms, AreKeptOnDiskAndMendedWhereDamaged) {
  const auto first = programs();
  const cl_program program = first->get("unary", kOptions);
  EXPECT_TRUE(has_kernel(program));
  EXPECT_EQ(first->get("unary", kOptions), program) << "built twice";
  const fs::path file = only_file();
  const std::string whole = content(file);
  const auto written = fs::last_write_time(file);
  EXPECT_TRUE(has_kernel(programs()->get("unary", kOptions)));
  EXPECT_EQ(fs::last_write_time(file), written) << "what was kept was not used";

  std::string flipped = whole;
  flipped[flipped.size() / 2] ^= 1;
  for (const std::string& damaged : {flipped, whole.substr(0, whole.size() / 3), std::string("no")}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
    EXPECT_TRUE(has_kernel(programs()->get("unary", kOptions)));
    EXPECT_NE(content(file), damaged);
  }
}

TEST_F(OpenclPrograms, BinariesThatTheDriverRefusesAreBuiltAgain) {
  programs()->get("unary", kOptions);
  const fs::path file = only_file();
  // A sound file of another driver's binary: its head says how long it is and what it hashes to.
  const std::string key = "some key";
  const std::string_view text = "not a binary";
  const std::vector<unsigned char> garbage(text.begin(), text.end());
  write_cached("other", key, garbage);
  std::string forged = content(*cached_file("other", key));
  forged.replace(8, 8, content(file).substr(8, 8));  // the hash of the key
  std::ofstream(file, std::ios::binary | std::ios::trunc) << forged;
  EXPECT_TRUE(has_kernel(programs()->get("unary", kOptions)));
  EXPECT_NE(content(file), forged);
}

TEST_F(OpenclPrograms, SeveralMayAskAtOnce) {
  const auto shared = programs(), other = programs();  // `other` stands for a second process
  std::vector<cl_program> got(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&, t] { got[t] = (t < 2 ? shared : other)->get("unary", kOptions); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got[0], got[1]);
  EXPECT_EQ(got[2], got[3]);
  for (const cl_program program : got) EXPECT_TRUE(has_kernel(program));
  EXPECT_TRUE(has_kernel(programs()->get("unary", kOptions)));
  only_file();
}

TEST_F(OpenclPrograms, WorkWithoutACache) {
  ::setenv("MARU_CACHE_DIR", "/proc/nowhere", 1);
  EXPECT_TRUE(has_kernel(programs()->get("unary", kOptions)));
}

TEST_F(OpenclPrograms, SayWhatTheCompilerDisliked) {
  try {
    programs()->get("unary", "-DACTIVATION=ACTIVATE_nonsense");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("unary.cl"), std::string::npos) << text;
    EXPECT_NE(text.find("ACTIVATE_nonsense"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace maru::opencl
