#include "pack/packed_model.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"
#include "ops/operator.h"
#include "ops/preprocess.h"

namespace maru {
namespace {

using nlohmann::json;

constexpr const char* kAgain = "packing the model again";

// ---- writing

std::string dump(const json& document, std::string_view where) {
  try {
    return document.dump();
  } catch (const json::exception&) {
    throw Error(where, "names in UTF-8", "a name that is not", "renaming the layer");
  }
}

json to_json(const std::string& name, const TensorDesc& desc) {
  MARU_ASSERT(desc.layout == Layout::plain());
  return {{"name", name}, {"dtype", to_string(desc.dtype)}, {"shape", desc.shape.extents()}};
}

// ---- reading; every accessor names the field when it is not what it should be

Error wrong(std::string_view field, std::string_view expected, const json& got) {
  return Error(field, expected, json_text(got), kAgain);
}

const json& member(const json& in, const char* field) {
  if (!in.is_object()) throw wrong(field, "an object that holds it", in);
  const auto found = in.find(field);
  if (found == in.end()) throw Error(field, "this field", "none", kAgain);
  return *found;
}

const json& list(const json& in, const char* field) {
  const json& found = member(in, field);
  if (!found.is_array()) throw wrong(field, "a list", found);
  return found;
}

std::int64_t integer(const json& value, std::string_view field) {
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() ||
       value.get<std::uint64_t>() <= std::uint64_t(std::numeric_limits<std::int64_t>::max()));
  if (!fits) throw wrong(field, "a whole number", value);
  return value.get<std::int64_t>();
}

std::size_t size(const json& in, const char* field) {
  const json& value = member(in, field);
  const std::int64_t number = integer(value, field);
  if (number < 0) throw wrong(field, "0 or more", value);
  return static_cast<std::size_t>(number);
}

std::string string(const json& value, std::string_view field) {
  if (!value.is_string()) throw wrong(field, "a string", value);
  return value.get<std::string>();
}
std::string text(const json& in, const char* field) { return string(member(in, field), field); }

std::vector<std::string> texts(const json& in, const char* field) {
  std::vector<std::string> all;
  for (const json& value : list(in, field)) all.push_back(string(value, field));
  return all;
}

template <class E>
E enumerator(const json& in, const char* field) {
  E value{};
  try {
    parse_field(text(in, field), value);
  } catch (const Error& error) {
    throw Error(field, error.expected(), error.got(), kAgain);
  }
  return value;
}

TensorDesc desc(const json& in) {
  std::vector<std::int64_t> extents;
  for (const json& extent : list(in, "shape")) extents.push_back(integer(extent, "shape"));
  return {enumerator<DType>(in, "dtype"), Shape(extents), Layout::plain()};
}

json parse(std::string_view content) {
  try {
    return json::parse(content);
  } catch (const json::exception& error) {
    throw Error("json", "a document", error.what(), kAgain);
  }
}

class GraphReader {
 public:
  GraphReader(const json& root, std::optional<std::int64_t> batch) : root_(root), batch_(batch) {}

  Graph read() {
    graph_.name = text(root_, "name");
    for (const json& input : list(root_, "inputs")) {
      TensorDesc found = desc(input);
      if (batch_ && found.shape.rank() > 0) found.shape = found.shape.with(0, *batch_);
      graph_.add_input(text(input, "name"), found);
    }
    read_constants();
    for (const json& node : list(root_, "nodes")) read_node(node);
    graph_.outputs = ids(root_, "outputs");
    if (graph_.outputs.empty()) throw Error("outputs", "one or more", "none", kAgain);
    return std::move(graph_);
  }

 private:
  void read_constants() {
    std::vector<std::shared_ptr<const Constant>> made;
    for (const json& entry : list(root_, "constants")) {
      if (entry.contains("same_as")) {
        const std::size_t which = size(entry, "same_as");
        if (which >= made.size()) throw wrong("same_as", "a constant before this one", entry);
        made.push_back(made[which]);
      } else {
        made.push_back(std::make_shared<const Constant>(desc(entry)));
      }
      graph_.add_constant(text(entry, "name"), made.back());
    }
  }

