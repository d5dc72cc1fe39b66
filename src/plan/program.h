// Program: what the planner works on between the graph and the plan: instructions over tensors whose
// layouts are settled, with the copies that layouts need. Internal to the room `plan`.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"
#include "plan/placement.h"

namespace maru::planning {

using TensorIndex = std::size_t;

struct ProgramTensor {
  std::string name;
  TensorDesc desc;
  std::shared_ptr<const Constant> constant;
  Place place = {};
  bool input = false;                                 // memory of its own, written by the caller
  bool output = false;                                // memory of its own, read by the caller
  bool state = false;                                 // memory that outlives a run
  std::optional<TensorIndex> mirrors = std::nullopt;  // the input of which this is the device's copy
};

struct Instruction {
  enum class Kind : std::uint8_t {
    kernel,
    copy,      // another layout, or other bytes, by a kernel of the device
    transfer,  // the same bytes in memory of the other side
    view,      // its results are the bytes of its operands: slice, concatenation, reshape
  };
  Kind kind;
  std::string name;
  Op op;
  std::vector<TensorIndex> src, dst;
  Offer offer;  // not for views
  std::string why;
  std::size_t device = 0;  // index into the plan's devices
};

struct Program {
  std::vector<ProgramTensor> tensors;
  std::vector<Instruction> code;
  std::vector<TensorIndex> inputs, outputs;  // in the order of the graph's
  struct State {
    TensorIndex begin, end;  // whose bytes share_storage() makes one
  };
  std::vector<State> states{};                 // likewise
  std::map<std::string, std::string> choices;  // which offer each node took; see PlanOptions::choices

  TensorIndex add_tensor(ProgramTensor tensor) {
    tensors.push_back(std::move(tensor));
    return tensors.size() - 1;
  }
};

struct LowerOptions {
  double expected_runs = 1;
  const std::map<std::string, std::string>* choices = nullptr;  // as PlanOptions::choices
};

// Picks for every node a device (the first, or the CPU where the first has no offer) and the offer with
// the least estimated time over `expected_runs`, changes of layout and preparation included, walking
// forward; places every tensor, and adds transfers where a tensor lives twice. Throws Error naming the
// node when no device has an offer.
Program lower(const Graph& graph, const Placement& placement, const LowerOptions& options);

// A copy between two tensors of one shape, by the cheapest kernel of the device on their side.
Instruction make_copy(const Program& program, const Placement& placement, TensorIndex from,
                      TensorIndex to, std::string why);

}  // namespace maru::planning
