#include "plan/storage.h"

#include <algorithm>
#include <deque>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/slice.h"

namespace maru::planning {
namespace {

// A tensor is runs of bytes, of which a window has a part each: pixels where channels are last, else
// images.
std::int64_t runs_of(const TensorDesc& desc) {
  if (desc.shape.rank() == 0) return 1;
  return desc.layout.kind == Layout::Kind::channels_last && desc.shape.rank() > 1
             ? desc.shape[0] * desc.shape.count(2, desc.shape.rank())
             : desc.shape[0];
}

// Bytes of one run as the tensor stands alone, padding of blocks included.
std::int64_t run_bytes_of(const TensorDesc& desc) {
  const auto size = static_cast<std::int64_t>(size_of(desc.dtype));
  return desc.layout.kind == Layout::Kind::channels_last && desc.shape.rank() > 1
             ? desc.shape[1] * size
             : desc.with(desc.layout.dense()).image_stride() * size;
}

// Tensors that share bytes. Offsets are bytes within one run, relative to an origin of the group.
struct Group {
  struct Member {
    TensorIndex tensor;
    std::int64_t begin, end;
    bool written;  // by an instruction or the caller; false for views and in-place results
  };
  std::vector<Member> members;
  std::int64_t begin = 0, end = 0;
  std::int64_t runs = 1;
  Place place;
  bool callers = false;  // memory that a caller reads or writes; two such are never one
  bool kept = false;     // a state's, which stays where other plans find it
  bool sealed = false;   // may not grow: the caller's, or bytes that also have another shape
};

class Sharing {
 public:
  Sharing(Program& program, const Placement& placement)
      : program_(program), placement_(placement), before_(std::move(program.code)) {
    program_.code.clear();
    for (TensorIndex t = 0; t < program.tensors.size(); ++t) add_group(t);
    for (const Instruction& instruction : before_) {
      for (const TensorIndex t : instruction.src) readers_[t].push_back(&instruction);
      for (const TensorIndex t : instruction.dst) {
        producers_[t] = &instruction;
        member(t).written = instruction.kind != Instruction::Kind::view;
      }
    }
  }

  Storages run() {
    std::erase_if(open_states_ = program_.states, [&](const Program::State& state) {
      return state.begin == state.end || keep_in_place(state);
    });
    for (const Instruction& instruction : before_) {
      if (instruction.kind != Instruction::Kind::view) {
        work_in_place(instruction);
        program_.code.push_back(instruction);
      } else if (instruction.op.as<Concat>()) {
        join(instruction);
      } else {
        look(instruction);
      }
    }
    for (const Program::State& state : open_states_)
      copy(state.end, state.begin, "the next run reads it here");
    return settle();
  }

 private:
  // Has the state's last value written where it is kept; false where it must be copied there. What
  // reads the old value then comes before that, or is the writer itself, element by element.
  bool keep_in_place(const Program::State& state) {
    const Instruction* writer = producers_[state.end];
    if (writer == nullptr || writer->kind == Instruction::Kind::view) return false;
    if (program_.tensors[state.end].desc != program_.tensors[state.begin].desc) return false;
    if (program_.tensors[state.end].output) return false;
    for (const Instruction* reader : readers_[state.begin]) {
      if (reader > writer || reader->kind == Instruction::Kind::view) return false;
      if (reader != writer) continue;
      const auto at = std::ranges::find(writer->dst, state.end) - writer->dst.begin();
      const bool is_elementwise =
          writer->offer.in_place && std::ranges::count(writer->src, state.begin) == 1 &&
          at < std::ssize(writer->src) && writer->src[static_cast<std::size_t>(at)] == state.begin;
      if (!is_elementwise) return false;
    }
    member(state.end).written = false;
    const bool is_one = unify(state.end, state.begin, 0);
    member(state.end).written = true;
    if (is_one) program_.tensors[state.end].state = true;
    // What nobody reads may be written over before.
    if (is_one && readers_[state.begin].empty()) member(state.begin).written = false;
    return is_one;
  }

