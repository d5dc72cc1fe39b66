#include "tests/paths.h"

#include <cstdlib>
#include <filesystem>

namespace maru::testing {
namespace {

namespace fs = std::filesystem;

// Beside the program, as it was built, or in lib/ beside its folder, as tools/carry brings it.
std::string beside_program(const char* name) {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path carried = folder.parent_path() / "lib" / name;
  return (fs::exists(carried) ? carried : folder / name).string();
}

}  // namespace

std::string source_dir() {
  const char* said = std::getenv("MARU_SOURCE_DIR");
  return said != nullptr ? said : built_from();
}

std::string rank_program() { return beside_program("rank"); }
std::string fake_nvml() { return beside_program("libfake_nvml_module.so"); }
std::string fake_old_nvml() { return beside_program("libfake_old_nvml_module.so"); }
std::string fake_lxi() { return beside_program("libfake_lxi_module.so"); }

}  // namespace maru::testing
