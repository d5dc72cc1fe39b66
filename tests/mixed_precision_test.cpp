// Training in half precision against training in single: the same graph where halves are not rounded,
// and a device that does round; the loss scale; and where numbers that are not finite began.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "import/caffe.h"
#include "ops/cast.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/eltwise.h"
#include "ops/inner_product_grad.h"
#include "ops/loss.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "rewrite/rewrite.h"
#include "tests/devices.h"
#include "tests/shared.h"
#include "tests/split_device.h"
#include "tests/training_networks.h"

namespace maru {
namespace {

using namespace maru::testing;

bool everything(const Op&, Descs, Descs, std::span<const bool>) { return true; }

void halve(Graph& graph) {
  RewriteLog log;
  use_half_precision(graph, log, everything);
  graph.verify();
}

// The reference kernels, on halves that are rounded to between nodes.
std::unique_ptr<SplitDevice> rounding_device() {
  auto device = std::make_unique<SplitDevice>();
  device->has_halves = true;
  device->kernel = "rounding";
  return device;
}

TrainerOptions mixed_precision() {
  TrainerOptions options;
  options.training = two_losses();
  options.solver.momentum = 0.9;
  options.precision = Precision::fp16;
  return options;
}

void write(Trainer& trainer, const Batch& batch) {
  std::ranges::copy(batch.data, trainer.input("data").begin());
  std::ranges::copy(batch.label, trainer.input("label").begin());
}

// What must hold whatever the network: no half reaches a loss or a state, each filter is cast once.
void expect_single_where_it_must_be(const Graph& graph, const std::vector<Parameter>& parameters) {
  std::set<ValueId> begins;
  for (const State& state : graph.states) {
    EXPECT_EQ(graph.value(state.begin).desc.dtype, DType::f32);
    EXPECT_EQ(graph.value(state.end).desc.dtype, DType::f32) << graph.value(state.end).name;
    begins.insert(state.begin);
    // No gradient has been a half on its way here.
    if (state.begin == state.end) continue;
    const Node& producer = graph.node(*graph.value(state.end).producer);
    EXPECT_EQ(producer.op.as<Cast>(), nullptr) << graph.value(state.end).name;
  }
  std::size_t casts = 0, matrices = 0;
  for (const Node& node : graph.nodes()) {
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      if (node.op.keeps_f32(i)) {
        EXPECT_EQ(graph.value(node.src[i]).desc.dtype, DType::f32) << node.name;
      }
    }
    casts += node.op.as<Cast>() != nullptr && begins.contains(node.src[0]);
  }
  for (const Parameter& parameter : parameters) matrices += parameter.shape.rank() > 1;
  EXPECT_GT(matrices, 0u);
  EXPECT_EQ(casts, matrices);
}

struct Way {
  const char* name;
  Update::Solver solver;
  std::int64_t passes;
  double clip, scale;
};

class MixedPrecisionGraph : public ::testing::TestWithParam<Way> {};

// Halves unrounded, and a scale that is a power of two: the parameters are the same to the bit, but
// where the norm, a root, is a factor of them.
TEST_P(MixedPrecisionGraph, TrainsAsBefore) {
  const Way& way = GetParam();
  TrainerOptions options;
  options.training = two_losses();
  options.solver.solver = way.solver;
  options.solver.momentum = 0.9;
  options.passes = way.passes;
  ReferenceTraining single(small_inception(), options);
  options.precision = Precision::fp16;
  ReferenceTraining half(small_inception(), options, halve);
  expect_single_where_it_must_be(half.gradients(), half.parameters_);
  half.scale_ = way.scale;
  std::mt19937 random(3);
  for (int update = 0; update < 3; ++update) {
    for (std::int64_t pass = 0; pass < way.passes; ++pass) {
      const Batch batch = draw_batch(random);
      const auto step = static_cast<double>(update * way.passes + pass);
      EXPECT_EQ(half.pass(batch, step), single.pass(batch, step));
    }
    const double factor = 1 / static_cast<double>(way.passes);
    const double norm = single.update({0.02, 1e-3, 0, factor, way.clip, update + 1.0});
    const double scaled_norm =
        half.update({0.02, 1e-3, 0, factor / way.scale, way.clip * way.scale, update + 1.0});
    EXPECT_NEAR(scaled_norm / way.scale, norm, 1e-12 * norm);
    EXPECT_GT(norm, way.clip);
  }
  for (const Parameter& parameter : single.parameters_) {
    const auto &got = half.states_.at(parameter.name), &wanted = single.states_.at(parameter.name);
    if (way.clip == 0) {
      EXPECT_EQ(got, wanted) << parameter.name;
      continue;
    }
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], wanted[i], 1e-12 * (1 + std::fabs(wanted[i]))) << parameter.name;
  }
}

