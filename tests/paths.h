// Where things are that tests use, as tests/CMakeLists.txt says: in a source of its own, so that all
// others compile to the same in every clone.
#pragma once

namespace maru::testing {

const char* source_dir();  // of the repository
const char* rank_program();
const char* fake_nvml();
const char* fake_old_nvml();
const char* fake_lxi();

}  // namespace maru::testing
