#include "import/caffe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "import/caffe_attrs.h"
#include "import/caffe_data.h"
#include "import/caffe_filler.h"
#include "import/caffe_upgrade.h"
#include "import/caffe_weights.h"
#include "import/caffemodel.h"
#include "import/prototxt.h"
#include "ops/identity.h"
#include "ops/loss.h"
#include "ops/operator.h"
#include "ops/reshape.h"

namespace maru {
namespace {

struct Layer {
  const Message* message = nullptr;
  int line = 0;
  std::string name, type;
  std::vector<std::string> bottoms, tops;
};

// Fields of a layer that the importer itself reads, or that matter to data layers only.
constexpr std::string_view kLayerFields[] = {
    "name",        "type",           "bottom",         "top", "phase", "param", "include", "exclude",
    "loss_weight", "propagate_down", "transform_param"};
constexpr std::string_view kNetFields[] = {"name", "layer", "state", "force_backward", "debug_info"};

// Layers of BVLC's Caffe 1.0 (caffe.proto, layer_factory) without an operator here.
constexpr std::string_view kNotHere[] = {"ArgMax",
                                         "BatchReindex",
                                         "Clip",
                                         "ContrastiveLoss",
                                         "Crop",
                                         "Deconvolution",
                                         "DummyData",
                                         "Embed",
                                         "Filter",
                                         "HDF5Data",
                                         "HDF5Output",
                                         "HingeLoss",
                                         "Im2col",
                                         "InfogainLoss",
                                         "LSTM",
                                         "LSTMUnit",
                                         "MVN",
                                         "MemoryData",
                                         "MultinomialLogisticLoss",
                                         "Parameter",
                                         "Python",
                                         "RNN",
                                         "Recurrent",
                                         "Reduction",
                                         "SPP",
                                         "Swish",
                                         "Threshold",
                                         "Tile",
                                         "WindowData"};

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

class Importer {
 public:
  Importer(std::string file, std::vector<CaffeModel> models, const CaffeOptions& options)
      : file_(std::move(file)), options_(options), weights_(std::move(models), file_, options) {
    if (options.phase != "TEST" && options.phase != "TRAIN") {
      throw Error("phase", "TEST or TRAIN", options.phase);
    }
    if (options.batch && *options.batch < 1) {
      throw Error("batch", "a batch of 1 or more", fmt::format("{}", *options.batch));
    }
  }

  Imported run(Message definition) {
    const Message net = upgrade_caffe_net(std::move(definition), file_);
    read_net(net);
    for (const Layer& layer : layers_) {
      ++name_counts_[layer.name];
      weights_.declare(layer.name, *layer.message);
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) import_layer(i);
    weights_.check_missing(result_.notes);
    finish();
    weights_.note_unused(result_.notes);
    return std::move(result_);
  }

 private:
  Graph& graph() { return result_.graph; }
  bool trains() const { return options_.phase == "TRAIN"; }

  std::string place(const Layer& layer) const { return place(layer, layer.line); }
  std::string place(const Layer& layer, int line) const {
    return fmt::format("{}:{} layer '{}'", file_, line, layer.name);
  }

  void note(int line, std::string_view text) {
    result_.notes.push_back(fmt::format("{}:{}: {}", file_, line, text));
  }

  // Runs a part of an operator; what it throws comes out with the place of the layer.
  template <class F>
  auto within(const Layer& layer, F&& part) const {
    try {
      return part();
    } catch (const Error& error) {
      if (error.where().starts_with(file_ + ":")) throw;
      const bool said = error.where().ends_with(" " + layer.name);  // "conv conv1"
      throw Error(said ? place(layer) : fmt::format("{}: {}", place(layer), error.where()),
                  error.expected(), error.got(), error.hint());
    }
  }

  std::string string_of(const Field& field) const {
    if (field.kind != Field::Kind::string) {
      throw Error(fmt::format("{}:{}", file_, field.line), fmt::format("a quoted {}", field.name),
                  field.str(),
                  field.is_message() ? "" : fmt::format("{}: \"{}\"", field.name, field.text));
    }
    return field.text;
  }

  std::string one_string(const Message& message, std::string_view name) const {
    const auto found = message.all(name);
    if (found.size() > 1) {
      throw Error(fmt::format("{}:{}", file_, found[1]->line), fmt::format("one {}", name),
                  fmt::format("{}", found.size()), "checking that the braces pair");
    }
    return found.empty() ? std::string() : string_of(*found[0]);
  }

