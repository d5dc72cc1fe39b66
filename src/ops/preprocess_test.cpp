// Preprocessing: photos become what a network reads.
#include "ops/preprocess.h"

#include <gtest/gtest.h>

#include "ops/test_operands.h"

namespace maru {
namespace {

using namespace testing_ops;

Data pixels(Shape shape, std::vector<double> values) {
  values.resize(static_cast<std::size_t>(shape.count()), 255);
  return {{DType::u8, shape, Layout::plain()}, std::move(values)};
}
Data frames(std::vector<double> values) {
  return {{DType::i32, {static_cast<std::int64_t>(values.size()) / 4, 4}, Layout::plain()},
          std::move(values)};
}

TEST(Preprocess, NormalisesPhotosWhereverTheyLie) {
  // Two photos of the size wanted, so that nothing is resized; the second begins at byte 16.
  std::vector<double> rgb(32, 255);
  for (std::size_t i = 0; i < 6; ++i) rgb[i] = static_cast<double>(10 * i);        // 1 row of 2 pixels
  for (std::size_t i = 0; i < 6; ++i) rgb[16 + i] = static_cast<double>(100 + i);  // the same
  const std::vector<Data> src{pixels({2, 16}, rgb), frames({1, 2, 6, 0, 1, 2, 9, 1})};
  using Channels = Preprocessing::Channels;
  expect_values(Preprocess{1, 2, {Channels::bgr, Preprocessing::Resize::squash, {1, 2, 3}, 0.5F}}, src,
                {9.5, 24.5, 4, 19, -1.5, 13.5, 50.5, 52, 49.5, 51, 48.5, 50});
  expect_values(Preprocess{1, 2, {Channels::rgb, Preprocessing::Resize::crop, {10}}}, src,
                {-10, 20, 0, 30, 10, 40, 90, 93, 91, 94, 92, 95});
}

TEST(Preprocess, Rejects) {
  const auto run = [](std::vector<double> frame, Preprocess op = {1, 1}) {
    return run_as<float>(op, {pixels({1, 32}, {}), frames(std::move(frame))});
  };
  EXPECT_NO_THROW(run({2, 5, 16, 0}));
  EXPECT_NO_THROW(run({1, 5, 15, 1}));
  const std::vector<std::vector<double>> outside{{2, 5, 18, 0},  // ends at byte 33
                                                 {2, 5, 14, 0},  // rows shorter than their pixels
                                                 {1, 1, 3, 2},
                                                 {1, 1, 3, -1},
                                                 {0, 1, 3, 0},
                                                 {1, 0, 3, 0},
                                                 {2147483647, 700000000, 2147483647, 2147483647}};
  for (const auto& frame : outside) EXPECT_THROW(run(frame), Error) << print_field(frame);
  EXPECT_THROW(run({1, 1, 3, 0}, {0, 1}), Error);
  EXPECT_THROW(run({1, 1, 3, 0}, {1, 1 << 16}), Error);
  EXPECT_THROW(run({1, 1, 3, 0}, {1, 1, {{}, {}, {1, 2}}}), Error);
  expect_rejected(Preprocess{1, 1}, {{1, 32}, {1, 4}}, "u8");
}

TEST(Preprocess, GivesSinglesOrHalves) {
  const std::vector<TensorDesc> src{{DType::u8, {1, 4096}, Layout::plain()},
                                    {DType::i32, {1, 4}, Layout::plain()}};
  EXPECT_EQ((Preprocess{8, 8, {}, DType::f16}.infer(src)[0].dtype), DType::f16);
  EXPECT_THROW((Preprocess{8, 8, {}, DType::u8}.infer(src)), Error);
}

// In float and in double, the reference kernels agree on every case that the backends will be given.

}  // namespace
}  // namespace maru
