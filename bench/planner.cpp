// How long planning takes, and proving the plan, and what watching a run costs.
//   planner MODEL [DEVICE [combined]]     a Caffe network with its weights, and a chain of 500 nodes;
//                                         combined: as if the device combined launches
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "api/loading.h"
#include "device/registry.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/pool.h"
#include "ops/unary.h"
#include "plan/check.h"
#include "rewrite/rewrite.h"
#include "run/executor.h"
#include "tests/combining_device.h"

namespace {

using namespace maru;
using Clock = std::chrono::steady_clock;

double ms(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

// Blocks of two convolutions and a pool, joined: five nodes each.
Graph hundred_blocks() {
  Graph graph;
  graph.name = "500 nodes";
  ValueId x = graph.add_input("data", {DType::f32, {1, 32, 14, 14}, {}});
  const auto conv = [&](const std::string& name, ValueId src, std::int64_t kernel) {
    const Conv op{16, Window{{kernel, kernel}, {1, 1}, {kernel / 2, kernel / 2}, {1, 1}}, 1, false};
    const Shape shape{16, graph.value(src).desc.shape[1], kernel, kernel};
    const ValueId w = graph.add_constant(
        name + "/w", std::make_shared<Constant>(
                         shape, std::vector<float>(static_cast<std::size_t>(shape.count()), 0.01F)));
    return graph.node(graph.add_node(name, op, {src, w}, {name})).dst[0];
  };
  const auto add = [&](const std::string& name, const Op& op, std::vector<ValueId> src) {
    return graph.node(graph.add_node(name, op, std::move(src), {name})).dst[0];
  };
  for (int i = 0; i < 100; ++i) {
    const std::string name = fmt::format("block{}", i);
    const ValueId a = conv(name + "/1x1", x, 1), b = conv(name + "/3x3", x, 3);
    const ValueId p =
        add(name + "/pool", Pool{Pool::Kind::max, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}}, {b});
    x = add(name + "/relu", Unary{}, {add(name, Concat{}, {a, p})});
  }
  graph.outputs = {x};
  return graph;
}

void measure(const Graph& graph, std::span<const Device* const> devices, const PlanOptions& options) {
  std::vector<double> plan_ms, check_ms;
  Planned planned;
  for (int i = 0; i < 9; ++i) {
    plan_ms.push_back(ms([&] { planned = make_plan(graph, devices, options); }));
    check_ms.push_back(ms([&] { check_plan(planned, devices); }));
  }
  const Weights weights = pack_weights(planned, devices);
  Executor plain(planned.plan, devices, weights), watched(planned.plan, devices, weights, true);
  std::vector<double> ratio;
  for (int i = 0; i < 20; ++i) {  // interleaved: drift hits both
    const double a = ms([&] { plain.run(); });
    const double b = ms([&] { watched.run(); }) + ms([&] { watched.run(); });
    const double c = ms([&] { plain.run(); });
    ratio.push_back(b / (a + c));
  }
  fmt::print(
      "{:20} {:4} nodes {:4} steps: arena {:9} bytes; first plan {:7.2f} ms, again {:7.2f} ms, proof "
      "{:6.3f} ms; watched runs take {:+.2f} %\n",
      graph.name, graph.nodes().size(), planned.plan.steps.size(), planned.plan.arena_bytes(),
      plan_ms[0], median(plan_ms), median(check_ms), 100 * (median(ratio) - 1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "planner MODEL [DEVICE [combined]]\n");
    return 2;
  }
  for (const MemoryPolicy policy :
       {MemoryPolicy::automatic, MemoryPolicy::copy, MemoryPolicy::zero_copy}) {
    ModelOptions options;
    options.photos = false;
    options.memory = policy;
    if (argc > 2) options.device = argv[2];
    Model::State state;
    Network network = load_network(state, find_package(argv[1], {}, {}), options);
    PlanOptions how = plan_options(state, options);
    how.compile_threads = 2;
    const testing::CombiningDevice combining(*state.device_list[0]);
    std::vector<const Device*> devices = state.device_list;
    if (argc > 3 && std::string_view(argv[3]) == "combined") devices[0] = &combining;
    fmt::print("{} policy {}\n", state.device_list[0]->name(), static_cast<int>(policy));
    measure(network.graph, devices, how);
    measure(hundred_blocks(), devices, how);
  }
}
