// A device beside the CPU, under every policy: right answers, the copies that the plan says and no
// other, waits where the CPU needs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "device/registry.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/eltwise.h"
#include "ops/interpret.h"
#include "ops/pool.h"
#include "ops/preprocess.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "plan/planner.h"
#include "run/executor.h"
#include "tests/layouts.h"
#include "tests/split_device.h"

namespace maru {
namespace {

using testing::SplitDevice;

constexpr MemoryPolicy kPolicies[] = {MemoryPolicy::automatic, MemoryPolicy::copy,
                                      MemoryPolicy::zero_copy};

struct Net {
  Graph graph;
  std::mt19937 random{3};

  explicit Net(Shape shape) {
    graph.name = "net";
    graph.add_input("data", {DType::f32, shape, {}});
  }
  Net& add(const std::string& name, const Op& op, std::vector<std::string> src,
           std::vector<std::string> dst = {}) {
    std::vector<ValueId> ids;
    for (const std::string& s : src) ids.push_back(graph.require(s));
    for (const Param& param : op.params(graph.descs(ids))) {
      const auto drawn = testing::draw(param.shape.count(), -1, 1, random);
      ids.push_back(graph.add_constant(
          name + "/" + std::string(param.role),
          std::make_shared<Constant>(param.shape, std::vector<float>(drawn.begin(), drawn.end()))));
    }
    if (dst.empty()) dst = {name};
    graph.add_node(name, op, ids, dst);
    return *this;
  }
  Net& output(const std::string& name) {
    graph.outputs.push_back(graph.require(name));
    return *this;
  }
};

Conv conv(std::int64_t outputs, std::int64_t kernel = 1) {
  const std::int64_t pad = kernel / 2;
  return {outputs, Window{{kernel, kernel}, {1, 1}, {pad, pad}, {1, 1}}, 1, true};
}

// An inception-like block whose pieces change sides when softmax, eltwise or pool run on the CPU.
Net mixed(std::int64_t batch) {
  Net net({batch, 3, 6, 6});
  net.add("a", conv(8, 3), {"data"}).add("cut", Slice{1, {4}, 2}, {"a"}, {"left", "right"});
  net.add("l", conv(4), {"left"}).add("r", Pool{}, {"right"});
  net.add("sum", Eltwise{}, {"l", "left"}).add("join", Concat{}, {"sum", "r"});
  net.add("c", conv(5), {"join"}).add("flat", Flatten{}, {"c"}).add("prob", Softmax{}, {"flat"});
  net.output("prob").output("join");
  return net;
}

struct Outcome {
  std::vector<std::vector<float>> outputs;
  Plan plan;
  std::uint64_t crossed = 0;
};

// Binding another input maps what the same hand-over has of other regions, which may move by that.
TEST(MemoryPolicies, WhatMovesWhenAnInputIsBoundIsFoundByTheStepsThatDoNotReadIt) {
  SplitDevice device;
  device.unsupported = {"pool", "softmax"};
  const auto cpu = open_device("cpu", {});
  Net net({1, 3, 6, 6});
  net.add("c", conv(3), {"data"}).add("p", Pool{}, {"data"}).add("s", Softmax{}, {"c"});
  net.add("join", Concat{}, {"p", "s"}).add("d", conv(4), {"join"}).output("d");
  const std::vector<const Device*> devices{&device, cpu.get()};
  PlanOptions options;
  options.policy = MemoryPolicy::zero_copy;
  Planned planned = make_plan(net.graph, devices, options);
  const Weights weights = pack_weights(planned, devices);
  Executor executor(planned.plan, devices, weights);
  const Port &in = planned.plan.inputs[0], &out = planned.plan.outputs[0];
  const auto result = [&] {
    {
      const HostView view =
          executor.region(in.region).map(Access::write, 0, in.desc.bytes(), &executor.queue());
      std::mt19937 random(5);
      std::ranges::generate(view.as<float>(), [&] { return static_cast<float>(random() % 7); });
    }
    executor.run();
    const HostView view =
        executor.region(out.region).map(Access::read, 0, out.desc.bytes(), &executor.queue());
    return std::vector<float>(view.as<float>().begin(), view.as<float>().end());
  };
  device.place = 1;
  const std::vector<float> before = result();
  device.place = 2;
  const Heap& heap = executor.region(in.region).heap();
  executor.rebind(in.region, heap.allocate(in.desc.bytes(), "data"), in.desc.shape);
  EXPECT_EQ(result(), before);
}

// Two runs, the second with other input, to see that nothing of the first is left.
Outcome run(const Graph& graph, const SplitDevice& device, const Device* cpu, MemoryPolicy policy) {
  std::vector<const Device*> devices{&device};
  if (cpu != nullptr) devices.push_back(cpu);
  PlanOptions options;
  options.policy = policy;
  Planned planned = make_plan(graph, devices, options);
  const Weights weights = pack_weights(planned, devices);
  Executor executor(planned.plan, devices, weights);
  const std::size_t uploaded = device.transferred;
  EXPECT_EQ(uploaded, weights.ledger.bytes());
  Outcome outcome{{}, planned.plan};
  for (const unsigned seed : {7U, 8U}) {
    std::mt19937 random(seed);
    // The second time in other memory, as when a caller binds its own.
    for (const auto* ports : {&planned.plan.inputs, &planned.plan.outputs}) {
      for (const Port& port : *ports) {
        if (seed == 7) continue;
        const Heap& heap = executor.region(port.region).heap();
        executor.rebind(port.region, heap.allocate(port.desc.bytes(), port.name), port.desc.shape);
      }
    }
    for (const Port& port : planned.plan.inputs) {
      const auto drawn = testing::draw(port.desc.count(), -1, 1, random);
      const HostView view =
          executor.region(port.region).map(Access::write, 0, port.desc.bytes(), &executor.queue());
      std::ranges::transform(drawn, view.as<float>().begin(),
                             [](double v) { return static_cast<float>(v); });
    }
    executor.run();
    outcome.outputs.clear();
    for (const Port& port : planned.plan.outputs) {
      const HostView view =
          executor.region(port.region).map(Access::read, 0, port.desc.bytes(), &executor.queue());
      outcome.outputs.emplace_back(view.as<float>().begin(), view.as<float>().end());
    }
  }
  outcome.crossed = executor.ledger().crossed_bytes();
  EXPECT_EQ(outcome.crossed, device.transferred - uploaded) << "the ledger and the device disagree";
  device.transferred = 0;
  return outcome;
}

void expect_right(const Graph& graph, const Outcome& outcome) {
  std::mt19937 random(8);
  const auto drawn = testing::draw(graph.value(graph.inputs[0]).desc.count(), -1, 1, random);
  const std::vector<double> input(drawn.begin(), drawn.end());
  const Values<double> expected = interpret<double>(graph, std::span(&input, 1));
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    const auto& want = expected[static_cast<std::size_t>(graph.outputs[i])];
    ASSERT_EQ(outcome.outputs[i].size(), want.size());
    for (std::size_t k = 0; k < want.size(); ++k)
      ASSERT_NEAR(outcome.outputs[i][k], want[k], 2e-6) << outcome.plan.text();
  }
}

TEST(MemoryPolicies, EveryMixOfSidesGivesTheRightAnswer) {
  const auto cpu = open_device("cpu", {1});
  const std::vector<std::set<std::string_view>> mixes{
      {},       {"softmax"},         {"eltwise"},         {"pool"},
      {"conv"}, {"pool", "eltwise"}, {"conv", "softmax"}, {"eltwise", "pool", "softmax", "conv"}};
  for (const std::int64_t batch : {1, 3}) {
    const Net net = mixed(batch);
    for (const auto& mix : mixes) {
      for (const MemoryPolicy policy : kPolicies) {
        SplitDevice device;
        device.unsupported = mix;
        const Outcome outcome = run(net.graph, device, cpu.get(), policy);
        SCOPED_TRACE(outcome.plan.text());
        expect_right(net.graph, outcome);
        EXPECT_EQ(outcome.crossed, 2 * outcome.plan.crossing_bytes());
        if (policy == MemoryPolicy::zero_copy) {
          EXPECT_EQ(outcome.crossed, 0U);
        } else if (policy == MemoryPolicy::copy && mix.size() < 4) {  // with four, all run on the CPU
          EXPECT_GT(outcome.crossed, 0U);
        }
      }
    }
  }
}

// Parts of an input, and parts of an output, in memory that takes the place of the planned one.
TEST(MemoryPolicies, PartsOfPortsKeepTheirShapes) {
  Net net({1, 4, 6, 6});
  net.add("cut", Slice{1, {2}, 2}, {"data"}, {"left", "right"});
  net.add("l", conv(3, 3), {"left"}).add("r", conv(2), {"right"}).add("join", Concat{}, {"l", "r"});
  net.output("join");
  const auto cpu = open_device("cpu", {1});
  for (const std::set<std::string_view>& mix : {std::set<std::string_view>{}, {"conv"}}) {
    for (const MemoryPolicy policy : kPolicies) {
      SplitDevice device;
      device.unsupported = mix;
      expect_right(net.graph, run(net.graph, device, cpu.get(), policy));
    }
  }
}

TEST(MemoryPolicies, ADeviceNeedsNoCpuBesideIt) {
  const Net net = mixed(2);
  for (const MemoryPolicy policy : kPolicies) {
    const SplitDevice device;
    expect_right(net.graph, run(net.graph, device, nullptr, policy));
  }
}

// The memory of each region and every wait, in words.
std::string sketch(const Plan& plan) {
  std::string text;
  for (const Region& region : plan.regions) {
    // What the CPU has for itself depends on which kernels it picks.
    if (region.bytes > 0 && region.kind != Region::Kind::weights && region.heap->name() != "host")
      text += fmt::format("{}:{} ", region.name, region.heap->name());
  }
  text += "|";
  for (const Step& step : plan.steps) {
    text += step.crosses()                     ? fmt::format(" copy({})", step.src[0].name)
            : step.kind == Step::Kind::wait    ? std::string(" wait")
            : step.kind == Step::Kind::release ? std::string(" release")
                                               : " " + step.name;
  }
  return text;
}

Net chain() {
  Net net({1, 2, 4, 4});
  net.add("a", conv(4), {"data"}).add("b", Pool{}, {"a"}).add("c", conv(4), {"b"}).output("c");
  return net;
}

TEST(MemoryPolicies, CopyIsWhatCaffeDoes) {
  const auto cpu = open_device("cpu", {1});
  SplitDevice device;
  const Net net = chain();
  EXPECT_EQ(sketch(run(net.graph, device, cpu.get(), MemoryPolicy::copy).plan),
            "arena:own data:pinned c:pinned data on split:own | copy(data) a b c wait copy(c)");
  device.unsupported = {"pool"};
  EXPECT_EQ(sketch(run(net.graph, device, cpu.get(), MemoryPolicy::copy).plan),
            "arena:own data:pinned c:pinned data on split:own arena:pinned | copy(data) a "
            "wait copy(a) b copy(b) c wait copy(c)");
}

TEST(MemoryPolicies, ZeroCopyIsOneMemoryAndWaits) {
  const auto cpu = open_device("cpu", {1});
  SplitDevice device;
  const Net net = chain();
  EXPECT_EQ(sketch(run(net.graph, device, cpu.get(), MemoryPolicy::zero_copy).plan),
            "arena:shared data:shared c:shared | a b c wait");
  device.unsupported = {"pool"};
  EXPECT_EQ(sketch(run(net.graph, device, cpu.get(), MemoryPolicy::zero_copy).plan),
            "arena:shared data:shared c:shared | a wait b release c wait");
}

// The CPU's steps in a row are one wait and one release.
TEST(MemoryPolicies, OneWaitForARowOfStepsOfTheCpu) {
  const auto cpu = open_device("cpu", {1});
  SplitDevice device;
  device.unsupported = {"pool"};
  Net net({1, 2, 4, 4});
  net.add("a", conv(4), {"data"}).add("b", Pool{}, {"a"}).add("c", Pool{}, {"b"});
  net.add("d", Pool{}, {"a"}).add("e", Eltwise{}, {"c", "d"}).output("e");
  EXPECT_EQ(sketch(run(net.graph, device, cpu.get(), MemoryPolicy::zero_copy).plan),
            "arena:shared data:shared e:shared | a wait b c d release e wait");
}

// Where both sides may be at work at once, the CPU waits for bytes that it touches, and for no others.
TEST(MemoryPolicies, WaitsFollowFromBytes) {
  const auto cpu = open_device("cpu", {1});
  SplitDevice device({{"shared", SplitDevice::traits(true, true, true)}});
  device.unsupported = {"pool"};
  Net apart({2, 2, 4, 4});
  apart.add("a", conv(4), {"data"}).add("b", Pool{}, {"data"}).add("c", conv(4), {"b"});
  apart.add("e", Eltwise{}, {"a", "c"}).output("e");
  EXPECT_EQ(sketch(run(apart.graph, device, cpu.get(), MemoryPolicy::zero_copy).plan),
            "arena:shared data:shared e:shared | a b c e wait");
  Net after({2, 2, 4, 4});  // reads what a writes
  after.add("a", conv(4), {"data"}).add("b", Pool{}, {"a"}).add("c", conv(4), {"b"}).output("c");
  EXPECT_EQ(sketch(run(after.graph, device, cpu.get(), MemoryPolicy::zero_copy).plan),
            "arena:shared data:shared c:shared | a wait b c wait");
}

// Traits and speeds decide, not names: the same device with other memory is planned otherwise.
TEST(MemoryPolicies, AutoFollowsWhatWasMeasured) {
  SplitDevice device;
  const Net net = chain();
  const Device* const devices[] = {&device};
  PlanOptions options;
  options.speeds = {assumed_speed(device)};
  DeviceSpeed& speed = options.speeds[0];
  HeapSpeed &own = speed.heaps[0], &shared = speed.heaps[1], &pinned = speed.heaps[2];
  // One memory: all equally fast, and a copy is work for nothing.
  own = {0, 0, 10e9, 10e9, 0};
  shared = {10e9, 10e9, 10e9, 10e9, 1e-9};
  pinned = {10e9, 10e9, 0, 0, 0};
  speed.upload = speed.download = 5e9;
  speed.transfer_seconds = 1e-6;
  Plan plan = make_plan(net.graph, devices, options).plan;
  EXPECT_EQ(sketch(plan), "arena:own data:shared c:shared | a b c wait");
  EXPECT_NE(plan.text().find("both sides touch it: once here costs"), std::string::npos) << plan.text();
  // The CPU reads the shared memory uncached: results are copied, inputs are still written in place.
  shared.host_read = 10e3;
  EXPECT_EQ(sketch(make_plan(net.graph, devices, options).plan),
            "arena:own data:shared c:pinned | a b c wait copy(c)");
  // A device behind a slow bus: everything is copied.
  shared.device_read = shared.device_write = 10e3;
  EXPECT_EQ(sketch(make_plan(net.graph, devices, options).plan),
            "arena:own data:pinned c:pinned data on split:own | copy(data) a b c wait copy(c)");
  // The device's own memory is the slow one: it works in the shared one.
  shared = {10e9, 10e9, 10e9, 10e9, 1e-9};
  own.device_read = own.device_write = 5e9;
  EXPECT_EQ(sketch(make_plan(net.graph, devices, options).plan),
            "arena:shared data:shared c:shared | a b c wait");
}

// What differs by less than measuring does is the same: the first heap, each time.
TEST(MemoryPolicies, AutoTakesTheFirstOfHeapsThatAreEqualWithinNoise) {
  const SplitDevice device({{"own", SplitDevice::traits(false, true, false)},
                            {"mapped", SplitDevice::traits(true, true, true)},
                            {"registered", SplitDevice::traits(true, true, true)},
                            {"pinned", SplitDevice::traits(true, false, true)}});
  const Net net = chain();
  const Device* const devices[] = {&device};
  PlanOptions options;
  options.speeds = {assumed_speed(device)};
  DeviceSpeed& speed = options.speeds[0];
  // So slow that 128 bytes take more than a clock's resolution.
  speed.heaps = {{0, 0, 100e6, 100e6, 0},
                 {10e6, 10e6, 10e6, 10e6, 0},
                 {10.2e6, 10.2e6, 10.2e6, 10.2e6, 0},
                 {10e6, 10e6, 0, 0, 0}};
  speed.measured = true;
  const auto heap_of_data = [&] {
    return make_plan(net.graph, devices, options).plan.regions[2].heap->name();
  };
  EXPECT_EQ(heap_of_data(), "mapped");
  speed.heaps[2] = {12e6, 12e6, 12e6, 12e6, 0};
  EXPECT_EQ(heap_of_data(), "registered") << "clearly better";
  for (HeapSpeed& heap : speed.heaps) {
    for (double* rate : {&heap.host_read, &heap.host_write, &heap.device_read, &heap.device_write})
      *rate *= 1000;
  }
  EXPECT_EQ(heap_of_data(), "mapped") << "better by nanoseconds";
}

SplitDevice discrete_card() {
  MemoryTraits over_bus = SplitDevice::traits(true, true, true);
  over_bus.device_cached = false;
  MemoryTraits managed = SplitDevice::traits(true, true, true);
  managed.migrates = true;
  return SplitDevice({{"device", SplitDevice::traits(false, true, false)},
                      {"mapped", over_bus},
                      {"registered", over_bus},
                      {"managed", managed},
                      {"pinned", SplitDevice::traits(true, false, true)}});
}

// However fast it was when it was measured, with nobody else on the card.
TEST(MemoryPolicies, WhatMigratesIsTakenWhereItIsAskedForOrAlone) {
  MemoryTraits migrating = SplitDevice::traits(true, true, true), over_bus = migrating;
  migrating.migrates = true;
  const Net net = chain();
  const auto heaps_of = [&](const SplitDevice& device, MemoryPolicy policy,
                            std::map<std::string, std::string> asked = {}) {
    const Device* const devices[] = {&device};
    PlanOptions options;
    options.policy = policy;
    options.heaps = std::move(asked);
    options.speeds = {assumed_speed(device)};
    for (std::size_t i = 0; i < device.heaps().size(); ++i) {
      if (device.heaps()[i]->traits().migrates)
        options.speeds[0].heaps[i] = {1e12, 1e12, 1e12, 1e12, 0};
    }
    std::string names;
    for (const Region& region : make_plan(net.graph, devices, options).plan.regions)
      names += (names.empty() ? "" : " ") + region.heap->name();
    return names;
  };
  const SplitDevice card(
      {{"own", SplitDevice::traits(false, true, false)}, {"mapped", over_bus}, {"managed", migrating}});
  EXPECT_EQ(heaps_of(card, MemoryPolicy::automatic).find("managed"), std::string::npos);
  EXPECT_EQ(heaps_of(card, MemoryPolicy::zero_copy).find("managed"), std::string::npos);
  EXPECT_NE(heaps_of(card, MemoryPolicy::automatic, {{"data", "managed"}}).find("managed"),
            std::string::npos);
  const SplitDevice nothing_else(
      {{"managed", migrating}, {"pinned", SplitDevice::traits(true, false, true)}});
  EXPECT_NE(heaps_of(nothing_else, MemoryPolicy::zero_copy).find("managed"), std::string::npos);
}

// Where the CPU takes as long for either way, and most of the time, what the device says still counts.
TEST(MemoryPolicies, AutoComparesEachSidesTimeForItself) {
  const SplitDevice device = discrete_card();
  Net net({64, 64, 32, 32});
  net.add("a", conv(1), {"data"}).output("a");
  const Device* const devices[] = {&device};
  PlanOptions options;
  options.speeds = {assumed_speed(device)};
  DeviceSpeed& speed = options.speeds[0];
  const HeapSpeed mapped{5e9, 5e9, 40e9, 40e9, 0};
  speed.heaps = {{0, 0, 1e12, 1e12, 0}, mapped, mapped, mapped, {4.9e9, 4.9e9, 0, 0, 0}};
  speed.upload = speed.download = 50e9;
  speed.transfer_seconds = 5e-6;
  speed.measured = true;
  const auto heap_of_data = [&] {
    const Plan plan = make_plan(net.graph, devices, options).plan;
    return plan.regions[plan.inputs[0].region].heap->name();
  };
  EXPECT_EQ(heap_of_data(), "pinned") << "a copy takes 0.85 of the device's time, 0.99 of both";
  speed.upload = speed.download = 42e9;
  EXPECT_EQ(heap_of_data(), "mapped") << "the same for the device";
  speed.upload = speed.download = 50e9;
  speed.heaps[4] = {3e9, 3e9, 0, 0, 0};
  EXPECT_EQ(heap_of_data(), "mapped") << "memory for copies that the CPU is slow to write";
}

// As the probe found an H200 in two starts. A kernel reads rows of photos twice where they are hardly
// made smaller, and few rows of large ones, of which a copy brings all.
TEST(MemoryPolicies, AutoCopiesManySmallPhotosToACardAndMapsLargeOnes) {
  const SplitDevice device = discrete_card();
  const Device* const devices[] = {&device};
  constexpr std::int64_t kSame = 3 * 224 * 224, kRoom = 4 << 20, k4K = 3 * 3840 * 2160;
  const std::vector<HeapSpeed> starts[] = {{{0, 0, 1506.4e9, 1506.4e9, 0},
                                            {26.5e9, 24.8e9, 50.1e9, 51.8e9, 0.4e-6},
                                            {26.7e9, 25.5e9, 50.0e9, 51.8e9, 0.3e-6},
                                            {26.5e9, 24.8e9, 9.7e9, 10.3e9, 0.4e-6},
                                            {26.2e9, 25.0e9, 0, 0, 0.4e-6}},
                                           {{0, 0, 1540.9e9, 1540.9e9, 0},
                                            {31.1e9, 28.8e9, 49.8e9, 51.7e9, 0.3e-6},
                                            {32.0e9, 28.6e9, 50.0e9, 51.8e9, 0.3e-6},
                                            {31.9e9, 30.0e9, 8.3e9, 10.4e9, 0.3e-6},
                                            {32.5e9, 28.7e9, 0, 0, 0.3e-6}}};
  for (const auto& heaps : starts) {
    PlanOptions options;
    options.speeds = {{heaps, 3.2e-6, 7.4e-6, 55.2e9, 55.5e9, 6.3e-6, true}};
    const auto heaps_of = [&](std::int64_t batch, std::int64_t photo) {
      Graph graph;
      const ValueId pixels = graph.add_input("pixels", {DType::u8, {batch, photo}, {}});
      const ValueId frames = graph.add_input("frames", {DType::i32, {batch, 4}, {}});
      graph.add_node("preprocess", Preprocess{224, 224}, {pixels, frames}, {"data"});
      graph.outputs.push_back(graph.require("data"));
      const Plan plan = make_plan(graph, devices, options).plan;
      return plan.regions[plan.inputs[0].region].heap->name() + " " +
             plan.regions[plan.inputs[1].region].heap->name();
    };
    EXPECT_EQ(heaps_of(1, kSame), "mapped mapped") << "a copy takes longer to begin";
    EXPECT_EQ(heaps_of(128, kSame), "pinned mapped");
    EXPECT_EQ(heaps_of(1, kRoom), "mapped mapped");
    EXPECT_EQ(heaps_of(128, kRoom), "mapped mapped");
    EXPECT_EQ(heaps_of(1, k4K), "mapped mapped");
    EXPECT_EQ(heaps_of(16, k4K), "mapped mapped");
  }
}

// The oracle of these tests: memory that is not mapped cannot be touched.
TEST(SplitDeviceDeathTest, SharedMemoryIsGoneAfterItsView) {
  const SplitDevice device;
  const Buffer buffer = device.heaps()[1]->allocate(4096, "a test");
  std::byte* first = nullptr;
  {
    const HostView view = buffer.map(Access::write);
    view.bytes()[0] = std::byte{7};
    first = view.bytes().data();
  }
  const HostView again = buffer.map(Access::read);
  EXPECT_EQ(again.bytes()[0], std::byte{7});
  EXPECT_NE(again.bytes().data(), first);
  EXPECT_DEATH(*first = std::byte{1}, "");
  EXPECT_THROW(device.heaps()[0]->allocate(4096, "a test").map(Access::read), Error);
}

}  // namespace
}  // namespace maru
