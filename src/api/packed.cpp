#include "api/packed.h"

#include <maru/pack.h>

#include <algorithm>
#include <memory>

#include "api/loading.h"
#include "api/package.h"
#include "base/error.h"
#include "device/registry.h"
#include "pack/packed_model.h"
#include "pack/reader.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

// What reading a section throws, with the file in front.
template <class Read>
auto within(const PackedFile& file, const char* section, Read read) {
  try {
    return read(file.text(section));
  } catch (const Error& error) {
    if (error.where().starts_with(file.path().string())) throw;
    throw error.within(fmt::format("{}: section {}", file.path().string(), section));
  }
}

PackedCard card_of(const PackedFile& file) { return within(file, "model", read_card); }
PackedFor made_for(const PackedFile& file) { return within(file, "plan", read_plan); }

Graph graph_of(const PackedFile& file, const ModelOptions& options) {
  std::optional<std::int64_t> batch;
  if (options.batch > 0) batch = options.batch;
  return within(file, "graph", [&](std::string_view text) { return read_graph(text, batch); });
}

std::vector<std::string> labels_of(const PackedFile& file) {
  if (!file.has("labels")) return {};
  return split_labels(file.text("labels"));
}

Error unfit(const PackedFile& file, const PackedFor& packed, std::string_view expected,
            std::string_view got) {
  return Error(file.path().string(), expected, got,
               fmt::format("`maru pack` again for this machine and these options: this file is for {} "
                           "({}), --batch {} --threads {} --precision {}",
                           packed.device, packed.description, packed.batch, packed.threads,
                           to_string(packed.precision)));
}

void open_packed_device(Model::State& state, const PackedFile& file, const PackedFor& packed,
                        const ModelOptions& options) {
  if (options.device != "auto") {
    open_devices(state, options.device, options);
  } else {
    try {
      open_devices(state, packed.device, options);
    } catch (const Error& error) {
      throw unfit(file, packed, fmt::format("the device {}", packed.device), error.what());
    }
  }
  const std::string_view here = state.devices[0]->name();
  if (here != packed.device)
    throw unfit(file, packed, fmt::format("the device {}", packed.device), here);
}

// The plan that was made when the file was packed, made again.
Planned plan_again(const Model::State& state, const Graph& graph, const PackedFile& file,
                   const PackedFor& packed, const ModelOptions& options) {
  PlanOptions how = plan_options(state, options);
  how.weights_in_file = true;
  how.choices = packed.choices;
  try {
    return make_plan(graph, state.device_list, how);
  } catch (const Error& error) {
    throw unfit(file, packed, fmt::format("{}: {}", error.where(), error.expected()), error.got());
  }
}

// The packed bytes are those that this plan's kernels want, each where the plan looks for it.
void check_places(const PackedFile& file, const PackedFor& packed, const Planned& planned,
                  const Device& device) {
  const std::vector<PackedPlace> wanted = places_of(planned);
  for (std::size_t i = 0; i < std::min(wanted.size(), packed.places.size()); ++i) {
    if (wanted[i] == packed.places[i]) continue;
    const auto text = [](const PackedPlace& place) {
      return fmt::format("{} as {} in {} bytes at {} of weights.{}", place.constant, place.form,
                         place.bytes, place.offset, place.region);
    };
    throw unfit(
        file, packed, text(wanted[i]),
        fmt::format("{} in the file; here is {}", text(packed.places[i]), device.description()));
  }
  if (wanted.size() != packed.places.size() || region_bytes(planned.plan) != packed.region_bytes) {
    throw unfit(file, packed, fmt::format("{} constants", wanted.size()),
                fmt::format("{} in the file", packed.places.size()));
  }
}

std::vector<std::span<const std::byte>> weights_of(const PackedFile& file, const PackedFor& packed) {
  std::vector<std::span<const std::byte>> regions;
  for (std::size_t i = 0; i < packed.region_bytes.size(); ++i) {
    const auto found = file.weights(i);
    if (packed.region_bytes[i] != (found ? found->size() : 0)) {
      throw Error(fmt::format("{}: section weights.{}", file.path().string(), i),
                  fmt::format("{} bytes, as its plan says", packed.region_bytes[i]),
                  fmt::format("{}", found ? found->size() : 0), "packing the model again");
    }
    regions.push_back(found.value_or(std::span<const std::byte>()));
  }
  return regions;
}