using Solver = Update::Solver;
INSTANTIATE_TEST_SUITE_P(Ways, MixedPrecisionGraph,
                         ::testing::Values(Way{"sgd", Solver::sgd, 1, 0, 65536},
                                           Way{"unscaled", Solver::sgd, 1, 0, 1},
                                           Way{"below_one", Solver::adam, 1, 0, 0x1p-14},
                                           Way{"several_passes", Solver::nesterov, 3, 0, 1024},
                                           Way{"clipped", Solver::sgd, 2, 0.5, 65536}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(MixedPrecision, OnGoogLeNetEveryFilterIsCastOnceAndEveryGradientIsSingle) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet");
  const auto folder = shared_folder() / "models" / "bvlc_googlenet";
  CaffeOptions import;
  import.batch = 2;
  Graph graph =
      import_caffe(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel", import).graph;
  const ValueId scores = graph.require("loss3/classifier");
  const ValueId label = graph.add_input("label", {DType::f32, {2}});
  const NodeId node = graph.add_node("loss", SoftmaxLoss{}, {scores, label}, {"loss", "shares"});
  graph.outputs = {graph.node(node).dst[0]};
  graph.tidy();
  RewriteLog log;
  fuse_activations(graph, log);
  TrainingOptions training;
  training.losses = {{"loss", 1}};
  training.scaled = true;
  const auto parameters = build_gradients(graph, training).parameters;
  const std::size_t before = graph.nodes().size();
  const auto rounding = rounding_device();
  const std::size_t single = make_plan(graph, *rounding, {}).plan.arena_bytes();
  halve(graph);
  const std::size_t half = make_plan(graph, *rounding, {}).plan.arena_bytes();
  // Half of it, and each filter as halves. Where sums came late, what they are of would be kept.
  std::size_t filters = 0;
  for (const Parameter& parameter : parameters) {
    if (parameter.shape.rank() > 1) filters += 2 * static_cast<std::size_t>(parameter.shape.count());
  }
  EXPECT_LT(static_cast<double>(half),
            0.52 * static_cast<double>(single) + static_cast<double>(filters));
  expect_single_where_it_must_be(graph, parameters);
  // Beside the 58 filters: data, scores, and the gradient of the loss.
  EXPECT_EQ(graph.nodes().size(), before + 58 + 3);
  for (const Node& one : graph.nodes()) {
    const bool is_loss = one.op.name().starts_with("softmax_loss");
    const bool is_single = graph.value(one.src[0]).desc.dtype == DType::f32;
    EXPECT_EQ(is_single, is_loss || (one.op.as<Cast>() && one.name != "loss3/classifier.f32"))
        << one.name;
  }
}

// Of one rank or several, which have their sums added up in between.
TEST(MixedPrecision, GradientsOfASharedFilterAreSummedInSinglePrecision) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    Network net;
    const ValueId data = net.graph.add_input("data", f32({2, 4, 6, 6}));
    const ValueId label = net.graph.add_input("label", f32({2}));
    const ValueId filter = net.constant("filter", {4, 4, 1, 1}, 0.5);
    const Conv conv{4, window(1, 1, 0), 1, false};
    const auto layer = [&](const std::string& name, ValueId src) {
      return net.graph.node(net.graph.add_node(name, conv, {src, filter}, {name})).dst[0];
    };
    const ValueId scores =
        net.add("pool", Pool{Pool::Kind::average, {}, true}, {layer("second", layer("first", data))});
    net.graph.outputs.push_back(net.add("loss", SoftmaxLoss{}, {scores, label}));
    TrainingOptions training;
    training.losses = {{"loss", 1}};
    training.scaled = true;
    training.ranks = ranks;
    const auto parameters = build_gradients(net.graph, training).parameters;
    halve(net.graph);
    expect_single_where_it_must_be(net.graph, parameters);
    std::size_t sums = 0;
    for (const Node& node : net.graph.nodes()) {
      if (node.op.as<Eltwise>() == nullptr) continue;
      ++sums;
      for (const ValueId id : node.src) EXPECT_EQ(net.graph.value(id).desc.dtype, DType::f32);
    }
    EXPECT_EQ(sums, 1u) << "that of both layers' gradients";
  }
}

