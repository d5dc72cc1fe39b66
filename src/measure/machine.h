// What a measurement must say of the machine that it was taken on: what it is, and in which state it
// was at each block. What the system does not tell is nothing. Functions of the file system; any
// thread.
#pragma once

#include <cstdint>
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
  // Of others: how many of the cores that we may use they keep busy.
  std::optional<double> load;
  // Whether the system tells that its clocks were lowered: of the CPU or board, and of the GPU that
  // works.
  bool tells_throttling = false, gpu_tells_throttling = false;
};

MachineFacts machine_facts(const Nvml* nvml, const std::filesystem::path& root = "/");
// `load` is of this moment: threads that run and are not ours. MachineWatch has it over a time.
MachineState machine_state(const Nvml* nvml, const std::filesystem::path& root = "/");

// Looks at the machine from time to time. Owns nothing; one thread.
class MachineWatch {
 public:
  explicit MachineWatch(const Nvml* nvml, std::filesystem::path root = "/");
  // From here on, for the next look().
  void start();
  // The state now; its load, and what counters say was throttled, are since start(). Over less than
  // 0.1 s the load is not known.
  MachineState look();

 private:
  struct Counts {
    double seconds = 0;          // now_seconds()
    std::optional<double> busy;  // seconds that our cores worked, for whomever
    double own = 0;              // seconds of them for us
    std::uint64_t throttles = 0;
  };
  Counts count() const;

  const Nvml* nvml_;
  std::filesystem::path root_;
  Counts start_;
};

}  // namespace maru::measure
