// Placement: which heap each kind of tensor goes to, by policy, traits and speeds; and for a tensor
// that the CPU and the device both touch, whether it lives once or twice. Internal to the room `plan`.
#pragma once

#include <maru/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/speed.h"

namespace maru::planning {

// Who touches a tensor's bytes: kernels of the plan's device, the CPU (its kernels or the caller).
enum class Side : std::uint8_t { device, host, both };

struct Place {
  Side side = Side::device;
  const Heap* heap = nullptr;
  std::string why;
};

// One kernel of the device and what it does to a tensor, in bytes.
struct Touch {
  double read = 0, written = 0;
  double reread = 0;  // by windows, which costs where no cache of the device's holds it
  double other = 0;   // what the same kernel reads and writes beside this tensor
  double flops = 0;   // of the kernel, which go on meanwhile
};

// What happens to a tensor in one run, in bytes.
struct Traffic {
  double host_read = 0, host_write = 0;
  std::vector<Touch> touches;
  double up = 0, down = 0;  // that would be copied to the device and back if it lived twice
  int host_touches = 0;     // times that it is handed to the CPU
  int host_results = 0;     // of them, for a kernel there to write it that waits for nothing else

  bool crosses() const { return up + down > 0; }
};

// What a tensor costs in one place, by who takes the time: the two are measured apart.
struct Spent {
  double cpu = 0, device = 0;  // seconds; those of copies are the device's

  double total() const { return cpu + device; }
};

struct PlacementOptions {
  MemoryPolicy policy = MemoryPolicy::automatic;
  double expected_runs = 1;
  bool weights_in_file = false;  // packed weights lie in a mapped file, which a heap may take as it is
  const std::map<std::string, std::string>* heaps = nullptr;  // as PlanOptions::heaps
};

class Placement {
 public:
  // devices[0] computes; one behind it may be the CPU, for what the first cannot run. `speeds` are
  // theirs. All must outlive the placement. Throws Error where the device has no heap that it sees.
  Placement(std::span<const Device* const> devices, std::span<const DeviceSpeed> speeds,
            const PlacementOptions& options);

  // Whether there are two sides at all; false where the CPU computes.
  bool is_split() const { return !devices_[0]->is_host(); }
  const Device& device(std::size_t index) const { return *devices_[index]; }
  std::size_t device_count() const { return devices_.size(); }
  // Index of the device whose kernels run on that side; the first where there is no CPU device.
  std::size_t device_on(Side side) const { return side == Side::host ? host_ : 0; }
  // The side of an indexed device's kernels; there is but one side where the CPU computes.
  Side side_of(std::size_t device) const {
    return is_split() && devices_[device]->is_host() ? Side::host : Side::device;
  }

  const Place& local() const { return local_; }      // kernels of the device alone
  const Place& host() const { return host_place_; }  // kernels of the CPU alone
  const Place& staging() const { return staging_; }  // the CPU's side of copies
  Place weights(double bytes) const;                 // of the device's kernels
  // Of a tensor that both sides touch. Side::both: it lives once; else twice, kept equal by copies.
  Place crossing(const std::string& name, const Traffic& traffic) const;

 private:
  struct Known {
    const Heap* heap;
    HeapSpeed speed;
  };
  std::vector<Known> device_heaps(bool host_sees) const;
  Place choose_local() const;
  Place choose_staging() const;
  Spent seconds_in(const Traffic& traffic, const Heap& heap, const HeapSpeed& speed) const;
  Spent seconds_apart(const Traffic& traffic) const;
  // By more than measuring can tell, where it was measured.
  bool is_cheaper(const Spent& one, const Spent& than) const;
  // Throws Error where a heap was asked for that cannot be.
  const Known* asked_for(const std::string& name, std::span<const Known> heaps) const;

  std::span<const Device* const> devices_;
  std::span<const DeviceSpeed> speeds_;
  PlacementOptions options_;
  std::size_t host_ = 0;
  double rereads_ = 0.5;     // as MachineSpeed::rereads
  double device_flops_ = 0;  // as MachineSpeed::device_flops
  std::vector<Known> main_heaps_;
  Place local_, host_place_, staging_;
  HeapSpeed local_speed_, staging_speed_;
};

}  // namespace maru::planning
