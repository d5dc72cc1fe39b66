// TestTree: a folder that looks like a machine's /sys and /proc, for tests; and what else tests of
// meters share. Owns the folder; one thread.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/files.h"

namespace maru::measure {

class TestTree {
 public:
  std::filesystem::path root() const { return folder_.path(); }
  void write(const std::filesystem::path& path, std::string_view text) {
    folder_.write(path.string(), text);
  }
  void remove(const std::filesystem::path& path) { std::filesystem::remove_all(root() / path); }

  // A domain of the kernel's powercap: "intel-rapl:0".
  void add_domain(const std::string& zone, const std::string& name, std::uint64_t microjoules,
                  std::uint64_t range = 262143328850) {
    const std::filesystem::path folder = "sys/class/powercap/" + zone;
    write(folder / "name", name + "\n");
    write(folder / "energy_uj", std::to_string(microjoules) + "\n");
    write(folder / "max_energy_range_uj", std::to_string(range) + "\n");
  }
  void add_package(int number, std::uint64_t microjoules) {
    add_domain("intel-rapl:" + std::to_string(number), "package-" + std::to_string(number),
               microjoules);
  }

 private:
  testing::Folder folder_;
};

// A variable of the environment, while it lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    const char* before = std::getenv(name_.c_str());
    was_set_ = before != nullptr;
    if (was_set_) before_ = before;
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() { was_set_ ? ::setenv(name_.c_str(), before_.c_str(), 1) : ::unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  std::string name_, before_;
  bool was_set_ = false;
};

using testing::error_of;

}  // namespace maru::measure
