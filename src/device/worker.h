// Worker: which chip a device is, for whoever asks what its work costs. Facts of a device, told by the
// backend that knows; any thread.
#pragma once

#include <cstdint>

namespace maru {

class Device;

enum class Worker : std::uint8_t {
  host,            // the CPU that the program runs on, by whatever interface
  integrated_gpu,  // on the CPU's chip, in its memory
  card,            // a chip of its own, with memory of its own
  unknown,
};

// What a Device implements beside its interface when it may be any of these.
class TellsWorker {
 public:
  virtual Worker worker() const = 0;

 protected:
  ~TellsWorker() = default;
};

// Of a device that tells nothing: host if it is that, else unknown.
Worker worker_of(const Device& device);

}  // namespace maru
