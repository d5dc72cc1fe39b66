// Means over the ranks, by the communicator that the device was opened with.
#include "ops/all_reduce.h"

#include <algorithm>

#include "backends/cpu/provider.h"
#include "base/error.h"
#include "device/communicator.h"

namespace maru::cpu {
namespace {

// A bucket goes as one: what each message costs, small gradients would pay for one by one.
HostFunction all_reduce(std::shared_ptr<Communicator> communicator) {
  return
      [communicator = std::move(communicator)](Views src, Views dst, std::span<std::byte> workspace) {
        auto* bucket = reinterpret_cast<float*>(workspace.data());
        float* to = bucket;
        for (const TensorView& view : src)
          to = std::copy_n(view.as<const float>(), view.desc.count(), to);
        communicator->sum(std::span(bucket, to));
        const auto share = 1 / static_cast<float>(communicator->ranks());
        const float* from = bucket;
        for (const TensorView& view : dst) {
          const float* end = from + view.desc.count();
          std::transform(from, end, view.as<float>(), [share](float sum) { return sum * share; });
          from = end;
        }
      };
}

class AllReduceProvider final : public Provider {
 public:
  std::string name() const override { return "all_reduce"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* reduce = call.op.as<AllReduce>();
    if (reduce == nullptr || !all_f32(call) || !cpu.communicator) return;
    if (reduce->ranks != cpu.communicator->ranks()) return;
    constexpr double kSecondsAMessage = 100e-6, kTimesMemory = 10;
    const double seconds =
        kSecondsAMessage + kTimesMemory * memory_seconds(static_cast<double>(bytes_of(call)));
    offers.push_back(same_layout_offer(*this, call, Layout::plain(), seconds));
    offers.back().in_place = true;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu& cpu) const override {
    return host_kernel(fmt::format("all_reduce of {} ranks", cpu.communicator->ranks()),
                       all_reduce(cpu.communicator), bytes_of(call));
  }

 private:
  static std::size_t bytes_of(const Call& call) {
    std::size_t bytes = 0;
    for (const TensorDesc& desc : call.src)
      bytes += static_cast<std::size_t>(desc.count()) * sizeof(float);
    return bytes;
  }
};

}  // namespace

std::unique_ptr<Provider> all_reduce_provider() { return std::make_unique<AllReduceProvider>(); }

}  // namespace maru::cpu
