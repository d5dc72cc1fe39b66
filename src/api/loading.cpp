#include "api/loading.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "device/registry.h"
#include "measure/probe.h"
#include "rewrite/photos.h"

namespace maru {
namespace {

constexpr std::int64_t kFirstPhotoBytes = std::int64_t{4}
                                          << 20;  // larger photos make room as they come

int cores() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace

void check_options(const ModelOptions& options) {
  if (options.batch < 0) {
    throw Error("batch", "1 or more, or 0 for what the file says", fmt::format("{}", options.batch));
  }
  if (options.threads < 0) {
    throw Error("threads", "1 or more, or 0 for one a core", fmt::format("{}", options.threads));
  }
  if (!(options.expected_runs > 0)) {
    throw Error("expected_runs", "a number above 0", fmt::format("{}", options.expected_runs));
  }
}

void open_devices(Model::State& state, std::string_view device, const ModelOptions& options) {
  DeviceOptions device_options{options.threads, options.tune, precision_of(options)};
  device_options.report = [&](const Absence& absence) {
    if (device == "auto" && absence.is_broken) state.passed_over.emplace_back(absence.why.what());
  };
  state.devices.push_back(open_device(device, device_options));
  if (!state.devices[0]->is_host()) {
    // Beside it the CPU computes as it always does.
    const DeviceOptions host_options{options.threads, options.tune, Precision::fp32};
    state.devices.push_back(open_device("cpu", host_options));
  }
  for (const auto& opened : state.devices) state.device_list.push_back(opened.get());
}

Imported import_network(const Package& package, const ModelOptions& options,
                        bool allow_missing_weights) {
  CaffeOptions caffe;
  if (options.batch > 0) caffe.batch = options.batch;
  caffe.allow_missing_weights = allow_missing_weights;
  return import_caffe(package.network, package.weights, caffe);
}

Network load_network(Model::State& state, const Package& package, const ModelOptions& options) {
  open_devices(state, options.device, options);
  Imported imported = import_network(package, options, false);
  Graph& graph = imported.graph;
  state.notes = std::move(imported.notes);
  state.name = package.name.empty() ? graph.name : package.name;
  ask_for(graph, options.outputs);
  if (options.photos) take_photos(graph, options.preprocessing.value_or(package.preprocessing));

  RewriteLog log;
  if (options.optimize) {
    RewriteOptions rewrite;
    rewrite.sibling_alignment = state.devices[0]->channel_block();
    rewrite_for_inference(graph, log, rewrite);
  }
  if (precision_of(options) == Precision::fp16) use_half_precision(graph, log, offered_by(state));
  if (options.optimize) fuse_pool_lrn(graph, log, offered_by(state));
  state.batch = batch_of(graph);
  const bool wants_labels = options.photos || !options.labels.empty();
  if (package.labels && wants_labels && classes_of(graph) > 0) {
    state.labels = read_labels(*package.labels, classes_of(graph));
  }
  return {std::move(graph), std::move(log.lines)};
}

Offered offered_by(const Model::State& state) {
  return [&device = *state.devices[0]](const Op& op, Descs src, Descs dst,
                                       std::span<const bool> constant) {
    return has_kernel(device, op, src, dst, constant);
  };
}

void ask_for(Graph& graph, std::span<const std::string> names) {
  for (const std::string& name : names) {
    const ValueId id = graph.require(name);
    if (!graph.is_output(id)) graph.outputs.push_back(id);
  }
}

void take_photos(Graph& graph, const Preprocessing& preprocessing) {
  if (graph.inputs.size() != 1) {
    throw Error(graph.name, "a network with one input, for photos",
                fmt::format("{} inputs", graph.inputs.size()), "`maru run`, which takes tensors");
  }
  const Shape& shape = graph.value(graph.inputs[0]).desc.shape;
  if (shape.rank() != 4 || (shape[1] != 3 && shape[1] != 1)) {
    throw Error(graph.name, "an input of N x 3 x height x width, or N x 1 in grey, for photos",
                shape.str(), "`maru run`, which takes tensors");
  }
  take_photos(graph, graph.inputs[0], kFirstPhotoBytes, preprocessing);
}

std::int64_t batch_of(const Graph& graph) {
  const Shape& scores = graph.value(graph.outputs.at(0)).desc.shape;
  return scores.rank() > 0 ? scores[0] : 1;
}

std::int64_t classes_of(const Graph& graph) {
  const Shape& scores = graph.value(graph.outputs.at(0)).desc.shape;
  return scores.rank() > 1 ? scores.count(1, scores.rank()) : 0;
}

PlanOptions plan_options(const Model::State& state, const ModelOptions& options) {
  PlanOptions how;
  if (state.devices.size() > 1) {
    how.speeds = {speed_of(*state.devices[0]), assumed_speed(*state.devices[1])};
  }
  how.policy = options.memory;
  how.precision = precision_of(options);
  how.check = options.check;
  how.compile_threads = options.threads > 0 ? std::min(options.threads, cores()) : cores();
  if (options.tune) how.compile_threads = 1;  // measuring wants the machine for itself
  how.expected_runs = options.expected_runs;
  return how;
}

}  // namespace maru
