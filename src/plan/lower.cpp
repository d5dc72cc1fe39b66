#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "plan/program.h"

namespace maru::planning {
namespace {

// Offset in channels of every part of a node that only cuts or joins along the channel axis.
std::optional<std::vector<std::int64_t>> channel_parts(const Graph& graph, const Node& node) {
  const auto offsets = [&](std::span<const ValueId> parts) {
    std::vector<std::int64_t> begins;
    std::int64_t begin = 0;
    for (const ValueId id : parts) {
      begins.push_back(begin);
      begin += graph.value(id).desc.shape[1];
    }
    return begins;
  };
  if (const auto* concat = node.op.as<Concat>()) {
    const Shape& shape = graph.value(node.dst[0]).desc.shape;
    if (shape.rank() >= 2 && shape.axis(concat->axis) == 1) return offsets(node.src);
  }
  if (const auto* slice = node.op.as<Slice>()) {
    const Shape& shape = graph.value(node.src[0]).desc.shape;
    if (shape.rank() >= 2 && shape.axis(slice->axis) == 1) return offsets(node.dst);
  }
  return std::nullopt;
}

bool keeps_bytes(const Op& op) { return op.as<Identity>() || op.as<Reshape>() || op.as<Flatten>(); }

class Lowering {
 public:
  Lowering(const Graph& graph, const Device& device, double expected_runs)
      : graph_(graph), device_(device), expected_runs_(expected_runs) {}

  Program run() {
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      const Value& value = graph_.values()[i];
      if (!value.producer) {
        tensors_[ValueId(static_cast<std::uint32_t>(i))] =
            program_.add_tensor({value.name, value.desc, value.constant});
      }
    }
    for (const ValueId id : graph_.inputs) {
      program_.tensors[tensors_.at(id)].input = true;
      program_.inputs.push_back(tensors_.at(id));
    }
    for (const Node& node : graph_.nodes()) {
      if (keeps_bytes(node.op)) {
        lower_same_bytes(node);
      } else if (const auto parts = channel_parts(graph_, node)) {
        lower_channel_view(node, *parts);
      } else {
        lower_kernel(node);
      }
    }
    for (const ValueId id : graph_.outputs) program_.outputs.push_back(finish_output(id));
    return std::move(program_);
  }

 private:
  ProgramTensor& tensor(ValueId id) { return program_.tensors[tensors_.at(id)]; }

  // The value in that layout, copied at most once.
  TensorIndex in_layout(ValueId id, Layout layout, std::string_view reader) {
    const TensorIndex from = tensors_.at(id);
    const TensorDesc& desc = program_.tensors[from].desc;
    if (layout.kind == Layout::Kind::any || same_bytes(desc.shape, desc.layout, layout)) return from;
    const auto key = std::pair{id, layout.str()};
    if (const auto known = copies_.find(key); known != copies_.end()) return known->second;
    ProgramTensor changed{fmt::format("{} as {}", program_.tensors[from].name, layout.str()),
                          desc.with(layout), nullptr};
    const std::string why = fmt::format("{} wants {}", reader, layout.str());
    const TensorIndex to = program_.add_tensor(std::move(changed));
    program_.code.push_back(make_copy(program_, device_, from, to, why));
    return copies_[key] = to;
  }

  // Views need bytes of the session; a constant is copied into such.
  TensorIndex in_memory(TensorIndex from) {
    if (!program_.tensors[from].constant) return from;
    const TensorIndex to = program_.add_tensor(
        {program_.tensors[from].name + " in memory", program_.tensors[from].desc, nullptr});
    program_.code.push_back(make_copy(program_, device_, from, to, "a view of a constant"));
    return to;
  }

  double change_seconds(ValueId id, Layout layout) {
    const TensorDesc& desc = tensor(id).desc;
    if (layout.kind == Layout::Kind::any || same_bytes(desc.shape, desc.layout, layout)) return 0;
    if (copies_.contains({id, layout.str()})) return 0;
    return device_.copy_seconds(static_cast<double>(desc.bytes()));
  }

