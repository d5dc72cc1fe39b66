#include "plan/order.h"

#include <algorithm>

namespace maru::planning {
namespace {

bool overlap(const std::vector<Footprint>& some, const std::vector<Footprint>& others) {
  return std::ranges::any_of(some, [&](const Footprint& a) {
    return std::ranges::any_of(others, [&](const Footprint& b) { return a.overlaps(b); });
  });
}

bool conflict(const Accesses& a, const Accesses& b) {
  return overlap(a.writes, b.writes) || overlap(a.writes, b.reads) || overlap(a.reads, b.writes);
}

}  // namespace

// From each step backwards: what a nearer one follows needs no look, and no edge.
Order::Order(std::span<const Accesses> steps) : steps_(steps.size()) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Known& step = steps_[i];
    step.row = steps[i].row;
    step.before.resize((i - step.row + 63) / 64);
    for (std::size_t j = i; j-- > step.row;) {
      if (precedes(j, i) || !conflict(steps[j], steps[i])) continue;
      step.after.push_back(j);
      const Known& earlier = steps_[j];
      for (std::size_t w = 0; w < earlier.before.size(); ++w) step.before[w] |= earlier.before[w];
      step.before[(j - step.row) / 64] |= std::uint64_t{1} << ((j - step.row) % 64);
    }
    std::ranges::reverse(step.after);
  }
}

void order_steps(Plan& plan) {
  const std::vector<std::size_t> rows = plan.rows();
  std::vector<Accesses> all(plan.steps.size());
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    all[i].row = rows[i];
    if (step.kernel == nullptr) continue;  // the end of a row
    for (const Operand& operand : step.src) {
      // What nobody writes nobody need follow.
      if (plan.regions[operand.region].kind != Region::Kind::weights)
        all[i].reads.push_back(Footprint::of(operand));
    }
    for (const Operand& operand : step.dst) all[i].writes.push_back(Footprint::of(operand));
    if (const std::size_t bytes = step.kernel->workspace_bytes(); bytes > 0)
      all[i].writes.push_back({step.workspace_region, step.workspace_offset, bytes, bytes, 1});
  }
  const Order order(all);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) plan.steps[i].after = order.after(i);
}

}  // namespace maru::planning
