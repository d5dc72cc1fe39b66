// What a Model holds. Immutable once made; shared by copies of the model and by its sessions.
#pragma once

#include <maru/model.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "plan/plan.h"

namespace maru {

struct Model::State {
  // The inputs of the preprocessing node, where the model takes photos; indices into plan.inputs.
  struct PhotoPorts {
    std::size_t pixels, frames;
  };

  std::unique_ptr<Device> device;  // outlives the memory that its heaps gave
  Plan plan;
  Buffer weights;
  std::string name;
  std::int64_t batch = 1;
  std::optional<PhotoPorts> photos;
  std::vector<std::string> labels, notes;
};

}  // namespace maru
