// StepInfo: one step of a model's plan, for tools that look at each alone (maru profile).
#pragma once

#include <cstdint>
#include <string>

namespace maru {

struct StepInfo {
  enum class Kind : std::uint8_t {
    kernel,   // computes a node
    copy,     // moves or reorders bytes
    wait,     // the CPU waits for the device
    release,  // and gives back to it what the wait gave the CPU
  };

  Kind kind = Kind::kernel;
  std::string name;      // of the node, or of the value that is copied
  std::string op;        // operator and attributes
  std::string kernel;    // the implementation that was picked; empty for all but kernels and copies
  std::string device;    // whose step it is
  bool crosses = false;  // a copy between the CPU's memory and the device's
  double flops = 0;      // a multiply-add counts as 2
  double bytes = 0;      // read and written once each, weights included
};

}  // namespace maru