TEST(MixedPrecision, LearnsAsInSinglePrecision) {
  std::vector<double> curves[2];
  const auto rounding = rounding_device();
  const auto cpu = open_all("cpu");
  constexpr int kUpdates = 160, kLooked = 20;
  for (const bool is_half : {false, true}) {
    TrainerOptions options = mixed_precision();
    if (!is_half) options.precision = Precision::fp32;
    Trainer trainer(small_inception(),
                    is_half ? std::vector<const Device*>{rounding.get()} : listed(cpu), options);
    std::mt19937 random(5);
    while (trainer.updates() < kUpdates) {
      write(trainer, draw_batch(random));
      trainer.pass();
      const double loss = trainer.output("loss")[0];
      // At 65536 nothing overflows here, so that both see the same batches.
      ASSERT_TRUE(std::isfinite(trainer.update(0.05)));
      curves[is_half].push_back(loss);
    }
    EXPECT_EQ(trainer.loss_scale().scale, is_half ? 65536 : 1);
  }
  const auto mean = [](const std::vector<double>& curve, int begin) {
    double sum = 0;
    for (int i = begin; i < begin + kLooked; ++i) sum += curve[static_cast<std::size_t>(i)];
    return sum / kLooked;
  };
  // Roundings of 5e-4 each: alike in the beginning, and as good in the end.
  for (std::size_t i = 0; i < kLooked; ++i) EXPECT_NEAR(curves[1][i], curves[0][i], 0.005) << i;
  EXPECT_NE(curves[0], curves[1]) << "nothing was rounded";
  const double first = mean(curves[0], 0);
  for (const auto& curve : curves) EXPECT_LT(mean(curve, kUpdates - kLooked), 0.35 * first);
  for (int begin = 0; begin + kLooked <= kUpdates; begin += kLooked)
    EXPECT_NEAR(mean(curves[1], begin), mean(curves[0], begin), 0.005 * first) << begin;
}

// Small gradients are what the scale is for: with one below 1 all of them are lost.
TEST(MixedPrecision, TheScaleKeepsSmallGradients) {
  const auto rounding = rounding_device();
  const Device* devices[] = {rounding.get()};
  TrainerOptions options = mixed_precision();
  for (WeightedLoss& loss : options.training.losses) loss.weight *= 1e-6;
  double norms[2];
  for (const bool is_scaled : {false, true}) {
    Trainer trainer(small_inception(), devices, options);
    if (!is_scaled) trainer.set_loss_scale({0.125});
    std::mt19937 random(5);
    write(trainer, draw_batch(random));
    trainer.pass();
    norms[is_scaled] = trainer.update(0.05);
  }
  EXPECT_GT(norms[1], 1e-7);
  EXPECT_LT(norms[0], 0.9 * norms[1]);
}

