#include "plan/assign.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/identity.h"
#include "ops/pool.h"
#include "ops/preprocess.h"
#include "ops/reshape.h"
#include "ops/slice.h"

namespace maru::planning {
namespace {

class Assigning {
 public:
  Assigning(const Graph& graph, const Placement& placement) : graph_(graph), placement_(placement) {}

  Assignment run() {
    // Inputs are the caller's.
    result_.home.assign(graph_.values().size(), placement_.is_split() ? Side::host : Side::device);
    for (const State& state : graph_.states) home(state.begin) = Side::device;
    for (const Node& node : graph_.nodes()) {
      result_.device.push_back(is_view(graph_, node) ? device_of_view(node) : device_of(node));
      for (const ValueId id : node.dst) home(id) = placement_.side_of(result_.device.back());
    }
    if (!placement_.is_split()) {
      result_.place.assign(graph_.values().size(), placement_.local());
      return std::move(result_);
    }
    count_traffic();
    for (std::size_t i = 0; i < graph_.values().size(); ++i) result_.place.push_back(place_of(i));
    return std::move(result_);
  }

 private:
  Side& home(ValueId id) { return result_.home[static_cast<std::size_t>(id)]; }

  std::size_t device_of(const Node& node) const {
    std::vector<TensorDesc> src = graph_.descs(node.src), dst = graph_.descs(node.dst);
    const auto constant = std::make_unique<bool[]>(node.src.size());
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      constant[i] = graph_.value(node.src[i]).constant != nullptr;
      if (!constant[i]) src[i].layout = Layout::any();
    }
    for (TensorDesc& desc : dst) desc.layout = Layout::any();
    const Call call{node.op, src, dst, {constant.get(), node.src.size()}};
    std::string names;
    for (std::size_t d = 0; d < placement_.device_count(); ++d) {
      if (!placement_.device(d).offers(call).empty()) return d;
      names += fmt::format("{}{}", d == 0 ? "" : " or ", placement_.device(d).name());
    }
    throw Error(fmt::format("{} {}", node.op.name(), node.name),
                fmt::format("an operator that {} can run", names),
                fmt::format("{} on {}", node.op.key(),
                            src.empty() ? "nothing" : graph_.value(node.src[0]).desc.str()),
                "another --device");
  }

  // What looks at bytes is where they are; a join of both sides' bytes is the device's.
  std::size_t device_of_view(const Node& node) {
    const bool all_host = std::ranges::all_of(node.src, [&](ValueId id) {
      return graph_.value(id).constant == nullptr && home(id) == Side::host;
    });
    return placement_.device_on(all_host ? Side::host : Side::device);
  }

  // Values that views connect share bytes, so they are of one family, which is placed as one.
  std::size_t family(std::size_t value) {
    while (family_[value] != value) value = family_[value] = family_[family_[value]];
    return value;
  }
  Traffic& traffic(ValueId id) { return traffic_[family(static_cast<std::size_t>(id))]; }

  void count_traffic() {
    for (std::size_t i = 0; i < graph_.values().size(); ++i) family_.push_back(i);
    for (const Node& node : graph_.nodes()) {
      if (!is_view(graph_, node)) continue;
      for (const ValueId src : node.src) {
        if (graph_.value(src).constant) continue;
        for (const ValueId dst : node.dst)
          family_[family(static_cast<std::size_t>(dst))] = family(static_cast<std::size_t>(src));
      }
    }
    traffic_.resize(graph_.values().size());
    std::vector<bool> moves(graph_.values().size());  // read on the side that does not write it
    const auto read = [&](ValueId id, Side side) {
      const auto bytes = static_cast<double>(graph_.value(id).desc.bytes());
      Traffic& sum = traffic(id);
      if (side == Side::host) sum.host_read += bytes;
      sum.host_touches += side == Side::host;
      if (home(id) != side && !moves[static_cast<std::size_t>(id)]) {
        moves[static_cast<std::size_t>(id)] = true;
        (side == Side::host ? sum.down : sum.up) += bytes;
      }
    };
    const auto written = [&](ValueId id) {
      const auto bytes = static_cast<double>(graph_.value(id).desc.bytes());
      Traffic& sum = traffic(id);
      if (home(id) == Side::host) sum.host_write += bytes;
      sum.host_touches += home(id) == Side::host;
    };
    for (const ValueId id : graph_.inputs) written(id);
    for (const ValueId id : graph_.outputs) read(id, Side::host);
    for (std::size_t n = 0; n < graph_.nodes().size(); ++n) {
      const Node& node = graph_.nodes()[n];
      const Side side = placement_.side_of(result_.device[n]);
      if (is_view(graph_, node)) {
        // Bytes that a join wants on its side, and another wrote.
        for (const ValueId id : node.src) {
          if (graph_.value(id).constant || home(id) == side || moves[static_cast<std::size_t>(id)])
            continue;
          moves[static_cast<std::size_t>(id)] = true;
          (side == Side::host ? traffic(id).down : traffic(id).up) += bytes_of(id);
        }
        continue;
      }
      for (const ValueId id : node.dst) {
        written(id);
        traffic(id).host_results += side == Side::host && !reads_from_device(node);
      }
      for (const ValueId id : node.src) {
        if (!graph_.value(id).constant) read(id, side);
      }
      if (side == Side::device) touch(node);
    }
  }