  std::vector<std::string> strings(const Message& message, std::string_view name) const {
    std::vector<std::string> values;
    for (const Field* field : message.all(name)) values.push_back(string_of(*field));
    return values;
  }

  void read_net(const Message& net) {
    if (!net.has("layer")) {
      const bool solver = net.has("base_lr") || net.has("net") || net.has("train_net");
      throw Error(file_, "a network with layers", solver ? "a solver definition" : "none",
                  solver ? "the network file that it names" : "the deploy definition of the network");
    }
    graph().name = one_string(net, "name");
    if (graph().name.empty()) graph().name = std::filesystem::path(file_).stem().string();
    stages_.insert(options_.stages.begin(), options_.stages.end());
    level_ = options_.level;
    for (const Field* state : net.all("state")) {
      for (const std::string& stage : strings(state->message, "stage")) stages_.insert(stage);
      const Field* level = state->message.find("level");
      if (level != nullptr && level_ == 0) level_ = level->integer().value_or(0);
    }
    for (const Field& field : net.fields) {
      if (field.name == "layer") {
        read_layer(field);
      } else if (!contains(kNetFields, field.name)) {
        note(field.line, fmt::format("the network's field {} is not used", field.name));
      }
    }
    if (layers_.empty()) {
      throw Error(file_, fmt::format("layers in phase {}", options_.phase),
                  "none: rules leave out all of them");
    }
  }

  void read_layer(const Field& field) {
    Layer layer;
    layer.message = &field.message;
    layer.line = field.line;
    layer.name = one_string(field.message, "name");
    layer.type = one_string(field.message, "type");
    if (layer.name.empty()) layer.name = fmt::format("{}@{}", layer.type, layer.line);
    layer.bottoms = strings(field.message, "bottom");
    layer.tops = strings(field.message, "top");
    // Caffe gives a loss a top where the file names none.
    if (layer.tops.empty() && is_loss(layer.type)) layer.tops.push_back(layer.name);
    (is_included(layer) ? layers_ : excluded_).push_back(std::move(layer));
  }

  std::string phase_of(const Field& field) const {
    if (field.text == "TRAIN" || field.integer() == 0) return "TRAIN";
    if (field.text == "TEST" || field.integer() == 1) return "TEST";
    throw Error(fmt::format("{}:{}", file_, field.line), "TRAIN or TEST for the phase", field.str());
  }

  bool is_included(const Layer& layer) {
    const auto include = layer.message->all("include"), exclude = layer.message->all("exclude");
    if (!include.empty() && !exclude.empty()) {
      throw Error(place(layer, exclude[0]->line), "either include or exclude rules", "both");
    }
    const auto met = [&](const Field* rule) { return meets(layer, *rule); };
    if (!include.empty()) return std::ranges::any_of(include, met);
    return std::ranges::none_of(exclude, met);
  }

  bool meets(const Layer& layer, const Field& rule) {
    if (!rule.is_message()) {
      throw Error(place(layer, rule.line), fmt::format("a block {} {{ }}", rule.name), rule.str());
    }
    bool result = true;
    for (const Field& field : rule.message.fields) {
      if (field.name == "phase") {
        result = result && phase_of(field) == options_.phase;
      } else if (field.name == "min_level" || field.name == "max_level") {
        const auto level = field.integer();
        if (!level)
          throw Error(place(layer, field.line), fmt::format("an integer for {}", field.name),
                      field.str());
        result = result && (field.name == "min_level" ? level_ >= *level : level_ <= *level);
      } else if (field.name == "stage") {
        result = result && stages_.contains(string_of(field));
      } else if (field.name == "not_stage") {
        result = result && !stages_.contains(string_of(field));
      } else {
        throw Error(place(layer, field.line),
                    "phase, min_level, max_level, stage or not_stage in a rule", field.name);
      }
    }
    return result;
  }

  static bool is_loss(std::string_view type) { return type.ends_with("Loss"); }

