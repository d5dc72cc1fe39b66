#include "plan/check.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "plan/footprint.h"
#include "plan/row_order.h"
#include "plan/shadow.h"

namespace maru {
namespace {

using planning::ByteState;
using planning::Footprint;
using planning::RowOrder;
using planning::Shadow;

class Check {
 public:
  Check(const Planned& planned, std::span<const Device* const> devices)
      : plan_(planned.plan),
        flow_(planned.flow),
        constants_(planned.constants),
        devices_(devices),
        shadows_(plan_.regions.size()),
        row_of_(plan_.rows()) {
    for (const PackedConstant& packed : constants_) packed_[{packed.region, packed.offset}] = &packed;
    for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
      if (plan_.regions[r].kind == Region::Kind::input || plan_.regions[r].kind == Region::Kind::state)
        shadows_[r] = Shadow(ByteState{Dataflow::kCaller});
    }
  }

  void run() {
    check_weights();
    for (at_ = 0; at_ < plan_.steps.size(); ++at_) {
      const Step& step = plan_.steps[at_];
      switch (step.kind) {
        case Step::Kind::wait:
          wait(step);
          break;
        case Step::Kind::release:
          release(step);
          break;
        default:
          work(step);
      }
    }
    finish();
  }

 private:
  static constexpr const char* kHint =
      "reporting it with the output of `maru plan`; it is a bug of maru";

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    const std::string where =
        at_ < plan_.steps.size()
            ? fmt::format("step {} {}: {}", at_, plan_.steps[at_].name,
                          plan_.steps[at_].kind == Step::Kind::wait      ? "wait"
                          : plan_.steps[at_].kind == Step::Kind::release ? "release"
                                                                         : plan_.steps[at_].op)
            : fmt::format("the end of plan {}", plan_.network);
    throw Error(where, expected, got, kHint);
  }

  std::string bytes(std::size_t region, std::size_t begin, std::size_t end) const {
    return fmt::format("bytes {} to {} of region {} ({})", begin, end, region,
                       plan_.regions[region].name);
  }
  std::string bytes(const Footprint& f) const { return bytes(f.region, f.begin, f.end()); }

  std::string writer_name(std::size_t writer) const {
    if (writer == Dataflow::kCaller) return "the caller";
    if (writer == ByteState::kNobody) return "nobody";
    return fmt::format("{}", flow_.steps[writer].name);
  }
  std::string writer_names(const Dataflow::Sources& sources) const {
    std::string names;
    for (const std::size_t s : sources) names += (names.empty() ? "" : " or ") + writer_name(s);
    return names;
  }

  const MemoryTraits& traits(std::size_t region) const { return plan_.regions[region].heap->traits(); }
  bool is_heap_of(std::size_t device, std::size_t region) const {
    const auto heaps = devices_[device]->heaps();
    return std::ranges::find(heaps, plan_.regions[region].heap) != heaps.end();
  }
  // Memory that device 0 works in, where that is not the CPU.
  bool is_device_memory(std::size_t region) const {
    return !devices_[0]->is_host() && traits(region).device_visible && is_heap_of(0, region);
  }
  bool must_map(std::size_t region) const {
    return is_device_memory(region) && !traits(region).concurrent;
  }

  void check_weights() {
    const PackedConstant* last = nullptr;
    for (const auto& [at, packed] : packed_) {
      const Region& region = plan_.regions[packed->region];
      if (region.kind != Region::Kind::weights || packed->offset + packed->bytes > region.bytes) {
        fail(fmt::format("weights {} within their region of {} bytes", packed->name, region.bytes),
             bytes(packed->region, packed->offset, packed->offset + packed->bytes));
      }
      if (last != nullptr && last->region == packed->region &&
          last->offset + last->bytes > packed->offset)
        fail(fmt::format("weights {} and {} apart", last->name, packed->name),
             bytes(packed->region, packed->offset, last->offset + last->bytes));
      last = packed;
    }
  }

