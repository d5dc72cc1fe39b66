// Plan: everything that a run will do, decided once and immutable: regions of memory, where each tensor
// lives in them, and the steps in order. If a copy is not in the plan it cannot happen. Shared by the
// sessions of a model; any thread may read it. The device, whose heaps it names, must outlive it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace maru {

// A piece of memory that is one allocation. Weights belong to the model, all others to the session.
struct Region {
  enum class Kind : std::uint8_t { weights, arena, input, output };
  Kind kind;
  std::string name;            // of the value, for inputs and outputs
  const Heap* heap = nullptr;  // of the device
  std::string why;             // the heap was chosen
  std::size_t bytes = 0;
};

struct Operand {
  std::string name;
  TensorDesc desc;
  std::size_t region = 0;  // index into Plan::regions
  std::size_t offset = 0;  // bytes
};

struct Step {
  enum class Kind : std::uint8_t {
    kernel,  // computes a node
    copy,    // moves or reorders bytes and computes nothing
  };
  Kind kind;
  std::string name;  // of the node, or of the value that is copied
  std::string op;    // operator and attributes
  std::string why;   // the kernel was chosen, or the copy is needed
  std::shared_ptr<const Kernel> kernel;
  std::vector<Operand> src, dst;
  std::size_t workspace = 0;  // offset in the arena; meaningful when the kernel wants a workspace
};

// A value of the graph that the caller writes or reads.
struct Port {
  std::string name;
  TensorDesc desc;
  std::size_t region;
};

struct Plan {
  static constexpr std::size_t kWeights = 0, kArena = 1;  // regions that every plan has, maybe empty

  std::string network, device, policy;
  std::vector<Region> regions;
  std::vector<Step> steps;
  std::vector<Port> inputs, outputs;
  std::vector<std::string> rewrites;  // what was done to the graph before

  std::size_t copied_bytes() const;  // a run, by all copy steps
  std::string text() const;
  std::string json() const;
};

// A constant in the form that its kernel wants, in the region of weights.
struct PackedConstant {
  std::string name;
  std::shared_ptr<const Constant> constant;
  std::shared_ptr<const Kernel> kernel;
  std::size_t operand = 0;  // of the kernel
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

// What the planner makes: the plan, and the constants from which its weights are packed, once.
struct Planned {
  Plan plan;
  std::vector<PackedConstant> constants;
};

}  // namespace maru
