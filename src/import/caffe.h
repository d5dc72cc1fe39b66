// Import of Caffe networks: a .prototxt (V0, V1 or V2) and the .caffemodel with its weights become a
// Graph. The weights are not copied: constants point into the mapped caffemodel, which they keep alive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace maru {

struct CaffeOptions {
  // The state of the network against which include and exclude rules are held.
  std::string phase = "TEST";  // or "TRAIN"
  std::int64_t level = 0;
  std::vector<std::string> stages;
  // Replaces the first extent of every input.
  std::optional<std::int64_t> batch;
  // Zeros stand in for missing weights, with a note; for looking at a network, not for running it.
  bool allow_missing_weights = false;
};

struct Imported {
  Graph graph;
  // What was passed over: fields nobody reads (with file:line), stored layers without a use, ...
  std::vector<std::string> notes;
};

// Values are named as the tops, nodes as the layers, parameters "layer/weight". Inputs are the tops of
// Input layers (f32), outputs the tops that no layer reads, in the order of the file. An in-place layer
// makes a new value of the same name. Throws Error for anything that maru cannot run as Caffe would.
Imported import_caffe(const std::filesystem::path& prototxt,
                      const std::optional<std::filesystem::path>& caffemodel,
                      const CaffeOptions& options = {});

}  // namespace maru