  void import_layer(std::size_t index) {
    const Layer& layer = layers_[index];
    if (const Field* phase = layer.message->find("phase");
        phase && phase_of(*phase) != options_.phase) {
      note(phase->line,
           fmt::format("layer '{}' asks for another phase; it runs in {}", layer.name, options_.phase));
    }
    check_tops(layer);
    result_.layers.push_back({layer.name, layer.type, {}});
    if (layer.type == "Input") return import_input(layer);
    if (is_caffe_data_layer(layer.type)) return import_data(layer);
    const Spelling* spelling = layer.type == "Silence" ? nullptr : find_spelling("caffe", layer.type);
    if (spelling == nullptr && layer.type != "Silence") unsupported(layer);
    std::vector<ValueId> src;
    for (const std::string& bottom : layer.bottoms) src.push_back(find_bottom(index, bottom));
    for (const ValueId id : src) read_.insert(id);
    if (spelling == nullptr) return;

    const Message* block = block_of(layer, spelling->message);
    const CaffeAttrs attrs(block, file_, layer.name);
    const Op op = within(layer, [&] {
      return spelling->parse(attrs, {layer.bottoms.size(), layer.tops.size()});
    });
    note_unread(layer, *spelling, attrs);
    if (trains()) stop_gradients(layer, src);
    if (op.as<PairLoss>() != nullptr) match_shapes(layer, src);
    const auto params = within(layer, [&] { return op.params(graph().descs(src)); });
    const std::string node_name = unique_name(layer, !params.empty());
    add_parameters(layer, block, params, src);
    std::vector<std::string> names = layer.tops;
    // A loss makes probabilities, whether or not somebody wants to see them.
    const bool hides = op.as<SoftmaxLoss>() != nullptr && names.size() == 1;
    if (hides) names.push_back(layer.name + "/probabilities");
    const NodeId node = within(layer, [&] { return graph().add_node(layer.name, op, src, names); });
    graph().node(node).name = node_name;
    if (hides) read_.insert(graph().node(node).dst[1]);
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      latest_[layer.tops[i]] = {graph().node(node).dst[i], &layer};
    }
    note_losses(layer, graph().node(node).dst);
  }

  void add_parameters(const Layer& layer, const Message* block, std::span<const Param> params,
                      std::vector<ValueId>& src) {
    std::vector<CaffeFiller> fillers;
    for (std::size_t i = 0; options_.fill && i < params.size(); ++i) {
      fillers.push_back(read_caffe_filler(block, layer.type, params[i].role, file_, layer.name));
    }
    const auto constants = weights_.add(graph(), layer.name, place(layer), params, fillers);
    for (std::size_t i = 0; i < constants.size(); ++i) {
      const Value& value = graph().value(constants[i]);
      result_.layers.back().params.push_back({value.name, value.desc.shape, value.constant});
      // Statistics are recorded, not trained, whatever the file says.
      result_.rates[value.name] =
          layer.type == "BatchNorm" ? std::pair{0.0, 0.0} : weights_.rates(layer.name, i, place(layer));
    }
    src.insert(src.end(), constants.begin(), constants.end());
  }

  // propagate_down: false, one for each bottom: no gradient goes there.
  void stop_gradients(const Layer& layer, std::vector<ValueId>& src) {
    const auto fields = layer.message->all("propagate_down");
    if (fields.empty()) return;
    if (fields.size() != src.size()) {
      throw Error(place(layer, fields[0]->line),
                  fmt::format("propagate_down for each of {} bottoms, or not at all", src.size()),
                  fmt::format("{}", fields.size()));
    }
    for (std::size_t i = 0; i < src.size(); ++i) {
      const auto value = fields[i]->boolean();
      if (!value)
        throw Error(place(layer, fields[i]->line), "true or false for propagate_down",
                    fields[i]->str());
      if (*value || !graph().value(src[i]).producer) continue;
      const std::string name = fmt::format("{}/{} as it is", layer.name, layer.bottoms[i]);
      const NodeId stop = graph().add_node(name, Identity{Identity::Reason::stop}, {src[i]}, {name});
      src[i] = graph().node(stop).dst[0];
    }
  }

  // Caffe compares what belongs to one image by number, not by shape: N x 1 with N.
  void match_shapes(const Layer& layer, std::vector<ValueId>& src) {
    if (src.size() != 2) return;  // the operator says so
    const Shape came = graph().value(src[0]).desc.shape, wanted = graph().value(src[1]).desc.shape;
    if (came == wanted || came.count() != wanted.count() || came.rank() == 0 || wanted.rank() == 0 ||
        came[0] != wanted[0])
      return;
    const std::string name = fmt::format("{}/{} reshaped", layer.name, layer.bottoms[1]);
    const NodeId node = graph().add_node(name, Reshape{{came.begin(), came.end()}}, {src[1]}, {name});
    src[1] = graph().node(node).dst[0];
  }

