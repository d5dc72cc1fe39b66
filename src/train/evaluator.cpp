#include "train/evaluator.h"

#include "base/error.h"

namespace maru {

Evaluator::Evaluator(Trainer& trainer, EvaluatorOptions options)
    : trainer_(trainer),
      options_(std::move(options)),
      network_(load_fed_network(options_.net, options_.weights, options_.feed, options_.batch)),
      figures_(network_.figures()) {
  network_.loader.seed = options_.seed;
  network_.loader.repeat = options_.net.iterations > 0;
  plans_.emplace(network_.loader.batch, trainer_.evaluation(network_.imported.graph));
}

std::size_t Evaluator::memory_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [count, plan] : plans_) bytes += plan->memory_bytes();
  return bytes;
}

PlannedRun& Evaluator::plan_for(std::int64_t count) {
  const auto known = plans_.find(count);
  if (known != plans_.end()) return *known->second;
  while (plans_.size() > 1) plans_.erase(std::prev(plans_.end()));
  const FedNetwork smaller = load_fed_network(options_.net, options_.weights, options_.feed, count);
  return *plans_.emplace(count, trainer_.evaluation(smaller.imported.graph)).first->second;
}

std::optional<Evaluator::Figures> Evaluator::run(const std::function<bool()>& stop) {
  Figures sums;
  for (const std::string& name : figures_) sums.emplace_back(name, 0);
  Loader loader(network_.data, network_.loader);
  const std::int64_t batch = network_.loader.batch, most = options_.net.iterations;
  double weight = 0;
  for (std::int64_t i = 0; most == 0 || i < most; ++i) {
    if (stop()) return std::nullopt;
    const Batch photos = loader.next();
    if (photos.end || photos.count == 0) break;
    const std::int64_t count = most > 0 ? batch : photos.count;
    PlannedRun& plan = plan_for(count);
    feed(network_, photos, count,
         [&](std::string_view name, std::size_t bytes) { return plan.input_bytes(name, bytes); });
    plan.run();
    for (auto& [name, sum] : sums)
      sum += static_cast<double>(plan.output(name)[0]) * static_cast<double>(count);
    weight += static_cast<double>(count);
  }
  for (auto& [name, sum] : sums) sum /= weight;
  return sums;
}

}  // namespace maru