  Footprint footprint(const Operand& operand) const {
    const Footprint f = Footprint::of(operand);
    const std::size_t room = plan_.regions.at(operand.region).bytes;
    if (f.end() > room) fail(fmt::format("{} within {} bytes", operand.name, room), bytes(f));
    return f;
  }

  // -- Who may touch

  // A kernel's operand, by traits and by who has the bytes now.
  void touch(const Step& step, const std::string& name, const Footprint& f, bool writes) {
    const bool by_host = devices_[step.device]->is_host();
    if (!by_host || devices_[0]->is_host()) {
      if (!traits(f.region).device_visible || !is_heap_of(step.device, f.region))
        fail(fmt::format("{} in memory that {} sees", name, plan_.devices[step.device]),
             plan_.regions[f.region].heap->name());
      return;
    }
    if (!traits(f.region).host_visible)
      fail(fmt::format("{} in memory that the CPU sees", name), plan_.regions[f.region].heap->name());
    if (must_map(f.region)) check_mapped(name, f, writes);
    f.each_run([&](std::size_t from, std::size_t to) {
      shadows_[f.region].each(from, to, [&](std::size_t begin, std::size_t end, const ByteState& s) {
        if (s.device_write > finished_)
          fail(fmt::format("a wait for {}, before the CPU {} {}", writer_name(s.writer),
                           writes ? "writes" : "reads", name),
               fmt::format("the device may still write {}", bytes(f.region, begin, end)));
        if (writes && s.device_read > finished_)
          fail(fmt::format("a wait before the CPU writes {}", name),
               fmt::format("the device may still read {}", bytes(f.region, begin, end)));
      });
    });
  }

  // Several ranges may cover an operand together: those of one wait are mapped as one where they touch.
  void check_mapped(const std::string& name, const Footprint& f, bool writes) {
    f.each_run([&](std::size_t from, std::size_t to) {
      for (std::size_t at = from; at < to;) {
        std::size_t next = at;
        for (const Mapped& m : mapped_) {
          if (m.region != f.region || at < m.begin || at >= m.end) continue;
          const bool fits =
              writes ? m.write : m.read || is_written_since(f.region, at, std::min(to, m.end));
          if (fits) next = std::max(next, std::min(to, m.end));
        }
        if (next == at) {
          fail(fmt::format("{} mapped for the CPU to {}, by a wait that is not released", name,
                           writes ? "write" : "read"),
               fmt::format("{} not mapped so", bytes(f.region, at, to)));
        }
        at = next;
      }
    });
  }

  // What is mapped to be written has only what the CPU has written since.
  bool is_written_since(std::size_t region, std::size_t from, std::size_t to) {
    bool all = true;
    shadows_[region].each(from, to, [&](std::size_t, std::size_t, const ByteState& s) {
      all = all && s.hand_over == hand_overs_;
    });
    return all;
  }

  void check_nothing_mapped(const std::string& who) const {
    if (mapped_.empty()) return;
    fail(fmt::format("a release of {} before {}", mapped_[0].name, who),
         fmt::format("{} still mapped for the CPU",
                     bytes(mapped_[0].region, mapped_[0].begin, mapped_[0].end)));
  }

  // -- What may run at once: in a row of a device that combines only Step::after orders

  void begin_work(const Step& step) {
    ++given_;
    if (!plan_.combines) return;
    std::vector<std::size_t> after;
    for (const std::size_t earlier : step.after) {
      if (earlier < row_of_[at_] || earlier >= at_)
        fail(fmt::format("to follow steps from {} on, before it", row_of_[at_]),
             fmt::format("step {}", earlier));
      after.push_back(given_ - (at_ - earlier));
    }
    order_.begin(row_of_[at_] == at_, after);
  }

  [[noreturn]] void fail_at_once(const std::string& name, bool writes, std::size_t work,
                                 bool work_writes, const std::string& where) const {
    const std::size_t other = at_ - (given_ - work);
    fail(fmt::format("{} {} after step {} {}, which {} the same bytes", name,
                     writes ? "written" : "read", other, plan_.steps[other].name,
                     work_writes ? "writes" : "reads"),
         "both at once on " + where);
  }

