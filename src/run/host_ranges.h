// HostRanges: what the CPU's kernels see of memory that belongs to another device: ranges that a plan's
// wait hands over are mapped until its release; memory that both may touch at once is mapped for good.
// Owned by one executor; its thread alone.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "plan/plan.h"

namespace maru {

class HostRanges {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  // `buffers` are those of the plan's regions, which may be others after remap(). `queue` is that of
  // the plan's first device, whose memory this is about.
  HostRanges(const Plan& plan, std::span<const Buffer* const> buffers, Queue& queue);

  // The hand-over that holds at a step, from the wait that begins it to the release that ends it.
  std::size_t during(std::size_t step) const { return of_step_[step]; }

  // An operand of a CPU step, as memory that has an address. Valid until map() says true or remap().
  Tensor tensor(const Operand& operand, TensorDesc desc, std::size_t hand_over) const;

  // Whether tensor() of the operand can be touched now.
  bool is_open(const Operand& operand, std::size_t hand_over) const;

  // Waits for the queue and maps the ranges. True when one is at another address than the last time.
  bool map(std::size_t hand_over);
  void unmap(std::size_t hand_over) noexcept;
  void unmap_all() noexcept;
  // Around giving the region another buffer; remap() returns the hand-overs of which any range is at
  // another address than before, of another region too.
  void drop(std::size_t region);
  std::vector<std::size_t> remap(std::size_t region);

 private:
  struct Range {
    std::size_t region = 0, begin = 0, end = 0;  // bytes
    Access access = Access::read;
    std::optional<HostView> view{};
    Buffer alias{};
  };
  using HandOver = std::vector<Range>;

  static HandOver ranges_of(const Plan& plan, const Step& wait);
  bool open(Range& range);
  void map_for_good(std::size_t region);

  const Plan& plan_;
  std::span<const Buffer* const> buffers_;
  Queue& queue_;
  std::vector<HandOver> hand_overs_;
  std::vector<std::size_t> of_step_;
  std::vector<Range> always_;  // per region, where its heap is concurrent
};

}  // namespace maru
