#include "import/caffe_filler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "import/caffe_test_files.h"

namespace maru {
namespace {

using testing_files::error_of;
using Kind = CaffeFiller::Kind;
using Norm = CaffeFiller::Norm;

CaffeFiller of(Kind kind) {
  CaffeFiller filler;
  filler.kind = kind;
  return filler;
}

// What EveryMachineDrawsTheSame expects.
constexpr std::uint64_t kXavierBits = 3451144334204386735, kMsraBits = 16722015753466681051U;

struct Moments {
  double mean = 0, variance = 0, least = INFINITY, most = -INFINITY;
};

Moments moments(const std::vector<float>& values) {
  Moments found;
  for (const float value : values) {
    const auto x = static_cast<double>(value);
    found.mean += x / static_cast<double>(values.size());
    found.least = std::min(found.least, x);
    found.most = std::max(found.most, x);
  }
  for (const float value : values) {
    const double off = static_cast<double>(value) - found.mean;
    found.variance += off * off / static_cast<double>(values.size());
  }
  return found;
}

constexpr std::int64_t kOutputs = 100, kInputs = 50, kKernel = 5;
const Shape kShape{kOutputs, kInputs, kKernel, kKernel};
// Of 125,000 draws the mean is off by 1 / 354 standard deviations, the variance by 1 / 250 of itself,
// more or less: five times that never happens, with these seeds.
constexpr double kMeanOff = 5.0 / 354, kVarianceOff = 5.0 / 250;

TEST(CaffeFiller, Constant) {
  CaffeFiller filler;
  EXPECT_EQ(fill(filler, {3}, 1, "w"), (std::vector<float>{0, 0, 0}));
  filler.value = 0.2;
  EXPECT_EQ(fill(filler, {2}, 1, "w"), (std::vector<float>{0.2F, 0.2F}));
  EXPECT_EQ(fill(filler, {0}, 1, "w"), std::vector<float>{});
  EXPECT_EQ(fill(filler, {}, 1, "w"), std::vector<float>{0.2F});
}

TEST(CaffeFiller, Uniform) {
  CaffeFiller filler = of(Kind::uniform);
  filler.min = -3;
  filler.max = 5;
  const Moments found = moments(fill(filler, kShape, 1, "w"));
  EXPECT_GE(found.least, -3);
  EXPECT_LT(found.most, 5);
  EXPECT_LT(found.least, -2.99);
  EXPECT_GT(found.most, 4.99);
  const double variance = 8.0 * 8 / 12;
  EXPECT_NEAR(found.mean, 1, std::sqrt(variance) * kMeanOff);
  EXPECT_NEAR(found.variance, variance, variance * kVarianceOff);
  filler.min = 5;
  EXPECT_EQ(fill(filler, {2}, 1, "w"), (std::vector<float>{5, 5}));
}

TEST(CaffeFiller, Gaussian) {
  CaffeFiller filler = of(Kind::gaussian);
  filler.mean = 2;
  filler.std = 0.5;
  const auto values = fill(filler, kShape, 1, "w");
  const Moments found = moments(values);
  EXPECT_NEAR(found.mean, 2, 0.5 * kMeanOff);
  EXPECT_NEAR(found.variance, 0.25, 0.25 * kVarianceOff);
  // The share within one, two and three standard deviations.
  for (const auto& [deviations, share] : {std::pair{1, 0.6827}, {2, 0.9545}, {3, 0.9973}}) {
    const auto within = std::ranges::count_if(values, [&, d = deviations](float value) {
      return std::fabs(static_cast<double>(value) - 2) < 0.5 * d;
    });
    EXPECT_NEAR(static_cast<double>(within) / static_cast<double>(values.size()), share, 0.007);
  }
  // Neighbours, which one draw makes, do not go together.
  double together = 0;
  for (std::size_t i = 0; i + 1 < values.size(); i += 2)
    together += (static_cast<double>(values[i]) - 2) * (static_cast<double>(values[i + 1]) - 2);
  EXPECT_NEAR(together / static_cast<double>(values.size() / 2), 0, 0.25 * 5 / 250);

  // A mean of ten of the inputs of each of 100 outputs, as Caffe counts them.
  filler.mean = 0;
  filler.sparse = 10;
  const auto sparse = fill(filler, kShape, 1, "w");
  const auto kept = std::ranges::count_if(sparse, [](float value) { return value != 0; });
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(sparse.size()), 0.1, 0.005);
  filler.sparse = 0;
  EXPECT_EQ(fill(filler, {3}, 1, "w"), (std::vector<float>{0, 0, 0}));
}

TEST(CaffeFiller, XavierAndMsraByTheirNorms) {
  const double fan_in = kInputs * kKernel * kKernel, fan_out = kOutputs * kKernel * kKernel;
  const std::pair<Norm, double> norms[] = {
      {Norm::fan_in, fan_in}, {Norm::fan_out, fan_out}, {Norm::average, (fan_in + fan_out) / 2}};
  for (const auto& [norm, n] : norms) {
    CaffeFiller filler = of(Kind::xavier);
    filler.norm = norm;
    const Moments xavier = moments(fill(filler, kShape, 1, "w"));
    EXPECT_NEAR(xavier.variance, 1 / n, 1 / n * kVarianceOff);
    EXPECT_LT(xavier.most, std::sqrt(3 / n) * (1 + 1e-6));
    EXPECT_GT(xavier.most, std::sqrt(3 / n) * 0.999);
    filler.kind = Kind::msra;
    const Moments msra = moments(fill(filler, kShape, 1, "w"));
    EXPECT_NEAR(msra.variance, 2 / n, 2 / n * kVarianceOff);
    EXPECT_NEAR(msra.mean, 0, std::sqrt(2 / n) * kMeanOff);
  }
}

TEST(CaffeFiller, PositiveUnitball) {
  const auto values = fill(of(Kind::positive_unitball), {3, 4}, 1, "w");
  for (std::size_t o = 0; o < 3; ++o) {
    double sum = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_GE(values[4 * o + i], 0);
      sum += static_cast<double>(values[4 * o + i]);
    }
    EXPECT_NEAR(sum, 1, 1e-6);
  }
}

