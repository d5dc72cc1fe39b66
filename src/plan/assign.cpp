#include "plan/assign.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/identity.h"
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
  Traffic& traffic(ValueId id) { return traffic_[static_cast<std::size_t>(id)]; }

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

  // Backwards, so that what reads a view counts for the bytes that it looks at.
  void count_traffic() {
    for (const Value& value : graph_.values()) {
      Traffic one;
      one.bytes = static_cast<double>(value.desc.bytes());
      traffic_.push_back(one);
    }
    for (const ValueId id : graph_.outputs) {
      traffic(id).host_read += traffic(id).bytes;
      traffic(id).host_touches += 1;
    }
    for (std::size_t n = graph_.nodes().size(); n-- > 0;) {
      const Node& node = graph_.nodes()[n];
      if (is_view(graph_, node)) {
        for (const ValueId src : node.src) {
          for (const ValueId dst : node.dst) add_share(traffic(dst), traffic(src));
        }
        continue;
      }
      const bool on_host = placement_.side_of(result_.device[n]) == Side::host;
      for (const ValueId id : node.src) {
        (on_host ? traffic(id).host_read : traffic(id).device_read) += traffic(id).bytes;
        traffic(id).host_touches += on_host;
      }
    }
    for (std::size_t i = 0; i < traffic_.size(); ++i) {
      const bool by_host = result_.home[i] == Side::host;
      (by_host ? traffic_[i].host_write : traffic_[i].device_write) += traffic_[i].bytes;
      traffic_[i].host_touches += by_host;
    }
  }

  // What of a view's traffic falls on an operand of which it shows at most all.
  static void add_share(const Traffic& view, Traffic& whole) {
    const double share = view.bytes > 0 ? std::min(1.0, whole.bytes / view.bytes) : 0;
    Traffic part = view;
    for (double* bytes : {&part.host_read, &part.host_write, &part.device_read, &part.device_write})
      *bytes *= share;
    whole += part;
  }

  Place place_of(std::size_t value) const {
    const Traffic& traffic = traffic_[value];
    const bool is_port = std::ranges::any_of(
        graph_.inputs, [&](ValueId id) { return static_cast<std::size_t>(id) == value; });
    if (graph_.values()[value].constant != nullptr) return placement_.local();
    if (!traffic.crosses()) {
      if (result_.home[value] == Side::device) return placement_.local();
      return is_port && traffic.device_read > 0 ? placement_.staging() : placement_.host();
    }
    Place place = placement_.crossing(traffic);
    if (place.side == Side::both) return place;
    // It lives twice: here as its writer knows it; the other is made where it is read.
    if (result_.home[value] == Side::host) return place;
    Place local = placement_.local();
    local.why = place.why;
    return local;
  }

  const Graph& graph_;
  const Placement& placement_;
  Assignment result_;
  std::vector<Traffic> traffic_;
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

bool keeps_bytes(const Op& op) { return op.as<Identity>() || op.as<Reshape>() || op.as<Flatten>(); }

bool is_view(const Graph& graph, const Node& node) {
  return keeps_bytes(node.op) || channel_parts(graph, node).has_value();
}

Assignment assign(const Graph& graph, const Placement& placement) {
  return Assigning(graph, placement).run();
}

}  // namespace maru::planning