  void read_node(const json& node) {
    const std::string name = text(node, "name");
    try {
      graph_.add_node(name, parse_op(text(node, "op"), text(node, "attributes")), ids(node, "src"),
                      texts(node, "dst"));
    } catch (const Error& error) {
      if (error.where().ends_with(name)) throw;
      throw error.within(name);
    }
  }

  // Values are numbered as they come: inputs, constants, results of nodes.
  std::vector<ValueId> ids(const json& in, const char* field) const {
    std::vector<ValueId> found;
    for (const json& value : list(in, field)) {
      const std::int64_t id = integer(value, field);
      if (id < 0 || id >= static_cast<std::int64_t>(graph_.values().size())) {
        throw wrong(field, fmt::format("a value before, 0 to {}", graph_.values().size()), value);
      }
      found.push_back(ValueId(static_cast<std::uint32_t>(id)));
    }
    return found;
  }

  const json& root_;
  std::optional<std::int64_t> batch_;
  Graph graph_;
};

}  // namespace

std::vector<PackedPlace> places_of(const Planned& planned) {
  std::vector<PackedPlace> places;
  for (const PackedConstant& packed : planned.constants) {
    const auto before = std::span(planned.plan.regions).first(packed.region);
    const auto region = std::ranges::count(before, Region::Kind::weights, &Region::kind);
    places.push_back({packed.name, packed.operand, static_cast<std::size_t>(region), packed.offset,
                      packed.bytes, packed.kernel->packed_form(packed.operand)});
  }
  return places;
}

std::vector<std::size_t> region_bytes(const Plan& plan) {
  std::vector<std::size_t> bytes;
  for (const Region& region : plan.regions) {
    if (region.kind == Region::Kind::weights) bytes.push_back(region.bytes);
  }
  return bytes;
}

std::string card_text(const PackedCard& card) {
  const Preprocessing& how = card.preprocessing;
  return dump({{"name", card.name},
               {"origin", card.origin},
               {"preprocessing",
                {{"channels", to_string(how.channels)},
                 {"resize", to_string(how.resize)},
                 {"mean", how.mean},
                 {"scale", how.scale}}},
               {"notes", card.notes},
               {"rewrites", card.rewrites},
               {"optimized", card.optimized}},
              "model");
}

PackedCard read_card(std::string_view content) {
  const json root = parse(content);
  PackedCard card;  // field by field: g++ 12 frees twice what throws within a list in braces
  card.name = text(root, "name");
  card.origin = text(root, "origin");
  card.notes = texts(root, "notes");
  card.rewrites = texts(root, "rewrites");
  const json& how = member(root, "preprocessing");
  card.preprocessing.channels = enumerator<Preprocessing::Channels>(how, "channels");
  card.preprocessing.resize = enumerator<Preprocessing::Resize>(how, "resize");
  const json& mean = list(how, "mean");
  if (!std::ranges::all_of(mean, [](const json& v) { return v.is_number(); })) {
    throw wrong("mean", "numbers", mean);
  }
  card.preprocessing.mean = mean.get<std::vector<float>>();
  const json& scale = member(how, "scale");
  if (!scale.is_number()) throw wrong("scale", "a number", scale);
  card.preprocessing.scale = scale.get<float>();
  const json& optimized = member(root, "optimized");
  if (!optimized.is_boolean()) throw wrong("optimized", "true or false", optimized);
  card.optimized = optimized.get<bool>();
  return card;
}

std::string plan_text(const PackedFor& made_for) {
  json regions = json::array(), places = json::array();
  for (const std::size_t bytes : made_for.region_bytes) regions.push_back({{"bytes", bytes}});
  for (const PackedPlace& place : made_for.places) {
    places.push_back({{"constant", place.constant},
                      {"operand", place.operand},
                      {"region", place.region},
                      {"offset", place.offset},
                      {"bytes", place.bytes},
                      {"form", place.form}});
  }
  json document{{"device", made_for.device},   {"description", made_for.description},
                {"threads", made_for.threads}, {"batch", made_for.batch},
                {"choices", made_for.choices}, {"regions", std::move(regions)},
                {"places", std::move(places)}};
  // Readers of version 1 that know no precision find operators in a network of fp16 that they refuse.
  if (made_for.precision != Precision::fp32) document["precision"] = to_string(made_for.precision);
  return dump(document, "plan");
}

