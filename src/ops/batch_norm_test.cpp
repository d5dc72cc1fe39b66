// Batch normalisation by hand: in training, its moving averages, what they reject, and the rewrite that
// brings them into a network.
#include "ops/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/batch_norm_grad.h"
#include "ops/running_statistics.h"

namespace maru {
namespace {

using Numbers = std::vector<double>;
struct Operand {
  Shape shape;
  Numbers values;
};

std::vector<Numbers> computed(const Op& op, std::vector<Operand> operands) {
  std::vector<TensorDesc> descs;
  std::vector<TensorView> src, dst;
  for (Operand& operand : operands) {
    descs.push_back({DType::f64, operand.shape, Layout::plain()});
    src.push_back({descs.back(), operand.values.data()});
  }
  std::vector<Numbers> results;
  const std::vector<TensorDesc> inferred = op.infer(descs);
  for (const TensorDesc& desc : inferred) results.emplace_back(static_cast<std::size_t>(desc.count()));
  for (std::size_t i = 0; i < inferred.size(); ++i) dst.push_back({inferred[i], results[i].data()});
  op.reference(src, dst);
  return results;
}

std::string rejected(const Op& op, std::vector<Shape> shapes) {
  std::vector<TensorDesc> descs;
  for (const Shape& shape : shapes) descs.push_back(f32(shape));
  try {
    op.infer(descs);
  } catch (const Error& error) {
    return error.expected();
  }
  return "";
}

TEST(BatchNormTraining, ByHand) {
  const Operand data{{2, 2, 1, 2}, {1, 3, 10, 10, 5, 7, 30, 30}};
  const auto plain = computed(BatchNormTraining{0}, {data});
  EXPECT_EQ(plain[1], (Numbers{4, 20}));
  EXPECT_EQ(plain[2], (Numbers{5, 100}));  // over m, not m - 1
  EXPECT_DOUBLE_EQ(plain[0][0], -3 / std::sqrt(5));
  EXPECT_DOUBLE_EQ(plain[0][3], -1);
  const auto fused =
      computed(BatchNormTraining{0, true, Unary{}}, {data, {{2}, {2, 3}}, {{2}, {1, -1}}});
  EXPECT_EQ(fused[0][0], 0);  // a ReLU
  EXPECT_DOUBLE_EQ(fused[0][5], 1 + 2 * 3 / std::sqrt(5));
  EXPECT_EQ(fused[0][6], 2);
}

TEST(BatchNormTraining, Rejects) {
  EXPECT_EQ(rejected(BatchNormTraining{-1}, {{2, 3}}), "an epsilon of 0 or more");
  EXPECT_EQ(rejected(BatchNormTraining{NAN}, {{2, 3}}), "an epsilon of 0 or more");
  EXPECT_EQ(rejected(BatchNormTraining{}, {{}}), "1 axis or more");
  EXPECT_EQ(rejected(BatchNormTraining{}, {{0, 3}}), "elements to take the mean of");
  EXPECT_EQ(rejected(BatchNormTraining{1e-5, true}, {{2, 3}}), "3 inputs");
  EXPECT_EQ(rejected(BatchNormTraining{1e-5, true}, {{2, 3}, {2}, {3}}), "scale of 3");
  EXPECT_EQ(rejected(BatchNormTraining{1e-5, true}, {{2, 3}, {3}, {1}}), "bias of 3");
  const Unary falling{Unary::Kind::relu, -1}, sigmoid{Unary::Kind::sigmoid};
  for (const Unary& unary : {falling, sigmoid})
    EXPECT_EQ(rejected(BatchNormTraining{1e-5, false, unary}, {{2, 3}}),
              "a ReLU of a slope of 0 or more");
  EXPECT_EQ(rejected(BatchNormGrad{}, {{2, 3}, {2, 4}, {3}, {3}}), "data of 2x3");
  EXPECT_EQ(rejected(BatchNormGrad{}, {{2, 3}, {2, 3}, {3}, {2}}), "variance of 3");
  EXPECT_EQ(rejected(BatchNormGrad{}, {{2, 3}, {2, 3}, {3}, {3}, {3}, {3}}), "4 inputs");
}

TEST(BatchNormTraining, StatisticsOfHalvesAreSingle) {
  const std::vector<TensorDesc> src{f16({2, 3, 4, 4}), f32({3}), f32({3})};
  const auto dst = BatchNormTraining{1e-5, true}.infer(src);
  EXPECT_EQ(dst[0], f16({2, 3, 4, 4}));
  EXPECT_EQ(dst[1], f32({3}));
  EXPECT_EQ(dst[2], f32({3}));
  const auto gradients =
      BatchNormGrad{{1e-5, true}}.infer(std::vector{src[0], src[0], src[1], src[1], src[1], src[1]});
  EXPECT_EQ(gradients[0], f16({2, 3, 4, 4}));
  EXPECT_EQ(gradients[1], f32({3}));
}

// Caffe: the sums decay, then gain; the variance is that of a sample.
TEST(RunningStatistics, ByHand) {
  const auto sums =
      computed(RunningStatistics{0.5, 4},
               {{{2}, {2, 4}}, {{2}, {8, 6}}, {{1}, {1.5}}, {{2}, {10, 20}}, {{2}, {3, 6}}});
  EXPECT_EQ(sums[0], (Numbers{11, 22}));
  EXPECT_EQ(sums[1], (Numbers{8, 11}));
  EXPECT_EQ(sums[2], (Numbers{1.75}));
  const auto of_one =
      computed(RunningStatistics{0, 1}, {{{1}, {2}}, {{1}, {3}}, {{1}, {4}}, {{1}, {5}}, {{1}, {0}}});
  EXPECT_EQ(of_one[1], (Numbers{0}));
}

TEST(RunningStatistics, Rejects) {
  const std::vector<Shape> fine{{3}, {3}, {1}, {3}, {3}};
  EXPECT_EQ(rejected(RunningStatistics{}, fine), "");
  EXPECT_EQ(rejected(RunningStatistics{NAN}, fine), "a fraction that is a number");
  EXPECT_EQ(rejected(RunningStatistics{0.9, 0}, fine), "1 element a channel, or more");
  EXPECT_EQ(rejected(RunningStatistics{}, {{3}, {3}, {3}, {3}, {3}}), "factor of 1");
  EXPECT_EQ(rejected(RunningStatistics{}, {{3}, {2}, {1}, {3}, {3}}), "sum of variances of 3");
}

// Without anything recorded, as when training begins.
TEST(BatchNorm, OfTheBatchWhereTheDefinitionSaysSo) {
  const auto found = computed(BatchNorm{0, BatchNorm::Statistics::batch},
                              {{{2, 1}, {1, 5}}, {{1}, {9}}, {{1}, {9}}, {{1}, {9}}});
  EXPECT_EQ(found[0], (Numbers{-1, 1}));
}

}  // namespace
}  // namespace maru
