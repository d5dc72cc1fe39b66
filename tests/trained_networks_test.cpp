// Small versions of the networks that training is for, as Caffe's definitions have them: trained as
// planned against trained by the operators' references in double precision; what batch normalisation
// records; and that the trained network gives the same with it folded.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "device/registry.h"
#include "ops/batch_norm.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/interpret.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/scale.h"
#include "rewrite/rewrite.h"
#include "train/trainer.h"

namespace maru {
namespace {

constexpr std::int64_t kBatch = 8, kClasses = 4, kExtent = 16;

// A network layer by layer, with parameters drawn.
class Net {
 public:
  Net() {
    data = graph.add_input("data", {DType::f32, {kBatch, 3, kExtent, kExtent}});
    label_ = graph.add_input("label", {DType::f32, {kBatch}});
  }

  ValueId add(const std::string& name, Op op, std::vector<ValueId> src) {
    const std::vector<TensorDesc> descs = graph.descs(src);
    for (const Param& param : op.params(descs)) src.push_back(parameter(name, param));
    const std::size_t results = op.infer(graph.descs(src)).size();
    std::vector<std::string> names(results, name + "/rest");
    names[0] = name;
    const NodeId id = graph.add_node(name, std::move(op), std::move(src), std::move(names));
    return graph.node(id).dst[0];
  }
  ValueId relu(const std::string& name, ValueId src) { return add(name + "/relu", Unary{}, {src}); }
  ValueId conv(const std::string& name, ValueId src, std::int64_t outputs, std::int64_t kernel,
               std::int64_t stride = 1, std::int64_t group = 1, bool bias = false) {
    const std::int64_t pad = kernel / 2;
    const Window window{{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
    return add(name, Conv{outputs, window, group, bias}, {src});
  }
  ValueId conv_relu(const std::string& name, ValueId src, std::int64_t outputs, std::int64_t kernel,
                    std::int64_t stride = 1, std::int64_t group = 1) {
    return relu(name, conv(name, src, outputs, kernel, stride, group, true));
  }
  // Convolution, BatchNorm, Scale, as Caffe's ResNet and MobileNet write them.
  ValueId conv_norm(const std::string& name, ValueId src, std::int64_t outputs, std::int64_t kernel,
                    std::int64_t stride = 1, std::int64_t group = 1) {
    ValueId at = conv(name, src, outputs, kernel, stride, group);
    at = add(name + "/bn", BatchNorm{1e-5, BatchNorm::Statistics::by_phase, 0.9}, {at});
    return add(name + "/scale", Scale{1, 1, true}, {at});
  }
  ValueId conv_norm_relu(const std::string& name, ValueId src, std::int64_t outputs,
                         std::int64_t kernel, std::int64_t stride = 1, std::int64_t group = 1) {
    return relu(name, conv_norm(name, src, outputs, kernel, stride, group));
  }
  ValueId pool(const std::string& name, ValueId src) {
    return add(name, Pool{Pool::Kind::max, Window{{3, 3}, {2, 2}, {0, 0}, {1, 1}}}, {src});
  }
  ValueId average(const std::string& name, ValueId src) {
    return add(name, Pool{Pool::Kind::average, {}, true}, {src});
  }
  ValueId hidden(const std::string& name, ValueId src) {
    const ValueId at = relu(name, add(name, InnerProduct{24}, {src}));
    return add(name + "/drop", Identity{Identity::Reason::dropout, 1, 0.3}, {at});
  }

  Graph finish(const std::string& name, ValueId scores) {
    graph.outputs = {scores, add("loss", SoftmaxLoss{}, {scores, label_})};
    graph.name = name;
    return std::move(graph);
  }

  Graph graph;
  ValueId data{};

 private:
  ValueId parameter(const std::string& layer, const Param& param) {
    const double fan = static_cast<double>(param.shape.count()) / static_cast<double>(param.shape[0]);
    const bool is_recorded = param.role == "mean" || param.role == "variance" || param.role == "factor";
    std::normal_distribution<double> draw(param.role == "scale" ? 1 : 0,
                                          param.role == "weight" ? std::sqrt(2 / fan) : 0.1);
    std::vector<float> values(static_cast<std::size_t>(param.shape.count()));
    if (!is_recorded) std::ranges::generate(values, [&] { return static_cast<float>(draw(random_)); });
    return graph.add_constant(layer + "/" + std::string(param.role),
                              std::make_shared<const Constant>(param.shape, std::move(values)));
  }

  ValueId label_{};
  std::mt19937 random_{1};
};

Graph alexnet() {
  Net net;
  ValueId at = net.conv_relu("conv1", net.data, 16, 5, 1);
  at = net.pool("pool1", net.add("norm1", Lrn{5, 0.5, 0.75, 1}, {at}));
  at = net.conv_relu("conv2", at, 16, 3, 1, 2);
  at = net.pool("pool2", net.add("norm2", Lrn{5, 0.5, 0.75, 1}, {at}));
  at = net.conv_relu("conv3", at, 12, 3, 1, 2);
  at = net.hidden("fc6", at);
  return net.finish("alexnet", net.add("fc7", InnerProduct{kClasses}, {at}));
}

Graph vgg() {
  Net net;
  ValueId at = net.conv_relu("conv1_2", net.conv_relu("conv1_1", net.data, 8, 3), 8, 3);
  at = net.pool("pool1", at);
  at = net.conv_relu("conv2_2", net.conv_relu("conv2_1", at, 16, 3), 16, 3);
  at = net.pool("pool2", at);
  at = net.hidden("fc7", net.hidden("fc6", at));
  return net.finish("vgg", net.add("fc8", InnerProduct{kClasses}, {at}));
}

ValueId residual(Net& net, const std::string& name, ValueId src, std::int64_t outputs,
                 std::int64_t stride, bool projects) {
  const ValueId beside = projects ? net.conv_norm(name + "_branch1", src, outputs, 1, stride) : src;
  ValueId at = net.conv_norm_relu(name + "_branch2a", src, outputs / 2, 1, stride);
  at = net.conv_norm_relu(name + "_branch2b", at, outputs / 2, 3);
  at = net.conv_norm(name + "_branch2c", at, outputs, 1);
  return net.relu(name, net.add(name, Eltwise{}, {beside, at}));
}

Graph resnet() {
  Net net;
  ValueId at = net.pool("pool1", net.conv_norm_relu("conv1", net.data, 16, 7, 2));
  at = residual(net, "res2a", at, 24, 1, true);
  at = residual(net, "res2b", at, 24, 1, false);
  at = residual(net, "res3a", at, 32, 2, true);
  at = net.average("pool5", at);
  return net.finish("resnet", net.add("fc1000", InnerProduct{kClasses}, {at}));
}

// Scores by a convolution, as MobileNet-Caffe has them.
Graph mobilenet() {
  Net net;
  ValueId at = net.conv_norm_relu("conv1", net.data, 16, 3, 2);
  at = net.conv_norm_relu("conv2_1/dw", at, 16, 3, 1, 16);
  at = net.conv_norm_relu("conv2_1/sep", at, 24, 1);
  at = net.conv_norm_relu("conv2_2/dw", at, 24, 3, 2, 24);
  at = net.conv_norm_relu("conv2_2/sep", at, 32, 1);
  at = net.average("pool6", at);
  return net.finish("mobilenet", net.conv("fc7", at, kClasses, 1, 1, 1, true));
}

ValueId inverted(Net& net, const std::string& name, ValueId src, std::int64_t inner,
                 std::int64_t outputs, std::int64_t stride) {
  ValueId at = net.conv_norm_relu(name + "/expand", src, inner, 1);
  at = net.conv_norm_relu(name + "/dwise", at, inner, 3, stride, inner);
  return net.conv_norm(name + "/linear", at, outputs, 1);
}

Graph mobilenet_v2() {
  Net net;
  ValueId at = net.conv_norm_relu("conv1", net.data, 8, 3, 2);
  at = inverted(net, "conv2_1", at, 32, 8, 2);
  const ValueId beside = at;
  at = net.add("block_2_2", Eltwise{}, {beside, inverted(net, "conv2_2", at, 32, 8, 1)});
  at = net.conv_norm_relu("conv6_4", at, 40, 1);
  at = net.average("pool6", at);
  return net.finish("mobilenet_v2", net.conv("fc7", at, kClasses, 1, 1, 1, true));
}

// An inception block whose branches are normalised.
Graph bn_googlenet() {
  Net net;
  ValueId at = net.pool("pool1", net.conv_norm_relu("conv1", net.data, 16, 5));
  const ValueId one = net.conv_norm_relu("1x1", at, 8, 1);
  const ValueId three = net.conv_norm_relu("3x3", net.conv_norm_relu("3x3_reduce", at, 12, 1), 16, 3);
  const ValueId pooled =
      net.add("pool", Pool{Pool::Kind::average, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}}, {at});
  at = net.add("output", Concat{}, {one, three, net.conv_norm_relu("pool_proj", pooled, 8, 1)});
  at = net.average("pool5", at);
  return net.finish("bn_googlenet", net.add("classifier", InnerProduct{kClasses}, {at}));
}

struct Batch {
  std::vector<float> data, label;
};

Batch draw_batch(std::mt19937& random) {
  Batch batch;
  std::normal_distribution<float> noise(0, 0.5F);
  for (std::int64_t n = 0; n < kBatch; ++n) {
    const auto label = static_cast<std::int64_t>(random() % kClasses);
    batch.label.push_back(static_cast<float>(label));
    for (std::int64_t c = 0; c < 3; ++c) {
      for (int pixel = 0; pixel < kExtent * kExtent; ++pixel)
        batch.data.push_back(noise(random) + (c == label ? 1.0F : 0.0F));
    }
  }
  return batch;
}

std::vector<double> doubles(std::span<const float> values) { return {values.begin(), values.end()}; }

// The same by references in double precision.
class ReferenceTraining {
 public:
  ReferenceTraining(Graph network, const TrainerOptions& options) {
    Trained trained = build_gradients(network, options.training);
    parameters_ = std::move(trained.parameters);
    gradients_ = std::move(network);
    update_ = build_update(parameters_, options.solver, false);
    for (const Graph* graph : {&gradients_, &update_}) {
      for (const State& state : graph->states) {
        const Value& value = graph->value(state.begin);
        states[value.name].resize(static_cast<std::size_t>(value.desc.count()));
      }
    }
    for (const Parameter& one : parameters_) states[one.name] = doubles(one.initial->floats());
    for (const Statistic& one : trained.statistics) states[one.name] = doubles(one.initial->floats());
  }

