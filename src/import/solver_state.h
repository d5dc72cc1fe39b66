// Solver states: Caffe's .solverstate files (protobuf SolverState), from which training goes on.
// Values; writing one path is for one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"

namespace maru {

struct SolverState {
  struct Blob {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
  };

  std::int64_t iteration = 0;  // updates made
  std::string learned_net;     // the .caffemodel with the weights, as written
  std::int64_t current_step = 0;
  // What the solver remembers, in Caffe's order: one for each of learnable_params(); solvers of two
  // moments (adam, adadelta) have all first ones, then all second ones.
  std::vector<Blob> history;
  // maru's own, in field 1000, which Caffe skips: seed, position in the data, ... Values may be bytes.
  std::map<std::string, std::string, std::less<>> extras;
};

// Throws Error with the byte position for a truncated or malformed file.
SolverState read_solver_state(const std::filesystem::path& path);
SolverState read_solver_state(std::span<const std::byte> bytes, std::string_view file);
// Whole or not at all, as write_caffemodel().
void write_solver_state(const std::filesystem::path& path, const SolverState& state);
void write_solver_state(AtomicFile& file, const SolverState& state);

}  // namespace maru