  void note_losses(const Layer& layer, std::span<const ValueId> dst) {
    const auto fields = layer.message->all("loss_weight");
    if (!fields.empty() && fields.size() != layer.tops.size()) {
      throw Error(place(layer, fields[0]->line),
                  fmt::format("a loss_weight for each of {} tops, or none", layer.tops.size()),
                  fmt::format("{}", fields.size()));
    }
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      double weight = is_loss(layer.type) && i == 0 ? 1 : 0;
      if (!fields.empty()) {
        const auto written = fields[i]->number();
        if (!written || !std::isfinite(*written))
          throw Error(place(layer, fields[i]->line), "a finite number for loss_weight",
                      fields[i]->str());
        weight = *written;
      }
      if (weight == 0) continue;
      const Shape& shape = graph().value(dst[i]).desc.shape;
      if (shape.count() == 1) {
        result_.losses.push_back({layer.tops[i], weight});
        losses_.push_back({dst[i], &layer});
      } else if (trains()) {
        throw Error(place(layer, fields.empty() ? layer.line : fields[i]->line),
                    fmt::format("a loss of one element for the loss_weight of \"{}\"", layer.tops[i]),
                    shape.str(), "a layer that makes one number of it, such as EuclideanLoss");
      }
    }
  }

  // Weights are found by layer name, so layers that have some need names of their own; the others get
  // the line added.
  std::string unique_name(const Layer& layer, bool has_weights) {
    if (name_counts_.at(layer.name) > 1 && has_weights) {
      const auto other = std::ranges::find_if(layers_, [&](const Layer& candidate) {
        return candidate.name == layer.name && &candidate != &layer;
      });
      throw Error(place(layer), "a name of its own for a layer with weights",
                  fmt::format("another layer '{}' on line {}", layer.name, other->line),
                  "renaming one of them");
    }
    if (seen_names_.insert(layer.name).second) return layer.name;
    note(layer.line,
         fmt::format("another layer '{}'; it is shown as '{}@{}'", layer.name, layer.name, layer.line));
    return fmt::format("{}@{}", layer.name, layer.line);
  }

