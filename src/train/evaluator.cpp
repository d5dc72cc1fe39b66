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
  if (options_.communicator) {
    network_.loader.rank = options_.communicator->rank();
    network_.loader.ranks = options_.communicator->ranks();
  }
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

void Evaluator::add_up(Figures& sums, double& weight) const {
  if (!options_.communicator) return;
  std::vector<double> all{weight};
  for (const auto& [name, sum] : sums) all.push_back(sum);
  options_.communicator->sum(std::span(all));
  weight = all[0];
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i].second = all[i + 1];
}

std::optional<Evaluator::Figures> Evaluator::run(const std::function<bool()>& stop) {
  Figures sums;
  for (const std::string& name : figures_) sums.emplace_back(name, 0);
  Loader loader(network_.data, network_.loader);
  const std::int64_t batch = network_.loader.batch, most = options_.net.iterations;
  double weight = 0;
  // Batches are dealt to the ranks in turns; in the last round some may go away empty-handed.
  for (std::int64_t i = network_.loader.rank, round = 0; most == 0 || round < most;
       i += network_.loader.ranks, round += network_.loader.ranks) {
    if (stop()) return std::nullopt;
    const Batch photos = loader.next();
    if (photos.end) break;
    if (photos.count == 0 || (most > 0 && i >= most)) continue;
    const std::int64_t count = most > 0 ? batch : photos.count;
    PlannedRun& plan = plan_for(count);
    feed(network_, photos, count,
         [&](std::string_view name, std::size_t bytes) { return plan.input_bytes(name, bytes); });
    plan.run();
    for (auto& [name, sum] : sums)
      sum += static_cast<double>(plan.output(name)[0]) * static_cast<double>(count);
    weight += static_cast<double>(count);
  }
  add_up(sums, weight);
  for (auto& [name, sum] : sums) sum /= weight;
  return sums;
}

}  // namespace maru
