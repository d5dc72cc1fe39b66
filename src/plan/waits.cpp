#include "plan/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace maru::planning {
namespace {

class Waits {
 public:
  Waits(const Plan& plan, std::span<const Device* const> devices) : plan_(plan), devices_(devices) {}

  std::vector<Step> run(std::vector<Step> steps) {
    if (devices_[0]->is_host()) return steps;
    for (Step& step : steps) {
      if (devices_[step.device]->is_host()) {
        before_host(step);
      } else {
        release();
        if (step.crosses()) {
          if (is_download(step) && !touched_.empty())
            wait(step.name, "its bytes go to the CPU", {}, {});
          touched_.clear();  // a transfer returns when all that was before it is done
        } else {
          touch(step);
        }
      }
      done_.push_back(std::move(step));
    }
    release();
    if (!touched_.empty()) wait("the end", "the caller reads the results", {}, {});
    return std::move(done_);
  }

 private:
  bool is_device_memory(const Operand& operand) const {
    return plan_.regions[operand.region].heap->traits().device_visible &&
           std::ranges::find(devices_[0]->heaps(), plan_.regions[operand.region].heap) !=
               devices_[0]->heaps().end();
  }
  bool must_map(const Operand& operand) const {
    return is_device_memory(operand) && !plan_.regions[operand.region].heap->traits().concurrent;
  }
  bool is_download(const Step& step) const {
    return is_device_memory(step.src[0]) && !is_device_memory(step.dst[0]);
  }
  static bool is_in(const std::vector<Operand>& list, const Operand& operand) {
    return std::ranges::any_of(list, [&](const Operand& o) {
      return o.region == operand.region && o.offset == operand.offset && o.desc == operand.desc;
    });
  }

  void touch(const Step& step) {
    for (const auto* operands : {&step.src, &step.dst}) {
      for (const Operand& operand : *operands) touched_.insert(operand.region);
    }
  }

  void before_host(const Step& step) {
    std::vector<Operand> reads, writes;
    bool must_wait = false;
    for (const Operand& operand : step.src) {
      must_wait = must_wait || touched_.contains(operand.region);
      if (must_map(operand)) reads.push_back(operand);
    }
    for (const Operand& operand : step.dst) {
      must_wait = must_wait || touched_.contains(operand.region);
      if (must_map(operand)) writes.push_back(operand);
    }
    const bool has_all =
        std::ranges::all_of(reads,
                            [&](const Operand& o) { return is_in(reads_, o) || is_in(writes_, o); }) &&
        std::ranges::all_of(writes, [&](const Operand& o) { return is_in(writes_, o); });
    if (!must_wait && has_all) return;
    release();  // ranges that are mapped must not overlap
    reads_ = reads;
    writes_ = writes;
    wait(step.name, fmt::format("{} runs on the CPU", step.name), std::move(reads), std::move(writes));
  }

  void wait(const std::string& name, const std::string& why, std::vector<Operand> reads,
            std::vector<Operand> writes) {
    done_.push_back(
        {Step::Kind::wait, name, "wait", why, nullptr, std::move(reads), std::move(writes)});
    touched_.clear();
  }

  void release() {
    if (reads_.empty() && writes_.empty()) return;
    done_.push_back({Step::Kind::release, std::string(devices_[0]->name()), "release",
                     "the device goes on", nullptr, std::move(reads_), std::move(writes_)});
    reads_.clear();
    writes_.clear();
  }

  const Plan& plan_;
  std::span<const Device* const> devices_;
  std::vector<Step> done_;
  std::vector<Operand> reads_, writes_;  // mapped for the CPU
  std::set<std::size_t> touched_;        // regions, by the device, since the last wait
};

}  // namespace

std::vector<Step> add_waits(const Plan& plan, std::span<const Device* const> devices,
                            std::vector<Step> steps) {
  return Waits(plan, devices).run(std::move(steps));
}

}  // namespace maru::planning