  double pass(const Batch& batch, double step) {
    std::vector<std::vector<double>> inputs;
    for (const ValueId id : gradients_.inputs) {
      const std::string& name = gradients_.value(id).name;
      inputs.push_back(name == "data"    ? doubles(batch.data)
                       : name == "label" ? doubles(batch.label)
                                         : std::vector<double>{step});
    }
    return run(gradients_, std::move(inputs), "loss");
  }
  double update(double rate, double time) {
    return run(update_, {{rate, 0, 0, 1, 0, time}}, "gradient norm");
  }

  std::map<std::string, std::vector<double>> states;

 private:
  double run(const Graph& graph, std::vector<std::vector<double>> inputs, const char* result) {
    for (const State& state : graph.states) inputs.push_back(states.at(graph.value(state.begin).name));
    const Values<double> values = interpret<double>(graph, inputs);
    for (const State& state : graph.states)
      states[graph.value(state.begin).name] = values[static_cast<std::size_t>(state.end)];
    return values[static_cast<std::size_t>(graph.require(result))][0];
  }

  std::vector<Parameter> parameters_;
  Graph gradients_, update_;
};

std::vector<float> state_of(const Trainer& trainer, const std::string& name) {
  std::vector<float> values(static_cast<std::size_t>(trainer.states().shape_of(name).count()));
  trainer.states().read(name, values);
  return values;
}

// The network with what the trainer has in the place of its constants.
Graph with_trained(Graph graph, const Trainer& trainer) {
  const std::vector<std::string> names = trainer.states().names();
  for (std::size_t v = 0; v < graph.values().size(); ++v) {
    Value& value = graph.value(ValueId(static_cast<std::uint32_t>(v)));
    if (!value.constant || std::ranges::find(names, value.name) == names.end()) continue;
    value.constant = std::make_shared<const Constant>(value.desc.shape, state_of(trainer, value.name));
  }
  return graph;
}

class TrainedNetworks : public ::testing::TestWithParam<Graph (*)()> {
 protected:
  static constexpr double kRate = 0.02;