  // A top is new, or the bottom at the same place (in place), as in Caffe.
  void check_tops(const Layer& layer) const {
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      const std::string& top = layer.tops[i];
      const bool twice =
          std::find(layer.tops.begin(), layer.tops.begin() + static_cast<std::ptrdiff_t>(i), top) !=
          layer.tops.begin() + static_cast<std::ptrdiff_t>(i);
      const auto made = latest_.find(top);
      if (!twice && (made == latest_.end() || (i < layer.bottoms.size() && layer.bottoms[i] == top)))
        continue;
      const Layer& other = twice ? layer : *made->second.layer;
      throw Error(
          place(layer), "a top that no layer makes yet",
          fmt::format("\"{}\", already made by layer '{}' on line {}", top, other.name, other.line),
          "another name, or that blob as the bottom for a layer that works in place");
    }
  }

  const Message* block_of(const Layer& layer, std::string_view name) const {
    if (name.empty()) return layer.message;
    const auto blocks = layer.message->all(name);
    if (blocks.empty()) return nullptr;
    if (blocks.size() > 1) {
      throw Error(place(layer, blocks[1]->line), fmt::format("one {}", name),
                  fmt::format("{}", blocks.size()));
    }
    if (!blocks[0]->is_message()) {
      throw Error(place(layer, blocks[0]->line), fmt::format("a block {} {{ }}", name),
                  blocks[0]->str());
    }
    return &blocks[0]->message;
  }

  // Fields that nobody reads. Caffe has many that change nothing here, and its forks have more; but
  // what is almost a field that is read is no such thing.
  void note_unread(const Layer& layer, const Spelling& spelling, const CaffeAttrs& attrs) {
    const auto say = [&](int line, std::string_view name, const std::string& meant) {
      if (!meant.empty()) throw Error(place(layer, line), "a field of the layer", name, meant);
      note(line, fmt::format("layer '{}' ({}): {} is not used", layer.name, layer.type, name));
    };
    const bool flat = spelling.message.empty();              // the attributes lie on the layer itself
    std::map<std::string, std::string, std::less<>> unread;  // and what is meant
    for (const CaffeAttrs::Unread& field : attrs.unread()) {
      if (!flat) {
        say(field.line, fmt::format("{}.{}", spelling.message, field.name), field.meant);
      } else if (field.name.find('.') != std::string::npos) {
        say(field.line, field.name, field.meant);
      } else {
        unread.emplace(field.name, field.meant);
      }
    }
    for (const Field& field : layer.message->fields) {
      if (contains(kLayerFields, field.name) || field.name == spelling.message) continue;
      if (flat && !unread.contains(field.name)) continue;
      const bool silent =
          field.is_message() && std::ranges::all_of(field.message.fields, [](const Field& inner) {
            return is_training_field(inner.name);
          });
      const std::string meant = flat ? unread.at(field.name) : std::string();
      if (!silent) say(field.line, field.name, meant.empty() ? meant_by(field.name, spelling) : meant);
    }
  }

  static std::string meant_by(std::string_view field, const Spelling& spelling) {
    for (const std::string_view known : kLayerFields) {
      if (are_similar(field, known)) return std::string(known);
    }
    return are_similar(field, spelling.message) ? std::string(spelling.message) : std::string();
  }

  void import_input(const Layer& layer) {
    const Message* block = block_of(layer, "input_param");
    const auto shapes = block != nullptr ? block->all("shape") : std::vector<const Field*>();
    if (!layer.bottoms.empty()) {
      throw Error(place(layer), "an Input layer without bottoms",
                  fmt::format("\"{}\"", layer.bottoms[0]));
    }
    if (layer.tops.empty() || (shapes.size() != 1 && shapes.size() != layer.tops.size())) {
      throw Error(place(layer), "one shape for all tops, or one for each",
                  fmt::format("{} tops and {} shapes", layer.tops.size(), shapes.size()),
                  "input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }");
    }
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      const Field& shape = *shapes[shapes.size() == 1 ? 0 : i];
      std::vector<std::int64_t> extents;
      for (const Field* dim : shape.message.all("dim")) {
        const auto extent = dim->integer();
        if (!extent || *extent < 1) {
          throw Error(place(layer, dim->line), "an extent of 1 or more", dim->str());
        }
        extents.push_back(*extent);
      }
      if (extents.empty()) throw Error(place(layer, shape.line), "a shape with dim", shape.str());
      if (options_.batch) extents[0] = *options_.batch;
      const Shape checked = within(layer, [&] { return Shape(extents); });
      const ValueId id = graph().add_input(layer.tops[i], {DType::f32, checked, Layout::plain()});
      latest_[layer.tops[i]] = {id, &layer};
    }
  }

  std::string place_of_type(const Layer& layer) const {
    const Field* type = layer.message->find("type");
    return place(layer, type != nullptr ? type->line : layer.line);
  }

  void import_data(const Layer& layer) {
    if (!options_.data_layers) {
      throw Error(place_of_type(layer), "a network that begins with Input",
                  fmt::format("a layer of type \"{}\"", layer.type),
                  "the deploy definition, or an Input layer in its place");
    }
    const CaffeData& data = result_.data.emplace_back(
        read_caffe_data(*layer.message, file_, place_of_type(layer), options_, result_.notes));
    const Shape image = caffe_data_shape(data, options_);
    const Shape batch = within(layer, [&] { return Shape{data.batch, image[0], image[1], image[2]}; });
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      const Shape shape = i == 0 ? batch : Shape{data.batch};
      const ValueId id = graph().add_input(layer.tops[i], {DType::f32, shape, Layout::plain()});
      latest_[layer.tops[i]] = {id, &layer};
    }
  }

  [[noreturn]] void unsupported(const Layer& layer) const {
    const std::string got = layer.type.empty() ? "none" : fmt::format("\"{}\"", layer.type);
    std::vector<std::string_view> names{"Input", "Silence", "Data", "ImageData"};
    for (const Operator& op : all_operators()) {
      for (const Spelling& spelling : op.spellings) {
        if (spelling.format == "caffe") names.push_back(spelling.type);
      }
    }
    const bool is_misspelt =
        std::ranges::any_of(names, [&](std::string_view n) { return are_similar(n, layer.type); });
    if (contains(kNotHere, layer.type))
      throw Error(place_of_type(layer), "a layer type that maru runs",
                  got + ", which Caffe has and maru has not",
                  "docs/layers.md, which lists those that there are");
    throw Error(place_of_type(layer),
                fmt::format("one of the {} layer types that maru runs", names.size()), got,
                is_misspelt ? closest_names(layer.type, names) : "docs/layers.md, which lists them");
  }

  ValueId find_bottom(std::size_t index, const std::string& bottom) const {
    const auto found = latest_.find(bottom);
    if (found != latest_.end()) return found->second.value;
    const Layer& layer = layers_[index];
    const std::string expected = fmt::format("bottom \"{}\" from a layer before this one", bottom);
    for (std::size_t later = index + 1; later < layers_.size(); ++later) {
      const Layer& maker = layers_[later];
      if (!contains(maker.tops, bottom)) continue;
      const std::string line = fmt::format("layer '{}' on line {}", maker.name, maker.line);
      if (reaches(index, later)) {
        throw Error(place(layer), expected,
                    fmt::format("a cycle: {} makes it and needs a top of this layer", line),
                    "checking the bottoms of both");
      }
      throw Error(place(layer), expected, fmt::format("it only from {}", line), "moving that layer up");
    }
    for (const Layer& maker : excluded_) {
      if (!contains(maker.tops, bottom)) continue;
      throw Error(place(layer), expected,
                  fmt::format("it from layer '{}' on line {}, which the rules leave out in phase {}",
                              maker.name, maker.line, options_.phase),
                  "the deploy definition, or another phase, level or stage");
    }
    std::vector<std::string_view> names;
    for (const auto& [name, made] : latest_) names.push_back(name);
    throw Error(place(layer), expected, "no layer that makes it", closest_names(bottom, names));
  }

  // Whether `to` needs, over any number of layers, a top of `from`.
  bool reaches(std::size_t from, std::size_t to) const {
    std::set<std::string_view> blobs(layers_[from].tops.begin(), layers_[from].tops.end());
    std::set<std::size_t> seen{from};
    for (bool grew = true; grew;) {
      grew = false;
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        if (seen.contains(i)) continue;
        if (std::ranges::none_of(layers_[i].bottoms,
                                 [&](const auto& name) { return blobs.contains(name); }))
          continue;
        if (i == to) return true;
        blobs.insert(layers_[i].tops.begin(), layers_[i].tops.end());
        seen.insert(i);
        grew = true;
      }
    }
    return false;
  }

  void finish() {
    if (graph().nodes().empty()) throw Error(file_, "layers that compute something", "none");
    for (std::size_t i = 0; i < graph().values().size(); ++i) {
      const auto id = ValueId(static_cast<std::uint32_t>(i));
      const Value& value = graph().value(id);
      const bool is_loss = std::ranges::find(losses_, id, &Made::value) != losses_.end();
      if (value.constant || (read_.contains(id) && !is_loss)) continue;
      if (value.producer) {
        graph().outputs.push_back(id);
      } else {
        result_.notes.push_back(fmt::format("{}: no layer reads the input \"{}\"", file_, value.name));
      }
    }
    for (const Made& loss : losses_) {
      const std::string& name = graph().value(loss.value).name;
      if (graph().require(name) == loss.value) continue;
      throw Error(place(*loss.layer), fmt::format("the loss \"{}\" as this layer makes it", name),
                  "a layer that changes it in place", "a top of its own for that layer");
    }
    if (graph().outputs.empty()) throw Error(file_, "a top that no layer reads, as the output", "none");
    graph().verify();
  }

  struct Made {
    ValueId value{};
    const Layer* layer = nullptr;
  };

  std::string file_;
  const CaffeOptions& options_;
  CaffeWeights weights_;
  std::set<std::string, std::less<>> stages_;
  std::int64_t level_ = 0;
  std::vector<Layer> layers_, excluded_;
  std::map<std::string, int, std::less<>> name_counts_;
  std::set<std::string, std::less<>> seen_names_;
  std::map<std::string, Made, std::less<>> latest_;  // by blob name
  std::set<ValueId> read_;
  std::vector<Made> losses_;
  Imported result_;
};

}  // namespace

Imported import_caffe(const std::filesystem::path& prototxt,
                      const std::optional<std::filesystem::path>& caffemodel,
                      const CaffeOptions& options) {
  const MappedFile text(prototxt);
  const std::string file = prototxt.string();
  return import_caffe(parse_prototxt(text.text(), file), file, caffemodel, options);
}

Imported import_caffe(const Message& net, std::string_view file,
                      const std::optional<std::filesystem::path>& caffemodel,
                      const CaffeOptions& options) {
  std::vector<CaffeModel> models;
  if (caffemodel) models.push_back(read_caffemodel(*caffemodel));
  for (const auto& more : options.more_weights) models.push_back(read_caffemodel(more));
  return Importer(std::string(file), std::move(models), options).run(net);
}

std::vector<CaffeParam> learnable_params(const Imported& imported) {
  std::vector<CaffeParam> params;
  std::set<std::string_view> seen;
  for (const CaffeStored& layer : imported.layers) {
    for (const CaffeParam& param : layer.params) {
      if (seen.insert(param.name).second) params.push_back(param);
    }
  }
  return params;
}

}  // namespace maru
