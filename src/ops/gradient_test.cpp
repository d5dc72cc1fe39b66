// Every gradient rule against finite differences, in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/batch_norm.h"
#include "ops/batch_norm_training.h"
#include "ops/conv.h"
#include "ops/dropout.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/interpret.h"
#include "ops/loss.h"
#include "ops/operator.h"
#include "ops/slice.h"
#include "ops/update.h"

namespace maru {
namespace {

using Numbers = std::vector<double>;

struct GradientCase {
  const Operator* op;
  const Case* one;
};

std::vector<GradientCase> gradient_cases() {
  std::vector<GradientCase> cases;
  for (const Operator& op : all_operators()) {
    if (op.gradient == nullptr) continue;
    for (const Case& one : op.cases) {
      const auto* eltwise = one.op.as<Eltwise>();  // a maximum has none
      const auto* norm = one.op.as<BatchNorm>();   // that of the batch is another operator's
      if (eltwise != nullptr && eltwise->kind == Eltwise::Kind::maximum) continue;
      if (norm == nullptr || norm->takes_recorded()) cases.push_back({&op, &one});
    }
  }
  return cases;
}

std::string name_of(const ::testing::TestParamInfo<GradientCase>& info) {
  std::string name = fmt::format("{}_{}", info.param.op->name, info.param.one->name);
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

class GradientRules : public ::testing::TestWithParam<GradientCase> {
 protected:
  void SetUp() override {
    const Case& one = *GetParam().one;
    std::uniform_real_distribution<double> draw(one.low, one.high);
    std::vector<TensorView> views;
    for (const TensorDesc& desc : one.src) {
      Numbers& values = operands_.emplace_back(static_cast<std::size_t>(desc.count()));
      std::ranges::generate(values, [&] { return draw(random_); });
      descs_.push_back({DType::f64, desc.shape, Layout::plain()});
    }
    for (std::size_t i = 0; i < operands_.size(); ++i)
      views.push_back({descs_[i], operands_[i].data()});
    if (one.fill != nullptr) one.fill(views);
  }

  // The sum of all results, each element times its weight.
  double loss() {
    std::vector<TensorDesc> results = GetParam().one->op.infer(descs_);
    std::vector<Numbers> computed;
    std::vector<TensorView> src, dst;
    for (std::size_t i = 0; i < operands_.size(); ++i) src.push_back({descs_[i], operands_[i].data()});
    for (const TensorDesc& desc : results)
      computed.emplace_back(static_cast<std::size_t>(desc.count()));
    for (std::size_t i = 0; i < results.size(); ++i) dst.push_back({results[i], computed[i].data()});
    GetParam().one->op.reference(src, dst);
    double sum = 0;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      for (std::size_t k = 0; k < weights_[i].size(); ++k) sum += weights_[i][k] * computed[i][k];
    }
    return sum;
  }

  // Of each operand, by the rule; weights_[i] is the gradient of result i, none where it is empty.
  std::vector<std::optional<Numbers>> by_rule() {
    Graph graph;
    std::vector<ValueId> src;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < operands_.size(); ++i)
      src.push_back(graph.add_input(fmt::format("src{}", i), {DType::f32, descs_[i].shape}));
    const std::size_t results = GetParam().one->op.infer(descs_).size();
    for (std::size_t i = 0; i < results; ++i) names.push_back(fmt::format("dst{}", i));
    const NodeId node = graph.add_node("node", GetParam().one->op, src, names);
    std::vector<Numbers> inputs = operands_;
    GradientCall call{graph, graph.node(node), {}, std::vector<bool>(src.size(), true)};
    // Nobody trains the targets of a cross entropy.
    if (const auto* loss = GetParam().one->op.as<PairLoss>())
      call.wanted[1] = loss->kind == PairLoss::Kind::euclidean;
    for (std::size_t i = 0; i < results; ++i) {
      call.dst.emplace_back();
      if (weights_[i].empty()) continue;
      const Shape shape = graph.value(graph.node(node).dst[i]).desc.shape;
      call.dst.back() = graph.add_input(fmt::format("gradient{}", i), {DType::f32, shape});
      inputs.push_back(weights_[i]);
    }
    const Gradients gradients = gradient_rule(GetParam().op->name)(call);
    graph.verify();
    EXPECT_EQ(gradients.size(), src.size());
    const Values<double> values = interpret<double>(graph, inputs);
    std::vector<std::optional<Numbers>> result;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      result.emplace_back();
      if (!gradients[i]) continue;
      EXPECT_EQ(graph.value(*gradients[i]).desc.shape, descs_[i].shape) << "operand " << i;
      result.back() = values[static_cast<std::size_t>(*gradients[i])];
    }
    return result;
  }