  void SetUp() override {
    network_ = GetParam()();
    RewriteLog log;
    fuse_activations(network_, log);
    options_.training.losses = {{"loss", 1}};
    options_.solver.momentum = 0.9;
    cpu_ = open_device("cpu", {});
  }

  static double pass(Trainer& trainer, const Batch& batch) {
    std::ranges::copy(batch.data, trainer.input("data").begin());
    std::ranges::copy(batch.label, trainer.input("label").begin());
    trainer.pass();
    return static_cast<double>(trainer.output("loss")[0]);
  }

  Graph network_;
  TrainerOptions options_;
  std::unique_ptr<Device> cpu_;
};

TEST_P(TrainedNetworks, AreWhatTheReferencesTrain) {
  const Device* const devices[] = {cpu_.get()};
  Trainer trainer(network_, devices, options_);
  ReferenceTraining reference(network_, options_);
  std::mt19937 random(3);
  constexpr int kUpdates = 3;
  for (int update = 0; update < kUpdates; ++update) {
    const Batch batch = draw_batch(random);
    const double wanted = reference.pass(batch, update);
    EXPECT_NEAR(pass(trainer, batch), wanted, 2e-5 * (1 + std::fabs(wanted)));
    const double norm = trainer.update(kRate), wanted_norm = reference.update(kRate, update + 1.0);
    EXPECT_NEAR(norm, wanted_norm, 2e-4 * wanted_norm);
  }
  for (const Parameter& parameter : trainer.parameters()) {
    const std::vector<float> got = state_of(trainer, parameter.name);
    const std::vector<float> initial = parameter.initial->floats();
    const std::vector<double>& wanted = reference.states.at(parameter.name);
    double moved = 0, error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      moved = std::max(moved, std::fabs(wanted[i] - static_cast<double>(initial[i])));
      error = std::max(error, std::fabs(wanted[i] - static_cast<double>(got[i])));
    }
    EXPECT_GT(moved, 0) << parameter.name;
    EXPECT_LT(error, 2e-3 * moved + 2e-6) << parameter.name;
  }
  for (const Statistic& statistic : trainer.statistics()) {
    const std::vector<float> got = state_of(trainer, statistic.name);
    const std::vector<double>& wanted = reference.states.at(statistic.name);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], wanted[i], 1e-4 * (1 + std::fabs(wanted[i]))) << statistic.name;
    if (statistic.name.ends_with("factor")) {
      EXPECT_NEAR(got[0], 1 + 0.9 + 0.81, 1e-6) << statistic.name;
    }
  }
}