  void add_group(TensorIndex t) {
    const ProgramTensor& tensor = program_.tensors[t];
    Group group;
    group.end = run_bytes_of(tensor.desc);
    group.runs = runs_of(tensor.desc);
    group.place = tensor.place;
    group.members = {{t, 0, group.end, tensor.input || tensor.state}};
    group.kept = tensor.state;
    group.callers = group.sealed = tensor.input || tensor.output || tensor.mirrors || tensor.state;
    groups_.push_back(std::move(group));
    group_of_.push_back(groups_.size() - 1);
    readers_.emplace_back();
    producers_.push_back(nullptr);
    shows_.emplace_back();
  }

  Layout layout_of(TensorIndex t) const { return program_.tensors[t].desc.layout; }
  Group& group(TensorIndex t) { return groups_[group_of_[t]]; }
  Group::Member& member(TensorIndex t) {
    return *std::ranges::find(group(t).members, t, &Group::Member::tensor);
  }

  // Whether all who touch the tensor accept that its runs lie further apart than they are long.
  bool takes_window(TensorIndex t) const {
    const TensorDesc& desc = program_.tensors[t].desc;
    if (desc.shape.rank() < 2) return false;
    const Instruction* producer = producers_[t];
    if (producer == nullptr) return false;
    if (producer->kind != Instruction::Kind::view && !producer->offer.dst_window) return false;
    return std::ranges::all_of(readers_[t], [](const Instruction* reader) {
      return reader->kind == Instruction::Kind::view || reader->offer.src_window;
    });
  }

  // Bytes of one side alone join those of the same side, or bytes that both sides see.
  static bool can_share(const Place& a, const Place& b) {
    if (a.side == b.side) return a.heap == b.heap;
    return a.side == Side::both || b.side == Side::both;
  }

  // Makes the bytes of `part` those of `whole` from `offset` on; false when that cannot be.
  bool unify(TensorIndex part, TensorIndex whole, std::int64_t offset) {
    if (program_.tensors[part].constant || program_.tensors[whole].constant) return false;
    const std::int64_t shift = member(whole).begin + offset - member(part).begin;
    if (group_of_[part] == group_of_[whole]) return shift == 0;
    Group& into = group(whole);
    Group& from = group(part);
    if (into.runs != from.runs) return false;
    const std::int64_t begin = std::min(into.begin, from.begin + shift);
    const std::int64_t end = std::max(into.end, from.end + shift);
    const bool into_grows = into.begin != begin || into.end != end;
    const bool from_grows = from.begin + shift != begin || from.end + shift != end;
    if (into.callers && from.callers) return false;
    if (!can_share(into.place, from.place)) return false;
    if ((into.kept || from.kept) && into.place.heap != from.place.heap) return false;
    if ((into.sealed && into_grows) || (from.sealed && from_grows)) return false;
    for (const Group::Member& a : into.members) {
      for (const Group::Member& b : from.members) {
        if (a.written && b.written && a.begin < b.end + shift && b.begin + shift < a.end) return false;
      }
    }
    const auto fits = [&](const Group& g, std::int64_t by) {
      return std::ranges::all_of(g.members, [&](const Group::Member& m) {
        return (m.begin + by == begin && m.end + by == end) || takes_window(m.tensor);
      });
    };
    if (into.runs > 1 && (!fits(into, 0) || !fits(from, shift))) return false;
    const std::size_t target = group_of_[whole];
    for (Group::Member m : from.members) {
      m.begin += shift;
      m.end += shift;
      group_of_[m.tensor] = target;
      into.members.push_back(m);
    }
    into.begin = begin;
    into.end = end;
    if ((from.place.side == Side::both && !into.kept) || from.kept) into.place = from.place;
    into.kept = into.kept || from.kept;
    into.callers = into.callers || from.callers;
    into.sealed = into.sealed || from.sealed;
    from.members.clear();
    return true;
  }