TEST(MixedPrecision, ClipsAndAddsUpAsInSinglePrecision) {
  const auto rounding = rounding_device();
  const Device* devices[] = {rounding.get()};
  TrainerOptions options = mixed_precision();
  options.passes = 2;
  options.clip_gradients = 0.5;
  options.l2_decay = 1e-3;
  Trainer trainer(small_inception(), devices, options);
  options.precision = Precision::fp32;
  ReferenceTraining reference(small_inception(), options);
  std::mt19937 random(3);
  for (int update = 0; update < 4; ++update) {
    for (int pass = 0; pass < 2; ++pass) {
      const Batch batch = draw_batch(random);
      write(trainer, batch);
      trainer.pass();
      const double wanted = reference.pass(batch, update * 2.0 + pass);
      EXPECT_NEAR(trainer.output("loss")[0], wanted, 5e-3 * (1 + wanted));
    }
    const double wanted = reference.update({0.02, 1e-3, 0, 0.5, 0.5, update + 1.0});
    EXPECT_NEAR(trainer.update(0.02), wanted, 0.01 * wanted);
    EXPECT_GT(wanted, 0.5);
  }
  for (const Parameter& parameter : trainer.parameters()) {
    const std::vector<float> got = state_of(trainer, parameter.name),
                             initial = parameter.initial->floats();
    const std::vector<double>& wanted = reference.states_.at(parameter.name);
    double moved = 0, error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      moved = std::max(moved, std::fabs(wanted[i] - double{initial[i]}));
      error = std::max(error, std::fabs(wanted[i] - double{got[i]}));
    }
    EXPECT_LT(error, 0.05 * moved) << parameter.name;
  }
}

TEST(MixedPrecision, AnOverflowIsSkippedAndTheScaleHalved) {
  const auto rounding = rounding_device();
  const Device* devices[] = {rounding.get()};
  for (const std::int64_t passes : {1, 2}) {
    TrainerOptions options = mixed_precision();
    options.passes = passes;
    Trainer trainer(small_inception(), devices, options);
    trainer.set_loss_scale({LossScale::kMost, 17});
    std::map<std::string, std::vector<float>> before;
    for (const Parameter& parameter : trainer.parameters())
      before[parameter.name] = state_of(trainer, parameter.name);
    std::mt19937 random(5);
    int skipped = 0;
    for (;; ++skipped) {
      ASSERT_LT(skipped, 12);
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        write(trainer, draw_batch(random));
        trainer.pass();
        EXPECT_TRUE(std::isfinite(trainer.output("loss")[0]));
      }
      const double scale = trainer.loss_scale().scale;
      if (std::isfinite(trainer.update(0.02))) break;
      EXPECT_TRUE(trainer.was_overflow());
      EXPECT_EQ(trainer.updates(), 0);
      EXPECT_EQ(trainer.loss_scale(), (LossScale{scale / 2, 0}));
      for (const auto& [name, values] : before) EXPECT_EQ(state_of(trainer, name), values) << name;
    }
    EXPECT_GT(skipped, 0);
    EXPECT_FALSE(trainer.was_overflow());
    EXPECT_EQ(trainer.updates(), 1);
    EXPECT_EQ(trainer.loss_scale().good, 1);
    for (const auto& [name, values] : before) EXPECT_NE(state_of(trainer, name), values) << name;
  }
}

TEST(MixedPrecision, ALossThatIsNotFiniteIsNoOverflow) {
  const auto rounding = rounding_device();
  const Device* devices[] = {rounding.get()};
  Trainer trainer(small_inception(), devices, mixed_precision());
  std::mt19937 random(5);
  Batch broken = draw_batch(random);
  broken.label[1] = kClasses;
  write(trainer, broken);
  trainer.pass();
  EXPECT_FALSE(std::isfinite(trainer.update(0.02)));
  EXPECT_FALSE(trainer.was_overflow());
}

