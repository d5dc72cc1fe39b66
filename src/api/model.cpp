#include <maru/model.h>
#include <maru/pack.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/loading.h"
#include "api/packed.h"
#include "base/error.h"
#include "device/registry.h"
#include "measure/probe.h"
#include "plan/check.h"
#include "plan/cost.h"
#include "run/weights.h"

namespace maru {
namespace {

std::vector<std::int64_t> extents(const Shape& shape) { return {shape.begin(), shape.end()}; }

std::vector<TensorInfo> infos(const Graph& graph, std::span<const ValueId> ids) {
  std::vector<TensorInfo> result;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    result.push_back({value.name, value.desc.dtype, extents(value.desc.shape)});
  }
  return result;
}

StepInfo::Kind kind_of(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::kernel:
      return StepInfo::Kind::kernel;
    case Step::Kind::copy:
      return StepInfo::Kind::copy;
    case Step::Kind::wait:
      return StepInfo::Kind::wait;
    case Step::Kind::release:
      return StepInfo::Kind::release;
  }
  MARU_ASSERT(false);
  return StepInfo::Kind::kernel;
}

}  // namespace

void describe(const Graph& graph, NetworkInfo& info) {
  info.inputs = infos(graph, graph.inputs);
  info.outputs = infos(graph, graph.outputs);
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
}

void add_records(const Ledger& ledger, std::vector<CopyRecord>& records) {
  for (const Ledger::Entry& entry : ledger.entries()) {
    if (entry.times == 0) continue;
    records.push_back({entry.step, entry.tensor, entry.cause, entry.from, entry.to, entry.crosses,
                       entry.times, entry.bytes, entry.seconds});
  }
}

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  check_options(options);
  auto state = std::make_shared<State>();
  if (is_packed(path)) {
    load_packed(*state, path, options);
  } else {
    Network network =
        load_network(*state, find_package(path, options.weights, options.labels), options);
    Planned planned = make_plan(network.graph, state->device_list, plan_options(*state, options));
    planned.plan.rewrites = std::move(network.rewrites);
    network.graph = {};  // the plan has what it needs of the constants
    state->weights = pack_weights(planned, state->device_list);
    state->plan = std::move(planned.plan);
  }
  if (options.photos) state->photos = State::PhotoPorts{0, 1};
  state->check = options.check || is_checking_all();
  return Model(std::move(state));
}

const std::string& Model::name() const { return state_->name; }
const std::vector<std::string>& Model::labels() const { return state_->labels; }
const std::vector<std::string>& Model::notes() const { return state_->notes; }
const std::vector<std::string>& Model::passed_over() const { return state_->passed_over; }
std::int64_t Model::batch() const { return state_->batch; }
Precision Model::precision() const { return state_->plan.precision; }
std::string Model::plan_text() const {
  const DeviceModel* model = state_->devices[0]->model();
  if (model == nullptr) return state_->plan.text();
  return state_->plan.text() + cost_of(state_->plan, state_->device_list, *model).text();
}

std::string Model::plan_json() const {
  const DeviceModel* model = state_->devices[0]->model();
  if (model == nullptr) return state_->plan.json();
  nlohmann::json json = nlohmann::json::parse(state_->plan.json());
  json["modelled"] = nlohmann::json::parse(cost_of(state_->plan, state_->device_list, *model).json());
  return json.dump(2);
}

std::vector<StepInfo> Model::steps() const {
  const Plan& plan = state_->plan;
  std::vector<StepInfo> steps;
  for (const Step& step : plan.steps) {
    const Cost work = work_of(step);
    steps.push_back({kind_of(step.kind), step.name, step.op, step.kernel ? step.kernel->name() : "",
                     plan.devices[step.device], step.crosses(), work.flops, work.bytes});
  }
  return steps;
}

std::string Model::proof() const {
  if (!state_->check) return {};
  std::size_t waits = 0;
  for (const Step& step : state_->plan.steps) waits += step.kind == Step::Kind::wait;
  return fmt::format("proven: {} steps with {} wait{}, each read after its write",
                     state_->plan.steps.size(), waits, waits == 1 ? "" : "s");
}

std::vector<CopyRecord> Model::copies() const {
  std::vector<CopyRecord> records;
  add_records(state_->weights.ledger, records);
  return records;
}

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
  check_options(options);
  if (is_packed(path)) return inspect_packed(path, options);
  const Package package = find_package(path, options.weights, options.labels, false);
  Imported imported = import_network(package, options, true);
  const Graph& graph = imported.graph;
  NetworkInfo info;
  info.name = package.name.empty() ? graph.name : package.name;
  info.network = package.network;
  info.weights = package.weights.value_or("");
  info.labels = package.labels.value_or("");
  info.notes = std::move(imported.notes);
  describe(graph, info);
  return info;
}

Preprocessing card_preprocessing(const std::filesystem::path& path) {
  return is_packed(path) ? packed_preprocessing(path) : read_preprocessing(path);
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

std::vector<BoardInfo> boards() {
  std::vector<BoardInfo> found;
  for (const Backend& backend : all_backends()) {
    if (!backend.by_name_only) continue;
    for (const auto& device : backend.devices({})) {
      const DeviceModel* model = device->model();
      if (model == nullptr) continue;
      found.push_back({std::string(device->name()), device->description(), {}});
      for (const PublishedTime& one : model->published)
        found.back().published.push_back({one.network, one.memory, one.seconds, one.source});
    }
  }
  return found;
}

std::string_view version() { return MARU_VERSION; }

}  // namespace maru
