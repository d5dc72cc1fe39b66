// FedNetwork: a network of a solver with what feeds it: the data set behind its data layer, and how a
// photo becomes its input. Photos go in as bytes, resized and normalised by the device (a Preprocess
// node in front); with a mean *image* they go in as floats. Plain values; the data set is shared.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/loader.h"
#include "import/caffe_solver.h"
#include "train/planned_run.h"

namespace maru {

struct FeedOptions {
  std::string data, root;  // instead of what the data layer says; empty: as there
  // What the caller changes of the augmentation that the data layer asks for.
  std::function<void(Augment&)> augment;
  int threads = 0;                                                    // that decode; 0: one a core
  std::function<void(const std::string& name, const Error&)> report;  // as LoaderOptions
};

// Weights that a network begins with.
struct BeginningWeights {
  std::vector<std::filesystem::path>
      files;         // .caffemodel; of a layer that several have, the last counts
  bool fill = true;  // layers that none has are drawn by their fillers
  std::uint64_t seed = 0;
};

struct FedNetwork {
  std::string net;    // the file that it is of
  Imported imported;  // its graph takes the inputs below
  std::shared_ptr<const DataSet> data;
  std::string source;    // where the data set is
  LoaderOptions loader;  // of a whole pass from the beginning; no seed yet
  // Names of inputs: pixels and frames, or floats; empty where there are none.
  std::string pixels, frames, floats, label;

  // Values of one element that the network gives: losses, accuracies.
  std::vector<std::string> figures() const;
  // For TrainerOptions::copied: floats, since nothing would tell kernels in which slot they are.
  std::vector<std::string> copied() const;
};

// `batch` instead of the data layer's. Throws Error for a network without exactly one data layer, for
// data that is no photos, a label that is no class, and all that importing and opening throw.
FedNetwork load_fed_network(const CaffeNet& net, const BeginningWeights& weights,
                            const FeedOptions& options, std::optional<std::int64_t> batch = {});

// The network's loader options, where batches are made in the memory that `run`, a plan of its graph,
// reads, if it has such. One loader at a time, which has to end before `run`. Once for a run.
LoaderOptions loader_into(PlannedRun& run, const FedNetwork& network);
// The next run takes the first `count` samples of the batch, which are all that the network takes:
// photos where they are, if `run` reads them there, the rest copied. Of a run with slots, the batch is
// of a loader into it.
void feed(const FedNetwork& network, const Batch& batch, std::int64_t count, PlannedRun& run);

}  // namespace maru