  void check_none_at_once(const std::string& name, const Footprint& f) {
    f.each_run([&](std::size_t from, std::size_t to) {
      shadows_[f.region].each(from, to, [&](std::size_t begin, std::size_t end, const ByteState& s) {
        if (!order_.has_ended(s.device_write))
          fail_at_once(name, true, s.device_write, true, bytes(f.region, begin, end));
        if (const std::size_t reader = order_.unended_reader(s.readers); reader != 0)
          fail_at_once(name, true, reader, false, bytes(f.region, begin, end));
      });
    });
  }

  // -- Steps

  void wait(const Step& step) {
    check_nothing_mapped("the next wait");
    finished_ = given_;
    if (step.src.empty() && step.dst.empty()) return;
    ++hand_overs_;
    for (const auto* operands : {&step.src, &step.dst}) {
      for (const Operand& operand : *operands) {
        const Footprint f = footprint(operand);
        if (!must_map(f.region) || !traits(f.region).host_visible)
          fail(fmt::format("{} in memory that is mapped for the CPU", operand.name),
               plan_.regions[f.region].heap->name());
        f.each_run([&](std::size_t begin, std::size_t end) {
          mapped_.push_back(
              {operand.name, f.region, begin, end, operands == &step.src, operands == &step.dst});
        });
      }
    }
    // What is mapped to be written alone may come with anything in it.
    for (const Operand& written : step.dst) {
      const Footprint f = Footprint::of(written);
      const auto is_kept = [&](const Operand& read) { return Footprint::of(read).overlaps(f); };
      if (f.count > 1 || std::ranges::any_of(step.src, is_kept)) continue;
      set(f, {});
    }
  }

  void release(const Step& step) {
    if (mapped_.empty()) fail("something mapped for the CPU", "nothing");
    for (const auto* operands : {&step.src, &step.dst}) {
      for (const Operand& operand : *operands) {
        const Footprint f = footprint(operand);
        std::erase_if(mapped_, [&](const Mapped& m) {
          return m.region == f.region && (operands == &step.src ? m.read : m.write) &&
                 m.begin >= f.begin && m.end <= f.end();
        });
      }
    }
    check_nothing_mapped("the release ends");
  }

  void work(const Step& step) {
    if (next_work_ >= flow_.steps.size() || flow_.steps[next_work_].name != step.name ||
        flow_.steps[next_work_].src.size() != step.src.size()) {
      fail(fmt::format("{} as the next step of the dataflow",
                       next_work_ < flow_.steps.size() ? flow_.steps[next_work_].name : "nothing"),
           step.name);
    }
    const Dataflow::Work& work = flow_.steps[next_work_];
    const bool by_device = !devices_[step.device]->is_host();
    if (by_device) {
      check_nothing_mapped(fmt::format("{} goes on", plan_.devices[step.device]));
      begin_work(step);
    }
    std::vector<Footprint> src, dst;
    for (const Operand& operand : step.src) src.push_back(source(step, operand));
    for (const Operand& operand : step.dst) dst.push_back(footprint(operand));
    const Footprint scratch = workspace(step);
    check_apart(step, work, src, dst, scratch);
    for (std::size_t i = 0; i < step.src.size(); ++i) {
      if (plan_.regions[step.src[i].region].kind == Region::Kind::weights) continue;
      read(step, step.src[i], src[i], work.src[i], by_device);
    }
    const auto may_write = [&](const std::string& name, const Footprint& f) {
      check_writable(name, f);
      if (by_device && plan_.combines) check_none_at_once(name, f);
      if (!step.crosses()) touch(step, name, f, true);
    };
    if (scratch.length > 0) may_write("the workspace", scratch);
    for (std::size_t i = 0; i < dst.size(); ++i) may_write(step.dst[i].name, dst[i]);
    const std::size_t device_write = by_device ? given_ : 0;
    const std::size_t hand_over = by_device ? 0 : hand_overs_;
    set(scratch, {ByteState::kNobody, device_write, 0, 0, hand_over});
    for (const Footprint& f : dst) set(f, {next_work_, device_write, 0, 0, hand_over});
    if (step.crosses()) finished_ = given_;  // returns when all that was before it is done, and it too
    ++next_work_;
  }

