// Random graphs on random devices: right answers under every policy, plans that are proven, and copies
// that the plan, the ledger and the device agree about. A failure is made as small as it gets and
// printed.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "device/registry.h"
#include "plan/check.h"
#include "plan/planner.h"
#include "rewrite/random_graph.h"
#include "run/executor.h"
#include "tests/combining_device.h"
#include "tests/layouts.h"
#include "tests/split_device.h"

namespace maru {
namespace {

using rewrite_tests::difference;
using testing::CombiningDevice;
using testing::SplitDevice;

// Everything but the graph, drawn from a seed.
struct Setting {
  std::vector<SplitDevice::HeapSpec> heaps;
  std::set<std::string_view> unsupported, windowed, in_place, channels_last;
  bool has_halves = false;  // the graph runs in f16 as far as the device has kernels
  std::size_t workspace = 0;
  MemoryPolicy policy = MemoryPolicy::automatic;
  DeviceSpeed speed;
  bool combines = false;

  std::string text() const {
    std::string all = fmt::format("policy {}, workspace {}{}{}\n", static_cast<int>(policy), workspace,
                                  has_halves ? ", halves" : "", combines ? ", launches combined" : "");
    for (std::size_t i = 0; i < heaps.size(); ++i) {
      all += fmt::format("heap {}: {}, alignment {}; host {:.3g} {:.3g}, device {:.3g} {:.3g}\n",
                         heaps[i].name, heaps[i].traits.str(), heaps[i].traits.alignment,
                         speed.heaps[i].host_read, speed.heaps[i].host_write,
                         speed.heaps[i].device_read, speed.heaps[i].device_write);
    }
    return all + fmt::format("only on the CPU: {}; windows: {}; in place: {}; channels last: {}\n",
                             fmt::join(unsupported, " "), fmt::join(windowed, " "),
                             fmt::join(in_place, " "), fmt::join(channels_last, " "));
  }
};

constexpr std::string_view kOps[] = {"conv", "batch_norm", "scale",         "bias",   "unary",
                                     "pool", "eltwise",    "inner_product", "softmax"};

Setting draw_setting(unsigned seed) {
  std::mt19937 random(seed * 7919 + 1);
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  Setting setting;
  // The device sees the first heap.
  const std::size_t heaps = 1 + random() % 4;
  for (std::size_t i = 0; i < heaps; ++i) {
    const bool device = i == 0 || !one_in(3), host = !device || !one_in(3);
    MemoryTraits traits = SplitDevice::traits(host, device, device && host && one_in(3));
    traits.alignment = std::size_t{1} << (random() % 4 * 2 + 4);
    traits.host_cached = host && !one_in(3);
    setting.heaps.push_back({fmt::format("heap{}", i), traits});
    const auto rate = [&] { return 1e9 * static_cast<double>(1 + random() % 30); };
    HeapSpeed speed;
    if (host) {
      speed.host_write = rate();
      speed.host_read = rate() / (traits.host_cached ? 1 : 30);
    }
    if (device) {
      speed.device_write = rate();
      speed.device_read = rate() / (one_in(4) ? 30 : 1);
    }
    speed.map_seconds = one_in(2) ? 0 : 1e-6;
    setting.speed.heaps.push_back(speed);
  }
  setting.speed.upload = setting.speed.download = 1e9 * static_cast<double>(1 + random() % 20);
  setting.speed.transfer_seconds = 1e-6 * static_cast<double>(random() % 3);
  const unsigned rare = 1 + random() % 6;
  for (const std::string_view op : kOps) {
    if (one_in(rare + 1)) setting.unsupported.insert(op);
    if (one_in(2)) setting.windowed.insert(op);
    if (one_in(2)) setting.in_place.insert(op);
  }
  if (one_in(2)) {
    for (const std::string_view op : kOps) {
      if (!one_in(4)) setting.channels_last.insert(op);
    }
  }
  setting.workspace = one_in(2) ? random() % 5000 : 0;
  constexpr MemoryPolicy kPolicies[] = {MemoryPolicy::automatic, MemoryPolicy::copy,
                                        MemoryPolicy::zero_copy};
  setting.policy = kPolicies[random() % 3];
  setting.combines = one_in(2);
  setting.has_halves = one_in(4);
  return setting;
}

std::vector<std::vector<double>> inputs_of(const Graph& graph, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<double>> inputs;
  for (const ValueId id : graph.inputs)
    inputs.push_back(testing::draw(graph.value(id).desc.count(), -1, 1, random));
  return inputs;
}

struct Tally {
  std::size_t plans = 0, halves = 0, waits = 0, releases = 0, crossings = 0, windows = 0,
              workspaces = 0;
  std::size_t edges = 0, at_once = 0;  // steps that need not follow the one before them in their row

