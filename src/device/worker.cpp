#include "device/worker.h"

#include "device/device.h"

namespace maru {

Worker worker_of(const Device& device) {
  if (device.is_host()) return Worker::host;
  const auto* tells = dynamic_cast<const TellsWorker*>(&device);
  return tells != nullptr ? tells->worker() : Worker::unknown;
}

}  // namespace maru
