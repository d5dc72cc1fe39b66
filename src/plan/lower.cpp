#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "base/error.h"
#include "ops/identity.h"
#include "plan/assign.h"
#include "plan/program.h"

namespace maru::planning {
namespace {

// Names an offer, for those who want the same one again.
std::string id_of(const Offer& offer) {
  std::string id = offer.kernel + "|";
  for (const Layout& layout : offer.src) id += layout.str() + ",";
  id += "|";
  for (const Layout& layout : offer.dst) id += layout.str() + ",";
  return id;
}

class Lowering {
 public:
  Lowering(const Graph& graph, const Placement& placement, const LowerOptions& options)
      : graph_(graph), placement_(placement), options_(options), assigned_(assign(graph, placement)) {}

  Program run() {
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      const Value& value = graph_.values()[i];
      if (!value.producer) {
        tensors_[ValueId(static_cast<std::uint32_t>(i))] =
            program_.add_tensor({value.name, value.desc, value.constant, assigned_.place[i]});
      }
    }
    for (const ValueId id : graph_.inputs) {
      program_.tensors[tensors_.at(id)].input = true;
      program_.inputs.push_back(tensors_.at(id));
    }
    for (const auto& state : graph_.states) program_.tensors[tensors_.at(state.begin)].state = true;
    for (const Node& node : graph_.nodes()) {
      device_ = assigned_.device[static_cast<std::size_t>(graph_.id_of(node))];
      if (keeps_bytes(node.op)) {
        lower_same_bytes(node);
      } else if (const auto parts = channel_parts(graph_, node)) {
        lower_channel_view(node, *parts);
      } else {
        lower_kernel(node);
      }
    }
    for (const ValueId id : graph_.outputs) program_.outputs.push_back(finish_output(id));
    for (const auto& state : graph_.states) {
      const TensorIndex begin = tensors_.at(state.begin);
      const bool is_kept = state.end == state.begin;
      program_.states.push_back(
          {begin,
           is_kept ? begin : in_layout(state.end, Layout::plain(), Side::device, "the next run")});
    }
    return std::move(program_);
  }

 private:
  ProgramTensor& tensor(ValueId id) { return program_.tensors[tensors_.at(id)]; }
  const Place& place(ValueId id) const { return assigned_.place[static_cast<std::size_t>(id)]; }
  // Of the node that is being lowered.
  const Device& device() const { return placement_.device(device_); }
  Side side() const { return placement_.side_of(device_); }

  // The value in memory of that side, moved at most once.
  TensorIndex on_side(ValueId id, Side side, std::string_view reader) {
    const TensorIndex home = tensors_.at(id);
    const ProgramTensor& tensor = program_.tensors[home];
    if (tensor.constant || tensor.place.side == Side::both || tensor.place.side == side) return home;
    const std::string on = side == Side::host ? "the CPU" : std::string(placement_.device(0).name());
    const auto key = std::tuple{id, std::string(), side};
    if (const auto known = copies_.find(key); known != copies_.end()) return known->second;
    ProgramTensor moved{fmt::format("{} on {}", tensor.name, on), tensor.desc, nullptr,
                        side == Side::host ? placement_.staging() : placement_.local()};
    if (tensor.input) moved.mirrors = home;
    const std::string why = fmt::format("{} reads it; {}", reader, tensor.place.why);
    const TensorIndex to = program_.add_tensor(std::move(moved));
    add_transfer(home, to, why);
    return copies_[key] = to;
  }

  void add_transfer(TensorIndex from, TensorIndex to, std::string why) {
    const ProgramTensor& tensor = program_.tensors[to];
    Offer offer;
    offer.kernel = "transfer";
    offer.src = offer.dst = {tensor.desc.layout};
    program_.code.push_back({Instruction::Kind::transfer,
                             tensor.name,
                             Identity{},
                             {from},
                             {to},
                             std::move(offer),
                             std::move(why)});
  }

