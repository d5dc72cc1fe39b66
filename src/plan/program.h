// Program: what the planner works on between the graph and the plan: instructions over tensors whose
// layouts are settled, with the copies that layouts need. Internal to the room `plan`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace maru::planning {

using TensorIndex = std::size_t;

struct ProgramTensor {
  std::string name;
  TensorDesc desc;
  std::shared_ptr<const Constant> constant;
  bool input = false;   // memory of its own, written by the caller
  bool output = false;  // memory of its own, read by the caller
};

struct Instruction {
  enum class Kind : std::uint8_t {
    kernel,
    copy,
    view,  // its results are the bytes of its operands: slice, concatenation, reshape
  };
  Kind kind;
  std::string name;
  Op op;
  std::vector<TensorIndex> src, dst;
  Offer offer;  // not for views
  std::string why;
};

struct Program {
  std::vector<ProgramTensor> tensors;
  std::vector<Instruction> code;
  std::vector<TensorIndex> inputs, outputs;  // in the order of the graph's

  TensorIndex add_tensor(ProgramTensor tensor) {
    tensors.push_back(std::move(tensor));
    return tensors.size() - 1;
  }
};

// Picks for every node the offer with the least estimated time over `expected_runs`, changes of layout
// and preparation included, walking forward. Throws Error naming the node when the device has no offer.
Program lower(const Graph& graph, const Device& device, double expected_runs);

// A copy between two tensors of one shape, by the device's cheapest kernel.
Instruction make_copy(const Program& program, const Device& device, TensorIndex from, TensorIndex to,
                      std::string why);

}  // namespace maru::planning