  Footprint source(const Step& step, const Operand& operand) const {
    if (plan_.regions.at(operand.region).kind != Region::Kind::weights) return footprint(operand);
    const auto packed = packed_.find({operand.region, operand.offset});
    if (packed == packed_.end())
      fail(fmt::format("{} among the packed weights", operand.name),
           fmt::format("nothing at {} of region {}", operand.offset, operand.region));
    if (packed->second->kernel != step.kernel)
      fail(fmt::format("weights {} packed for this step's kernel", operand.name), "for another");
    return {operand.region, operand.offset, packed->second->bytes, packed->second->bytes, 1};
  }

  Footprint workspace(const Step& step) const {
    const std::size_t length = step.kernel ? step.kernel->workspace_bytes() : 0;
    const Footprint f{step.workspace_region, step.workspace_offset, length, length, 1};
    if (length > 0 && f.end() > plan_.regions.at(f.region).bytes)
      fail(fmt::format("a workspace within {} bytes", plan_.regions[f.region].bytes), bytes(f));
    return f;
  }

  // Within one step: results lie apart from all else, but where the kernel works in place.
  void check_apart(const Step& step, const Dataflow::Work& work, const std::vector<Footprint>& src,
                   const std::vector<Footprint>& dst, const Footprint& scratch) const {
    for (std::size_t d = 0; d < dst.size(); ++d) {
      for (std::size_t s = 0; s < src.size(); ++s) {
        const bool same = src[s].begin == dst[d].begin && step.src[s].desc == step.dst[d].desc;
        if (src[s].overlaps(dst[d]) && !(work.in_place && d == s && same))
          fail(fmt::format("{} apart from {}", step.dst[d].name, step.src[s].name),
               "both in " + bytes(dst[d]));
      }
      for (std::size_t other = 0; other < d; ++other) {
        if (dst[other].overlaps(dst[d]))
          fail(fmt::format("{} apart from {}", step.dst[d].name, step.dst[other].name),
               "both in " + bytes(dst[d]));
      }
      if (scratch.overlaps(dst[d]))
        fail(fmt::format("{} apart from the workspace", step.dst[d].name), "both in " + bytes(scratch));
    }
    for (std::size_t s = 0; s < src.size(); ++s) {
      if (scratch.overlaps(src[s]))
        fail(fmt::format("{} apart from the workspace", step.src[s].name), "both in " + bytes(scratch));
    }
  }

  void read(const Step& step, const Operand& operand, const Footprint& f,
            const Dataflow::Sources& sources, bool by_device) {
    if (step.crosses()) {
      check_transfer(step);
    } else {
      touch(step, operand.name, f, false);
    }
    f.each_run([&](std::size_t from, std::size_t to) {
      shadows_[f.region].each(from, to, [&](std::size_t begin, std::size_t end, ByteState& s) {
        if (!std::ranges::binary_search(sources, s.writer))
          fail(fmt::format("{} as {} wrote it", operand.name, writer_names(sources)),
               fmt::format("{}, written last by {}", bytes(f.region, begin, end),
                           writer_name(s.writer)));
        if (step.crosses() && is_device_memory(f.region) && s.device_write > finished_)
          fail(fmt::format("a wait for {}, before {} is copied", writer_name(s.writer), operand.name),
               fmt::format("the device may still write {}", bytes(f.region, begin, end)));
        if (by_device) s.device_read = given_;
        if (!by_device || !plan_.combines) return;
        if (!order_.has_ended(s.device_write))
          fail_at_once(operand.name, false, s.device_write, true, bytes(f.region, begin, end));
        s.readers = order_.with_reader(s.readers);
      });
    });
  }

