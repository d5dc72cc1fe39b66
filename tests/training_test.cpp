// Training as planned against training by the operators' references in double precision, and whether it
// learns.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "device/registry.h"
#include "import/caffe.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/interpret.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "rewrite/rewrite.h"
#include "tests/devices.h"
#include "tests/shared.h"
#include "tests/training_networks.h"
#include "train/trainer.h"

namespace maru {
namespace {

using namespace maru::testing;

struct Setting {
  const char* name;
  const char* device;
  Update::Solver solver;
  std::int64_t passes;
  double clip;
};

class Training : public ::testing::TestWithParam<Setting> {};

TEST_P(Training, IsThatOfTheReferences) {
  const Setting& setting = GetParam();
  MARU_NEEDS_DEVICE(setting.device);
  TrainerOptions options;
  options.training = two_losses();
  options.solver.solver = setting.solver;
  options.solver.momentum = 0.9;
  options.passes = setting.passes;
  options.clip_gradients = setting.clip;
  options.l2_decay = 1e-3;
  const auto devices = open_all(setting.device);
  Trainer trainer(small_inception(), listed(devices), options);
  ReferenceTraining reference(small_inception(), options);
  std::mt19937 random(3);
  constexpr double kRate = 0.02;
  for (int update = 0; update < 4; ++update) {
    for (std::int64_t pass = 0; pass < setting.passes; ++pass) {
      const Batch batch = draw_batch(random);
      std::ranges::copy(batch.data, trainer.input("data").begin());
      std::ranges::copy(batch.label, trainer.input("label").begin());
      trainer.pass();
      const double wanted = reference.pass(batch, static_cast<double>(update * setting.passes + pass));
      EXPECT_NEAR(trainer.output("loss")[0], wanted, 2e-5 * (1 + std::fabs(wanted)));
    }
    const double norm = trainer.update(kRate);
    const double wanted =
        reference.update({kRate, options.l2_decay, 0, 1.0 / static_cast<double>(setting.passes),
                          setting.clip, update + 1.0});
    EXPECT_NEAR(norm, wanted, 1e-4 * wanted);
    EXPECT_GT(wanted, setting.clip);  // else nothing is clipped
  }
  EXPECT_EQ(trainer.updates(), 4);
  ASSERT_EQ(trainer.parameters().size(), reference.parameters_.size());
  for (const Parameter& parameter : trainer.parameters()) {
    std::vector<float> got(static_cast<std::size_t>(parameter.shape.count()));
    trainer.states().read(parameter.name, got);
    const std::vector<double>& wanted = reference.states_.at(parameter.name);
    const std::vector<float> initial = parameter.initial->floats();
    double moved = 0, error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      moved = std::max(moved, std::fabs(wanted[i] - static_cast<double>(initial[i])));
      error = std::max(error, std::fabs(wanted[i] - static_cast<double>(got[i])));
    }
    EXPECT_GT(moved, 0) << parameter.name;
    EXPECT_LT(error, 2e-3 * moved + 1e-6) << parameter.name;
  }
}

using Solver = Update::Solver;
INSTANTIATE_TEST_SUITE_P(Settings, Training,
                         ::testing::Values(Setting{"sgd", "cpu", Solver::sgd, 1, 0},
                                           Setting{"nesterov", "cpu", Solver::nesterov, 1, 0},
                                           Setting{"adagrad", "cpu", Solver::adagrad, 1, 0},
                                           Setting{"rmsprop", "cpu", Solver::rmsprop, 1, 0},
                                           Setting{"adadelta", "cpu", Solver::adadelta, 1, 0},
                                           Setting{"adam", "cpu", Solver::adam, 1, 0},
                                           Setting{"several_passes", "cpu", Solver::sgd, 3, 0},
                                           Setting{"clipped", "cpu", Solver::sgd, 2, 0.5},
                                           Setting{"shared_memory", "board:orin", Solver::sgd, 2, 0},
                                           Setting{"card", "board:pcie", Solver::nesterov, 1, 0},
                                           Setting{"cuda", "cuda", Solver::sgd, 1, 0},
                                           Setting{"cuda_nesterov", "cuda", Solver::nesterov, 1, 0},
                                           Setting{"cuda_adagrad", "cuda", Solver::adagrad, 1, 0},
                                           Setting{"cuda_rmsprop", "cuda", Solver::rmsprop, 1, 0},
                                           Setting{"cuda_adadelta", "cuda", Solver::adadelta, 1, 0},
                                           Setting{"cuda_adam", "cuda", Solver::adam, 1, 0},
                                           Setting{"cuda_clipped", "cuda", Solver::sgd, 2, 0.5}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(Trainer, Learns) {
  TrainerOptions options;
  options.training = two_losses();
  options.solver.momentum = 0.9;
  const auto devices = open_all("cpu");
  Trainer trainer(small_inception(), listed(devices), options);
  std::mt19937 random(5);
  double first = 0, last = 0, hits = 0;
  constexpr int kUpdates = 400, kLooked = 20;
  for (int update = 0; update < kUpdates; ++update) {
    const Batch batch = draw_batch(random);
    std::ranges::copy(batch.data, trainer.input("data").begin());
    std::ranges::copy(batch.label, trainer.input("label").begin());
    trainer.pass();
    const double loss = trainer.output("loss")[0];
    if (update < kLooked) first += loss;
    if (update >= kUpdates - kLooked) {
      last += loss;
      hits += trainer.output("accuracy")[0];
    }
    trainer.update(0.05);
  }
  EXPECT_LT(last, 0.3 * first);
  EXPECT_GT(hits / kLooked, 0.9);
}

TEST(Trainer, WhatIsFrozenStaysAndIsNotPropagatedThrough) {
  TrainerOptions options;
  options.training = two_losses();
  options.training.rates = [](std::string_view name) {
    return std::pair{name.starts_with("classifier") || name.starts_with("aux") ? 1.0 : 0.0, 1.0};
  };
  const auto devices = open_all("cpu");
  Trainer frozen(small_inception(), listed(devices), options);
  options.training = two_losses();
  const Trainer whole(small_inception(), listed(devices), options);
  EXPECT_EQ(frozen.parameters().size(), 4u);
  for (const Step& step : frozen.plan().steps) EXPECT_EQ(step.op.find("conv_grad"), std::string::npos);
  EXPECT_LT(frozen.arena_bytes(), whole.arena_bytes());
  EXPECT_LT(frozen.state_bytes(), whole.state_bytes());
}

// Two parameters, whose squares one kernel adds up; many are added up by another.
Graph one_layer() {
  Network net;
  const ValueId data = net.graph.add_input("data", {DType::f32, {kBatch, 3, 16, 16}});
  const ValueId label = net.graph.add_input("label", {DType::f32, {kBatch}});
  const ValueId scores = net.add("classifier", InnerProduct{kClasses}, {data});
  net.graph.outputs.push_back(net.add("loss", SoftmaxLoss{}, {scores, label}));
  return std::move(net.graph);
}

struct BadNormCase {
  const char* name;
  const char* device;
  bool is_small;
};

class BadNorm : public ::testing::TestWithParam<BadNormCase> {};

// Of data that is not a number, and of labels that are no class.
TEST_P(BadNorm, ChangesNothing) {
  MARU_NEEDS_DEVICE(GetParam().device);
  TrainerOptions options;
  options.training = two_losses();
  if (GetParam().is_small) options.training.losses = {{"loss", 1}};
  options.solver.solver = Solver::adam;
  options.passes = 2;
  const auto devices = open_all(GetParam().device);
  Trainer trainer(GetParam().is_small ? one_layer() : small_inception(), listed(devices), options);
  std::mt19937 random(5);
  const auto pass = [&](const Batch& batch) {
    std::ranges::copy(batch.data, trainer.input("data").begin());
    std::ranges::copy(batch.label, trainer.input("label").begin());
    trainer.pass();
  };
  for (int i = 0; i < 2; ++i) pass(draw_batch(random));
  ASSERT_TRUE(std::isfinite(trainer.update(0.1)));
  std::map<std::string, std::vector<float>> before;
  for (const Parameter& parameter : trainer.parameters()) {
    for (const std::string& name : {parameter.name, parameter.memory(0), parameter.memory(1)})
      before[name] = state_of(trainer, name);
  }
  for (const bool is_label : {false, true}) {
    Batch broken = draw_batch(random);
    if (is_label) {
      broken.label[1] = kClasses;
    } else {
      broken.data[0] = std::numeric_limits<float>::quiet_NaN();
    }
    pass(draw_batch(random));
    pass(broken);
    if (is_label) {  // a relu may swallow the other
      EXPECT_FALSE(std::isfinite(trainer.output("loss")[0]));
    }
    EXPECT_FALSE(std::isfinite(trainer.update(0.1)));
    EXPECT_EQ(trainer.updates(), 1);
    for (const auto& [name, values] : before) EXPECT_EQ(state_of(trainer, name), values) << name;
    for (const Parameter& parameter : trainer.parameters()) {
      for (const float left : state_of(trainer, parameter.gradient())) ASSERT_EQ(left, 0);
    }
  }
  for (int i = 0; i < 2; ++i) pass(draw_batch(random));
  EXPECT_TRUE(std::isfinite(trainer.update(0.1)));
}

INSTANTIATE_TEST_SUITE_P(Trainers, BadNorm,
                         ::testing::Values(BadNormCase{"cpu", "cpu", false},
                                           BadNormCase{"cpu_of_two", "cpu", true},
                                           BadNormCase{"cuda", "cuda", false},
                                           BadNormCase{"cuda_of_two", "cuda", true}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

class EveryOperator : public ::testing::TestWithParam<const char*> {};

// Losses and gradients of one pass, against the references in double precision.
TEST_P(EveryOperator, HasTheGradientOfTheReference) {
  MARU_NEEDS_DEVICE(GetParam());
  TrainerOptions options;
  options.training = testing::all_losses();
  const auto devices = open_all(GetParam());
  Trainer trainer(testing::one_of_each(), listed(devices), options);
  Graph graph = testing::one_of_each();
  const std::vector<Parameter> parameters = build_gradients(graph, options.training).parameters;
  std::mt19937 random(5);
  std::vector<std::vector<double>> inputs;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    std::vector<double>& values =
        inputs.emplace_back(static_cast<std::size_t>(value.desc.shape.count()));
    const bool is_label = value.name.find("label") != std::string::npos;
    for (double& one : values) {
      const auto drawn = static_cast<float>(random() % 1000) / 1000 - 0.5F;
      one = static_cast<double>(is_label ? static_cast<float>(random() % kClasses) : drawn);
    }
    if (value.name == "step") {
      values[0] = 0;  // which the trainer counts
    } else {
      std::ranges::transform(values, trainer.input(value.name).begin(),
                             [](double one) { return static_cast<float>(one); });
    }
  }
  for (const State& state : graph.states) {
    const Value& value = graph.value(state.begin);
    const auto found = std::ranges::find(parameters, value.name, &Parameter::name);
    inputs.push_back(found == parameters.end()
                         ? std::vector<double>(static_cast<std::size_t>(value.desc.shape.count()))
                         : doubles(found->initial->floats()));
  }
  trainer.pass();
  const Values<double> wanted = interpret<double>(graph, inputs);
  for (const char* name : {"loss", "pixel loss", "distance", "cross", "accuracy", "pixel accuracy"}) {
    const double loss = wanted[static_cast<std::size_t>(graph.require(name))][0];
    EXPECT_NEAR(trainer.output(name)[0], loss, 2e-5 * (1 + std::fabs(loss))) << name;
  }
  for (const State& state : graph.states) {
    const std::string& name = graph.value(state.begin).name;
    if (std::ranges::find(parameters, name, &Parameter::name) != parameters.end()) continue;
    const std::vector<float> got = state_of(trainer, name);
    const std::vector<double>& expected = wanted[static_cast<std::size_t>(state.end)];
    double most = 0, error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      most = std::max(most, std::fabs(expected[i]));
      error = std::max(error, std::fabs(expected[i] - static_cast<double>(got[i])));
    }
    EXPECT_GT(most, 0) << name;
    EXPECT_LT(error, 1e-4 * most + 1e-7) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, EveryOperator,
                         ::testing::Values("cpu", "cuda", "board:orin", "board:pcie"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::ranges::replace(name, ':', '_');
                           return name;
                         });

// Neither computing gradients nor updating leaves anything to the CPU beside the GPU.
TEST(TrainingOnCuda, IsTheGpusAlone) {
  MARU_NEEDS_DEVICE("cuda");
  const auto devices = open_all("cuda");
  const auto expect_none = [&](Graph graph, const TrainingOptions& training) {
    const std::vector<Parameter> parameters = build_gradients(graph, training).parameters;
    for (const auto solver : {Update::Solver::sgd, Update::Solver::adam}) {
      const Graph update = build_update(parameters, Update{solver}, true);
      for (const Graph* one : {static_cast<const Graph*>(&graph), &update}) {
        const Planned planned = make_plan(*one, listed(devices), {});
        EXPECT_EQ(testing::steps_elsewhere(planned.plan), std::vector<std::string>{}) << one->name;
      }
    }
  };
  expect_none(small_inception(), two_losses());
  expect_none(testing::one_of_each(), testing::all_losses());
}

// A device that hands part of the work to the CPU: all that it has no kernels for.
TEST(Trainer, TheCpuDoesWhatADeviceCannot) {
  MARU_NEEDS_DEVICE("opencl");
  for (const MemoryPolicy policy : {MemoryPolicy::automatic, MemoryPolicy::copy}) {
    TrainerOptions options;
    options.training = two_losses();
    options.solver.momentum = 0.9;
    options.policy = policy;
    options.passes = 2;
    std::vector<std::vector<float>> results[2];
    for (const bool on_device : {false, true}) {
      const auto devices = open_all(on_device ? "opencl" : "cpu");
      Trainer trainer(small_inception(), listed(devices), options);
      std::mt19937 random(5);
      for (int pass = 0; pass < 4; ++pass) {
        const Batch batch = draw_batch(random);
        std::ranges::copy(batch.data, trainer.input("data").begin());
        std::ranges::copy(batch.label, trainer.input("label").begin());
        trainer.pass();
        if (pass % 2 == 1) trainer.update(0.02);
      }
      for (const Parameter& parameter : trainer.parameters())
        results[on_device].push_back(state_of(trainer, parameter.name));
    }
    for (std::size_t p = 0; p < results[0].size(); ++p) {
      for (std::size_t i = 0; i < results[0][p].size(); ++i)
        ASSERT_NEAR(results[0][p][i], results[1][p][i], 1e-4) << p << " " << i;
    }
  }
}

// One parameter of two layers, a scalar one, a frozen bias beside trained weights.
TEST(Trainer, ParametersOfAllKinds) {
  Network net;
  const ValueId data = net.graph.add_input("data", {DType::f32, {kBatch, 3, 16, 16}});
  const ValueId label = net.graph.add_input("label", {DType::f32, {kBatch}});
  ValueId at = net.add("conv", Conv{8, window(3, 1, 1)}, {data});
  const ValueId shared = net.constant("shared/weight", {8, 8, 3, 3}, 0.1);
  for (const char* name : {"first", "second"}) {
    const NodeId id =
        net.graph.add_node(name, Conv{8, window(3, 1, 1), 1, false, Unary{}}, {at, shared}, {name});
    at = net.graph.node(id).dst[0];
  }
  at = net.add("times", Scale{0, 0}, {at});
  at = net.add("classifier", InnerProduct{kClasses}, {at});
  net.graph.outputs.push_back(net.add("loss", SoftmaxLoss{}, {at, label}));
  TrainerOptions options;
  options.training.losses = {{"loss", 1}};
  options.training.rates = [](std::string_view name) {
    return std::pair{name == "conv/bias" ? 0.0 : 1.0, 1.0};
  };
  const auto devices = open_all("cpu");
  Trainer trainer(net.graph, listed(devices), options);
  EXPECT_EQ(trainer.parameters().size(), 5u);
  for (const Step& step : trainer.plan().steps)
    EXPECT_TRUE(step.op.find("conv") == std::string::npos ||
                step.kernel->name().find("reference") == std::string::npos)
        << step.name << ": " << step.kernel->name();
  ReferenceTraining reference(net.graph, options);
  std::mt19937 random(5);
  const Batch batch = draw_batch(random);
  std::ranges::copy(batch.data, trainer.input("data").begin());
  for (std::size_t i = 0; i < batch.label.size(); ++i) trainer.input("label")[i] = batch.label[i];
  trainer.pass();
  reference.pass(batch, 0);
  const double norm = trainer.update(0.01);
  EXPECT_NEAR(norm, reference.update({0.01, 0, 0, 1, 0, 1}), 1e-4 * norm);
  for (const Parameter& parameter : trainer.parameters()) {
    const std::vector<float> got = state_of(trainer, parameter.name);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], reference.states_.at(parameter.name)[i], 1e-5) << parameter.name;
  }
}

// A test net has no weights of its own, and sees each update.
TEST(Trainer, EvaluationsReadWhatIsTrained) {
  TrainerOptions options;
  options.training = two_losses();
  const auto devices = open_all("cpu");
  Trainer trainer(small_inception(), listed(devices), options);
  const std::size_t states = trainer.state_bytes();
  const auto evaluation = trainer.evaluation(small_inception());
  EXPECT_EQ(trainer.state_bytes(), states);
  std::mt19937 random(5);
  const Batch looked = draw_batch(random);
  for (int update = 0; update < 2; ++update) {
    const Batch batch = draw_batch(random);
    std::ranges::copy(batch.data, trainer.input("data").begin());
    std::ranges::copy(batch.label, trainer.input("label").begin());
    trainer.pass();
    trainer.update(0.05);
    std::ranges::copy(looked.data, evaluation->input("data").begin());
    std::ranges::copy(looked.label, evaluation->input("label").begin());
    evaluation->run();
    Graph network = small_inception();
    for (std::size_t v = 0; v < network.values().size(); ++v) {
      Value& value = network.value(ValueId(static_cast<std::uint32_t>(v)));
      if (value.constant)
        value.constant =
            std::make_shared<const Constant>(value.desc.shape, state_of(trainer, value.name));
    }
    std::vector<std::vector<double>> inputs;
    for (const ValueId id : network.inputs)
      inputs.push_back(doubles(network.value(id).name == "data" ? looked.data : looked.label));
    const Values<double> values = interpret<double>(network, inputs);
    for (const ValueId id : network.outputs) {
      const std::string& name = network.value(id).name;
      EXPECT_NEAR(evaluation->output(name)[0], values[static_cast<std::size_t>(id)][0], 1e-4) << name;
    }
  }
  Graph other = small_inception();
  for (std::size_t v = 0; v < other.values().size(); ++v) {
    Value& value = other.value(ValueId(static_cast<std::uint32_t>(v)));
    if (value.name == "classifier/bias") value.name = "classifier/weight";
  }
  EXPECT_THROW(trainer.evaluation(other), Error);
}

TEST(Trainer, SaysWhatCannotBeTrained) {
  const auto devices = open_all("cpu");
  const auto expected = [&](Graph graph, const TrainingOptions& training) -> std::string {
    TrainerOptions options;
    options.training = training;
    try {
      const Trainer trainer(std::move(graph), listed(devices), options);
    } catch (const Error& error) {
      return error.expected();
    }
    return "";
  };
  TrainingOptions none = two_losses(), unknown = two_losses(), large = two_losses(),
                  frozen = two_losses();
  none.losses.clear();
  unknown.losses[0].value = "lose";
  large.losses[0].value = "classifier";
  frozen.rates = [](std::string_view) { return std::pair{0.0, 0.0}; };
  EXPECT_EQ(expected(small_inception(), none), "a loss to train for");
  EXPECT_EQ(expected(small_inception(), unknown), "a value named \"lose\"");
  EXPECT_EQ(expected(small_inception(), large), "a loss of one element");
  EXPECT_EQ(expected(small_inception(), frozen), "a parameter to train");
  Graph drops_all = small_inception();
  for (std::size_t n = 0; n < drops_all.nodes().size(); ++n) {
    Node& node = drops_all.node(NodeId(static_cast<std::uint32_t>(n)));
    if (node.op.as<Identity>() != nullptr) node.op = Identity{Identity::Reason::dropout, 1, 1};
  }
  EXPECT_EQ(expected(std::move(drops_all), two_losses()), "a ratio of 0 or more, below 1");

  Network net;
  const ValueId data = net.graph.add_input("data", {DType::f32, {2, 3}});
  const ValueId target = net.graph.add_input("target", {DType::f32, {2, 4}});
  ValueId at = net.add("product", InnerProduct{4}, {data});
  at = net.add("shares", Softmax{}, {at});
  net.graph.outputs.push_back(net.add("loss", PairLoss{}, {at, target}));
  TrainingOptions one;
  one.losses = {{"loss", 1}};
  EXPECT_EQ(expected(net.graph, one), "an operator with a gradient");
}

// A short step against the gradient lowers the loss by the step times the gradient's square, whatever
// the network.
TEST(TrainingOnGoogLeNet, TheLossFallsAsTheGradientSays) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet");
  const auto folder = testing::shared_folder() / "models" / "bvlc_googlenet";
  CaffeOptions import;
  import.batch = 1;
  Graph graph =
      import_caffe(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel", import).graph;
  const ValueId scores = graph.require("loss3/classifier");
  const ValueId label = graph.add_input("label", {DType::f32, {1}});
  const NodeId node = graph.add_node("loss", SoftmaxLoss{}, {scores, label}, {"loss", "shares"});
  graph.outputs = {graph.node(node).dst[0]};
  graph.tidy();
  RewriteLog log;
  fuse_activations(graph, log);
  TrainerOptions options;
  options.training.losses = {{"loss", 1}};
  const auto devices = open_all("cpu");
  Trainer trainer(std::move(graph), listed(devices), options);
  EXPECT_EQ(trainer.parameters().size(), 2u * 58);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> draw(-110, 140);
  std::vector<float> pixels(3 * 224 * 224);
  std::ranges::generate(pixels, [&] { return draw(random); });
  const auto pass = [&] {
    trainer.set_updates(0);  // the same dropout
    std::ranges::copy(pixels, trainer.input("data").begin());
    trainer.input("label")[0] = 7;
    trainer.pass();
    return static_cast<double>(trainer.output("loss")[0]);
  };
  const double before = pass();
  const double norm = trainer.update(0);
  ASSERT_GT(norm, 0);
  ASSERT_NEAR(pass(), before, 1e-5 * before) << "a step of no length changed something";
  const double fall = 0.005 * before;
  trainer.update(fall / (norm * norm));
  EXPECT_NEAR(before - pass(), fall, 0.1 * fall);
}

}  // namespace
}  // namespace maru
