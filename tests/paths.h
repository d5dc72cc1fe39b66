// Where things are that tests use: the repository, and what was built or carried along beside the test
// program.
#pragma once

#include <string>

namespace maru::testing {

std::string source_dir();  // of the repository; the environment's MARU_SOURCE_DIR says another
std::string rank_program();
std::string fake_nvml();
std::string fake_old_nvml();
std::string fake_lxi();

// As CMake knows it: in a source of its own, so that all others compile to the same in every clone.
const char* built_from();

}  // namespace maru::testing