  // Sees the runs of a group as one run of bytes, for members of other shapes.
  bool flatten(TensorIndex t) {
    Group& g = group(t);
    if (g.runs == 1) return true;
    const auto is_whole = [&](const Group::Member& m) { return m.begin == g.begin && m.end == g.end; };
    if (!std::ranges::all_of(g.members, is_whole)) return false;
    const std::int64_t bytes = (g.end - g.begin) * g.runs;
    for (Group::Member& m : g.members) {
      m.begin = 0;
      m.end = bytes;
    }
    g.begin = 0;
    g.end = bytes;
    g.runs = 1;
    g.sealed = true;
    return true;
  }

  // A tensor of its own with what `from` has, where `beside` lives, whose bytes it is to share.
  TensorIndex copied(TensorIndex from, Layout layout, TensorIndex beside, std::string name,
                     std::string why) {
    const TensorDesc desc = program_.tensors[from].desc.with(layout.dense());
    const TensorIndex to = program_.add_tensor({std::move(name), desc, nullptr, group(beside).place});
    add_group(to);
    copy(from, to, std::move(why));
    return to;
  }

  void copy(TensorIndex from, TensorIndex to, std::string why) {
    copies_.push_back(make_copy(program_, placement_, from, to, std::move(why)));
    member(to).written = true;
    producers_[to] = &copies_.back();
    readers_[from].push_back(&copies_.back());
    program_.code.push_back(copies_.back());
  }

  // Slice, reshape and the like: results look at the bytes of the operand.
  void look(const Instruction& view) {
    TensorIndex src = view.src[0];
    const bool is_slice = view.op.as<Slice>() != nullptr;
    std::int64_t begin = 0;  // channel of the operand
    for (const TensorIndex dst : view.dst) {
      const TensorDesc& desc = program_.tensors[dst].desc;
      const std::int64_t first = begin;
      shows_[dst] = {src};
      if (is_slice) begin += desc.shape[1];
      if (first % desc.layout.block != 0)
        continue;  // between blocks are only channels that nobody reads
      const std::int64_t offset =
          desc.channel_offset(first) * static_cast<std::int64_t>(size_of(desc.dtype));
      const std::string why = fmt::format("{} cannot share the bytes of {}", program_.tensors[dst].name,
                                          program_.tensors[src].name);
      // As is what looks at bytes that also have another shape.
      const bool reshapes =
          !is_slice && (program_.tensors[dst].desc.shape != program_.tensors[src].desc.shape ||
                        group(src).runs != group(dst).runs);
      if (reshapes) {
        if (!(flatten(dst) && flatten(src) && unify(dst, src, 0))) {
          const TensorIndex own = copied(src, layout_of(src), dst,
                                         fmt::format("{} alone", program_.tensors[src].name), why);
          MARU_ASSERT(flatten(own) && unify(dst, own, 0));
          shows_[dst] = {own};
        }
      } else if (!unify(dst, src, offset)) {
        if (group(src).runs != group(dst).runs) {  // runs as such are gone
          src = copied(src, layout_of(src), dst, fmt::format("{} alone", program_.tensors[src].name),
                       why);
          shows_[dst] = {src};
          if (unify(dst, src, offset)) continue;
        }
        const TensorIndex window = program_.add_tensor(
            {fmt::format("{} in {}", program_.tensors[dst].name, program_.tensors[src].name),
             program_.tensors[dst].desc, nullptr, group(src).place});
        add_group(window);
        producers_[window] = &view;
        shows_[window] = {src};
        shows_[dst].clear();
        MARU_ASSERT(unify(window, src, offset));
        copy(window, dst, why);
      }
    }
  }

