// Types of results where data is in half precision, and casts.
#include <gtest/gtest.h>

#include "ops/batch_norm.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/dropout.h"
#include "ops/eltwise.h"
#include "ops/inner_product_grad.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/test_operands.h"

namespace maru {
namespace {

using namespace testing_ops;

TEST(Halves, ResultsAreWhatDataIsAndParametersMayBeSingle) {
  const TensorDesc data = f16({1, 4, 5, 5}), parameter = f32({4});
  const Conv conv{4, Window{}, 1, true};
  const TensorDesc weight = f32({4, 4, 1, 1});
  const auto type_of = [](const Op& op, std::vector<TensorDesc> src) { return op.infer(src)[0].dtype; };
  EXPECT_EQ(type_of(conv, {data, weight, parameter}), DType::f16);
  EXPECT_EQ(type_of(conv, {f32(data.shape), weight, parameter}), DType::f32);
  EXPECT_EQ(type_of(Scale{1, 1, true}, {data, parameter, parameter}), DType::f16);
  EXPECT_EQ(type_of(BatchNorm{}, {data, parameter, parameter, f32({1})}), DType::f16);
  EXPECT_EQ(type_of(Concat{}, {data, data}), DType::f16);
  EXPECT_EQ(type_of(Softmax{}, {data}), DType::f16);
  EXPECT_EQ(type_of(Softmax{1, true}, {data}), DType::f32);
  EXPECT_THROW(type_of(conv, {f32(data.shape), f16(weight.shape), parameter}), Error);
  EXPECT_THROW(type_of(Concat{}, {data, f32(data.shape)}), Error);
  EXPECT_THROW(type_of(Eltwise{}, {f32(data.shape), data}), Error);
}

TEST(Halves, SumsWidenAndWhatMustNotBeRoundedStays) {
  const TensorDesc data = f16({2, 4, 5, 5}), rows = f16({2, 4});
  const auto type_of = [](const Op& op, std::vector<TensorDesc> src) { return op.infer(src)[0].dtype; };
  EXPECT_EQ(type_of(ConvGradWeight{}, {data, data}), DType::f16);
  EXPECT_EQ(type_of(ConvGradWeight{{}, 1, true}, {data, data}), DType::f32);
  EXPECT_EQ(type_of(InnerProductGradWeight{}, {rows, rows}), DType::f16);
  EXPECT_EQ(type_of(InnerProductGradWeight{1, false, true}, {rows, rows}), DType::f32);
  EXPECT_EQ(type_of(Reduce{}, {data}), DType::f16);
  EXPECT_EQ(type_of(Reduce{1, 1, true}, {data}), DType::f32);
  EXPECT_EQ((Op(Reduce{1, 1, true}).attributes()), "widen=yes");
  // Weights that are frozen.
  EXPECT_EQ(type_of(ConvGradData{{}, 1, {5, 5}}, {data, f32({4, 4, 1, 1})}), DType::f16);
  EXPECT_EQ(type_of(InnerProductGradData{false, {2, 4}}, {rows, f32({4, 4})}), DType::f16);
  EXPECT_THROW(type_of(ConvGradWeight{}, {data, f32(data.shape)}), Error);

  EXPECT_EQ(type_of(Dropout{}, {data, f32({1})}), DType::f16);
  const Op dropout = Dropout{}, loss = SoftmaxLoss{}, conv = Conv{4, {}};
  EXPECT_FALSE(dropout.keeps_f32(0));
  EXPECT_TRUE(dropout.keeps_f32(1));
  EXPECT_TRUE(loss.keeps_f32(0) && loss.keeps_f32(1));
  EXPECT_FALSE(conv.keeps_f32(1));
}

TEST(Cast, ChangesTheTypeAlone) {
  const auto cast = [](DType to, TensorDesc src) { return Op(Cast{to}).infer(std::vector{src})[0]; };
  EXPECT_EQ(cast(DType::f16, f32({2, 3})), f16({2, 3}));
  EXPECT_EQ(cast(DType::f32, f16({2, 3})), f32({2, 3}));
  EXPECT_THROW(cast(DType::u8, f32({1})), Error);
  EXPECT_THROW(cast(DType::f16, {DType::i32, {1}, Layout::plain()}), Error);

  float singles[] = {1 + 0x1p-11F, -65504, 1e6F};
  std::uint16_t halves[3];
  const TensorView single[] = {{f32({3}), singles}}, half[] = {{f16({3}), halves}};
  Cast{DType::f16}.reference(single, half);
  EXPECT_EQ(halves[0], 0x3C00U);
  EXPECT_EQ(halves[1], 0xFBFFU);
  EXPECT_EQ(halves[2], 0x7C00U);
  Cast{DType::f32}.reference(half, single);
  EXPECT_EQ(singles[0], 1.0F);
  EXPECT_EQ(singles[1], -65504.0F);
}

}  // namespace
}  // namespace maru
