// Communicator: one process of several that train together, its "rank", and what they tell each other.
// All ranks call the same functions in the same order; a call returns when it is done here.
//
// One thread at a time, but for check(). Devices that were opened with it, and what runs on them, use
// it too, so it lives as long as they (DeviceOptions::communicator).
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

namespace maru {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const noexcept = 0;   // 0 or more, below ranks()
  virtual int ranks() const noexcept = 0;  // at least 1

  // All of these throw Error when a rank has ended or does not come, naming it where that is known,
  // after the time that was set at most. No call works after that.
  //
  // Each element becomes its sum over all ranks, the same bits on each.
  virtual void sum(std::span<float> values) = 0;
  virtual void sum(std::span<double> values) = 0;
  // The bytes become those of rank 0. As many on each rank.
  virtual void share(std::span<std::byte> bytes) = 0;
  // Until all ranks are here.
  virtual void meet() = 0;
  // Returns at once, unless a rank is known to have ended: for those who wait for something that would
  // then never come. Any thread.
  virtual void check() const = 0;
  // How long a rank may be behind the others before they give up.
  virtual std::chrono::milliseconds patience() const noexcept = 0;
  // When all work is done, on all ranks: to end after this is no failure. Ending without it is one, and
  // the others are told.
  virtual void leave() = 0;
  virtual bool has_left() const noexcept = 0;
};

}  // namespace maru