TEST(MixedPrecision, TheScaleGrowsAndIsSetWithinItsBounds) {
  const auto rounding = rounding_device();
  const Device* devices[] = {rounding.get()};
  Trainer trainer(small_inception(), devices, mixed_precision());
  trainer.set_loss_scale({1024, LossScale::kPatience - 1});
  std::mt19937 random(5);
  write(trainer, draw_batch(random));
  trainer.pass();
  EXPECT_TRUE(std::isfinite(trainer.update(0.02)));
  EXPECT_EQ(trainer.loss_scale(), (LossScale{2048, 0}));
  for (const double scale : {0.0, -1.0, 0x1p25, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_THROW(trainer.set_loss_scale({scale}), Error) << scale;
  EXPECT_THROW(trainer.set_loss_scale({1, -1}), Error);
  EXPECT_EQ(trainer.loss_scale(), (LossScale{2048, 0}));
}

TEST(MixedPrecision, NeedsADeviceThatComputesSo) {
  const auto cpu = open_all("cpu");
  try {
    const Trainer trainer(small_inception(), listed(cpu), mixed_precision());
    FAIL() << "the CPU has no halves";
  } catch (const Error& error) {
    EXPECT_EQ(error.expected(), "a device that computes in fp16");
  }
}

// Its convolutions want weights that are constants, so those of training run on the CPU in f32.
TEST(MixedPrecision, WhatADeviceDoesNotOfferStaysSingle) {
  MARU_NEEDS_DEVICE("opencl");
  std::vector<std::unique_ptr<Device>> devices;
  try {
    devices.push_back(open_device("opencl", {.precision = Precision::fp16}));
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  devices.push_back(open_device("cpu", {}));
  Trainer trainer(small_inception(), listed(devices), mixed_precision());
  EXPECT_TRUE(std::ranges::any_of(trainer.notes(), [](const std::string& note) {
    return note.find("stays in single precision: no kernel for f16") != std::string::npos;
  }));
  TrainerOptions options = mixed_precision();
  options.precision = Precision::fp32;
  const auto cpu = open_all("cpu");
  Trainer single(small_inception(), listed(cpu), options);
  std::mt19937 random(5);
  for (int update = 0; update < 4; ++update) {
    const Batch batch = draw_batch(random);
    double norms[2];
    for (Trainer* one : {&trainer, &single}) {
      write(*one, batch);
      one->pass();
      norms[one == &single] = one->update(0.02);
    }
    EXPECT_NEAR(norms[0], norms[1], 0.01 * norms[1]);
  }
}

// Of weights, of data, and of what the layers make of them.
TEST(FirstBad, IsNamed) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto cpu = open_all("cpu");
  const auto rounding = rounding_device();
  for (const bool is_half : {false, true}) {
    const std::int64_t passes = is_half ? 1 : 2;
    TrainerOptions options = mixed_precision();
    options.passes = passes;
    if (!is_half) options.precision = Precision::fp32;
    Trainer trainer(small_inception(),
                    is_half ? std::vector<const Device*>{rounding.get()} : listed(cpu), options);
    std::mt19937 random(5);
    const auto found_after = [&](const Batch& batch) -> std::string {
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        write(trainer, batch);
        trainer.pass();
      }
      const std::vector<float> gradient = state_of(trainer, "3x3/weight/gradient");
      const auto first = trainer.find_first_bad();
      EXPECT_EQ(trainer.find_first_bad(), first);
      // It has changed nothing that training goes on with.
      if (!first) {
        EXPECT_EQ(state_of(trainer, "3x3/weight/gradient"), gradient);
      }
      EXPECT_EQ(std::isfinite(trainer.update(0)), !first);
      EXPECT_EQ(trainer.find_first_bad(), first);
      return first ? first->str() : "";
    };
    const Batch good = draw_batch(random);
    EXPECT_EQ(found_after(good), "");
    Batch broken = good;
    broken.data.back() = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(found_after(broken), "input data");
    broken = good;
    broken.label[0] = -infinity;
    EXPECT_EQ(found_after(broken), "input label");
    broken.label[0] = kClasses;
    EXPECT_EQ(found_after(broken), "result of aux_loss (softmax_loss)");
    std::vector<float> weights = state_of(trainer, "3x3/weight");
    const std::vector<float> kept = weights;
    weights[7] = infinity;
    trainer.states().write("3x3/weight", weights);
    EXPECT_EQ(found_after(good), "parameter 3x3/weight");
    weights[7] = 1e38F;  // no half; and the sum with the others is finite
    trainer.states().write("3x3/weight", weights);
    if (is_half) {
      EXPECT_EQ(found_after(good), "result of 3x3/weight.f16 (cast)");
    } else {
      std::ranges::fill(weights, 3e38F);
      trainer.states().write("3x3/weight", weights);
      EXPECT_EQ(found_after(good), "result of 3x3 (conv)");
    }
    trainer.states().write("3x3/weight", kept);
    EXPECT_EQ(found_after(good), "");
  }
}

}  // namespace
}  // namespace maru
