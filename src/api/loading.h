// Steps of loading and packing a model, shared by the kinds of files. Internal to the room `api`.
#pragma once

#include <maru/model.h>

#include <span>
#include <string>
#include <vector>

#include "api/model_state.h"
#include "api/package.h"
#include "import/caffe.h"
#include "plan/planner.h"
#include "rewrite/rewrite.h"

namespace maru {

// A network ready to be planned.
struct Network {
  Graph graph;
  std::vector<std::string> rewrites;  // what was done to it
};

inline Precision precision_of(const ModelOptions& options) {
  return options.precision.value_or(Precision::fp32);
}
// Throws Error for numbers that mean nothing.
void check_options(const ModelOptions& options);
void open_devices(Model::State& state, std::string_view device, const ModelOptions& options);

Imported import_network(const Package& package, const ModelOptions& options,
                        bool allow_missing_weights);
// Imports and rewrites for the state's devices, which it opens; sets the state's name, notes, batch and
// labels.
Network load_network(Model::State& state, const Package& package, const ModelOptions& options);

// What rewriting asks of the state's first device: kernels better than the operators' own.
Offered offered_by(const Model::State& state);

// Makes these values outputs, too. Throws Error for a name that is none.
void ask_for(Graph& graph, std::span<const std::string> names);
// Puts what takes photos in front of the network's input (rewrite/photos.h). Throws Error for a network
// that does not take photos.
void take_photos(Graph& graph, const Preprocessing& preprocessing);
// Of the first output: images, and classes of each; 0 where it has one axis or none.
std::int64_t batch_of(const Graph& graph);
std::int64_t classes_of(const Graph& graph);

// For the state's devices, whose memory is measured when it never was on this machine.
PlanOptions plan_options(const Model::State& state, const ModelOptions& options);
// What inspect() says of the graph itself.
void describe(const Graph& graph, NetworkInfo& info);

}  // namespace maru
