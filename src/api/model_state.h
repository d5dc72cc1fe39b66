// What a Model holds. Immutable once made; shared by copies of the model and by its sessions.
#pragma once

#include <maru/model.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "plan/plan.h"
#include "run/weights.h"

namespace maru {

struct Model::State {
  // The inputs of the preprocessing node, where the model takes photos; indices into plan.inputs.
  struct PhotoPorts {
    std::size_t pixels, frames;
  };

  // The one that was asked for; behind it the CPU, where that is another. They outlive the memory that
  // their heaps gave.
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<const Device*> device_list;
  std::shared_ptr<const void> file;  // keeps mapped the pages that weights are in, where they are
  Plan plan;
  Weights weights;
  std::string name;
  std::int64_t batch = 1;
  std::optional<PhotoPorts> photos;
  std::vector<std::string> labels, notes, passed_over;
  bool check = false;  // its sessions watch their runs
};

// Appends what a ledger has counted.
void add_records(const Ledger& ledger, std::vector<CopyRecord>& records);

}  // namespace maru
