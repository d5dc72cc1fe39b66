// Queue: the order in which one session's work happens on one device. Belongs to one session and one
// thread at a time. Work comes after all that was given to the same queue before.
#pragma once

namespace maru {

class Queue {
 public:
  virtual ~Queue() = default;
  // Called by the session's thread before the first launch of a run.
  virtual void begin() {}
  // Returns when everything given to the queue has ended and its writes are visible to the device.
  // Throws Error when the device failed.
  virtual void finish() {}
};

}  // namespace maru
