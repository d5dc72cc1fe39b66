#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/dropout.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/inner_product_grad.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/prelu.h"
#include "ops/preprocess.h"
#include "ops/reduce.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/slice.h"
#include "ops/softmax.h"

namespace maru {
namespace {

// A tensor that owns its elements.
struct Data {
  TensorDesc desc;
  std::vector<double> values;
};

template <class T>
constexpr DType kReal = sizeof(T) == 4 ? DType::f32 : DType::f64;

template <class To>
std::vector<std::byte> bytes_of(const std::vector<double>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(To));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<To>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(To), &value, sizeof(To));
  }
  return bytes;
}

// The results of the reference kernel, computed with elements of T; operands of integers stay such.
template <class T>
std::vector<std::vector<double>> run_as(const Op& op, std::vector<Data> operands,
                                        void (*fill)(Views) = nullptr) {
  std::vector<std::vector<std::byte>> memory;
  std::vector<TensorDesc> descs;
  for (Data& operand : operands) {
    const bool is_real = operand.desc.dtype == DType::f32 || operand.desc.dtype == DType::f16;
    const DType dtype = is_real ? kReal<T> : operand.desc.dtype;
    descs.push_back({dtype, operand.desc.shape, Layout::plain()});
    memory.push_back(dtype == DType::u8    ? bytes_of<std::uint8_t>(operand.values)
                     : dtype == DType::i32 ? bytes_of<std::int32_t>(operand.values)
                                           : bytes_of<T>(operand.values));
    EXPECT_EQ(memory.back().size(), descs.back().bytes());
  }
  std::vector<TensorDesc> results = op.infer(descs);
  const Cost cost = op.cost(descs, results);
  EXPECT_GE(cost.flops, 0);
  EXPECT_GT(cost.bytes, 0);
  for (TensorDesc& desc : results) desc.dtype = kReal<T>;

  std::vector<TensorView> src, dst;
  std::vector<std::vector<T>> computed;
  for (const TensorDesc& desc : results)
    computed.emplace_back(static_cast<std::size_t>(desc.count()), T(NAN));
  for (std::size_t i = 0; i < descs.size(); ++i) src.push_back({descs[i], memory[i].data()});
  for (std::size_t i = 0; i < results.size(); ++i) dst.push_back({results[i], computed[i].data()});
  if (fill != nullptr) fill(src);
  op.reference(src, dst);
  std::vector<std::vector<double>> values;
  for (const auto& one : computed) values.emplace_back(one.begin(), one.end());
  return values;
}

// An operand with these elements, or, without any, 1, 2, 3, ...
Data data(Shape shape, std::vector<double> values = {}) {
  for (std::int64_t i = 0; values.empty() || static_cast<std::int64_t>(values.size()) < shape.count();
       ++i) {
    values.push_back(static_cast<double>(i + 1));
  }
  return {f32(shape), std::move(values)};
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                 double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], tolerance * std::max(1.0, std::fabs(want[i]))) << "element " << i;
  }
}

void expect_values(const Op& op, std::vector<Data> src, const std::vector<double>& want) {
  const auto got = run_as<double>(op, std::move(src));
  ASSERT_EQ(got.size(), 1U);
  expect_near(got[0], want);
}

std::vector<TensorDesc> reals(const std::vector<Shape>& shapes) {
  std::vector<TensorDesc> src;
  for (const Shape& shape : shapes) src.push_back(f32(shape));
  return src;
}

Shape shape_of(const Op& op, const std::vector<Shape>& src) { return op.infer(reals(src)).at(0).shape; }

