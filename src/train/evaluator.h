// Evaluator: a test net of a solver, run on what is being trained. Owns its plans; must not outlive the
// trainer, whose parameters it reads. One thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device/communicator.h"
#include "train/fed_network.h"
#include "train/trainer.h"

namespace maru {

struct EvaluatorOptions {
  CaffeNet net;              // iterations of 0: each photo of the data set once
  BeginningWeights weights;  // of layers that the trained network has not
  // Of the trained network; must outlive the evaluator. A layer of the test net takes the parameters of
  // the layer of its name here, trained or frozen, as Caffe's ShareTrainedLayersWith has it.
  const std::vector<CaffeStored>* trained = nullptr;
  FeedOptions feed;
  bool computes_loss = false;         // a figure "total loss": losses times their weights
  std::uint64_t seed = 0;             // for what is drawn of photos: the same at each test
  std::optional<std::int64_t> batch;  // instead of the data layer's
  // The ranks that test together, each with its part of the photos: at the same time, and with the same
  // options. Null: one alone.
  std::shared_ptr<Communicator> communicator = {};
};

class Evaluator {
 public:
  // Plans the net, for whole batches and for what is left over at the end of a pass, whose memory is
  // made now. Throws as load_fed_network() and Trainer::evaluation().
  Evaluator(Trainer& trainer, EvaluatorOptions options);

  const FedNetwork& network() const { return network_; }
  std::int64_t iterations() const { return options_.net.iterations; }
  std::size_t memory_bytes() const;
  const Plan& plan() const { return plans_.begin()->second->plan(); }

  // The mean of each figure of the net: over its batches, or where each photo is there once, over the
  // photos. Every test begins at the first photo, so that tests can be compared (Caffe goes on where
  // the last ended). Nothing where `stop` said so meanwhile: it is asked before each batch, on all
  // ranks as often, and has to say the same on all. Throws Error, on all ranks where one of them cannot
  // go on, after which training may.
  using Figures = std::vector<std::pair<std::string, double>>;
  std::optional<Figures> run(const std::function<bool()>& stop);

 private:
  // What this rank has of the last batch of a pass, where that is not whole; else 0.
  std::int64_t left_over() const;
  // Adds what the net says of a batch; `round` counts this rank's.
  void test(const Batch& photos, std::int64_t round, Figures& sums, double& weight);
  // Over all ranks; which of them have failed.
  std::vector<int> add_up(Figures& sums, double& weight, bool has_failed) const;

  Trainer& trainer_;
  EvaluatorOptions options_;
  FedNetwork network_;
  std::vector<std::string> figures_;
  // By photos a run: the whole batch, and what is left over for the last run of a pass.
  std::map<std::int64_t, std::unique_ptr<PlannedRun>, std::greater<>> plans_;
};

}  // namespace maru