// No node of the forward or backward pass is left to a reference kernel, and none of the states of
// batch normalisation is copied.
TEST_P(TrainedNetworks, HaveKernelsForAll) {
  const Device* const devices[] = {cpu_.get()};
  const Trainer trainer(network_, devices, options_);
  std::size_t norms = 0, fused = 0;
  for (const Node& node : network_.nodes()) norms += node.op.as<BatchNorm>() != nullptr;
  for (const Step& step : trainer.plan().steps) {
    if (step.kernel && step.name.find("loss") == std::string::npos) {
      EXPECT_EQ(step.kernel->name().find("reference"), std::string::npos)
          << step.name << ": " << step.kernel->name();
    }
    EXPECT_FALSE(step.kind == Step::Kind::copy && step.name.find("recorded") != std::string::npos)
        << step.name;
    fused += step.op.starts_with("batch_norm_training") && step.op.find("affine") != std::string::npos;
  }
  EXPECT_EQ(fused, norms);
  EXPECT_EQ(trainer.statistics().size(), 3 * norms);
}

TEST_P(TrainedNetworks, GiveTheSameRewrittenForUse) {
  const Device* const devices[] = {cpu_.get()};
  Trainer trainer(network_, devices, options_);
  std::mt19937 random(3);
  for (int update = 0; update < 5; ++update) {
    pass(trainer, draw_batch(random));
    trainer.update(kRate);
  }
  Graph used = with_trained(network_, trainer);
  used.outputs.resize(1);
  used.inputs.resize(1);
  used.tidy();
  Graph folded = used;
  RewriteLog log;
  rewrite_for_inference(folded, log);
  for (const Node& node : folded.nodes()) EXPECT_EQ(node.op.as<BatchNorm>(), nullptr) << node.name;
  const std::vector<std::vector<double>> inputs{doubles(draw_batch(random).data)};
  const auto scores = [&](const Graph& graph) {
    return interpret<double>(graph, inputs)[static_cast<std::size_t>(graph.outputs[0])];
  };
  const std::vector<double> wanted = scores(used), got = scores(folded);
  double largest = 0;
  for (const double score : wanted) largest = std::max(largest, std::fabs(score));
  EXPECT_GT(largest, 0);
  // Folded weights are rounded to single precision, once a layer.
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5 * largest);
}

