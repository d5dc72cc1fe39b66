#include "train/evaluator.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>

#include "base/error.h"

namespace maru {

namespace {

// A test net whose layers have the parameters of the trained network's layers.
FedNetwork load_test_net(const EvaluatorOptions& options, std::optional<std::int64_t> batch) {
  FedNetwork network = load_fed_network(options.net, options.weights, options.feed, batch);
  MARU_ASSERT(options.trained != nullptr);
  std::map<std::string, const CaffeParam*, std::less<>> trained;  // by their names in the test net
  for (CaffeStored& layer : network.imported.layers) {
    const auto same = std::ranges::find(*options.trained, layer.name, &CaffeStored::name);
    if (same == options.trained->end()) continue;
    for (std::size_t i = 0; i < std::min(layer.params.size(), same->params.size()); ++i) {
      CaffeParam& own = layer.params[i];
      const CaffeParam& other = same->params[i];
      if (own.shape != other.shape)
        throw Error(layer.name, fmt::format("{} as it is trained, {}", own.name, other.shape.str()),
                    own.shape.str(),
                    "the same layer in the training and the test network, of data with as many "
                    "channels (is_color, force_gray)");
      trained[own.name] = &other;
      own = other;  // what was drawn for the test net is not kept
    }
  }
  Graph& graph = network.imported.graph;
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    Value& value = graph.value(ValueId(static_cast<std::uint32_t>(i)));
    const auto found = value.constant ? trained.find(value.name) : trained.end();
    if (found == trained.end()) continue;
    const CaffeParam& other = *found->second;
    value.name = other.name;
    value.constant = other.value;
  }
  return network;
}

}  // namespace

Evaluator::Evaluator(Trainer& trainer, EvaluatorOptions options)
    : trainer_(trainer),
      options_(std::move(options)),
      network_(load_test_net(options_, options_.batch)),
      figures_(network_.figures()) {
  if (options_.computes_loss) figures_.emplace_back("total loss");
  network_.loader.seed = options_.seed;
  network_.loader.repeat = options_.net.iterations > 0;
  if (options_.communicator) {
    network_.loader.rank = options_.communicator->rank();
    network_.loader.ranks = options_.communicator->ranks();
  }
  const auto whole = plans_
                         .emplace(network_.loader.batch,
                                  trainer_.evaluation(network_.imported.graph, network_.copied()))
                         .first;
  network_.loader = loader_into(*whole->second, network_);
  if (options_.net.iterations > 0 || left_over() == 0) return;
  const FedNetwork smaller = load_test_net(options_, left_over());
  plans_.emplace(left_over(), trainer_.evaluation(smaller.imported.graph, smaller.copied()));
}

std::int64_t Evaluator::left_over() const {
  const LoaderOptions& loader = network_.loader;
  const std::int64_t last = network_.data->size() % (loader.batch * loader.ranks);
  const std::int64_t mine =
      std::clamp<std::int64_t>(last - loader.rank * loader.batch, 0, loader.batch);
  return mine % loader.batch;
}

std::size_t Evaluator::memory_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [count, plan] : plans_) bytes += plan->memory_bytes();
  return bytes;
}

std::vector<int> Evaluator::add_up(Figures& sums, double& weight, bool has_failed) const {
  if (!options_.communicator) return {};
  std::vector<double> all(static_cast<std::size_t>(options_.communicator->ranks()));
  all[static_cast<std::size_t>(options_.communicator->rank())] = has_failed ? 1 : 0;
  const std::size_t ranks = all.size();
  all.push_back(weight);
  for (const auto& [name, sum] : sums) all.push_back(sum);
  options_.communicator->sum(std::span(all));
  std::vector<int> failed;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (all[rank] > 0) failed.push_back(static_cast<int>(rank));
  }
  weight = all[ranks];
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i].second = all[ranks + 1 + i];
  return failed;
}

void Evaluator::test(const Batch& photos, std::int64_t round, Figures& sums, double& weight) {
  const std::int64_t most = options_.net.iterations;
  // Batches are dealt to the ranks in turns; in the last round some may go away empty-handed.
  const std::int64_t batch = round * network_.loader.ranks + network_.loader.rank;
  if (photos.count == 0 || (most > 0 && batch >= most)) return;
  const std::int64_t count = most > 0 ? network_.loader.batch : photos.count;
  PlannedRun& plan = *plans_.at(count);
  feed(network_, photos, count, plan);
  plan.run();
  const auto said = [&](const std::string& name) { return static_cast<double>(plan.output(name)[0]); };
  const auto all_losses = [&] {
    double loss = 0;
    for (const CaffeLoss& one : network_.imported.losses) loss += one.weight * said(one.value);
    return loss;
  };
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const bool is_total = options_.computes_loss && i + 1 == sums.size();
    sums[i].second += (is_total ? all_losses() : said(sums[i].first)) * static_cast<double>(count);
  }
  weight += static_cast<double>(count);
  plan.settle();  // the photos are the loader's again
}

std::optional<Evaluator::Figures> Evaluator::run(const std::function<bool()>& stop) {
  trainer_.share_statistics();
  Figures sums;
  for (const std::string& name : figures_) sums.emplace_back(name, 0);
  double weight = 0;
  std::exception_ptr failure;
  Loader loader(network_.data, network_.loader);
  const std::int64_t ranks = network_.loader.ranks, most = options_.net.iterations;
  const std::int64_t rounds = most > 0 ? (most + ranks - 1) / ranks : loader.batches();
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (stop()) return std::nullopt;
    if (failure) continue;  // the others are asked to stop as often
    try {
      test(loader.next(), round, sums, weight);
    } catch (const Error&) {
      failure = std::current_exception();
    }
  }
  const std::vector<int> failed = add_up(sums, weight, failure != nullptr);
  if (failure) std::rethrow_exception(failure);
  if (!failed.empty())
    throw Error("test", "figures of all ranks", fmt::format("none of rank {}", fmt::join(failed, ", ")),
                "what that rank has said");
  for (auto& [name, sum] : sums) sum /= weight;
  return sums;
}

}  // namespace maru
