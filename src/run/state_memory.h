// StateMemory: what outlives runs: parameters that are trained, and what a solver remembers. Owns the
// memory; plans that run in turns share it by name. One thread at a time; outlives the executors.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "plan/plan.h"

namespace maru {

class StateMemory {
 public:
  // `device` is that of the plans, and outlives this.
  explicit StateMemory(const Device& device) : device_(device) {}

  // Makes room for the states of the plan that are new; all zero. Throws Error when there is not enough
  // memory, naming the state. A state that is known has the same shape and heap.
  void add(const Plan& plan);

  bool has(const std::string& name) const { return held_.contains(name); }
  const Buffer& at(const std::string& name) const;
  Shape shape_of(const std::string& name) const;
  std::vector<std::string> names() const;
  std::size_t bytes() const;
  // Copies, of as many elements as the state has. Nothing runs meanwhile.
  void write(const std::string& name, std::span<const float> values) const;
  void read(const std::string& name, std::span<float> values) const;

 private:
  struct Held {
    TensorDesc desc;
    Buffer buffer;
  };
  const Held& held(const std::string& name) const;
  // For states in memory that the CPU does not see: a way to reach the largest of them, made with them,
  // so that reading what was trained wants no more memory.
  void make_staging(std::size_t bytes);

  const Device& device_;
  std::map<std::string, Held, std::less<>> held_;
  std::unique_ptr<Queue> queue_;
  Buffer staging_;
};

}  // namespace maru