  // The value in that layout on that side, copied at most once.
  TensorIndex in_layout(ValueId id, Layout layout, Side side, std::string_view reader) {
    const TensorIndex from = on_side(id, side, reader);
    const TensorDesc& desc = program_.tensors[from].desc;
    if (layout.kind == Layout::Kind::any || same_bytes(desc.shape, desc.layout, layout)) return from;
    const auto key = std::tuple{id, layout.str(), side};
    if (const auto known = copies_.find(key); known != copies_.end()) return known->second;
    ProgramTensor changed{fmt::format("{} as {}", program_.tensors[from].name, layout.str()),
                          desc.with(layout), nullptr,
                          side == Side::host ? placement_.host() : placement_.local()};
    const std::string why = fmt::format("{} wants {}", reader, layout.str());
    const TensorIndex to = program_.add_tensor(std::move(changed));
    program_.code.push_back(make_copy(program_, placement_, from, to, why));
    return copies_[key] = to;
  }

  // Views need bytes of the session; a constant is copied into such.
  TensorIndex in_memory(TensorIndex from) {
    if (!program_.tensors[from].constant) return from;
    const TensorIndex to =
        program_.add_tensor({program_.tensors[from].name + " in memory", program_.tensors[from].desc,
                             nullptr, side() == Side::host ? placement_.host() : placement_.local()});
    program_.code.push_back(make_copy(program_, placement_, from, to, "a view of a constant"));
    return to;
  }

  double change_seconds(ValueId id, Layout layout) {
    const TensorDesc& desc = tensor(id).desc;
    if (layout.kind == Layout::Kind::any || same_bytes(desc.shape, desc.layout, layout)) return 0;
    if (copies_.contains({id, layout.str(), side()})) return 0;
    return device().copy_seconds(static_cast<double>(desc.bytes()));
  }

  // Under which the node's choice is known: nodes may share a name.
  std::string choice_name(const Node& node) {
    const int before = named_[node.name]++;
    return before == 0 ? node.name : fmt::format("{}#{}", node.name, before + 1);
  }

  // Only the offer that was asked for, where one was. Throws Error where this device does not make it.
  void keep_chosen(std::vector<Offer>& offers, const std::string& name) const {
    if (options_.choices == nullptr) return;
    const auto wanted = options_.choices->find(name);
    if (wanted == options_.choices->end()) return;
    std::erase_if(offers, [&](const Offer& offer) { return id_of(offer) != wanted->second; });
    if (offers.empty()) {
      throw Error(name, fmt::format("the kernel {}, for which the weights were packed", wanted->second),
                  fmt::format("none such on {}", device().name()),
                  "packing the model again on this machine");
    }
  }

