#include <maru/pack.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "api/loading.h"
#include "api/packed.h"
#include "base/error.h"
#include "pack/packed_model.h"
#include "pack/writer.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

// Room for one packed constant at a time, aligned as a heap would align it.
class Room {
 public:
  std::span<std::byte> zeros(std::size_t bytes) {
    constexpr std::size_t kAlignment = 64;
    room_.assign(bytes + kAlignment, std::byte{0});
    const auto begin = reinterpret_cast<std::uintptr_t>(room_.data());
    return std::span(room_).subspan((kAlignment - begin % kAlignment) % kAlignment, bytes);
  }

 private:
  std::vector<std::byte> room_;
};

class WeightsWriter {
 public:
  WeightsWriter(const Planned& planned, PackedWriter& file, const PackOptions& options)
      : planned_(planned), file_(file), options_(options) {
    const auto regions = region_bytes(planned.plan);
    total_ = std::accumulate(regions.begin(), regions.end(), std::uint64_t{0});
  }

  void write() {
    std::size_t index = 0;
    for (std::size_t r = 0; r < planned_.plan.regions.size(); ++r) {
      const Region& region = planned_.plan.regions[r];
      if (region.kind != Region::Kind::weights) continue;
      if (region.bytes > 0) write_region(r, fmt::format("weights.{}", index), region.bytes);
      ++index;
    }
  }

 private:
  void write_region(std::size_t region, std::string name, std::size_t bytes) {
    std::vector<const PackedConstant*> constants;
    for (const PackedConstant& packed : planned_.constants) {
      if (packed.region == region) constants.push_back(&packed);
    }
    std::ranges::sort(constants, {}, &PackedConstant::offset);
    file_.begin_section(std::move(name));
    for (const PackedConstant* packed : constants) {
      const std::span<std::byte> room = room_.zeros(packed->bytes);
      packed->kernel->pack(packed->operand, *packed->constant, room);
      packed->constant->release_pages();
      file_.fill_to(packed->offset);
      file_.append(room);
      if (options_.progress) options_.progress(done_ + file_.section_bytes(), total_);
    }
    file_.fill_to(bytes);
    done_ += bytes;
  }

  const Planned& planned_;
  PackedWriter& file_;
  const PackOptions& options_;
  Room room_;
  std::uint64_t done_ = 0, total_ = 0;
};

std::size_t sections_of(const Plan& plan, bool has_labels) {
  const auto regions = region_bytes(plan);
  const auto empty = std::ranges::count(regions, std::size_t{0});
  return 3 + (has_labels ? 1 : 0) + regions.size() - static_cast<std::size_t>(empty);
}

// A model that cannot be loaded from its file must not be left for somebody else to find.
void try_loading(const fs::path& file, const ModelOptions& options) {
  Model::State state;
  load_packed(state, file, options);
}

}  // namespace

PackedInfo pack_model(const fs::path& model, const fs::path& file, const PackOptions& options) {
  ModelOptions how = options.model;
  how.tune = false;    // a tile that was measured here is not what loading elsewhere would plan
  how.photos = false;  // a packed model gets its preprocessing when it is loaded
  check_options(how);
  if (is_packed(model)) {
    throw Error(model.string(), "a network to be packed", "a packed model",
                "the model that it was packed from");
  }
  if (!options.replace && fs::exists(file)) {
    throw Error(file.string(), "a new file", "one that is there", "--force, which replaces it");
  }
  const Package package = find_package(model, how.weights, how.labels);
  Model::State state;
  Network network = load_network(state, package, how);
  network.graph.tidy();  // as loading for photos does, so that both orders are one
  if (package.labels && classes_of(network.graph) > 0) {
    state.labels = read_labels(*package.labels, classes_of(network.graph));
  }
  PlanOptions plan_how = plan_options(state, how);
  plan_how.weights_in_file = true;
  const Planned planned = make_plan(network.graph, state.device_list, plan_how);

  const PackedCard card{
      state.name,  package.origin,   how.preprocessing.value_or(package.preprocessing),
      state.notes, network.rewrites, how.optimize};
  const PackedFor made_for{std::string(state.devices[0]->name()),
                           state.devices[0]->description(),
                           how.threads,
                           state.batch,
                           planned.choices,
                           region_bytes(planned.plan),
                           places_of(planned),
                           precision_of(how)};
  const std::string card_section = card_text(card), graph_section = graph_text(network.graph),
                    plan_section = plan_text(made_for);
  PackedWriter writer(file, sections_of(planned.plan, !state.labels.empty()), version());
  const auto add = [&](const char* name, const std::string& text) {
    writer.begin_section(name);
    writer.append(text);
  };
  add("model", card_section);
  add("graph", graph_section);
  add("plan", plan_section);
  if (!state.labels.empty()) add("labels", labels_text(state.labels));
  WeightsWriter(planned, writer, options).write();

  ModelOptions trial;
  trial.device = made_for.device;
  trial.precision = made_for.precision;
  trial.expected_runs = how.expected_runs;
  trial.photos = false;
  trial.threads = how.threads;
  trial.batch = 0;
  trial.memory = how.memory;
  trial.optimize = how.optimize;
  try_loading(writer.close(), trial);
  writer.finish(options.replace);
  return packed_info(file);
}

}  // namespace maru