  void check_transfer(const Step& step) const {
    const std::size_t src = step.src[0].region, dst = step.dst[0].region;
    if (step.src[0].desc != step.dst[0].desc || step.src[0].desc.layout.is_window())
      fail(fmt::format("the same form on both sides of a transfer of {}", step.src[0].name),
           fmt::format("{} and {}", step.src[0].desc.str(), step.dst[0].desc.str()));
    // Memory that both see may be either end.
    const auto joins = [&](std::size_t a, std::size_t b) {
      return is_device_memory(a) && traits(b).host_visible;
    };
    if (!joins(src, dst) && !joins(dst, src))
      fail("a transfer between memory that the device sees and memory that the CPU sees",
           fmt::format("{} to {}", plan_.regions[src].heap->name(), plan_.regions[dst].heap->name()));
  }

  void check_writable(const std::string& name, const Footprint& f) const {
    const Region& region = plan_.regions[f.region];
    if (region.kind == Region::Kind::weights || region.kind == Region::Kind::input)
      fail(fmt::format("{} elsewhere than in {} {}", name,
                       region.kind == Region::Kind::input ? "the caller's input" : "the", region.name),
           bytes(f));
  }

  void set(const Footprint& f, const ByteState& state) {
    f.each_run([&](std::size_t begin, std::size_t end) { shadows_[f.region].set(begin, end, state); });
  }

  void finish() {
    if (next_work_ != flow_.steps.size())
      fail("every step of the dataflow", fmt::format("none for {}", flow_.steps[next_work_].name));
    check_nothing_mapped("the caller goes on");
    if (finished_ != given_) fail("a wait for the device", "none behind its last step");
    for (std::size_t i = 0; i < plan_.outputs.size(); ++i) {
      const Port& port = plan_.outputs[i];
      if (!traits(port.region).host_visible)
        fail(fmt::format("{} in memory that the CPU sees", port.name),
             plan_.regions[port.region].heap->name());
      check_left(port, flow_.outputs[i]);
    }
    for (std::size_t i = 0; i < plan_.states.size(); ++i) check_left(plan_.states[i], flow_.states[i]);
  }

  // What is there when the run has ended.
  void check_left(const Port& port, const Dataflow::Sources& sources) {
    const Footprint f = footprint({port.name, port.desc, port.region});
    f.each_run([&](std::size_t from, std::size_t to) {
      shadows_[f.region].each(from, to, [&](std::size_t begin, std::size_t end, const ByteState& s) {
        if (!std::ranges::binary_search(sources, s.writer))
          fail(fmt::format("{} as {} wrote it", port.name, writer_names(sources)),
               fmt::format("{}, written last by {}", bytes(f.region, begin, end),
                           writer_name(s.writer)));
      });
    });
  }

  struct Mapped {
    std::string name;
    std::size_t region, begin, end;
    bool read, write;
  };

  const Plan& plan_;
  const Dataflow& flow_;
  const std::vector<PackedConstant>& constants_;
  std::span<const Device* const> devices_;
  std::map<std::pair<std::size_t, std::size_t>, const PackedConstant*> packed_;  // by region and offset
  std::vector<Shadow> shadows_;                                                  // per region
  const std::vector<std::size_t> row_of_;                                        // per step
  RowOrder order_;              // where launches are combined
  std::vector<Mapped> mapped_;  // for the CPU, now
  std::size_t at_ = 0;          // the step
  std::size_t next_work_ = 0;   // the next of the dataflow's
  std::size_t given_ = 0;       // to the device, so far
  std::size_t finished_ = 0;    // of them, waited for
  std::size_t hand_overs_ = 0;  // waits that mapped something
};

}  // namespace

void check_plan(const Planned& planned, std::span<const Device* const> devices) {
  Check(planned, devices).run();
}

bool is_checking_all() {
  const char* value = std::getenv("MARU_CHECK");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace maru
