#include <maru/model.h>

#include <algorithm>
#include <thread>

#include "api/model_state.h"
#include "api/package.h"
#include "base/error.h"
#include "device/registry.h"
#include "import/caffe.h"
#include "measure/probe.h"
#include "ops/preprocess.h"
#include "plan/planner.h"
#include "rewrite/rewrite.h"
#include "run/weights.h"

namespace maru {
namespace {

constexpr std::int64_t kFirstPhotoBytes = std::int64_t{4}
                                          << 20;  // larger photos make room as they come

std::vector<std::int64_t> extents(const Shape& shape) { return {shape.begin(), shape.end()}; }

std::vector<TensorInfo> infos(const Graph& graph, std::span<const ValueId> ids) {
  std::vector<TensorInfo> result;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    result.push_back({value.name, value.desc.dtype, extents(value.desc.shape)});
  }
  return result;
}

Imported import_network(const Package& package, const ModelOptions& options,
                        bool allow_missing_weights) {
  if (options.batch < 0) {
    throw Error("batch", "1 or more, or 0 for what the file says", fmt::format("{}", options.batch));
  }
  CaffeOptions caffe;
  if (options.batch > 0) caffe.batch = options.batch;
  caffe.allow_missing_weights = allow_missing_weights;
  return import_caffe(package.network, package.weights, caffe);
}

void ask_for(Graph& graph, std::span<const std::string> names) {
  for (const std::string& name : names) {
    const ValueId id = graph.require(name);
    if (!graph.is_output(id)) graph.outputs.push_back(id);
  }
}

// Puts a Preprocess node in front: the network's input becomes its result.
void take_photos(Graph& graph, const Preprocessing& preprocessing) {
  if (graph.inputs.size() != 1) {
    throw Error(graph.name, "a network with one input, for photos",
                fmt::format("{} inputs", graph.inputs.size()), "`maru run`, which takes tensors");
  }
  const ValueId input = graph.inputs[0];
  const std::string name = graph.value(input).name;
  const Shape shape = graph.value(input).desc.shape;
  if (shape.rank() != 4 || shape[1] != 3) {
    throw Error(graph.name, "an input of N x 3 x height x width, for photos", shape.str(),
                "`maru run`, which takes tensors");
  }
  graph.inputs.clear();
  const ValueId pixels =
      graph.add_input(name + ".pixels", {DType::u8, {shape[0], kFirstPhotoBytes}, Layout::plain()});
  const ValueId frames =
      graph.add_input(name + ".frames", {DType::i32, {shape[0], 4}, Layout::plain()});
  const NodeId node = graph.add_node("preprocess", Preprocess{shape[2], shape[3], preprocessing},
                                     {pixels, frames}, {name});
  graph.replace_uses(input, graph.node(node).dst[0]);
  graph.tidy();
}

void open_devices(Model::State& state, const ModelOptions& options) {
  const DeviceOptions device_options{options.threads, options.tune};
  state.devices.push_back(open_device(options.device, device_options));
  if (!state.devices[0]->is_host()) state.devices.push_back(open_device("cpu", device_options));
  for (const auto& device : state.devices) state.device_list.push_back(device.get());
}

int cores() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  const Package package = find_package(path, options.weights, options.labels);
  auto state = std::make_shared<State>();
  if (options.threads < 0) {
    throw Error("threads", "1 or more, or 0 for one a core", fmt::format("{}", options.threads));
  }
  if (!(options.expected_runs > 0)) {
    throw Error("expected_runs", "a number above 0", fmt::format("{}", options.expected_runs));
  }
  open_devices(*state, options);
  Imported imported = import_network(package, options, false);
  Graph& graph = imported.graph;
  state->notes = std::move(imported.notes);
  state->name = package.name.empty() ? graph.name : package.name;
  ask_for(graph, options.outputs);
  if (options.photos) take_photos(graph, options.preprocessing.value_or(package.preprocessing));

  RewriteLog log;
  if (options.optimize) {
    RewriteOptions rewrite;
    rewrite.sibling_alignment = state->devices[0]->channel_block();
    rewrite_for_inference(graph, log, rewrite);
  }
  const TensorDesc& scores = graph.value(graph.outputs.at(0)).desc;
  state->batch = scores.shape.rank() > 0 ? scores.shape[0] : 1;
  const bool wants_labels = options.photos || !options.labels.empty();
  if (package.labels && wants_labels && scores.shape.rank() > 1) {
    state->labels = read_labels(*package.labels, scores.shape.count(1, scores.shape.rank()));
  }