  void lower_kernel(const Node& node) {
    std::vector<TensorDesc> src, dst = graph_.descs(node.dst);
    const auto constant = std::make_unique<bool[]>(node.src.size());
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      src.push_back(tensor(node.src[i]).desc);
      constant[i] = tensor(node.src[i]).constant != nullptr;
    }
    for (TensorDesc& desc : dst) desc.layout = Layout::any();
    const auto offers = device_.offers({node.op, src, dst, {constant.get(), node.src.size()}});
    if (offers.empty()) {
      throw Error(fmt::format("{} {}", node.op.name(), node.name),
                  fmt::format("an operator that {} can run", device_.name()),
                  fmt::format("{} on {}", node.op.key(), src.empty() ? "nothing" : src[0].str()),
                  "another --device");
    }
    const Offer* best = nullptr;
    double best_seconds = std::numeric_limits<double>::infinity();
    for (const Offer& offer : offers) {
      double seconds = offer.seconds + offer.prepare_seconds / expected_runs_;
      for (std::size_t i = 0; i < node.src.size(); ++i) {
        if (!constant[i]) seconds += change_seconds(node.src[i], offer.src[i]);
      }
      if (seconds < best_seconds) {
        best_seconds = seconds;
        best = &offer;
      }
    }
    Instruction instruction{Instruction::Kind::kernel, node.name, node.op, {}, {}, *best, {}};
    instruction.why =
        offers.size() == 1 ? "the only offer" : fmt::format("cheapest of {}", offers.size());
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      instruction.src.push_back(constant[i] ? tensors_.at(node.src[i])
                                            : in_layout(node.src[i], best->src[i], node.name));
    }
    for (std::size_t i = 0; i < node.dst.size(); ++i) {
      define(node.dst[i], dst[i].with(best->dst[i]));
      instruction.dst.push_back(tensors_.at(node.dst[i]));
    }
    program_.code.push_back(std::move(instruction));
  }

  void lower_same_bytes(const Node& node) {
    const bool same_shape = node.op.as<Identity>() != nullptr;
    const TensorIndex from = in_memory(same_shape ? tensors_.at(node.src[0])
                                                  : in_layout(node.src[0], Layout::plain(), node.name));
    Instruction view{Instruction::Kind::view, node.name, node.op, {from}, {}, {}, {}};
    for (const ValueId id : node.dst) {
      define(id, graph_.value(id).desc.with(same_shape ? program_.tensors[from].desc.layout
                                                       : Layout::plain()));
      view.dst.push_back(tensors_.at(id));
    }
    program_.code.push_back(std::move(view));
  }

  // Slices and concatenations of channels are windows where every window begins at a block.
  void lower_channel_view(const Node& node, const std::vector<std::int64_t>& begins) {
    std::vector<Layout> seen;
    for (const ValueId id : node.src) seen.push_back(tensor(id).desc.layout);
    const auto common = [&](Layout layout) { return std::ranges::count(seen, layout); };
    Layout layout = *std::ranges::max_element(seen, {}, common);
    for (std::size_t i = 0; i < begins.size(); ++i) {
      const bool is_part_unread =
          node.dst.size() > 1 && graph_.readers(node.dst[i]).empty() && !graph_.is_output(node.dst[i]);
      if (begins[i] % layout.block != 0 && !is_part_unread) layout = Layout::plain();
    }
    Instruction view{Instruction::Kind::view, node.name, node.op, {}, {}, {}, {}};
    for (const ValueId id : node.src) view.src.push_back(in_memory(in_layout(id, layout, node.name)));
    for (const ValueId id : node.dst) {
      define(id, graph_.value(id).desc.with(layout));
      view.dst.push_back(tensors_.at(id));
    }
    program_.code.push_back(std::move(view));
  }

  void define(ValueId id, TensorDesc desc) {
    tensors_[id] = program_.add_tensor({graph_.value(id).name, desc, nullptr});
  }

  // Callers read plain memory that is theirs alone.
  TensorIndex finish_output(ValueId id) {
    const TensorIndex plain = in_layout(id, Layout::plain(), "the caller");
    ProgramTensor& found = program_.tensors[plain];
    if (!found.input && !found.output && !found.constant) {
      found.output = true;
      found.name = graph_.value(id).name;  // by which the caller asks, also when this is a copy
      found.desc.layout = Layout::plain();
      return plain;
    }
    ProgramTensor own{found.name, found.desc.with(Layout::plain()), nullptr, false, true};
    const TensorIndex to = program_.add_tensor(std::move(own));
    program_.code.push_back(
        make_copy(program_, device_, plain, to, "the caller reads memory of its own"));
    return to;
  }

  const Graph& graph_;
  const Device& device_;
  double expected_runs_;
  Program program_;
  std::map<ValueId, TensorIndex> tensors_;
  std::map<std::pair<ValueId, std::string>, TensorIndex> copies_;
};

}  // namespace

Program lower(const Graph& graph, const Device& device, double expected_runs) {
  return Lowering(graph, device, expected_runs).run();
}

Instruction make_copy(const Program& program, const Device& device, TensorIndex from, TensorIndex to,
                      std::string why) {
  const std::array src{program.tensors[from].desc}, dst{program.tensors[to].desc};
  const std::array constant{program.tensors[from].constant != nullptr};
  const Op op = Identity{};
  const auto offers = device.offers({op, src, dst, constant});
  if (offers.empty()) {
    throw Error(program.tensors[from].name, fmt::format("a copy that {} can make", device.name()),
                fmt::format("{} to {}", src[0].str(), dst[0].str()));
  }
  const Offer& best = *std::ranges::min_element(offers, {}, &Offer::seconds);
  return {Instruction::Kind::copy, program.tensors[to].name, op, {from}, {to}, best, std::move(why)};
}

}  // namespace maru::planning
