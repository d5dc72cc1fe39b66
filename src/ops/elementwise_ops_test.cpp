// Operators of elements, channels and rows: values, what they reject, Caffe's spelling.
#include <gtest/gtest.h>

#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/eltwise.h"
#include "ops/inner_product.h"
#include "ops/prelu.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/test_attributes.h"
#include "ops/test_operands.h"

namespace maru {
namespace {

using namespace testing_ops;

TEST(InnerProduct, MultipliesRows) {
  const Data x = data({2, 3, 1, 1}), bias = data({2}, {10, 20});
  const std::vector<double> want{10 + 14, 20 + 32, 10 + 32, 20 + 77};
  expect_values(InnerProduct{2}, {x, data({2, 3}), bias}, want);
  expect_values(InnerProduct{2, 1, true, true}, {x, data({3, 2}, {1, 4, 2, 5, 3, 6}), bias}, want);
  expect_values(InnerProduct{2, 1, false, false, Unary{}}, {x, data({2, 3}, {1, 1, 1, -1, -1, -1})},
                {6, 0, 15, 0});
  EXPECT_EQ(shape_of(InnerProduct{7, 2, false}, {{2, 3, 4, 5}, {7, 20}}), Shape({2, 3, 7}));
}

TEST(InnerProduct, RejectsAndSpells) {
  expect_rejected(InnerProduct{0, 1, false}, {{1, 3}, {0, 3}}, "1 or more");
  expect_rejected(InnerProduct{INT64_MAX, 1, false}, {{1, 3}, {2, 3}}, "2^48");
  expect_rejected(InnerProduct{2, 1, false}, {{1, 3}, {3, 2}}, "weight of 2x3");
  expect_rejected(InnerProduct{2}, {{1, 3}, {2, 3}, {3}}, "bias of 2");
  expect_rejected(InnerProduct{2}, {{1, 3}, {2, 3}}, "3 inputs");
  expect_rejected(InnerProduct{2, 2, false}, {{1, 3}, {2, 1}}, "axis");
  EXPECT_EQ(parsed("InnerProduct",
                   {{"num_output", {"10"}}, {"bias_term", {"false"}}, {"transpose", {"true"}}}),
            "inner_product outputs=10 bias=no transpose=yes");
}

TEST(Softmax, SumsToOne) {
  expect_values(Softmax{}, {data({1, 2, 1, 2}, {0, 1000, std::log(3), 1000})}, {0.25, 0.5, 0.75, 0.5});
  expect_values(Softmax{0}, {data({2}, {-1e30, -1e30})}, {0.5, 0.5});
  expect_rejected(Softmax{}, {{3}}, "axis");
  EXPECT_EQ(parsed("Softmax", {{"axis", {"-1"}}}), "softmax axis=-1");
}

TEST(BatchNorm, UsesRecordedStatistics) {
  const Data x = data({1, 2, 2}), mean = data({2}, {2, 4}), variance = data({2}, {8, 32});
  // Divided by the factor 2: means 1 and 2, variances 4 and 16.
  expect_values(BatchNorm{0}, {x, mean, variance, data({1}, {2})}, {0, 0.5, 0.25, 0.5});
  // Without any batch seen, the statistics are 0: only epsilon is left.
  expect_values(BatchNorm{0.25}, {x, mean, variance, data({1}, {0})}, {2, 4, 6, 8});
  expect_values(BatchNorm{0}, {data({2}), data({1}), data({1}, {4}), data({1})}, {0, 0.5});
}

TEST(BatchNorm, RejectsAndSpells) {
  expect_rejected(BatchNorm{}, {{1, 3}, {3}, {3}}, "4 inputs");
  expect_rejected(BatchNorm{}, {{1, 3}, {3}, {2}, {1}}, "variance of 3");
  expect_rejected(BatchNorm{}, {{1, 3}, {3}, {3}, {3}}, "factor of 1");
  expect_rejected(BatchNorm{-1}, {{1, 3}, {3}, {3}, {1}}, "epsilon");
  expect_rejected(BatchNorm{NAN}, {{1, 3}, {3}, {3}, {1}}, "epsilon");
  expect_rejected(BatchNorm{}, {{}, {1}, {1}, {1}}, "1 axis");
  EXPECT_EQ(parsed("BatchNorm", {{"eps", {"0.001"}}}), "batch_norm epsilon=0.001");
  EXPECT_EQ(parsed("BatchNorm", {{"use_global_stats", {"true"}}}), "batch_norm statistics=recorded");
  EXPECT_EQ(
      parsed("BatchNorm", {{"use_global_stats", {"false"}}, {"moving_average_fraction", {"0.95"}}}),
      "batch_norm statistics=batch fraction=0.95");
}

TEST(Scale, CoversAxes) {
  const Data x = data({2, 2, 2});
  expect_values(Scale{}, {x, data({2}, {1, 10})}, {1, 2, 30, 40, 5, 6, 70, 80});
  expect_values(Scale{1, 1, true}, {x, data({2}, {1, 10}), data({2}, {0.5, 0.25})},
                {1.5, 2.5, 30.25, 40.25, 5.5, 6.5, 70.25, 80.25});
  expect_values(Scale{0}, {x, data({2, 2}, {1, 2, 3, 4})}, {1, 2, 6, 8, 15, 18, 28, 32});
  expect_values(Scale{-1}, {x, data({2}, {1, -1})}, {1, -2, 3, -4, 5, -6, 7, -8});
  expect_values(Scale{0, 0, true}, {x, data({}, {2}), data({}, {1})}, {3, 5, 7, 9, 11, 13, 15, 17});
}

TEST(Scale, ParametersAndRejections) {
  const auto params = [](const Scale& scale, const std::vector<Shape>& src) {
    return Op(scale).params(reals(src));
  };
  const Shape shape{2, 3, 4, 5};
  EXPECT_EQ(params({1, 1, true}, {shape}), (std::vector<Param>{{"scale", {3}}, {"bias", {3}}}));
  EXPECT_EQ(params({-3, 2}, {shape}), (std::vector<Param>{{"scale", {3, 4}}}));
  EXPECT_EQ(params({1, -1}, {shape}), (std::vector<Param>{{"scale", {3, 4, 5}}}));
  EXPECT_EQ(params({1, 0}, {shape}), (std::vector<Param>{{"scale", {}}}));
  EXPECT_EQ(params({0, 1, true}, {shape, {2, 3}}), (std::vector<Param>{{"bias", {2, 3}}}));
  EXPECT_EQ(params({0}, {shape, {2, 3}}), std::vector<Param>{});
  EXPECT_THROW(params({3, 2}, {shape}), Error);
  EXPECT_THROW(params({1, -2}, {shape}), Error);
  EXPECT_THROW(params({1, INT64_MAX}, {shape}), Error);
  expect_rejected(Scale{}, {shape, {2}}, "from axis 1 on");
  expect_rejected(Scale{3}, {shape, {5, 1}}, "from axis 3 on");
  expect_rejected(Scale{}, {shape}, "2 inputs");
  expect_rejected(Scale{1, 1, true}, {shape, {3}, {4}}, "bias of 3");
  EXPECT_EQ(parsed("Scale", {{"bias_term", {"true"}}, {"num_axes", {"-1"}}}),
            "scale num_axes=-1 bias=yes");
}

TEST(Bias, AddsAndRejects) {
  expect_values(Bias{}, {data({2, 2, 1}), data({2}, {10, 20})}, {11, 22, 13, 24});
  expect_values(Bias{0}, {data({2, 2}), data({2, 2})}, {2, 4, 6, 8});
  EXPECT_EQ(Op(Bias{1, 2}).params(reals({{2, 3, 4}})), (std::vector<Param>{{"bias", {3, 4}}}));
  expect_rejected(Bias{}, {{2, 3}, {2}}, "from axis 1 on");
  expect_rejected(Bias{2}, {{2, 3}, {3}}, "axis");
  EXPECT_EQ(parsed("Bias", {{"axis", {"0"}}}), "bias axis=0");
}

TEST(Eltwise, CombinesElements) {
  using Kind = Eltwise::Kind;
  const Data a = data({3}, {1, -2, 3}), b = data({3}, {4, 5, -6}), c = data({3}, {0, 1, 2});
  expect_values(Eltwise{}, {a, b, c}, {5, 4, -1});
  expect_values(Eltwise{Kind::sum, {1, -2}}, {a, b}, {-7, -12, 15});
  expect_values(Eltwise{Kind::product}, {a, b, c}, {0, -10, -36});
  expect_values(Eltwise{Kind::maximum}, {a, b, c}, {4, 5, 3});
  expect_values(Eltwise{Kind::sum, {}, Unary{}}, {a, b, c}, {5, 4, 0});
}

TEST(Eltwise, RejectsAndSpells) {
  using Kind = Eltwise::Kind;
  expect_rejected(Eltwise{}, {{3}}, "2 inputs or more");
  expect_rejected(Eltwise{}, {{3}, {4}}, "input 1 of 3");
  expect_rejected(Eltwise{Kind::sum, {1}}, {{3}, {3}}, "one an input");
  expect_rejected(Eltwise{Kind::product, {1, 1}}, {{3}, {3}}, "for a sum only");
  EXPECT_EQ(parsed("Eltwise", {{"coeff", {"1", "-1"}}}), "eltwise coefficients=[1,-1]");
  EXPECT_EQ(parsed("Eltwise", {{"operation", {"MAX"}}, {"coeff", {"2", "2"}}}), "eltwise kind=maximum");
  EXPECT_EQ(parsed("Eltwise", {{"operation", {"PROD"}}}), "eltwise kind=product");
}

TEST(PRelu, LeaksByChannel) {
  const Data x = data({1, 2, 2}, {-1, 2, -3, 4});
  expect_values(PRelu{}, {x, data({2}, {0.5, 0.25})}, {-0.5, 2, -0.75, 4});
  expect_values(PRelu{true}, {x, data({1}, {2})}, {-2, 2, -6, 4});
  expect_rejected(PRelu{}, {{1, 2}, {1}}, "slope of 2");
  expect_rejected(PRelu{true}, {{1, 2}, {2}}, "slope of 1");
  expect_rejected(PRelu{}, {{2}, {2}}, "2 axes");
  EXPECT_EQ(parsed("PReLU", {{"channel_shared", {"true"}}}), "prelu shared=yes");
}

}  // namespace
}  // namespace maru