  PlanOptions plan_options;
  plan_options.policy = options.memory;
  plan_options.compile_threads = options.threads > 0 ? std::min(options.threads, cores()) : cores();
  plan_options.expected_runs = options.expected_runs;
  if (state->devices.size() > 1) {
    plan_options.speeds = {speed_of(*state->devices[0]), assumed_speed(*state->devices[1])};
  }
  Planned planned = make_plan(graph, state->device_list, plan_options);
  planned.plan.rewrites = std::move(log.lines);
  state->weights = pack_weights(planned, state->device_list);
  state->plan = std::move(planned.plan);
  if (options.photos) state->photos = State::PhotoPorts{0, 1};
  return Model(std::move(state));
}

const std::string& Model::name() const { return state_->name; }
const std::vector<std::string>& Model::labels() const { return state_->labels; }
const std::vector<std::string>& Model::notes() const { return state_->notes; }
std::int64_t Model::batch() const { return state_->batch; }
std::string Model::plan_text() const { return state_->plan.text(); }
std::string Model::plan_json() const { return state_->plan.json(); }

std::vector<TensorInfo> Model::inputs() const {
  std::vector<TensorInfo> result;
  if (state_->photos) return result;
  for (const Port& port : state_->plan.inputs) {
    result.push_back({port.name, port.desc.dtype, extents(port.desc.shape)});
  }
  return result;
}

std::vector<TensorInfo> Model::outputs() const {
  std::vector<TensorInfo> result;
  for (const Port& port : state_->plan.outputs) {
    result.push_back({port.name, port.desc.dtype, extents(port.desc.shape)});
  }
  return result;
}

NetworkInfo inspect(const std::filesystem::path& path, const ModelOptions& options) {
  const Package package = find_package(path, options.weights, options.labels);
  Imported imported = import_network(package, options, true);
  const Graph& graph = imported.graph;
  NetworkInfo info;
  info.name = package.name.empty() ? graph.name : package.name;
  info.network = package.network;
  info.weights = package.weights.value_or("");
  info.labels = package.labels.value_or("");
  info.inputs = infos(graph, graph.inputs);
  info.outputs = infos(graph, graph.outputs);
  info.notes = std::move(imported.notes);
  std::vector<const Constant*> counted;  // a shared parameter counts once
  for (const Node& node : graph.nodes()) {
    LayerInfo layer{
        node.name, std::string(node.op.name()), node.op.attributes(), {}, infos(graph, node.dst)};
    for (const ValueId id : node.src) {
      const Value& value = graph.value(id);
      if (!value.constant) {
        layer.src.push_back(infos(graph, {&id, 1}).front());
      } else if (std::ranges::find(counted, value.constant.get()) == counted.end()) {
        counted.push_back(value.constant.get());
        layer.parameters += value.desc.count();
      }
    }
    const Cost cost = node.op.cost(graph.descs(node.src), graph.descs(node.dst));
    layer.flops = cost.flops;
    layer.bytes = cost.bytes;
    info.parameters += layer.parameters;
    info.flops += layer.flops;
    info.layers.push_back(std::move(layer));
  }
  return info;
}

Preprocessing card_preprocessing(const std::filesystem::path& path) {
  return find_package(path, {}, {}).preprocessing;
}

std::vector<DeviceInfo> devices(bool refresh) {
  std::vector<DeviceInfo> result;
  for (const auto& device : all_devices({})) {
    const DeviceSpeed speed = speed_of(*device, refresh);
    DeviceInfo info{std::string(device->name()),
                    device->description(),
                    {},
                    speed.launch_seconds,
                    speed.wait_seconds,
                    speed.upload,
                    speed.download};
    for (std::size_t i = 0; i < device->heaps().size(); ++i) {
      const Heap& heap = *device->heaps()[i];
      const HeapSpeed& one = speed.heaps[i];
      info.heaps.push_back({heap.name(), heap.traits().str(), one.host_read, one.host_write,
                            one.device_read, one.device_write, one.map_seconds});
    }
    result.push_back(std::move(info));
  }
  return result;
}

std::string_view version() { return MARU_VERSION; }

}  // namespace maru
