#include "plan/waits.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/footprint.h"

namespace maru::planning {
namespace {

class Waits {
 public:
  Waits(const Plan& plan, std::span<const Device* const> devices, std::vector<Step> steps)
      : plan_(plan), devices_(devices), steps_(std::move(steps)) {}

  std::vector<Step> run() {
    if (devices_[0]->is_host()) return std::move(steps_);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (is_host_step(steps_[i])) {
        before_host(i);
      } else {
        release();
        before_device(steps_[i]);
      }
      done_.push_back(steps_[i]);
    }
    release();
    if (is_busy_) wait("the end", "the caller reads the results", {}, {});
    return std::move(done_);
  }

 private:
  bool is_host_step(const Step& step) const { return devices_[step.device]->is_host(); }
  bool is_device_memory(std::size_t region) const {
    return plan_.regions[region].heap->traits().device_visible &&
           std::ranges::find(devices_[0]->heaps(), plan_.regions[region].heap) !=
               devices_[0]->heaps().end();
  }
  bool must_map(const Operand& operand) const {
    return is_device_memory(operand.region) && !plan_.regions[operand.region].heap->traits().concurrent;
  }
  static bool is_in(const std::vector<Operand>& list, const Operand& operand) {
    return std::ranges::any_of(list, [&](const Operand& o) {
      return o.region == operand.region && o.offset == operand.offset && o.desc == operand.desc;
    });
  }
  static bool conflicts(const std::vector<Footprint>& pending, const Operand& operand) {
    const Footprint own = Footprint::of(operand);
    return std::ranges::any_of(pending, [&](const Footprint& f) { return f.overlaps(own); });
  }

  // The device keeps the order of its own steps; the CPU is told when a copy reaches its memory.
  void before_device(const Step& step) {
    if (step.crosses()) {
      if (conflicts(written_, step.src[0])) wait(step.name, "its bytes go to the CPU", {}, {});
      forget();  // a transfer returns when all that was before it is done
      return;
    }
    is_busy_ = true;
    for (const Operand& operand : step.src) {
      // What nobody writes nobody need wait for.
      if (plan_.regions[operand.region].kind != Region::Kind::weights)
        read_.push_back(Footprint::of(operand));
    }
    for (const Operand& operand : step.dst) written_.push_back(Footprint::of(operand));
    if (const std::size_t bytes = step.kernel->workspace_bytes(); bytes > 0)
      written_.push_back({step.workspace_region, step.workspace_offset, bytes, bytes, 1});
  }

  bool must_wait_for(const Step& step) const {
    const bool reads = std::ranges::any_of(
        step.src, [&](const Operand& operand) { return conflicts(written_, operand); });
    return reads || std::ranges::any_of(step.dst, [&](const Operand& operand) {
             return conflicts(written_, operand) || conflicts(read_, operand);
           });
  }

  void before_host(std::size_t index) {
    const Step& step = steps_[index];
    const bool is_mapped = std::ranges::all_of(step.src,
                                               [&](const Operand& o) {
                                                 return !must_map(o) || is_in(mapped_reads_, o) ||
                                                        is_in(mapped_writes_, o);
                                               }) &&
                           std::ranges::all_of(step.dst, [&](const Operand& o) {
                             return !must_map(o) || is_in(mapped_writes_, o);
                           });
    if (is_mapped && !must_wait_for(step)) return;
    release();
    if (!is_mapped) hand_over(index);
    wait(step.name, fmt::format("{} runs on the CPU", step.name), mapped_reads_, mapped_writes_);
  }

  // All that the CPU maps until the device goes on is mapped at once: one wait for a row of steps.
  void hand_over(std::size_t first) {
    for (std::size_t i = first; i < steps_.size() && is_host_step(steps_[i]); ++i) {
      for (const Operand& operand : steps_[i].src) {
        // What the row itself writes comes from nobody else.
        if (must_map(operand) && !is_in(mapped_reads_, operand) && !is_in(mapped_writes_, operand))
          mapped_reads_.push_back(operand);
      }
      for (const Operand& operand : steps_[i].dst) {
        if (must_map(operand) && !is_in(mapped_writes_, operand)) mapped_writes_.push_back(operand);
      }
    }
  }

  void wait(const std::string& name, const std::string& why, std::vector<Operand> reads,
            std::vector<Operand> writes) {
    done_.push_back(
        {Step::Kind::wait, name, "wait", why, nullptr, std::move(reads), std::move(writes)});
    forget();
  }

  void forget() {
    is_busy_ = false;
    read_.clear();
    written_.clear();
  }

  void release() {
    if (mapped_reads_.empty() && mapped_writes_.empty()) return;
    done_.push_back({Step::Kind::release, std::string(devices_[0]->name()), "release",
                     "the device goes on", nullptr, std::move(mapped_reads_),
                     std::move(mapped_writes_)});
    mapped_reads_.clear();
    mapped_writes_.clear();
  }

  const Plan& plan_;
  std::span<const Device* const> devices_;
  std::vector<Step> steps_, done_;
  std::vector<Operand> mapped_reads_, mapped_writes_;  // for the CPU
  std::vector<Footprint> read_, written_;              // by the device, since the last wait
  bool is_busy_ = false;                               // the device, since the last wait
};

}  // namespace

std::vector<Step> add_waits(const Plan& plan, std::span<const Device* const> devices,
                            std::vector<Step> steps) {
  return Waits(plan, devices, std::move(steps)).run();
}

}  // namespace maru::planning
