// A communicator for tests in one process: of two ranks, the other of which has the same.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "device/communicator.h"

namespace maru::testing {

class Twin final : public Communicator {
 public:
  std::vector<std::size_t> sums;  // how many elements each had
  std::optional<Error> ended;     // what check() throws
  std::chrono::milliseconds waits = std::chrono::minutes(1);

  int rank() const noexcept override { return 0; }
  int ranks() const noexcept override { return 2; }
  void sum(std::span<float> values) override { add(values); }
  void sum(std::span<double> values) override { add(values); }
  void share(std::span<std::byte>) override {}
  void meet() override {}
  void check() const override {
    if (ended) throw Error(*ended);
  }
  std::chrono::milliseconds patience() const noexcept override { return waits; }
  void leave() override { has_left_ = true; }
  bool has_left() const noexcept override { return has_left_; }

 private:
  bool has_left_ = false;

  template <class T>
  void add(std::span<T> values) {
    for (T& value : values) value *= 2;
    sums.push_back(values.size());
  }
};

}  // namespace maru::testing