  void lower_kernel(const Node& node) {
    std::vector<TensorDesc> src, dst = graph_.descs(node.dst);
    const auto constant = std::make_unique<bool[]>(node.src.size());
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      src.push_back(tensor(node.src[i]).desc);
      constant[i] = tensor(node.src[i]).constant != nullptr;
    }
    for (TensorDesc& desc : dst) desc.layout = Layout::any();
    auto offers = device().offers({node.op, src, dst, {constant.get(), node.src.size()}});
    const std::size_t offered = offers.size();
    const std::string name = choice_name(node);
    keep_chosen(offers, name);
    if (offers.empty()) {
      throw Error(fmt::format("{} {}", node.op.name(), node.name),
                  fmt::format("an operator that {} can run", device().name()),
                  fmt::format("{} on {}", node.op.key(), src.empty() ? "nothing" : src[0].str()),
                  "another --device");
    }
    const Offer* best = nullptr;
    double best_seconds = std::numeric_limits<double>::infinity();
    for (const Offer& offer : offers) {
      double seconds = offer.seconds + offer.prepare_seconds / options_.expected_runs;
      for (std::size_t i = 0; i < node.src.size(); ++i) {
        if (!constant[i]) seconds += change_seconds(node.src[i], offer.src[i]);
      }
      if (seconds < best_seconds) {
        best_seconds = seconds;
        best = &offer;
      }
    }
    program_.choices[name] = id_of(*best);
    Instruction instruction{Instruction::Kind::kernel, node.name, node.op, {}, {}, *best, {}, device_};
    instruction.why = offered == 1 ? "the only offer" : fmt::format("cheapest of {}", offered);
    if (device_ != 0) instruction.why += fmt::format("; {} has none", placement_.device(0).name());
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      instruction.src.push_back(constant[i] ? tensors_.at(node.src[i])
                                            : in_layout(node.src[i], best->src[i], side(), node.name));
    }
    for (std::size_t i = 0; i < node.dst.size(); ++i) {
      define(node.dst[i], dst[i].with(best->dst[i]));
      instruction.dst.push_back(tensors_.at(node.dst[i]));
    }
    program_.code.push_back(std::move(instruction));
  }

  void lower_same_bytes(const Node& node) {
    const bool same_shape = node.op.as<Identity>() != nullptr;
    const TensorIndex from =
        in_memory(same_shape ? on_side(node.src[0], side(), node.name)
                             : in_layout(node.src[0], Layout::plain(), side(), node.name));
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
    for (const ValueId id : node.src)
      view.src.push_back(in_memory(in_layout(id, layout, side(), node.name)));
    for (const ValueId id : node.dst) {
      define(id, graph_.value(id).desc.with(layout));
      view.dst.push_back(tensors_.at(id));
    }
    program_.code.push_back(std::move(view));
  }

  void define(ValueId id, TensorDesc desc) {
    tensors_[id] = program_.add_tensor({graph_.value(id).name, desc, nullptr, place(id)});
  }

  // Callers read plain memory that is theirs alone.
  TensorIndex finish_output(ValueId id) {
    const Side home = assigned_.home[static_cast<std::size_t>(id)];
    const bool is_once = !placement_.is_split() || place(id).side == Side::both || home == Side::host;
    const TensorIndex plain = in_layout(id, Layout::plain(), home, "the caller");
    ProgramTensor& found = program_.tensors[plain];
    if (is_once && !found.input && !found.output && !found.state && !found.constant) {
      found.output = true;
      found.name = graph_.value(id).name;  // by which the caller asks, also when this is a copy
      found.desc.layout = Layout::plain();
      found.place = place(id);
      return plain;
    }
    ProgramTensor own{
        graph_.value(id).name, found.desc.with(Layout::plain()), nullptr, place(id), false, true};
    if (found.constant) own.place = placement_.host();
    if (!is_once) {
      own.place = placement_.staging();
      own.place.why = place(id).why;
    }
    const TensorIndex to = program_.add_tensor(std::move(own));
    if (is_once) {
      program_.code.push_back(
          make_copy(program_, placement_, plain, to, "the caller reads memory of its own"));
    } else {
      add_transfer(plain, to, "the caller reads it; " + place(id).why);
    }
    return to;
  }

  const Graph& graph_;
  const Placement& placement_;
  const LowerOptions& options_;
  const Assignment assigned_;
  std::size_t device_ = 0;
  Program program_;
  std::map<ValueId, TensorIndex> tensors_;
  std::map<std::tuple<ValueId, std::string, Side>, TensorIndex> copies_;
  std::map<std::string, int> named_;
};

}  // namespace

Program lower(const Graph& graph, const Placement& placement, const LowerOptions& options) {
  return Lowering(graph, placement, options).run();
}

Instruction make_copy(const Program& program, const Placement& placement, TensorIndex from,
                      TensorIndex to, std::string why) {
  const std::array src{program.tensors[from].desc}, dst{program.tensors[to].desc};
  const std::array constant{program.tensors[from].constant != nullptr};
  const Op op = Identity{};
  // Of bytes that the CPU alone holds, at either end, the CPU; else the device.
  const bool by_host = program.tensors[to].place.side == Side::host ||
                       (!constant[0] && program.tensors[from].place.side == Side::host);
  const std::size_t first = placement.device_on(by_host ? Side::host : Side::device);
  auto offers = placement.device(first).offers({op, src, dst, constant});
  // Of these layouts and no others; and either may yet become a window.
  std::erase_if(offers, [&](const Offer& offer) {
    return !offer.src_window || !offer.dst_window ||
           !same_bytes(src[0].shape, offer.src[0], src[0].layout.dense()) ||
           !same_bytes(dst[0].shape, offer.dst[0], dst[0].layout.dense());
  });
  if (offers.empty()) {
    throw Error(program.tensors[from].name,
                fmt::format("a copy that {} can make", placement.device(first).name()),
                fmt::format("{} to {}", src[0].str(), dst[0].str()));
  }
  const Offer& best = *std::ranges::min_element(offers, {}, &Offer::seconds);
  return {
      Instruction::Kind::copy, program.tensors[to].name, op, {from}, {to}, best, std::move(why), first};
}

}  // namespace maru::planning
