// Runs a program and collects what it prints; for meters that are programs. Functions without state;
// any thread.
#pragma once

#include <string>
#include <vector>

namespace maru::measure {

struct ProgramOutput {
  int status = 0;  // 127: it could not be run
  std::string out, err;
};

// Looked for in PATH. Throws Error, naming `where`, when it takes longer than `seconds` (it is killed
// then), prints more than 64 KiB, or cannot be started at all.
ProgramOutput run_program(const std::string& where, const std::vector<std::string>& arguments,
                          double seconds);

}  // namespace maru::measure