PackedFor read_plan(std::string_view content) {
  const json root = parse(content);
  PackedFor made_for;
  made_for.device = text(root, "device");
  made_for.description = text(root, "description");
  if (root.contains("precision")) made_for.precision = enumerator<Precision>(root, "precision");
  made_for.threads = static_cast<int>(std::min<std::size_t>(size(root, "threads"), 1 << 20));
  made_for.batch = static_cast<std::int64_t>(size(root, "batch"));
  const json& choices = member(root, "choices");
  if (!choices.is_object()) throw wrong("choices", "an object", choices);
  for (const auto& [step, offer] : choices.items()) {
    made_for.choices[step] = string(offer, "choices");
  }
  for (const json& region : list(root, "regions")) {
    made_for.region_bytes.push_back(size(region, "bytes"));
  }
  for (const json& entry : list(root, "places")) {
    PackedPlace& place = made_for.places.emplace_back();
    place.constant = text(entry, "constant");
    place.operand = size(entry, "operand");
    place.region = size(entry, "region");
    place.offset = size(entry, "offset");
    place.bytes = size(entry, "bytes");
    place.form = text(entry, "form");
  }
  return made_for;
}

std::string graph_text(const Graph& graph) {
  constexpr std::size_t kUnnumbered = std::numeric_limits<std::size_t>::max();
  json root{{"name", graph.name},
            {"inputs", json::array()},
            {"constants", json::array()},
            {"nodes", json::array()},
            {"outputs", json::array()}};
  std::vector<std::size_t> number(graph.values().size(), kUnnumbered);
  std::size_t next = 0;
  const auto number_of = [&](ValueId id) -> std::size_t& {
    return number[static_cast<std::size_t>(id)];
  };
  const auto numbers = [&](const std::vector<ValueId>& ids) {
    std::vector<std::size_t> found;
    for (const ValueId id : ids) {
      MARU_ASSERT(number_of(id) != kUnnumbered);
      found.push_back(number_of(id));
    }
    return found;
  };
  for (const ValueId id : graph.inputs) {
    number_of(id) = next++;
    root["inputs"].push_back(to_json(graph.value(id).name, graph.value(id).desc));
  }
  std::map<const Constant*, std::size_t> known;
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    if (!value.constant) continue;
    const auto [first, is_new] = known.try_emplace(value.constant.get(), root["constants"].size());
    root["constants"].push_back(is_new ? to_json(value.name, value.desc)
                                       : json{{"name", value.name}, {"same_as", first->second}});
    number[i] = next++;
  }
  for (const Node& node : graph.nodes()) {
    std::vector<std::string> results;
    json src = numbers(node.src);
    for (const ValueId id : node.dst) {
      results.push_back(graph.value(id).name);
      number_of(id) = next++;
    }
    root["nodes"].push_back({{"name", node.name},
                             {"op", node.op.name()},
                             {"attributes", node.op.attributes()},
                             {"src", std::move(src)},
                             {"dst", std::move(results)}});
  }
  root["outputs"] = numbers(graph.outputs);
  return dump(root, "graph");
}

Graph read_graph(std::string_view content, std::optional<std::int64_t> batch) {
  const json root = parse(content);
  return GraphReader(root, batch).read();
}

std::string labels_text(const std::vector<std::string>& labels) {
  std::string all;
  for (const std::string& label : labels) all += label + '\n';
  return all;
}

std::vector<std::string> split_labels(std::string_view content) {
  std::vector<std::string> labels;
  for (std::size_t end = content.find('\n'); end != std::string_view::npos; end = content.find('\n')) {
    labels.emplace_back(content.substr(0, end));
    content.remove_prefix(end + 1);
  }
  return labels;
}

}  // namespace maru
