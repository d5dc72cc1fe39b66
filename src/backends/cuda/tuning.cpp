#include "backends/cuda/tuning.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"
#include "device/fastest.h"

namespace maru::cuda {
namespace {

// What takes twice the best's time at first sight is not looked at again.
constexpr double kHopeless = 2;
// Rows of launches long enough that the device's clock tells them apart.
constexpr double kSecondsOfARow = 200e-6;
constexpr unsigned kLeastRuns = 2, kMostRuns = 20, kRows = 2;

class Scratch final : public Allocation {
 public:
  Scratch(const Runtime& runtime, std::size_t bytes) : runtime_(runtime) {
    const int code = runtime.api().allocate(runtime.ordinal(), MARU_CUDA_DEVICE,
                                            std::max<std::size_t>(bytes, 1), &memory_);
    runtime.check(code, "cudaMalloc");
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() override {
    static_cast<void>(runtime_.api().release(runtime_.ordinal(), MARU_CUDA_DEVICE, &memory_));
  }

  void* native() const noexcept override { return memory_.device; }
  void* map(Access, std::size_t, std::size_t, Queue*) override { return nullptr; }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 private:
  const Runtime& runtime_;
  maru_cuda_memory memory_{};
};

class ScratchHeap final : public Heap {
 public:
  explicit ScratchHeap(const Runtime& runtime) : Heap("scratch", traits()), runtime_(runtime) {}

 private:
  static MemoryTraits traits() {
    MemoryTraits traits{};
    traits.device_visible = true;
    return traits;
  }
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    return std::make_unique<Scratch>(runtime_, bytes);
  }

  const Runtime& runtime_;
};

class Trial {
 public:
  Trial(const Runtime& runtime, const Trials& trials)
      : runtime_(runtime), stream_(runtime.make_stream()), heap_(runtime) {
    for (const std::size_t bytes : trials.src) src_.push_back(room(bytes));
    for (const std::size_t bytes : trials.dst) dst_.push_back(room(bytes));
    workspace_ = room(trials.workspace);
  }

  // Seconds of one run; infinity where it is no better than `least` by far.
  double measure(const std::vector<Stage>& stages, double least) const {
    const Bound bound(src_, dst_, workspace_);
    std::vector<std::vector<std::byte>> params;
    std::vector<maru_cuda_launch> launches;
    for (const Stage& one : stages) {
      params.push_back(one.params(bound));
      launches.push_back({runtime_.find(one.function),
                          {one.grid[0], one.grid[1], one.grid[2]},
                          {one.block[0], one.block[1], one.block[2]},
                          one.shared_bytes,
                          one.cluster,
                          params.back().data()});
    }
    const double first = seconds_of(launches, kLeastRuns);
    if (first > kHopeless * least) return std::numeric_limits<double>::infinity();
    const auto runs =
        static_cast<unsigned>(std::clamp<double>(kSecondsOfARow / first, kLeastRuns, kMostRuns));
    double best = first;
    for (unsigned row = 0; row < kRows; ++row) best = std::min(best, seconds_of(launches, runs));
    return best;
  }

 private:
  Tensor room(std::size_t bytes) {
    buffers_.push_back(
        std::make_unique<Buffer>(heap_.allocate(std::max<std::size_t>(bytes, 1), "tuning")));
    return {{DType::u8, {static_cast<std::int64_t>(bytes)}, Layout::plain()}, buffers_.back().get(), 0};
  }

  double seconds_of(const std::vector<maru_cuda_launch>& launches, unsigned times) const {
    double seconds = 0;
    runtime_.check(
        runtime_.api().time_launches(stream_.get(), launches.data(), launches.size(), times, &seconds),
        "cudaGraphLaunch");
    return seconds;
  }

  const Runtime& runtime_;
  StreamHandle stream_;
  ScratchHeap heap_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Tensor> src_, dst_;
  Tensor workspace_;
};

}  // namespace

std::size_t fastest(const Runtime& runtime, const Trials& trials,
                    const std::function<std::vector<Stage>(std::size_t)>& stages) {
  const std::string key = fmt::format("{}\n{}", runtime.description(), trials.call);
  return fastest_of({"cuda-tuning", key, trials.names}, runtime.measuring, [&]() -> TakeTime {
    const auto trial = std::make_shared<const Trial>(runtime, trials);
    return [&stages, trial](std::size_t i, double least) { return trial->measure(stages(i), least); };
  });
}

}  // namespace maru::cuda
