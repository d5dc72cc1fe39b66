// Operators that move elements and compute nothing: values, what they reject, Caffe's spelling.
#include <gtest/gtest.h>

#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/test_attributes.h"
#include "ops/test_operands.h"

namespace maru {
namespace {

using namespace testing_ops;

TEST(Concat, JoinsAlongAnAxis) {
  const Data a = data({2, 1, 2}), b = data({2, 2, 2}, {11, 12, 13, 14, 15, 16, 17, 18});
  expect_values(Concat{}, {a, b}, {1, 2, 11, 12, 13, 14, 3, 4, 15, 16, 17, 18});
  EXPECT_EQ(shape_of(Concat{-1}, {{2, 3}, {2, 4}, {2, 5}}), Shape({2, 12}));
}

TEST(Concat, RejectsAndSpells) {
  expect_rejected(Concat{}, {{1, 2, 3}, {1, 2, 4}}, "input 1 of 1x2x3");
  expect_rejected(Concat{}, {{1, 2, 3}, {1, 2}}, "3 axes");
  expect_rejected(Concat{4}, {{1, 2, 3}}, "axis");
  EXPECT_THROW(Op(Concat{}).infer({}), Error);
  const std::vector<TensorDesc> mixed{f32({1, 2}), {DType::f64, {1, 2}, Layout::plain()}};
  EXPECT_THROW(Op(Concat{}).infer(mixed), Error);
  EXPECT_EQ(parsed("Concat", {}), "concat");
  EXPECT_EQ(parsed("Concat", {{"concat_dim", {"0"}}}), "concat axis=0");
  EXPECT_THROW(parsed("Concat", {{"concat_dim", {"0"}}, {"axis", {"0"}}}), Error);
}

TEST(Slice, CutsAlongAnAxis) {
  const auto parts = run_as<float>(Slice{1, {1, 2}, 3}, {data({2, 4, 1, 1})});
  ASSERT_EQ(parts.size(), 3U);
  expect_near(parts[0], {1, 5});
  expect_near(parts[1], {2, 6});
  expect_near(parts[2], {3, 4, 7, 8});
  EXPECT_EQ((Slice{-1, {}, 2}).offsets({2, 6}), (std::vector<std::int64_t>{0, 3, 6}));
}

TEST(Slice, RejectsAndSpells) {
  const Shape shape{2, 6};
  expect_rejected(Slice{1, {}, 4}, {shape}, "divide 6");
  expect_rejected(Slice{1, {}, 0}, {shape}, "outputs");
  expect_rejected(Slice{1, {}, INT64_MAX}, {shape}, "outputs");
  expect_rejected(Slice{1, {3}, 3}, {shape}, "2 points for 3");
  expect_rejected(Slice{1, {3, 3}, 3}, {shape}, "rise");
  expect_rejected(Slice{1, {0}, 2}, {shape}, "rise");
  expect_rejected(Slice{1, {-3}, 2}, {shape}, "rise");
  expect_rejected(Slice{2}, {shape}, "axis");
  EXPECT_EQ(parsed("Slice", {{"slice_point", {"2", "5"}}, {"slice_dim", {"0"}}}, {1, 3}),
            "slice axis=0 points=[2,5] outputs=3");
  EXPECT_EQ(parsed("Slice", {}, {1, 2}), "slice outputs=2");
}

TEST(Reshape, ShapesAreCaffes) {
  // The examples of caffe.proto, then some of ours.
  EXPECT_EQ(shape_of(Reshape{{2, 4}}, {{2, 2, 2}}), Shape({2, 4}));
  EXPECT_EQ(shape_of(Reshape{{0, -1}}, {{2, 2, 2}}), Shape({2, 4}));
  EXPECT_EQ(shape_of(Reshape{{2, 2}, 1}, {{2, 4}}), Shape({2, 2, 2}));
  EXPECT_EQ(shape_of(Reshape{{4}, 1, 2}, {{3, 2, 2, 5}}), Shape({3, 4, 5}));
  EXPECT_EQ(shape_of(Reshape{{1}, 1, 0}, {{2, 8}}), Shape({2, 1, 8}));
  EXPECT_EQ(shape_of(Reshape{{1}, -1, 0}, {{2, 8}}), Shape({2, 8, 1}));
  EXPECT_EQ(shape_of(Reshape{{-1}, 0, -1}, {{}}), Shape({1}));
  EXPECT_EQ(shape_of(Reshape{}, {{1, 1}}), Shape({}));
  expect_values(Reshape{{3, 2}}, {data({2, 3})}, {1, 2, 3, 4, 5, 6});
}

TEST(Reshape, RejectsAndSpells) {
  const Shape shape{2, 3, 4};
  expect_rejected(Reshape{{5, -1}}, {shape}, "24 elements");
  expect_rejected(Reshape{{2, 3}}, {shape}, "24 elements");
  expect_rejected(Reshape{{-1, -1}}, {shape}, "one -1");
  expect_rejected(Reshape{{-2, -12}}, {shape});
  expect_rejected(Reshape{{INT64_MAX, INT64_MAX}}, {shape}, "2^48");
  expect_rejected(Reshape{{2, 3, 4, 0}}, {shape}, "a 0 only");
  expect_rejected(Reshape{{24}, 4}, {shape}, "axis");
  expect_rejected(Reshape{{24}, 1, 3}, {shape}, "axes from axis 1");
  expect_rejected(Reshape{{24}, 1, -2}, {shape}, "axes from axis 1");
  expect_rejected(Reshape{std::vector<std::int64_t>(9, 1), 0, 0}, {shape}, "8 axes");
  expect_rejected(Reshape{{0, -1}}, {{0, 3}}, "0 elements");
  EXPECT_EQ(parsed("Reshape", {{"shape.dim", {"0", "-1"}}, {"axis", {"1"}}}),
            "reshape dims=[0,-1] axis=1");
}

TEST(Flatten, MakesAxesOne) {
  EXPECT_EQ(shape_of(Flatten{}, {{2, 3, 4, 5}}), Shape({2, 60}));
  EXPECT_EQ(shape_of(Flatten{-3, 2}, {{2, 3, 4, 5}}), Shape({2, 12, 5}));
  EXPECT_EQ(shape_of(Flatten{0}, {{2, 3}}), Shape({6}));
  EXPECT_EQ(shape_of(Flatten{2, 1}, {{2, 3, 4}}), Shape({2, 3, 1, 4}));
  expect_rejected(Flatten{2, 0}, {{2, 3, 4}}, "end_axis");
  expect_rejected(Flatten{}, {{2}}, "axis");
  EXPECT_EQ(parsed("Flatten", {{"end_axis", {"2"}}}), "flatten end_axis=2");
}

TEST(Identity, RepeatsItsInput) {
  const auto both = run_as<float>(Identity{Identity::Reason::split, 2}, {data({2, 3})});
  ASSERT_EQ(both.size(), 2U);
  expect_near(both[0], {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(both[0], both[1]);
  expect_rejected(Identity{Identity::Reason::split, 0}, {{2}}, "outputs");
  expect_rejected(Identity{Identity::Reason::split, INT64_MAX}, {{2}}, "outputs");
  EXPECT_EQ(parsed("Split", {}, {1, 3}), "identity reason=split outputs=3");
  EXPECT_EQ(parsed("Dropout", {{"dropout_ratio", {"0.4"}}}), "identity ratio=0.4");
}

}  // namespace
}  // namespace maru
