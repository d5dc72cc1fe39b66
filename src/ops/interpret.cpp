#include "ops/interpret.h"

#include <algorithm>
#include <type_traits>

#include "base/error.h"

namespace maru {
namespace {

template <class T>
constexpr DType kReal = std::is_same_v<T, float> ? DType::f32 : DType::f64;

bool is_integer(DType dtype) { return dtype == DType::u8 || dtype == DType::i32; }

// Calls f with a pointer to the elements: pixels and frames, which no kernel takes as real numbers.
template <class F>
void with_integers(DType dtype, std::byte* bytes, F&& f) {
  if (dtype == DType::u8) return f(reinterpret_cast<std::uint8_t*>(bytes));
  f(reinterpret_cast<std::int32_t*>(bytes));
}

}  // namespace

template <class T>
Values<T> interpret(const Graph& graph, std::span<const std::vector<T>> inputs) {
  const std::string where = fmt::format("graph {}", graph.name);
  std::vector<ValueId> given = graph.inputs;
  for (const State& state : graph.states) given.push_back(state.begin);
  if (inputs.size() != given.size()) {
    throw Error(where, fmt::format("{} inputs", given.size()), fmt::format("{}", inputs.size()));
  }
  Values<T> values(graph.values().size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = graph.value(given[i]);
    if (static_cast<std::int64_t>(inputs[i].size()) != value.desc.count()) {
      throw Error(where, fmt::format("{} elements for input {}", value.desc.count(), value.name),
                  fmt::format("{}", inputs[i].size()));
    }
    values[static_cast<std::size_t>(given[i])] = inputs[i];
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (const auto& constant = graph.values()[i].constant) {
      const std::vector<float> floats = constant->floats();
      values[i].assign(floats.begin(), floats.end());
    }
  }
  Values<std::byte> integers(values.size());
  const auto view = [&](ValueId id) {
    const auto i = static_cast<std::size_t>(id);
    TensorDesc desc{kReal<T>, graph.value(id).desc.shape, Layout::plain()};
    values[i].resize(static_cast<std::size_t>(desc.count()));
    if (!is_integer(graph.value(id).desc.dtype)) return TensorView{desc, values[i].data()};
    desc.dtype = graph.value(id).desc.dtype;
    integers[i].resize(desc.bytes());
    with_integers(desc.dtype, integers[i].data(), [&](auto* elements) {
      using I = std::remove_pointer_t<decltype(elements)>;
      std::ranges::transform(values[i], elements, [](T value) { return static_cast<I>(value); });
    });
    return TensorView{desc, integers[i].data()};
  };
  for (const Node& node : graph.nodes()) {
    std::vector<TensorView> src, dst;
    for (const ValueId id : node.src) src.push_back(view(id));
    for (const ValueId id : node.dst) dst.push_back(view(id));
    node.op.reference(src, dst);
    for (std::size_t i = 0; i < dst.size(); ++i) {
      if (!is_integer(dst[i].desc.dtype)) continue;
      auto& result = values[static_cast<std::size_t>(node.dst[i])];
      with_integers(dst[i].desc.dtype, dst[i].as<std::byte>(), [&](const auto* elements) {
        std::copy_n(elements, result.size(), result.begin());
      });
    }
  }
  return values;
}

template Values<float> interpret(const Graph&, std::span<const std::vector<float>>);
template Values<double> interpret(const Graph&, std::span<const std::vector<double>>);

}  // namespace maru