  // For so many results, the others having none.
  void draw_weights(std::size_t most) {
    std::uniform_real_distribution<double> draw(-1, 1);
    weights_.clear();
    for (const TensorDesc& desc : GetParam().one->op.infer(descs_)) {
      Numbers& weights = weights_.emplace_back();
      if (weights_.size() > most) continue;
      weights.resize(static_cast<std::size_t>(desc.count()));
      std::ranges::generate(weights, [&] { return draw(random_); });
    }
  }

  void expect_slopes() {
    const auto rule = by_rule();
    bool any = false;
    for (std::size_t operand = 0; operand < rule.size(); ++operand) {
      if (!rule[operand]) continue;
      any = true;
      const Numbers& gradient = *rule[operand];
      double scale = 0;
      for (const double g : gradient) scale = std::max(scale, std::fabs(g));
      constexpr std::size_t kLooks = 40;  // elements of each operand
      for (std::size_t look = 0; look < std::min(kLooks, gradient.size()); ++look) {
        const std::size_t at = gradient.size() <= kLooks ? look : random_() % gradient.size();
        double& x = operands_[operand][at];
        const double before = x, step = 1e-6 * std::max(1.0, std::fabs(before));
        x = before + step;
        const double above = loss();
        x = before - step;
        const double below = loss();
        x = before;
        const double size = std::max({std::fabs(above), std::fabs(below), 1.0});
        // Rounding of two losses, and the curve's third derivative.
        const double tolerance = 1e-15 * size / step * 50 + 1e-6 * (scale + 1e-3);
        EXPECT_NEAR(gradient[at], (above - below) / (2 * step), tolerance)
            << "operand " << operand << " element " << at;
      }
    }
    EXPECT_TRUE(any);
  }

  std::mt19937_64 random_{1};
  std::vector<Numbers> operands_, weights_;
  std::vector<TensorDesc> descs_;
};

TEST_P(GradientRules, IsTheSlope) {
  // The other results of a loss, and of batch normalisation, are for their gradients alone.
  const Op& op = GetParam().one->op;
  const bool is_of_one = op.as<SoftmaxLoss>() != nullptr || op.as<BatchNormTraining>() != nullptr;
  draw_weights(is_of_one ? 1 : SIZE_MAX);
  expect_slopes();
}

INSTANTIATE_TEST_SUITE_P(Ops, GradientRules, ::testing::ValuesIn(gradient_cases()), name_of);

// Where no loss depends on some results.
class GradientOfOneResult : public GradientRules {};

TEST_P(GradientOfOneResult, IsTheSlope) {
  draw_weights(1);
  expect_slopes();
}

std::vector<GradientCase> cases_of_several_results() {
  std::vector<GradientCase> cases = gradient_cases();
  std::erase_if(cases, [](const GradientCase& c) { return c.one->op.infer(c.one->src).size() < 2; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Ops, GradientOfOneResult, ::testing::ValuesIn(cases_of_several_results()),
                         name_of);

TEST(GradientRule, AMaximumHasNone) {
  Graph graph;
  const ValueId a = graph.add_input("a", {DType::f32, {3}}),
                b = graph.add_input("b", {DType::f32, {3}});
  const NodeId node = graph.add_node("most", Eltwise{Eltwise::Kind::maximum}, {a, b}, {"out"});
  GradientCall call{graph, graph.node(node), {a}, {true, true}};
  EXPECT_THROW(gradient_rule("eltwise")(call), Error);
}

TEST(GradientRule, IsAskedForByName) {
  EXPECT_NE(gradient_rule("conv"), nullptr);
  try {
    gradient_rule("accuracy");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "accuracy");
  }
}

TEST(GradientRule, OnlyWhatIsWanted) {
  Graph graph;
  const ValueId data = graph.add_input("data", {DType::f32, {1, 3, 8, 8}});
  const ValueId weight = graph.add_input("weight", {DType::f32, {4, 3, 3, 3}});
  const ValueId bias = graph.add_input("bias", {DType::f32, {4}});
  const NodeId node = graph.add_node("conv", Conv{4, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}},
                                     {data, weight, bias}, {"out"});
  const ValueId gradient = graph.add_input("gradient", {DType::f32, {1, 4, 8, 8}});
  GradientCall call{graph, graph.node(node), {gradient}, {false, true, false}};
  const Gradients found = gradient_rule("conv")(call);
  EXPECT_FALSE(found[0].has_value());
  EXPECT_TRUE(found[1].has_value());
  EXPECT_FALSE(found[2].has_value());
  EXPECT_EQ(graph.nodes().size(), 2u);
}

TEST(GradientRule, StopsWhereItIsTold) {
  Graph graph;
  const ValueId data = graph.add_input("data", {DType::f32, {2}});
  const ValueId gradient = graph.add_input("gradient", {DType::f32, {2}});
  for (const auto reason : {Identity::Reason::split, Identity::Reason::stop}) {
    const NodeId node = graph.add_node("same", Identity{reason}, {data}, {"same"});
    GradientCall call{graph, graph.node(node), {gradient}, {true}};
    const Gradients found = gradient_rule("identity")(call);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].has_value(), reason == Identity::Reason::split);
  }
}