  void add(const Plan& plan) {
    ++plans;
    const std::vector<std::size_t> row = plan.rows();
    for (std::size_t i = 0; plan.combines && i < row.size(); ++i) {
      edges += plan.steps[i].after.size();
      at_once += row[i] < i && !std::ranges::binary_search(plan.steps[i].after, i - 1);
    }
    for (const Step& step : plan.steps) {
      waits += step.kind == Step::Kind::wait;
      releases += step.kind == Step::Kind::release;
      crossings += step.crosses();
      for (const Operand& operand : step.dst) halves += operand.desc.dtype == DType::f16;
      workspaces += step.kernel && step.kernel->workspace_bytes() > 0;
      for (const Operand& operand : step.dst) windows += operand.desc.layout.is_window();
    }
  }
};

// Every edge is there for bytes that two steps touch, so without it no plan is proven.
std::string fault_without_edge(const Planned& planned, std::span<const Device* const> devices) {
  Planned less = planned;
  for (std::size_t i = 0; i < planned.plan.steps.size(); ++i) {
    const std::vector<std::size_t>& after = planned.plan.steps[i].after;
    for (std::size_t k = 0; k < after.size(); ++k) {
      less.plan.steps[i].after.erase(less.plan.steps[i].after.begin() + static_cast<std::ptrdiff_t>(k));
      try {
        check_plan(less, devices);
        return fmt::format("proven without step {} after {}", i, after[k]);
      } catch (const Error&) {
        less.plan.steps[i].after = after;
      }
    }
  }
  return "";
}

// Nor is one there for bytes that an arena uses twice, but between steps that are far apart: each step
// follows what the dataflow says.
std::string edge_beyond_dataflow(const Planned& planned) {
  std::vector<std::set<std::size_t>> before;  // per step of the dataflow
  std::vector<std::size_t> work_of;           // per step of the plan
  for (std::size_t i = 0; i < planned.plan.steps.size(); ++i) {
    const Step& step = planned.plan.steps[i];
    work_of.push_back(before.size());
    if (step.kind != Step::Kind::kernel && step.kind != Step::Kind::copy) continue;
    std::set<std::size_t> mine;
    for (const Dataflow::Sources& sources : planned.flow.steps[before.size()].src) {
      for (const std::size_t source : sources) {
        if (source == Dataflow::kCaller) continue;
        mine.insert(source);
        mine.insert(before[source].begin(), before[source].end());
      }
    }
    for (const std::size_t earlier : step.after) {
      if (i - earlier < kFarApart && !mine.contains(work_of[earlier]))
        return fmt::format("step {} follows {}, whose results do not reach it", i, earlier);
    }
    before.push_back(std::move(mine));
  }
  return "";
}

// What is wrong; empty where nothing is.
std::string fault(Graph graph, const Setting& setting, const Device& cpu, Tally& tally) {
  SplitDevice device(setting.heaps);
  device.unsupported = setting.unsupported;
  device.windowed = setting.windowed;
  device.in_place = setting.in_place;
  device.channels_last = setting.channels_last;
  device.workspace = setting.workspace;
  device.has_halves = setting.has_halves;
  if (setting.has_halves) {
    RewriteLog log;
    use_half_precision(graph, log, [&](const Op& op, Descs src, Descs dst, auto constant) {
      return !device.offers({op, src, dst, constant}).empty();
    });
  }
  CombiningDevice combining(device, static_cast<unsigned>(graph.nodes().size()));
  combining.combining = setting.combines;
  const Device* const devices[] = {&combining, &cpu};
  PlanOptions options;
  options.policy = setting.policy;
  options.speeds = {setting.speed, assumed_speed(cpu)};
  // Tensors in f16 are rounded by 2^-11 at each of some twenty nodes, and a softmax makes more of it. A
  // tensor in another's place is off by about 1.
  const double tolerance = setting.has_halves ? 0.05 : 1e-4;
  std::string plan_text;
  try {
    Planned planned = make_plan(graph, devices, options);
    plan_text = planned.plan.text();
    check_plan(planned, devices);
    for (const std::string& why :
         {fault_without_edge(planned, devices), edge_beyond_dataflow(planned)}) {
      if (!why.empty()) return why + "\n" + plan_text;
    }
    const Weights weights = pack_weights(planned, devices);
    Executor executor(planned.plan, devices, weights);
    const std::size_t uploaded = device.transferred;
    tally.add(planned.plan);
    // The second run has other input, to see that nothing of the first is left.
    const unsigned runs = setting.combines ? 3 : 2;  // orders differ from run to run
    for (unsigned seed = 1; seed <= runs; ++seed) {
      const auto inputs = inputs_of(graph, seed);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Port& port = planned.plan.inputs[i];
        const HostView view =
            executor.region(port.region).map(Access::write, 0, port.desc.bytes(), &executor.queue());
        testing::write(port.desc, inputs[i], view.bytes());
      }
      executor.run();
      const Values<double> wanted = interpret<double>(graph, inputs);
      for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
        const Port& port = planned.plan.outputs[i];
        const HostView view =
            executor.region(port.region).map(Access::read, 0, port.desc.bytes(), &executor.queue());
        const double off = difference(wanted[static_cast<std::size_t>(graph.outputs[i])],
                                      testing::read(port.desc, view.bytes()));
        if (!(off < tolerance)) return fmt::format("{} is off by {}\n{}", port.name, off, plan_text);
      }
    }
    const std::size_t moved = device.transferred - uploaded;
    if (executor.ledger().crossed_bytes() != moved || moved != runs * planned.plan.crossing_bytes()) {
      return fmt::format("the ledger says {} bytes, the device {}, the plan {} a run\n{}",
                         executor.ledger().crossed_bytes(), moved, planned.plan.crossing_bytes(),
                         plan_text);
    }
    if (device.given_while_mapped > 0)
      return fmt::format("the device got work {} times while the CPU had memory mapped\n{}",
                         device.given_while_mapped, plan_text);
  } catch (const Error& e) {
    return std::string(e.what()) + "\n" + plan_text;
  } catch (const std::logic_error& e) {
    return std::string(e.what()) + "\n" + plan_text;
  }
  return "";
}