  // Concatenation: operands are written where the result is read; those that cannot be are copied
  // there.
  void join(const Instruction& view) {
    const auto groups = groups_;
    const auto group_of = group_of_;
    const std::size_t tensors = program_.tensors.size(), code = program_.code.size();
    if (join_operands(view, false)) return;
    groups_ = groups;
    group_of_ = group_of;
    program_.tensors.resize(tensors);
    program_.code.erase(program_.code.begin() + static_cast<std::ptrdiff_t>(code), program_.code.end());
    readers_.resize(tensors);
    producers_.resize(tensors);
    shows_.resize(tensors);
    MARU_ASSERT(join_operands(view, true));
  }

  bool join_operands(const Instruction& view, bool copy_all) {
    const TensorIndex whole = view.dst[0];
    std::int64_t offset = 0;
    shows_[whole].clear();
    for (const TensorIndex part : view.src) {
      const std::int64_t bytes = run_bytes_of(program_.tensors[part].desc);
      TensorIndex shown = part;
      if (copy_all || !unify(part, whole, offset)) {
        const TensorIndex own =
            copied(part, layout_of(whole), whole,
                   fmt::format("{} in {}", program_.tensors[part].name, program_.tensors[whole].name),
                   fmt::format("{} cannot be written in place", program_.tensors[part].name));
        readers_[own].push_back(&view);
        if (!unify(own, whole, offset)) return false;
        shown = own;
      }
      shows_[whole].push_back(shown);
      offset += bytes;
    }
    return true;
  }

  void work_in_place(const Instruction& instruction) {
    if (instruction.kind != Instruction::Kind::kernel || !instruction.offer.in_place) return;
    for (std::size_t i = 0; i < std::min(instruction.src.size(), instruction.dst.size()); ++i)
      write_over(instruction.src[i], instruction.dst[i]);
  }

  void write_over(TensorIndex src, TensorIndex dst) {
    const ProgramTensor& tensor = program_.tensors[src];
    if (tensor.input || tensor.output || tensor.state || readers_[src].size() != 1) return;
    if (program_.tensors[dst].desc != tensor.desc) return;
    if (group(src).place.heap != group(dst).place.heap) return;
    const Group::Member mine = member(src);
    const auto overlaps = [&](const Group::Member& m) {
      return m.tensor != src && m.begin < mine.end && mine.begin < m.end;
    };
    if (std::ranges::any_of(group(src).members, overlaps)) return;
    member(dst).written = false;
    if (!unify(dst, src, 0)) member(dst).written = true;
  }

  Storages settle() {
    Storages result;
    result.of.resize(program_.tensors.size());
    for (const Group& g : groups_) {
      if (g.members.empty()) continue;
      Storage storage;
      storage.run_bytes = static_cast<std::size_t>(g.end - g.begin);
      storage.runs = g.runs;
      storage.place = g.place;
      for (const Group::Member& m : g.members) {
        storage.members.push_back(m.tensor);
        result.of[m.tensor] = {result.storages.size(), static_cast<std::size_t>(m.begin - g.begin)};
        if (g.runs > 1 && m.end - m.begin != g.end - g.begin) {
          TensorDesc& desc = program_.tensors[m.tensor].desc;
          const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
          const std::int64_t channel_bytes = (is_last ? 1 : desc.shape.count(2, desc.shape.rank())) *
                                             static_cast<std::int64_t>(size_of(desc.dtype));
          desc.layout = desc.layout.window_of((g.end - g.begin) / channel_bytes);
        }
      }
      result.storages.push_back(std::move(storage));
    }
    result.shows = std::move(shows_);
    return result;
  }

  Program& program_;
  const Placement& placement_;
  const std::vector<Instruction> before_;
  std::vector<Group> groups_;
  std::vector<std::size_t> group_of_;
  std::vector<std::vector<const Instruction*>> readers_;
  std::vector<const Instruction*> producers_;
  std::vector<std::vector<TensorIndex>> shows_;
  std::vector<Program::State> open_states_;  // whose last value is elsewhere
  std::deque<Instruction> copies_;           // stable addresses for readers_ and producers_
};

}  // namespace

Storages share_storage(Program& program, const Placement& placement) {
  return Sharing(program, placement).run();
}

}  // namespace maru::planning