// Salmon et al. 2011, known answers of Random123 for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Dropout, KeepsTheShareAndDiffersBySteps) {
  const Dropout dropout{0.7, 3};
  constexpr std::uint64_t kCount = 20000;
  std::uint64_t kept = 0, both = 0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    kept += dropout.keeps(1, i);
    both += dropout.keeps(1, i) && dropout.keeps(2, i);
  }
  // Five standard deviations of a binomial.
  EXPECT_NEAR(static_cast<double>(kept), 0.3 * kCount, 5 * std::sqrt(0.3 * 0.7 * kCount));
  EXPECT_NEAR(static_cast<double>(both), 0.09 * kCount, 5 * std::sqrt(0.09 * 0.91 * kCount));
}

// By hand, from Caffe's formulas.
TEST(Update, OneStepOfEachSolver) {
  using Solver = Update::Solver;
  const std::array<double, Update::kControls> control{0.1, 0.5, 0, 2, 0, 1};
  const double g = 2 * 3.0 + 0.5 * 1.0;  // factor times gradient, and decay
  const auto step = [&](Solver solver, double h0 = 0.25, double k0 = 0.5) {
    Update update{solver, 1, 1, 0.9};
    std::array<double, 3> state{1, h0, k0};
    update.step(state[0], state[1], state[2], 2 * 3.0, control);
    return state;
  };
  const double h = 0.9 * 0.25 + 0.1 * g;
  EXPECT_DOUBLE_EQ(step(Solver::sgd)[0], 1 - h);
  EXPECT_DOUBLE_EQ(step(Solver::sgd)[1], h);
  EXPECT_DOUBLE_EQ(step(Solver::nesterov)[0], 1 - (1.9 * h - 0.9 * 0.25));
  EXPECT_DOUBLE_EQ(step(Solver::adagrad)[0], 1 - 0.1 * g / (std::sqrt(0.25 + g * g) + 1e-8));
  const double mean = 0.99 * 0.25 + 0.01 * g * g;
  EXPECT_NEAR(step(Solver::rmsprop)[0], 1 - 0.1 * g / (std::sqrt(mean) + 1e-8), 1e-12);
  std::array<double, Update::kControls> clipped = control;
  clipped[Update::kClip] = 5;
  EXPECT_DOUBLE_EQ(*Update::gradient_factor(4, clipped), 2);
  EXPECT_DOUBLE_EQ(*Update::gradient_factor(20, clipped), 0.5);
  EXPECT_FALSE(Update::gradient_factor(std::nan(""), clipped).has_value());
  // Two steps of AdaDelta and Adam, and what all share, written out.
  {
    Update update{Solver::adadelta, 2, 0, 0.9};
    update.delta = 1e-3;
    double w = 1, h1 = 0.2, k1 = 0.1, expected_w = 1, expected_h = 0.2, expected_k = 0.1;
    for (int i = 0; i < 2; ++i) {
      update.step(w, h1, k1, 3, control);
      expected_h = 0.9 * expected_h + 0.1 * 9;
      const double u = 3 * std::sqrt(expected_k + 1e-3) / std::sqrt(expected_h + 1e-3);
      expected_k = 0.9 * expected_k + 0.1 * u * u;
      expected_w -= 0.2 * u;  // twice the rate, no decay
    }
    EXPECT_NEAR(w, expected_w, 1e-12);
    EXPECT_NEAR(h1, expected_h, 1e-12);
    EXPECT_NEAR(k1, expected_k, 1e-12);
  }
  {
    const Update update{Solver::adam, 1, 1, 0.9, 0.99};
    const std::array<double, Update::kControls> with_l1{0.1, 0, 0.25, 1, 0, 3};
    double w = -2, h1 = 0.2, k1 = 0.1;
    update.step(w, h1, k1, 3, with_l1);
    const double decayed = 3 - 0.25;  // the sign of a negative parameter
    EXPECT_DOUBLE_EQ(h1, 0.9 * 0.2 + 0.1 * decayed);
    EXPECT_DOUBLE_EQ(k1, 0.99 * 0.1 + 0.01 * decayed * decayed);
    const double correction = std::sqrt(1 - 0.99 * 0.99 * 0.99) / (1 - 0.9 * 0.9 * 0.9);
    EXPECT_NEAR(w, -2 - 0.1 * correction * h1 / (std::sqrt(k1) + 1e-8), 1e-12);
  }
  // The first step of Adam goes by the rate, whatever the gradient's size.
  EXPECT_NEAR(step(Solver::adam, 0, 0)[0], 1 - 0.1, 1e-6);
}

}  // namespace
}  // namespace maru
