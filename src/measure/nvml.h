// Nvml: what NVIDIA's management library tells of one GPU. The library is opened when asked for, so
// that maru runs without it; what it does not tell is nothing, never 0. Owns the library's handle; one
// thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace maru::measure {

class Nvml {
 public:
  // Null where there is no library, no such GPU, or another than the one that CUDA calls `cuda_name`:
  // CUDA may count the fastest first, NVML counts along the bus. `why` then says which.
  static std::unique_ptr<Nvml> open(int gpu, const std::string& library, std::string& why,
                                    const std::string& cuda_name = "");
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  std::string name() const;    // "NVIDIA H200"; empty where it does not say
  std::string driver() const;  // "580.95.05"
  // Of the whole board since the driver was loaded; a counter in steps of 1 mJ.
  std::optional<double> joules() const;
  // Of the whole board, now; where that cannot be had, as NVML averages it.
  std::optional<double> watts() const;
  std::optional<std::uint64_t> used_bytes() const;  // of the card, by whomever
  std::optional<double> clock_hz() const;           // of the multiprocessors, now
  std::optional<double> celsius() const;
  // Why the clock is lower than it could be: "thermal", "power", "hardware"; empty: it is not.
  // Idling is no reason.
  std::vector<std::string> throttled_by() const;
  bool tells_throttling() const;  // whether it says so at all

 private:
  struct State;
  std::optional<unsigned long long> clock_reasons() const;
  explicit Nvml(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace maru::measure
