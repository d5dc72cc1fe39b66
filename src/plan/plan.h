// Plan: everything that a run will do, decided once and immutable: regions of memory, where each tensor
// lives in them, and the steps in order. If a copy is not in the plan it cannot happen. Shared by the
// sessions of a model; any thread may read it. The devices, whose heaps it names, must outlive it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace maru {

// A piece of memory that is one allocation. Weights belong to the model, all others to the session.
struct Region {
  enum class Kind : std::uint8_t {
    weights,
    arena,
    input,
    output,
    mirror,  // the device's copy of an input, as large as that is
    state,   // outlives runs; may be shared by plans that run in turns
  };
  Kind kind;
  std::string name;            // of the value, for inputs and outputs
  const Heap* heap = nullptr;  // of one of the devices
  std::string why;             // the heap was chosen
  std::size_t bytes = 0;
  std::optional<std::size_t> mirrors = std::nullopt;  // the input's region
};

struct Operand {
  std::string name;
  TensorDesc desc;
  std::size_t region = 0;  // index into Plan::regions
  std::size_t offset = 0;  // bytes
};

struct Step {
  enum class Kind : std::uint8_t {
    kernel,   // computes a node
    copy,     // moves or reorders bytes and computes nothing; without a kernel, between memories
    wait,     // until the device is done; the CPU then reads `src` and writes `dst`, where it is mapped
    release,  // the CPU gives back to the device what an earlier wait gave it
  };
  Kind kind;
  std::string name;                      // of the node, or of the value that is copied
  std::string op;                        // operator and attributes
  std::string why;                       // the kernel was chosen, or the copy or the wait is needed
  std::shared_ptr<const Kernel> kernel;  // null for waits, and for copies between memories
  std::vector<Operand> src, dst;
  std::size_t device = 0;  // index into Plan::devices; of whose queue the step is
  // Where the kernel's workspace is; meaningful when it wants one.
  std::size_t workspace_region = 0, workspace_offset = 0;
  // Where Plan::combines: indices of the steps of its row that must have ended when it begins,
  // ascending; what these in turn follow is left out.
  std::vector<std::size_t> after{};

  // Whether it moves bytes from one memory to another.
  bool crosses() const { return kind == Kind::copy && kernel == nullptr; }
};

// Steps of the device between two others (waits, copies between memories, the CPU's) are a row. Given
// which steps may be in one, gives for each step the first of its row, or the step itself. A row has an
// end: what follows what is known for each pair of its steps, and one launch of thousands of kernels
// has nothing more to gain.
inline constexpr std::size_t kLongestRow = 4096;
std::vector<std::size_t> rows_of(const std::vector<bool>& may_be_in_one);

// In a row, what is touched by steps that are so far apart may lie at the same place, by which the
// later ones wait for the earlier. Branches that are longer give up running at once for that. But on
// the way back of training, gradients of weights, which nobody waits for, and what is computed again
// could else all be put off to the end, each in memory of its own.
inline constexpr std::size_t kFarApart = 16;

// A value of the graph that the caller writes or reads.
struct Port {
  std::string name;
  TensorDesc desc;
  std::size_t region;
};

struct Plan {
  static constexpr std::size_t kWeights = 0, kArena = 1;  // of the first device; maybe empty

  std::string network, policy;
  Precision precision = Precision::fp32;
  std::vector<std::string> devices;  // that it uses; the first is the one that was asked for
  std::vector<Region> regions;
  std::vector<Step> steps;
  std::vector<Port> inputs, outputs, states;
  std::vector<std::string> rewrites;  // what was done to the graph before
  // Whether the first device combines launches: steps of a row then keep no order but Step::after, and
  // rows keep theirs. Else each step follows the one before it on its device.
  bool combines = false;

  std::vector<std::size_t> rows() const;  // as rows_of()
  std::size_t copied_bytes() const;       // a run, by all copy steps
  std::size_t crossing_bytes() const;     // of them, from one memory to another
  std::size_t arena_bytes() const;
  std::string text() const;
  std::string json() const;
};

// A constant in the form that its kernel wants, in the region of weights.
struct PackedConstant {
  std::string name;
  std::shared_ptr<const Constant> constant;
  std::shared_ptr<const Kernel> kernel;
  std::size_t operand = 0;  // of the kernel
  std::size_t region = 0;
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

// Who writes what each step reads. From the dataflow alone, before any tensor had a place: what a plan
// is checked against (plan/check.h).
struct Dataflow {
  static constexpr std::size_t kCaller = static_cast<std::size_t>(-1);  // writes inputs, before a run
  using Sources = std::vector<std::size_t>;                             // sorted; indices of `steps`
  struct Work {
    std::string name;          // of the step
    std::vector<Sources> src;  // per operand; none for weights
    bool in_place = false;     // dst[i] may be the bytes of src[i]
  };
  std::vector<Work> steps;       // the plan's kernels and copies, in its order
  std::vector<Sources> outputs;  // per output of the plan
  std::vector<Sources> states;   // per state, when the run has ended
};

// What the planner makes: the plan, and the constants from which its weights are packed, once.
struct Planned {
  Plan plan;
  std::vector<PackedConstant> constants;
  std::map<std::string, std::string> choices;  // as PlanOptions::choices
  Dataflow flow;
};

}  // namespace maru