  // Then the CPU waits before it, wherever it writes.
  bool reads_from_device(const Node& node) {
    return std::ranges::any_of(node.src, [&](ValueId id) {
      return graph_.value(id).constant == nullptr && home(id) == Side::device;
    });
  }

  double bytes_of(ValueId id) const { return static_cast<double>(graph_.value(id).desc.bytes()); }

  void touch(const Node& node) {
    const Cost cost = node.op.cost(graph_.descs(node.src), graph_.descs(node.dst));
    for (std::size_t i = 0; i < node.src.size(); ++i) {
      const ValueId id = node.src[i];
      if (graph_.value(id).constant) continue;
      const double bytes = bytes_of(id);
      const Reading reads = i == 0 ? reading(node.op, graph_.value(id).desc) : Reading{};
      traffic(id).touches.push_back(
          {bytes * reads.once, 0, bytes * reads.again, std::max(0.0, cost.bytes - bytes), cost.flops});
    }
    for (const ValueId id : node.dst) {
      const double bytes = bytes_of(id);
      traffic(id).touches.push_back({0, bytes, 0, std::max(0.0, cost.bytes - bytes), cost.flops});
    }
  }

  // Other plans, whose traffic is another, use the same memory.
  bool is_state(std::size_t value) const {
    return std::ranges::any_of(graph_.states, [&](const State& state) {
      return static_cast<std::size_t>(state.begin) == value;
    });
  }

  Place place_of(std::size_t value) {
    if (graph_.values()[value].constant != nullptr || is_state(value)) return placement_.local();
    const Traffic& traffic = traffic_[family(value)];
    const bool by_host = result_.home[value] == Side::host;
    if (!traffic.crosses()) return by_host ? placement_.host() : placement_.local();
    Place place = placement_.crossing(graph_.values()[family(value)].name, traffic);
    if (place.side == Side::both || by_host) return place;
    // It lives twice: here as the device writes it; the other is made where the CPU reads it.
    Place local = placement_.local();
    local.why = place.why;
    return local;
  }

  const Graph& graph_;
  const Placement& placement_;
  Assignment result_;
  std::vector<std::size_t> family_;  // per value: another of its family, or itself
  std::vector<Traffic> traffic_;     // per family, at its representative
};

}  // namespace

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

Reading reading(const Op& op, const TensorDesc& src) {
  const auto of = [](const Window& w) {
    const double times =
        static_cast<double>(w.kernel[0] * w.kernel[1]) / static_cast<double>(w.stride[0] * w.stride[1]);
    return Reading{1, std::max(0.0, times - 1)};
  };
  if (const auto* conv = op.as<Conv>()) return of(conv->window);
  if (const auto* pool = op.as<Pool>(); pool != nullptr && !pool->global) return of(pool->window);
  if (const auto* preprocess = op.as<Preprocess>()) {
    // Of a photo that fills its room, for none is known yet. A row of the result lies between two of
    // the photo: neighbours share rows where it is not halved, and where it is made still smaller the
    // rest is skipped. Columns do not count: memory comes in pieces that are longer than what is
    // between.
    const double pixels = std::max(1.0, static_cast<double>(src.shape[1]) / 3);
    const double smaller =
        std::sqrt(pixels / static_cast<double>(preprocess->height * preprocess->width));
    const double rows = 2 / smaller;
    return {std::min(1.0, rows), std::max(0.0, rows - 1)};
  }
  return {};
}

bool keeps_bytes(const Op& op) { return op.as<Identity>() || op.as<Reshape>() || op.as<Flatten>(); }

bool is_view(const Graph& graph, const Node& node) {
  return keeps_bytes(node.op) || channel_parts(graph, node).has_value();
}

Assignment assign(const Graph& graph, const Placement& placement) {
  return Assigning(graph, placement).run();
}

}  // namespace maru::planning
