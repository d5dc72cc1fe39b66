// Storages: which tensors of a program share bytes. Slices and concatenations become windows of one
// storage, so that producers write where the joined tensor will be read; elementwise nodes work in
// place. Internal to the room `plan`.
#pragma once

#include <vector>

#include "plan/program.h"

namespace maru::planning {

struct Storage {
  std::vector<TensorIndex> members;
  Place place;
  std::size_t run_bytes = 0;  // of the whole storage: of one image, or pixel where channels are last
  std::int64_t runs = 1;
  std::size_t bytes() const { return run_bytes * static_cast<std::size_t>(runs); }
};

struct Location {
  std::size_t storage = 0;
  std::size_t offset = 0;  // bytes, in the first run
};

struct Storages {
  std::vector<Storage> storages;
  std::vector<Location> of;  // per tensor; constants have a storage of their own that nobody allocates
  // Per tensor: of a view's result, the tensors whose bytes it shows; empty for all others.
  std::vector<std::vector<TensorIndex>> shows;
};

// Joins what can be joined and adds copies to the program where it cannot. Afterwards the layout of
// every tensor says whether it is a window.
Storages share_storage(Program& program, const Placement& placement);

}  // namespace maru::planning