INSTANTIATE_TEST_SUITE_P(Small, TrainedNetworks,
                         ::testing::Values(alexnet, vgg, resnet, mobilenet, mobilenet_v2, bn_googlenet),
                         [](const auto& param_info) { return param_info.param().name; });

// Forward and backward, in plain and blocked layouts: the convolution takes blocks.
TEST(BatchNormOnTheCpu, IsTheSameForAnyNumberOfThreads) {
  const auto trained = [](int threads, bool has_blocks) {
    Net net;
    ValueId at = has_blocks ? net.conv("conv", net.data, 24, 3) : net.data;
    // A factor for each element, whose gradient is that by the data of what follows.
    at = net.add("factors", Scale{1, -1}, {at});
    at = net.relu("norm", net.add("norm/scale", Scale{1, 1, true}, {net.add("bn", BatchNorm{}, {at})}));
    at = net.average("pool", at);
    Graph network = net.finish("norm", net.add("classifier", InnerProduct{kClasses}, {at}));
    TrainerOptions options;
    options.training.losses = {{"loss", 1}};
    options.training.rates = [](std::string_view name) {
      return std::pair{name.starts_with("factors") || name.starts_with("norm") ? 1.0 : 0.0, 1.0};
    };
    const auto cpu = open_device("cpu", {threads});
    const Device* const devices[] = {cpu.get()};
    Trainer trainer(std::move(network), devices, options);
    std::mt19937 random(3);
    std::vector<std::vector<float>> states;
    for (int update = 0; update < 2; ++update) {
      const Batch batch = draw_batch(random);
      std::ranges::copy(batch.data, trainer.input("data").begin());
      std::ranges::copy(batch.label, trainer.input("label").begin());
      trainer.pass();
      trainer.update(0.1);
    }
    for (const char* name : {"factors/scale", "norm/scale/scale", "norm/scale/bias", "bn/variance"})
      states.push_back(state_of(trainer, name));
    return states;
  };
  for (const bool has_blocks : {false, true}) {
    const auto one = trained(1, has_blocks);
    for (const int threads : {2, 3}) EXPECT_EQ(trained(threads, has_blocks), one) << threads;
  }
}

}  // namespace
}  // namespace maru
