// For the tests of this room: graphs built by hand, and whether two compute the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/conv.h"
#include "ops/interpret.h"
#include "rewrite/rewrite.h"

namespace maru::rewrite_tests {

using Random = std::mt19937;

inline double uniform(Random& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random()) / 4294967296.0;
}

inline std::vector<double> uniform_values(Random& random, std::int64_t count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = uniform(random, -1, 1);
  return values;
}

// Writes graphs the way an importer does: parameters are constants "<node>/<role>" with random values.
struct Builder {
  Graph graph;
  Random random;

  explicit Builder(unsigned seed = 1) : random(seed) { graph.name = "test"; }

  ValueId input(const std::string& name, Shape shape) { return graph.add_input(name, f32(shape)); }

  // Adds node `name` with parameters of its own, unless `src` lists more than the first operand. Its
  // results have its name where `dst` says no other.
  NodeId node(const std::string& name, const Op& op, std::vector<ValueId> src,
              std::vector<std::string> dst = {}) {
    if (dst.empty()) dst = {name};
    if (src.size() == 1) {
      for (const Param& param : op.params(graph.descs(src))) src.push_back(constant(name, param));
    }
    return graph.add_node(name, op, src, dst);
  }

  ValueId constant(const std::string& name, const Param& param) {
    std::vector<float> values(static_cast<std::size_t>(param.shape.count()));
    const bool positive = param.role == "variance" || param.role == "factor" || param.role == "scale";
    for (float& value : values) {
      value = static_cast<float>(positive ? uniform(random, 0.5, 1.5) : uniform(random, -1, 1));
    }
    return graph.add_constant(fmt::format("{}/{}", name, param.role),
                              std::make_shared<const Constant>(param.shape, std::move(values)));
  }

  // node(), for nodes of one result.
  ValueId add(const std::string& name, const Op& op, std::vector<ValueId> src,
              const std::string& dst = {}) {
    return graph.node(node(name, op, std::move(src), {dst.empty() ? name : dst})).dst[0];
  }
  void output(ValueId id) { graph.outputs.push_back(id); }
};

inline Conv conv(std::int64_t outputs, std::int64_t kernel = 1, std::int64_t pad = 0,
                 bool bias = true) {
  return {outputs, Window{{kernel, kernel}, {1, 1}, {pad, pad}, {1, 1}}, 1, bias};
}

inline std::vector<std::vector<double>> outputs_of(const Graph& graph) {
  Random random(7);
  std::vector<std::vector<double>> inputs, outputs;
  for (const ValueId id : graph.inputs) {
    inputs.push_back(uniform_values(random, graph.value(id).desc.count()));
  }
  auto values = interpret<double>(graph, inputs);
  for (const ValueId id : graph.outputs) outputs.push_back(values[static_cast<std::size_t>(id)]);
  return outputs;
}

// Largest difference of two outputs, relative to the largest element.
inline double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::fabs(a[i] - b[i]));
    largest = std::max(largest, std::fabs(a[i]));
  }
  return std::isfinite(worst) ? worst / largest : HUGE_VAL;
}

inline void expect_same_outputs(const Graph& before, const Graph& after, double tolerance) {
  ASSERT_NO_THROW(after.verify());
  ASSERT_EQ(before.inputs.size(), after.inputs.size());
  ASSERT_EQ(before.outputs.size(), after.outputs.size());
  const auto wanted = outputs_of(before), got = outputs_of(after);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const ValueId old_id = before.outputs[i], new_id = after.outputs[i];
    EXPECT_EQ(before.value(old_id).name, after.value(new_id).name);
    ASSERT_EQ(before.value(old_id).desc.shape, after.value(new_id).desc.shape);
    if (before.find(before.value(old_id).name) == old_id) {
      EXPECT_EQ(after.find(after.value(new_id).name), new_id);
    }
    EXPECT_LE(difference(wanted[i], got[i]), tolerance) << after.value(new_id).name;
  }
}

inline std::string text(const RewriteLog& log) { return fmt::format("{}", fmt::join(log.lines, "\n")); }

}  // namespace maru::rewrite_tests