void expect_rejected(const Op& op, const std::vector<Shape>& src, std::string_view text = {}) {
  try {
    const auto results = op.infer(reals(src));
    ADD_FAILURE() << op.key() << " took " << src.at(0).str() << " and gave " << results.at(0).str();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

// Attributes as a prototxt file writes them.
class FakeReader final : public AttrReader {
 public:
  FakeReader(std::initializer_list<std::pair<const std::string, std::vector<std::string>>> fields)
      : fields_(fields) {}

  bool has(std::string_view field) const override { return fields_.contains(std::string(field)); }
  std::int64_t integer(std::string_view field, std::int64_t fallback) const override {
    return has(field) ? integers(field).at(0) : fallback;
  }
  double number(std::string_view field, double fallback) const override {
    return has(field) ? numbers(field).at(0) : fallback;
  }
  bool boolean(std::string_view field, bool fallback) const override {
    return has(field) ? text(field, "") == "true" : fallback;
  }
  std::string text(std::string_view field, std::string_view fallback) const override {
    return has(field) ? fields_.at(std::string(field)).at(0) : std::string(fallback);
  }
  std::vector<std::int64_t> integers(std::string_view field) const override {
    std::vector<std::int64_t> values;
    for (const double value : numbers(field)) values.push_back(static_cast<std::int64_t>(value));
    return values;
  }
  std::vector<double> numbers(std::string_view field) const override {
    std::vector<double> values;
    if (!has(field)) return values;
    for (const std::string& value : fields_.at(std::string(field)))
      values.push_back(std::atof(value.c_str()));
    return values;
  }

 private:
  std::map<std::string, std::vector<std::string>> fields_;
};

// The key of what a Caffe layer becomes.
std::string parsed(std::string_view type, const FakeReader& reader, Arity arity = {}) {
  const Spelling* spelling = find_spelling("caffe", type);
  EXPECT_NE(spelling, nullptr) << type;
  return spelling->parse(reader, arity).key();
}

Window square(std::int64_t kernel, std::int64_t stride, std::int64_t pad = 0) {
  return {{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
}

constexpr auto kMax = Pool::Kind::max;
constexpr auto kAverage = Pool::Kind::average;

TEST(Pool, ExtentsAreCaffes) {
  struct Row {
    std::int64_t in;
    Window window;
    bool ceil;
    std::int64_t out;
  };
  const Row rows[] = {
      {224, square(2, 2), true, 112},
      {112, square(3, 2), true, 56},  // GoogLeNet pool1: 55.5 + 1
      {224, square(3, 2), true, 112},
      {224, square(3, 2), false, 111},
      {55, square(3, 2), true, 27},      // AlexNet
      {112, square(3, 2, 1), true, 57},  // ResNet in Caffe: begins at 111, still in the input
      {112, square(3, 2, 1), false, 56},
      {5, square(2, 2, 1), true, 3},  // ceil gives 4, whose last begins at 6 = in + pad: clipped
      {4, square(2, 3, 1), true, 2},
      {2, square(3, 2), true, 1},  // kernel larger than the input by less than a stride
      {1, square(1, 1), true, 1},
  };
  for (const Row& row : rows) {
    const Shape got = shape_of(Pool{kMax, row.window, false, row.ceil}, {{1, 3, row.in, row.in}});
    EXPECT_EQ(got, Shape({1, 3, row.out, row.out})) << row.in << " " << print_fields(row.window);
  }
  // Padding on one axis clips on both, as in Caffe.
  EXPECT_EQ(shape_of(Pool{kMax, {{1, 2}, {3, 2}, {0, 1}, {1, 1}}}, {{1, 1, 5, 5}}),
            Shape({1, 1, 2, 3}));
}

TEST(Pool, GlobalTakesTheWholeImage) {
  const Pool pool{kAverage, {}, true};
  EXPECT_EQ(shape_of(pool, {{2, 1024, 7, 7}}), Shape({2, 1024, 1, 1}));
  EXPECT_EQ(pool.window_for(f32({2, 3, 7, 5})), (Window{{7, 5}, {1, 1}, {0, 0}, {1, 1}}));
  expect_values(pool, {data({1, 2, 2, 3})}, {3.5, 9.5});
}

TEST(Pool, OverhangingWindows) {
  // 1 2 3 4 / 5 .. 8 / 9 .. 12 / 13 .. 16, windows of 3 with stride 2: the second hangs over by one.
  const Pool pool{kAverage, square(3, 2)};
  expect_values(pool, {data({1, 1, 4, 4})}, {6, 7.5, 12, 13.5});
  expect_values(Pool{kMax, square(3, 2)}, {data({1, 1, 4, 4})}, {11, 12, 15, 16});
}

TEST(Pool, DivisorCountsPaddingButNotOverhang) {
  // 2x2 of 1 2 / 3 4, windows of 3 with pad 1 and stride 2: rows -1..1 and 1..2, the latter clipped
  // at 3.
  const Data image = data({1, 1, 2, 2});
  expect_values(Pool{kAverage, square(3, 2, 1)}, {image}, {10.0 / 9, 6.0 / 6, 7.0 / 6, 4.0 / 4});
  expect_values(Pool{kAverage, square(3, 2, 1), false, true, Pool::Divisor::valid}, {image},
                {2.5, 3, 3.5, 4});
  expect_values(Pool{kMax, square(3, 2, 1)}, {data({1, 1, 2, 2}, {-1, -2, -3, -4})}, {-1, -2, -3, -4});
}

TEST(Pool, Rejects) {
  const Shape image{1, 3, 5, 5};
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  expect_rejected(Pool{}, {{3, 5, 5}}, "4 axes");
  expect_rejected(Pool{}, {image, image}, "1 inputs");
  expect_rejected(Pool{kMax, square(0, 1)}, {image}, "1 or more");
  expect_rejected(Pool{kMax, square(2, 0)}, {image}, "1 or more");
  expect_rejected(Pool{kMax, square(2, 1, -1)}, {image}, "0 or more");
  expect_rejected(Pool{kMax, square(3, 1, kHuge)}, {image}, "2^24");
  expect_rejected(Pool{kMax, square(kHuge, 1, 0)}, {image}, "2^24");
  expect_rejected(Pool{kMax, square(2, 1, 2)}, {image}, "pad below the kernel");
  expect_rejected(Pool{kMax, square(7, 2)}, {image}, "within the padded input");
  expect_rejected(Pool{kMax, square(6, 2), false, false}, {image}, "within the padded input");
  expect_rejected(Pool{kMax, square(1, 2)}, {{1, 3, 4, 4}}, "begin in the input");
  expect_rejected(Pool{kMax, {{3, 3}, {1, 1}, {0, 0}, {2, 2}}}, {image}, "dilation");
  expect_rejected(Pool{kMax, {{1, 1}, {2, 2}, {0, 0}, {1, 1}}, true}, {image}, "global");
  expect_rejected(Pool{kMax, {}, true}, {{1, 3, 0, 5}});
}

TEST(Pool, CaffeSpelling) {
  EXPECT_EQ(parsed("Pooling", {{"kernel_size", {"3"}}, {"stride", {"2"}}}),
            "pool kernel=3x3 stride=2x2");
  EXPECT_EQ(parsed("Pooling", {{"pool", {"AVE"}}, {"global_pooling", {"true"}}}),
            "pool kind=average global=yes");
  EXPECT_EQ(parsed("Pooling", {{"kernel_h", {"1"}}, {"kernel_w", {"7"}}, {"round_mode", {"FLOOR"}}}),
            "pool kernel=1x7 ceil=no");
  EXPECT_THROW(parsed("Pooling", {{"pool", {"STOCHASTIC"}}, {"kernel_size", {"3"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"pool", {"MAX"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}, {"kernel_h", {"3"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}, {"global_pooling", {"true"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}}, {1, 2}), Error);
}

TEST(Lrn, AcrossChannels) {
  // Squares 1 4 9 16; sums over 3 channels 5 14 29 25.
  const auto at = [](double x, double sum) { return x / std::pow(2 + 0.6 / 3 * sum, 0.75); };
  expect_values(Lrn{3, 0.6, 0.75, 2}, {data({1, 4, 1, 1})},
                {at(1, 5), at(2, 14), at(3, 29), at(4, 25)});
}

TEST(Lrn, WithinAChannel) {
  // Every 3x3 neighbourhood of a 2x2 image is the whole image; the divisor stays 9 and k is not used.
  const double base = std::pow(1 + 0.9 / 9 * 30, -0.5);
  expect_values(Lrn{3, 0.9, 0.5, 7, Lrn::Region::within}, {data({1, 1, 2, 2})},
                {base, 2 * base, 3 * base, 4 * base});
}

TEST(Lrn, RejectsAndSpells) {
  expect_rejected(Lrn{4}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{0}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{INT64_MAX}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{}, {{3, 2, 2}}, "4 axes");
  EXPECT_EQ(parsed("LRN", {{"alpha", {"0.0001"}}}), "lrn alpha=0.0001");
  EXPECT_EQ(parsed("LRN", {{"norm_region", {"WITHIN_CHANNEL"}}, {"local_size", {"3"}}, {"k", {"2"}}}),
            "lrn size=3 region=within");
  EXPECT_THROW(parsed("LRN", {{"norm_region", {"1"}}}), Error);
}

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

TEST(Conv, ChecksItsParameters) {
  const Conv conv{4, square(3, 1, 1)};
  EXPECT_EQ(shape_of(conv, {{1, 2, 5, 5}, {4, 2, 3, 3}, {4}}), Shape({1, 4, 5, 5}));
  expect_rejected(conv, {{1, 2, 5, 5}, {4, 2, 3, 2}, {4}}, "weight of 4x2x3x3");
  expect_rejected(Conv{4, square(1, 1), 0}, {{1, 2, 5, 5}, {4, 2, 1, 1}, {4}}, "groups");
  expect_rejected(Conv{4, square(1, 0)}, {{1, 2, 5, 5}, {4, 2, 1, 1}, {4}}, "stride");
  expect_rejected(Conv{4, square(7, 1)}, {{1, 2, 5, 5}, {4, 2, 7, 7}, {4}}, "padded input");
}

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

TEST(Preprocess, GivesSinglesOrHalves) {
  const std::vector<TensorDesc> src{{DType::u8, {1, 4096}, Layout::plain()},
                                    {DType::i32, {1, 4}, Layout::plain()}};
  EXPECT_EQ((Preprocess{8, 8, {}, DType::f16}.infer(src)[0].dtype), DType::f16);
  EXPECT_THROW((Preprocess{8, 8, {}, DType::u8}.infer(src)), Error);
}

TEST(Registry, EverySpellingIsFoundOnce) {
  std::set<std::string> seen;
  std::string_view previous;
  for (const Operator& op : all_operators()) {
    EXPECT_LT(previous, op.name);
    previous = op.name;
    EXPECT_FALSE(op.cases.empty()) << op.name;
    for (const Spelling& spelling : op.spellings) {
      EXPECT_TRUE(seen.emplace(spelling.type).second) << spelling.type;
      EXPECT_EQ(find_spelling(spelling.format, spelling.type), &spelling);
    }
  }
}

TEST(Registry, KeysTellAttributesApart) {
  EXPECT_EQ(Op(Pool{}).attributes(), "");
  EXPECT_EQ(Op(InnerProduct{3, 1, true, false, Unary{}}).key(),
            "inner_product outputs=3 activation=relu");
  EXPECT_EQ(Op(Preprocess{2, 3}).key(), "preprocess height=2 width=3");
  EXPECT_NE(Op(Lrn{5, 0.1}).key(), Op(Lrn{5, std::nextafter(0.1, 1)}).key());
  EXPECT_NE(Op(Slice{1, {}, 2}).key(), Op(Slice{1, {3}, 2}).key());
}

// In float and in double, the reference kernels agree on every case that the backends will be given.
TEST(Registry, AttributesThatWerePrintedAreReadBack) {
  for (const Operator& op : all_operators()) {
    ASSERT_NE(op.parse, nullptr) << op.name;
    EXPECT_EQ(op.parse("").key(), op.name) << "what is left out has its default";
    for (const Case& one : op.cases) {
      EXPECT_EQ(parse_op(one.op.name(), one.op.attributes()).key(), one.op.key()) << one.name;
    }
  }
  // More digits, nesting and empty lists than the cases have.
  Conv conv{
      64, {{3, 5}, {2, 1}, {1, 0}, {1, 2}}, 2, false, Unary{Unary::Kind::power, 1.0 / 3, -0.1, 1e-300}};
  ASSERT_TRUE(parse_op("conv", Op(conv).attributes()).as<Conv>());
  EXPECT_EQ(*parse_op("conv", Op(conv).attributes()).as<Conv>(), conv);
  Preprocess rgb{
      224, 224, {Preprocessing::Channels::rgb, Preprocessing::Resize::crop, {0.1F, 2, 3e9F}, 1 / 3.0F}};
  EXPECT_EQ(*parse_op("preprocess", Op(rgb).attributes()).as<Preprocess>(), rgb);
  Slice slice{-1, {}, 3};
  EXPECT_EQ(*parse_op("slice", Op(slice).attributes()).as<Slice>(), slice);
}

TEST(Registry, WrongAttributesNameOperatorAndField) {
  const struct {
    const char *op, *attributes, *says;
  } rows[] = {
      {"convv", "", "[operator] expected one that this maru has, got convv; try conv"},
      {"conv", "kernel=3", "[conv: kernel] expected 2 numbers with x between, got 3"},
      {"conv", "kernel=3x3x3", "[conv: kernel] expected 2 numbers with x between, got 3x3x3"},
      {"conv", "kernel=3x", "[conv: kernel] expected a whole number, got "},
      {"conv", "group=1.5", "[conv: group] expected a whole number, got 1.5"},
      {"conv", "group=99999999999999999999", "[conv: group] expected a whole number"},
      {"conv", "bias=maybe", "[conv: bias] expected yes or no, got maybe"},
      {"conv", "activation=reluu", "[conv: activation] expected relu or elu or"},
      {"conv", "activation=elu(alpha=1", "[conv: activation] expected (...), got (alpha=1"},
      {"conv", "activation=elu(beta=1)", "[conv: activation] expected attributes among"},
      {"conv", "outputs=1 outputs=2", "[conv: outputs] expected one value, got two"},
      {"conv", "colour=2", "[conv: conv] expected attributes among outputs, kernel, stride"},
      {"conv", "outputs", "[conv: attributes] expected name=value"},
      {"slice", "points=1,2", "[slice: points] expected [...], got 1,2"},
      {"slice", "points=[1,,2]", "[slice: points] expected a whole number, got "},
      {"lrn", "alpha=1e", "[lrn: alpha] expected a number, got 1e"},
      {"lrn", "region=?", "[lrn: region] expected across or within, got ?"},
  };
  for (const auto& row : rows) {
    try {
      parse_op(row.op, row.attributes);
      ADD_FAILURE() << row.op << " " << row.attributes;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with(row.says)) << error.what();
    }
  }
}

TEST(Registry, CasesRunInFloatAndDouble) {
  for (const Operator& op : all_operators()) {
    std::set<std::string> names;
    for (const Case& one : op.cases) {
      SCOPED_TRACE(fmt::format("{}: {}", op.name, one.name));
      EXPECT_EQ(one.op.name(), op.name);
      EXPECT_TRUE(names.insert(one.name).second);
      ASSERT_LE(one.data, one.src.size());
      std::mt19937 random(7);
      std::uniform_real_distribution<float> draw(static_cast<float>(one.low),
                                                 static_cast<float>(one.high));
      std::vector<Data> src;
      for (const TensorDesc& desc : one.src) {
        src.push_back({desc, std::vector<double>(static_cast<std::size_t>(desc.count()))});
        for (double& value : src.back().values) value = static_cast<double>(draw(random));
      }
      const auto floats = run_as<float>(one.op, src, one.fill);
      const auto doubles = run_as<double>(one.op, src, one.fill);
      ASSERT_EQ(floats.size(), doubles.size());
      for (std::size_t i = 0; i < floats.size(); ++i) {
        expect_near(floats[i], doubles[i], 1e-6);
        for (const double value : doubles[i]) ASSERT_TRUE(std::isfinite(value));
      }
    }
  }
}

}  // namespace
}  // namespace maru
