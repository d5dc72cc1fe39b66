// What maru knows of an operator beside its attributes: how model formats spell it, and the cases that
// every implementation of it must pass. The list of all of them is ops/registry.cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "graph/op.h"
#include "graph/parse_fields.h"
#include "ops/gradient.h"

namespace maru {

// Attributes of one layer as a model file holds them, whatever its format. Reading a field that is
// there with another type is an Error naming layer and field. Not thread-safe; valid during the import.
class AttrReader {
 public:
  virtual ~AttrReader() = default;
  virtual bool has(std::string_view field) const = 0;
  virtual std::int64_t integer(std::string_view field, std::int64_t fallback) const = 0;
  virtual double number(std::string_view field, double fallback) const = 0;
  virtual bool boolean(std::string_view field, bool fallback) const = 0;
  // Strings and names of enumerators.
  virtual std::string text(std::string_view field, std::string_view fallback) const = 0;
  virtual std::vector<std::int64_t> integers(std::string_view field) const = 0;  // empty when absent
  virtual std::vector<double> numbers(std::string_view field) const = 0;
};

// Operands that a model file lists itself; parameters come on top (Op::params).
struct Arity {
  std::size_t src = 1, dst = 1;
};

struct Spelling {
  std::string_view format;   // "caffe"
  std::string_view type;     // "Pooling"
  std::string_view message;  // caffe: "pooling_param", where attributes are; empty: the layer itself
  Op (*parse)(const AttrReader& reader, Arity arity);
};

// One input for the conformance suite. Values are drawn with a fixed seed from [low, high).
struct Case {
  std::string name;
  Op op;
  std::vector<TensorDesc> src;  // parameters included; those after `data` are constants
  std::size_t data = 1;
  double low = -1, high = 1;
  void (*fill)(Views src) = nullptr;  // afterwards, writes operands that cannot be any value
};

struct Operator {
  std::string_view name;
  std::vector<Spelling> spellings = {};
  std::vector<Case> cases = {};
  Op (*parse)(std::string_view attributes) = nullptr;  // as Op::attributes() prints them
  GradientRule gradient = nullptr;                     // null: it has none
};

// All operators of maru, by name.
std::span<const Operator> all_operators();
// The spelling of a layer type, or nullptr.
const Spelling* find_spelling(std::string_view format, std::string_view type);
// The operator that has this name and prints these attributes. Throws Error naming operator and field.
Op parse_op(std::string_view name, std::string_view attributes);

// Building block for operators: what follows from the attribute struct alone.
template <class A>
Operator operator_of() {
  return {A::kName,
          {},
          {},
          [](std::string_view attributes) -> Op { return parse_fields<A>(attributes); },
          nullptr};
}

// Building blocks for cases().
inline TensorDesc f32(Shape shape) { return {DType::f32, shape, Layout::plain()}; }
inline TensorDesc f16(Shape shape) { return {DType::f16, shape, Layout::plain()}; }
// A case of these data operands, followed by the parameters that the operator wants for them.
inline Case make_case(std::string name, Op op, std::vector<TensorDesc> src, double low = -1,
                      double high = 1) {
  const std::size_t data = src.size();
  for (const Param& param : op.params(src)) src.push_back(f32(param.shape));
  return {std::move(name), std::move(op), std::move(src), data, low, high};
}

// Building block for spellings: the enumerator that a field names. Throws Error listing the names.
template <class E>
E enumerator(const AttrReader& reader, std::string_view field, E fallback,
             std::initializer_list<std::pair<std::string_view, E>> names) {
  if (!reader.has(field)) return fallback;
  const std::string written = reader.text(field, "");
  std::string known;
  for (const auto& [name, value] : names) {
    if (name == written) return value;
    known += (known.empty() ? "" : " or ") + std::string(name);
  }
  throw Error(field, known, written);
}
// An axis that has an older name too. Throws Error when both are given.
inline std::int64_t axis_from_caffe(const AttrReader& reader, std::string_view legacy) {
  if (reader.has("axis") && reader.has(legacy)) {
    throw Error("axis", fmt::format("either axis or {}", legacy), "both");
  }
  return reader.integer("axis", reader.integer(legacy, 1));
}

}  // namespace maru
