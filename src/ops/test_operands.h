// For tests of operators: operands, what the reference kernels make of them, and what they reject.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ops/operator.h"
#include "ops/window.h"

namespace maru::testing_ops {

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
inline Data data(Shape shape, std::vector<double> values = {}) {
  for (std::int64_t i = 0; values.empty() || static_cast<std::int64_t>(values.size()) < shape.count();
       ++i) {
    values.push_back(static_cast<double>(i + 1));
  }
  return {f32(shape), std::move(values)};
}

inline void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                        double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], tolerance * std::max(1.0, std::fabs(want[i]))) << "element " << i;
  }
}

inline void expect_values(const Op& op, std::vector<Data> src, const std::vector<double>& want) {
  const auto got = run_as<double>(op, std::move(src));
  ASSERT_EQ(got.size(), 1U);
  expect_near(got[0], want);
}

inline std::vector<TensorDesc> reals(const std::vector<Shape>& shapes) {
  std::vector<TensorDesc> src;
  for (const Shape& shape : shapes) src.push_back(f32(shape));
  return src;
}

inline Shape shape_of(const Op& op, const std::vector<Shape>& src) {
  return op.infer(reals(src)).at(0).shape;
}

inline void expect_rejected(const Op& op, const std::vector<Shape>& src, std::string_view text = {}) {
  try {
    const auto results = op.infer(reals(src));
    ADD_FAILURE() << op.key() << " took " << src.at(0).str() << " and gave " << results.at(0).str();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

inline Window square(std::int64_t kernel, std::int64_t stride, std::int64_t pad = 0) {
  return {{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
}

}  // namespace maru::testing_ops
