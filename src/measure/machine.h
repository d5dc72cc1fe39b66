// What a measurement must say of the machine that it was taken on: what it is, and in which state it
// was at each block. What the system does not tell is nothing. Functions of the file system; any
// thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace maru::measure {

class Nvml;

struct MachineFacts {
  std::string cpu;          // "AMD EPYC 9654 96-Core Processor"
  int cores = 0;            // that this process may use
  std::string system;       // "Debian GNU/Linux 12 (bookworm), Linux 6.1.0"
  std::string board;        // device tree's or DMI's name; empty where there is none
  std::string governor;     // of the cores' clocks; "mixed" where they differ; empty: not told
  std::string gpu, driver;  // of the NVIDIA GPU that works, where one does
  std::uint64_t memory_bytes = 0;
};

struct MachineState {
  std::optional<double> cpu_hz;  // mean of the cores' present clocks
  std::optional<double> gpu_hz;
  std::optional<double> celsius;          // the hottest zone of the chip, or of the GPU that works
  std::vector<std::string> throttled_by;  // empty: not throttled, or nothing tells
  double load = 0;  // runnable threads of others: the load of the last minute, less our own
};

MachineFacts machine_facts(const Nvml* nvml, const std::filesystem::path& root = "/");
MachineState machine_state(const Nvml* nvml, const std::filesystem::path& root = "/");

}  // namespace maru::measure