// Graphs with a little less: one output instead of several, an inner value as the only one, a node left
// out.
std::vector<Graph> smaller(const Graph& graph) {
  std::vector<Graph> all;
  const auto keep = [&](Graph less) {
    try {
      less.tidy();
      less.verify();
      if (less.nodes().size() + less.outputs.size() < graph.nodes().size() + graph.outputs.size() &&
          !less.nodes().empty() && less.inputs.size() == graph.inputs.size())
        all.push_back(std::move(less));
    } catch (const std::exception&) {
      // not a graph any more
    }
  };
  for (std::size_t i = 0; i < graph.outputs.size() && graph.outputs.size() > 1; ++i) {
    Graph less = graph;
    less.outputs.erase(less.outputs.begin() + static_cast<std::ptrdiff_t>(i));
    keep(std::move(less));
  }
  for (const Node& node : graph.nodes()) {
    for (const ValueId id : node.dst) {
      Graph less = graph;
      less.outputs = {id};
      keep(std::move(less));
    }
    if (node.dst.size() == 1 &&
        graph.value(node.dst[0]).desc.shape == graph.value(node.src[0]).desc.shape) {
      Graph less = graph;
      less.replace_uses(node.dst[0], node.src[0]);
      keep(std::move(less));
    }
  }
  return all;
}

// The smallest graph and setting near these that still fail.
std::string shrink(Graph graph, Setting setting, const Device& cpu) {
  Tally ignored;
  std::string why = fault(graph, setting, cpu, ignored);
  for (bool shrinks = true; shrinks;) {
    shrinks = false;
    for (Graph& less : smaller(graph)) {
      std::string still = fault(less, setting, cpu, ignored);
      if (still.empty()) continue;
      graph = std::move(less);
      why = std::move(still);
      shrinks = true;
      break;
    }
    for (auto set :
         {&Setting::unsupported, &Setting::windowed, &Setting::in_place, &Setting::channels_last}) {
      for (const std::string_view op : std::set(setting.*set)) {
        Setting less = setting;
        (less.*set).erase(op);
        std::string still = fault(graph, less, cpu, ignored);
        if (still.empty()) continue;
        setting = std::move(less);
        why = std::move(still);
        shrinks = true;
      }
    }
  }
  return fmt::format("{}\n{}{}", graph.print(), setting.text(), why);
}

bool sees_all(const Setting& setting) {
  return std::ranges::any_of(setting.heaps, [](const SplitDevice::HeapSpec& heap) {
    return heap.traits.host_visible && heap.traits.device_visible;
  });
}

// Each row of ctest's takes its share of the seeds.
class RandomPlans : public ::testing::TestWithParam<unsigned> {};

TEST_P(RandomPlans, GiveRightAnswersAndAreProven) {
  constexpr unsigned kSeeds = 1000;
  const auto cpu = open_device("cpu", {1});
  Tally tally;
  for (unsigned seed = GetParam() * kSeeds; seed < (GetParam() + 1) * kSeeds; ++seed) {
    Setting setting = draw_setting(seed);
    if (setting.policy == MemoryPolicy::zero_copy && !sees_all(setting))
      setting.policy = MemoryPolicy::copy;
    const rewrite_tests::RandomGraph random(seed, {3, true});
    const std::string why = fault(random.graph(), setting, *cpu, tally);
    if (why.empty()) continue;
    FAIL() << "seed " << seed << ": " << why.substr(0, why.find('\n')) << "\nas small as it gets:\n"
           << shrink(random.graph(), setting, *cpu);
  }
  // That the plans were worth it.
  EXPECT_EQ(tally.plans, kSeeds);
  EXPECT_GT(tally.waits, kSeeds);
  EXPECT_GT(tally.halves, kSeeds);
  EXPECT_GT(tally.releases, kSeeds / 10);
  EXPECT_GT(tally.crossings, kSeeds);
  EXPECT_GT(tally.windows, kSeeds / 2);
  EXPECT_GT(tally.workspaces, kSeeds);
  EXPECT_GT(tally.edges, kSeeds);
  EXPECT_GT(tally.at_once, kSeeds / 2);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPlans, ::testing::Range(0U, 4U));

}  // namespace
}  // namespace maru
