#include "base/cache_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

namespace maru {
namespace {

namespace fs = std::filesystem;

std::vector<unsigned char> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

// A cache folder of its own for each test; the environment is as before afterwards.
class CacheFolder : public ::testing::Test {
 protected:
  CacheFolder()
      : folder_(fs::path(::testing::TempDir()) /
                ("maru_cache_" + std::to_string(::getpid()) + "_" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      before_.push_back(value != nullptr ? value : "");
    }
    ::setenv("MARU_CACHE_DIR", folder_.c_str(), 1);
  }
  ~CacheFolder() override {
    for (std::size_t i = 0; i < std::size(kVariables); ++i) {
      if (before_[i].empty()) {
        ::unsetenv(kVariables[i]);
      } else {
        ::setenv(kVariables[i], before_[i].c_str(), 1);
      }
    }
    fs::remove_all(folder_);
  }

  static constexpr const char* kVariables[] = {"MARU_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::string> before_;
  fs::path folder_;
};

TEST_F(CacheFolder, IsTheUsersUnlessSetOtherwise) {
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  ::setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(cache_folder(), folder_);
  ::unsetenv("MARU_CACHE_DIR");
  EXPECT_EQ(cache_folder(), fs::path("/xdg/maru"));
  ::setenv("XDG_CACHE_HOME", "", 1);
  EXPECT_EQ(cache_folder(), fs::path("/home/somebody/.cache/maru"));
  ::unsetenv("HOME");
  EXPECT_EQ(cache_folder(), std::nullopt);
  write_cached("kind", "key", bytes_of("value"));
  EXPECT_EQ(read_cached("kind", "key"), std::nullopt);
}

TEST_F(CacheFolder, GivesBackWhatWasKept) {
  EXPECT_EQ(read_cached("kind", "key"), std::nullopt);
  write_cached("kind", "key", bytes_of("value"));
  write_cached("kind", "other", bytes_of("second"));
  EXPECT_EQ(read_cached("kind", "key"), bytes_of("value"));
  EXPECT_EQ(read_cached("kind", "other"), bytes_of("second"));
  EXPECT_EQ(read_cached("elsewhere", "key"), std::nullopt);
  write_cached("kind", "key", bytes_of("newer"));
  EXPECT_EQ(read_cached("kind", "key"), bytes_of("newer"));
}

TEST_F(CacheFolder, TakesNoDamagedFile) {
  const auto file = [&] { return *cached_file("kind", "key"); };
  write_cached("kind", "key", bytes_of("value"));
  const auto size = fs::file_size(file());
  for (std::uintmax_t at = 0; at < size; ++at) {
    write_cached("kind", "key", bytes_of("value"));
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(static_cast<char>(byte ^ 1));
    stream.close();
    EXPECT_EQ(read_cached("kind", "key"), std::nullopt) << "byte " << at;
  }
  for (std::uintmax_t length = 0; length < size; ++length) {
    write_cached("kind", "key", bytes_of("value"));
    fs::resize_file(file(), length);
    EXPECT_EQ(read_cached("kind", "key"), std::nullopt) << length << " bytes";
  }
  write_cached("kind", "key", bytes_of("value"));
  std::ofstream(file(), std::ios::app) << "more";
  EXPECT_EQ(read_cached("kind", "key"), std::nullopt);
  // That of another key, by whatever accident.
  write_cached("kind", "other", bytes_of("second"));
  fs::copy_file(*cached_file("kind", "other"), file(), fs::copy_options::overwrite_existing);
  EXPECT_EQ(read_cached("kind", "key"), std::nullopt);
}

TEST_F(CacheFolder, IsAsNoneWhereItCannotBeWritten) {
  std::ofstream(folder_.string()) << "a file where the folder should be";
  write_cached("kind", "key", bytes_of("value"));
  EXPECT_EQ(read_cached("kind", "key"), std::nullopt);
}

TEST_F(CacheFolder, WritersAtOnceLeaveOneWholeFile) {
  constexpr int kWriters = 4;
  const auto value = [](int writer) {
    return std::vector<unsigned char>(100000, static_cast<unsigned char>(writer));
  };
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 20; ++i) {
        write_cached("kind", "key", value(w));
        const auto read = read_cached("kind", "key");
        ASSERT_TRUE(read && read->size() == 100000 && *read == value(read->front()));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "kind")) files += entry.is_regular_file();
  EXPECT_EQ(files, 1);
}

}  // namespace
}  // namespace maru
