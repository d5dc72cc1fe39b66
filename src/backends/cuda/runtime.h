// Runtime: one CUDA device as kernels and heaps of this backend see it. Owned by the Device; immutable,
// but for what is noted as broken. CudaQueue: a stream, with the end of its last work.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "backends/cuda/module.h"
#include "device/device.h"
#include "memory/queue.h"

namespace maru::cuda {

struct StreamDeleter {
  const maru_cuda_api* api;
  void operator()(maru_cuda_stream* stream) const noexcept { api->stream_destroy(stream); }
};
using StreamHandle = std::unique_ptr<maru_cuda_stream, StreamDeleter>;

std::string version_text(int version);  // "13.0" of 13000

class CudaRanks;  // backends/cuda/ranks.h

class Runtime {
 public:
  // Throws Error when the device cannot be used.
  Runtime(std::shared_ptr<const Module> module, int ordinal);
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  const maru_cuda_api& api() const noexcept { return module_->api(); }
  int ordinal() const noexcept { return ordinal_; }
  const maru_cuda_facts& facts() const noexcept { return facts_; }
  int compute_capability() const noexcept { return facts_.major * 10 + facts_.minor; }  // 90
  // Of what kernels were compiled for, which is what they do: 87 on a GPU of 9.0 where the module had
  // nothing nearer and the driver translates it.
  int code_capability() const noexcept { return std::min(code_capability_, compute_capability()); }
  std::string description() const;

  // Throws Error naming the call and what CUDA says of it, unless `code` is 0.
  void check(int code, std::string_view call) const;
  StreamHandle make_stream() const;
  // Throws Error where the module has no such function for this device.
  const maru_cuda_kernel* find(const std::string& function) const;

  // The processes that train together; null: this one is alone.
  std::unique_ptr<CudaRanks> ranks;
  bool tf32 = false;  // convolutions and products of f32 may round their operands
  bool tune = false;  // kernels are chosen by measuring

  // Held while kernels are measured: two at once would slow each other.
  mutable std::mutex measuring;

 private:
  std::shared_ptr<const Module> module_;
  int ordinal_;
  maru_cuda_facts facts_{};
  int code_capability_ = 0;
  int driver_version_ = 0, runtime_version_ = 0;
};

class CudaQueue final : public Queue {
 public:
  explicit CudaQueue(const Runtime& runtime) : runtime_(runtime), stream_(runtime.make_stream()) {}

  void finish() override;
  maru_cuda_stream* stream() const noexcept { return stream_.get(); }
  const Runtime& runtime() const noexcept { return runtime_; }

  // What was given last ends with this word's reaching `value`; null: it has no such word.
  void ends_with(const volatile std::uint32_t* word, std::uint32_t value) noexcept {
    word_ = word;
    value_ = value;
  }

 private:
  void wait_with_ranks();

  const Runtime& runtime_;
  StreamHandle stream_;
  const volatile std::uint32_t* word_ = nullptr;
  std::uint32_t value_ = 0;
};

}  // namespace maru::cuda
