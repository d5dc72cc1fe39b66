// MemoryTraits: what a kind of memory does, as facts. Host, device, pinned, mapped, managed and
// imported memory are rows of these, not branches in the code.
#pragma once

#include <cstddef>
#include <limits>
#include <string>

namespace maru {

struct MemoryTraits {
  bool host_visible = false;    // the CPU may read and write it while it is mapped
  bool device_visible = false;  // the device's kernels may use it
  bool host_cached = false;     // CPU reads go through its caches; false means about 30 times slower
  bool device_cached = false;   // device reads go through its caches
  bool coherent = false;        // writes of one side are seen by the other without flush or invalidate
  // Both sides may touch it at the same time, given order: a host view may stay open while the device
  // works, and is always at the same address.
  bool concurrent = false;
  // Pages move to the side that touches them, when it does, by the driver: slow each time, and on a
  // full card the end of the program that touches.
  bool migrates = false;
  bool imports = false;            // takes memory of the caller
  bool imports_read_only = false;  // also such as can only be read, as the pages of a file
  std::size_t alignment = 1;       // bytes; of every allocation and of imported pointers
  std::size_t limit = std::numeric_limits<std::size_t>::max();  // bytes; largest single allocation

  std::string str() const;
  bool operator==(const MemoryTraits&) const = default;
};

// Bytes of this machine's memory: the limit of heaps that lie in it.
std::size_t host_memory_bytes();

}  // namespace maru