void say_where_weights_are(Plan& plan, const Weights& weights, const fs::path& path) {
  std::size_t index = 0;
  for (Region& region : plan.regions) {
    if (region.kind != Region::Kind::weights) continue;
    const char* how = weights.in_file[index++] ? "the pages of" : "copied once, at load, from";
    if (region.bytes > 0) region.why = fmt::format("{} {}", how, path.filename().string());
  }
}

void check_packed_options(const PackedFile& file, const PackedCard& card, const ModelOptions& options) {
  if (!options.weights.empty()) {
    throw Error(file.path().string(), "no other weights: it holds its own", options.weights.string(),
                "the model that it was packed from");
  }
  if (!options.optimize && card.optimized) {
    throw Error(file.path().string(), "a model whose layers are as they were", "one that is rewritten",
                "`maru pack --no-optimize`, or the model that it was packed from");
  }
}

// The same options in the precision of the file.
ModelOptions as_packed(const PackedFile& file, const PackedFor& packed, const ModelOptions& options) {
  if (options.precision.value_or(packed.precision) != packed.precision) {
    throw Error(
        file.path().string(), fmt::format("{}, in which it was packed", to_string(packed.precision)),
        to_string(*options.precision),
        fmt::format("`maru pack --precision {}`, or no --precision", to_string(*options.precision)));
  }
  ModelOptions same = options;
  same.precision = packed.precision;
  return same;
}

PackedInfo info_of(const PackedFile& file) {
  const PackedFor packed = made_for(file);
  PackedInfo info{file.path(),     file.header().file_bytes, file.header().maru_version,
                  packed.device,   packed.description,       packed.batch,
                  packed.threads,  card_of(file).optimized,  {},
                  packed.precision};
  for (const PackedSection& section : file.header().sections) {
    info.sections.push_back({section.name, section.offset, section.bytes, section.checksum});
  }
  return info;
}

}  // namespace

void load_packed(Model::State& state, const fs::path& path, const ModelOptions& asked) {
  const auto file = std::make_shared<const PackedFile>(path);
  const PackedCard card = card_of(*file);
  check_packed_options(*file, card, asked);
  const PackedFor packed = made_for(*file);
  const ModelOptions options = as_packed(*file, packed, asked);
  open_packed_device(state, *file, packed, options);
  Graph graph = graph_of(*file, options);
  state.name = card.name;
  state.notes = card.notes;
  ask_for(graph, options.outputs);
  if (options.photos) take_photos(graph, options.preprocessing.value_or(card.preprocessing));
  RewriteLog log{card.rewrites};
  if (packed.precision == Precision::fp16) fold_casts(graph, log, offered_by(state));
  state.batch = batch_of(graph);
  if (!options.labels.empty()) {
    state.labels = read_labels(options.labels, classes_of(graph));
  } else if (options.photos) {
    state.labels = labels_of(*file);
  }

  Planned planned = plan_again(state, graph, *file, packed, options);
  planned.plan.rewrites = std::move(log.lines);
  check_places(*file, packed, planned, *state.devices[0]);
  state.weights = take_weights(planned.plan, state.device_list, weights_of(*file, packed));
  say_where_weights_are(planned.plan, state.weights, path);
  state.file = file;
  state.plan = std::move(planned.plan);
}

NetworkInfo inspect_packed(const fs::path& path, const ModelOptions& options) {
  const PackedFile file(path);
  const PackedCard card = card_of(file);
  check_packed_options(file, card, options);
  NetworkInfo info;
  info.name = card.name;
  info.network = info.weights = path;
  if (file.has("labels")) info.labels = path;
  if (!options.labels.empty()) info.labels = options.labels;
  info.notes = card.notes;
  describe(graph_of(file, options), info);
  return info;
}

Preprocessing packed_preprocessing(const fs::path& path) {
  return card_of(PackedFile(path)).preprocessing;
}

bool is_packed(const fs::path& file) { return PackedFile::is_meant_by(file); }

PackedInfo packed_info(const fs::path& file, bool verify) {
  const PackedFile opened(file);
  if (verify) opened.verify_weights();
  return info_of(opened);
}

}  // namespace maru
