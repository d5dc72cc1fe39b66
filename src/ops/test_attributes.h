// For tests of operators: attributes as a prototxt file writes them, and the operator that they say.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ops/operator.h"

namespace maru::testing_ops {

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
inline std::string parsed(std::string_view type, const FakeReader& reader, Arity arity = {}) {
  const Spelling* spelling = find_spelling("caffe", type);
  EXPECT_NE(spelling, nullptr) << type;
  return spelling->parse(reader, arity).key();
}

}  // namespace maru::testing_ops