TEST(CaffeFiller, Bilinear) {
  // By hand: f = 2, c = (2 * 2 - 1 - 0) / 4 = 0.75; 1 - |x / 2 - 0.75| is 0.25 0.75 0.75 0.25.
  const auto values = fill(of(Kind::bilinear), {1, 2, 4, 4}, 1, "w");
  const float share[] = {0.25F, 0.75F, 0.75F, 0.25F};
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], share[i % 4] * share[i / 4 % 4]) << i;
  EXPECT_EQ(error_of([] {
              fill(of(Kind::bilinear), {1, 2, 4, 3}, 1, "up/weight");
            }),
            "[up/weight] expected 4 axes and square kernels for the bilinear filler, got 1x2x4x3; try "
            "another filler");
}

// Written down once: another compiler, library or machine gives these bits.
TEST(CaffeFiller, EveryMachineDrawsTheSame) {
  const auto hash = [](const std::vector<float>& values) {
    std::uint64_t sum = 0xcbf29ce484222325;
    for (const float value : values) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      sum = (sum ^ bits) * 0x100000001b3;
    }
    return sum;
  };
  EXPECT_EQ(hash(fill(of(Kind::xavier), kShape, 1, "conv1/weight")), kXavierBits);
  EXPECT_EQ(hash(fill(of(Kind::msra), kShape, 1, "conv1/weight")), kMsraBits);
  const auto one = fill(of(Kind::gaussian), {4}, 1, "conv1/weight");
  EXPECT_EQ(fill(of(Kind::gaussian), {4}, 1, "conv1/weight"), one);
  EXPECT_NE(fill(of(Kind::gaussian), {4}, 2, "conv1/weight"), one);
  EXPECT_NE(fill(of(Kind::gaussian), {4}, std::uint64_t{1} << 32 | 1, "conv1/weight"), one);
  EXPECT_NE(fill(of(Kind::gaussian), {4}, 1, "conv2/weight"), one);
  // A longer one begins as a shorter one.
  const auto longer = fill(of(Kind::gaussian), {9}, 1, "conv1/weight");
  EXPECT_EQ(std::vector<float>(longer.begin(), longer.begin() + 4), one);
}

CaffeFiller read(std::string_view block, std::string_view type = "Convolution",
                 std::string_view role = "weight") {
  const Message message = parse_prototxt(block, "net");
  return read_caffe_filler(&message, type, role, "net", "x");
}

TEST(CaffeFiller, ReadFromTheLayer) {
  const CaffeFiller filler = read(
      "weight_filler { type: 'gaussian' mean: 1 std: 0.5 sparse: 3 variance_norm: AVERAGE } "
      "bias_filler { value: 0.25 }");
  EXPECT_EQ(filler.kind, Kind::gaussian);
  EXPECT_EQ(filler.mean, 1);
  EXPECT_EQ(filler.std, 0.5);
  EXPECT_EQ(filler.sparse, 3);
  EXPECT_EQ(filler.norm, Norm::average);
  EXPECT_EQ(read("bias_filler { value: 0.25 }", "Convolution", "bias").value, 0.25);
  EXPECT_EQ(read("bias_filler { value: 0.25 }").value, 0);
  EXPECT_EQ(read("weight_filler { type: 'msra' variance_norm: 1 }").norm, Norm::fan_out);
  EXPECT_EQ(read_caffe_filler(nullptr, "Scale", "scale", "net", "x").value, 1);
  EXPECT_EQ(read("filler { type: 'uniform' min: -1 }", "Scale", "scale").min, -1);
  EXPECT_EQ(read_caffe_filler(nullptr, "PReLU", "slope", "net", "x").value, 0.25);

  const auto bad = [](std::string_view inner) {
    return error_of([&] { read(fmt::format("weight_filler {{ {} }}", inner)); });
  };
  EXPECT_EQ(bad("type: 'xavir'"),
            "[net:1 layer 'x'] expected a type that Caffe has for weight_filler, got \"xavir\"; try "
            "xavier");
  EXPECT_EQ(bad("type: 'uniform' min: 2"),
            "[net:1 layer 'x'] expected a min of at most max, got 2 and 1");
  EXPECT_EQ(bad("type: 'gaussian' std: 0"),
            "[net:1 layer 'x'] expected a std above 0, got 0; try type: \"constant\" for equal values");
  EXPECT_EQ(bad("type: 'xavier' sparse: 3"),
            "[net:1 layer 'x'] expected sparse of 0 or more, for the gaussian filler alone, got 3");
  EXPECT_EQ(bad("type: 'xavier' stdd: 3"),
            "[net:1 layer 'x'] expected a field of weight_filler, got stdd; try std");
  EXPECT_EQ(error_of([] { read("weight_filler: 'xavier'"); }),
            "[net:1 layer 'x'] expected a block weight_filler { }, got \"xavier\"; try weight_filler { "
            "type: \"xavier\" }");
  EXPECT_EQ(error_of([] { read("weight_filler { } weight_filler { }"); }),
            "[net:1 layer 'x'] expected one weight_filler, got 2");
}

}  // namespace
}  // namespace maru
