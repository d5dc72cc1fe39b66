#include "import/caffe_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

constexpr std::size_t kShown = 4;

// "a", "b", "c" and 5 more
std::string some_of(const std::vector<std::string>& names, std::size_t most) {
  const std::size_t shown = names.size() <= most ? names.size() : most - 1;
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += fmt::format("{}'{}'", i == 0 ? "" : ", ", names[i]);
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

std::string dims_of(std::span<const CaffeBlob> blobs) {
  std::string text;
  for (const CaffeBlob& blob : blobs) text += (text.empty() ? "" : ", ") + blob.dims_str();
  return text;
}

std::string label_of(std::string_view layer, const Param& param, std::size_t index) {
  return param.role.empty() ? fmt::format("{}.blob[{}]", layer, index)
                            : fmt::format("{}/{}", layer, param.role);
}

std::string role_of(const Param& param, std::size_t index) {
  return param.role.empty() ? fmt::format("blob {}", index) : std::string(param.role);
}

}  // namespace

CaffeWeights::CaffeWeights(std::vector<CaffeModel> models, std::string_view prototxt,
                           const CaffeOptions& options)
    : models_(std::move(models)), prototxt_(prototxt), options_(options) {}

void CaffeWeights::declare(const std::string& name, const Message& layer) {
  std::vector<Spec>& specs = specs_[name];
  if (!specs.empty()) return;  // a second layer of that name is the importer's to judge
  for (const Field* param : layer.all("param")) {
    specs.push_back(read_spec(name, *param));
    const std::string& shared = specs.back().shared;
    if (!shared.empty()) sharers_[shared].emplace_back(name, specs.size() - 1);
  }
}

CaffeWeights::Spec CaffeWeights::read_spec(const std::string& name, const Field& param) const {
  const auto fail = [&](const Field& field, std::string_view expected, std::string_view hint = {}) {
    throw Error(fmt::format("{}:{} layer '{}'", prototxt_, field.line, name), expected, field.str(),
                hint);
  };
  if (!param.is_message()) fail(param, "a block param { }", "param { name: ... } to share a parameter");
  Spec spec;
  for (const Field& field : param.message.fields) {
    if (field.name == "name") {
      spec.shared = field.text;
    } else if (field.name == "share_mode") {
      spec.permissive = field.text == "PERMISSIVE" || field.text == "1";
      if (!spec.permissive && field.text != "STRICT" && field.text != "0")
        fail(field, "STRICT or PERMISSIVE for share_mode");
    } else if (field.name == "lr_mult" || field.name == "decay_mult") {
      const auto number = field.number();
      if (!number || !std::isfinite(*number))
        fail(field, fmt::format("a finite number for {}", field.name));
      (field.name == "lr_mult" ? spec.rate : spec.decay) = *number;
    } else {
      constexpr std::array<std::string_view, 4> kKnown{"name", "share_mode", "lr_mult", "decay_mult"};
      throw Error(fmt::format("{}:{} layer '{}'", prototxt_, field.line, name), "a field of param",
                  field.name, closest_names(field.name, kKnown));
    }
  }
  return spec;
}

std::pair<double, double> CaffeWeights::rates(const std::string& name, std::size_t index,
                                              std::string_view where) const {
  const auto declared = specs_.find(name);
  if (declared == specs_.end() || index >= declared->second.size()) return {1, 1};
  const Spec& own = declared->second[index];
  const auto sharers = sharers_.find(own.shared);
  if (own.shared.empty() || sharers == sharers_.end())
    return {own.rate.value_or(1), own.decay.value_or(1)};
  const auto agreed = [&](std::optional<double> Spec::*field, std::string_view what) {
    const std::pair<std::string, std::size_t>* first = nullptr;
    std::optional<double> value;
    for (const auto& sharer : sharers->second) {
      const std::optional<double>& said = specs_.find(sharer.first)->second[sharer.second].*field;
      if (!said) continue;
      if (!value) {
        value = said;
        first = &sharer;
      } else if (*said != *value) {
        throw Error(where, fmt::format("one {} for the shared parameter \"{}\"", what, own.shared),
                    fmt::format("{} of layer '{}' and {} of layer '{}'", *value, first->first, *said,
                                sharer.first),
                    "the same in both layers");
      }
    }
    return value.value_or(1);
  };
  return {agreed(&Spec::rate, "lr_mult"), agreed(&Spec::decay, "decay_mult")};
}

CaffeWeights::Stored CaffeWeights::find(std::string_view layer) const {
  Stored found;
  for (const CaffeModel& model : models_) {
    const CaffeLayer* stored = model.find(layer);
    if (stored != nullptr && (found.layer == nullptr || !stored->blobs.empty()))
      found = {&model, stored};
  }
  return found;
}

std::vector<ValueId> CaffeWeights::add(Graph& graph, const std::string& name, std::string_view where,
                                       std::span<const Param> params,
                                       std::span<const CaffeFiller> fillers) {
  used_.insert(name);
  if (const Stored stored = find(name); stored.layer != nullptr) check_count(stored, where, params);
  const auto declared = specs_.find(name);
  std::vector<ValueId> values;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Spec spec =
        declared != specs_.end() && i < declared->second.size() ? declared->second[i] : Spec{};
    const std::string label = label_of(name, params[i], i);
    const auto owner = owners_.find(spec.shared);
    if (owner != owners_.end()) {
      values.push_back(share(graph, owner->second, where, params[i], label, spec.permissive));
      continue;
    }
    std::shared_ptr<const Constant> constant = load(name, where, i, params[i], spec);
    if (!constant) {
      if (missing_.empty() || missing_.back() != name) missing_.push_back(name);
      const Shape& shape = params[i].shape;
      constant = fillers.empty() ? zeros(shape)
                                 : std::make_shared<const Constant>(
                                       shape, fill(fillers[i], shape, options_.seed, label));
    }
    values.push_back(graph.add_constant(label, std::move(constant)));
    if (!spec.shared.empty()) owners_.emplace(spec.shared, Owner{values.back(), label});
  }
  return values;
}

void CaffeWeights::check_count(const Stored& stored, std::string_view where,
                               std::span<const Param> params) const {
  const std::vector<CaffeBlob>& blobs = stored.layer->blobs;
  if (blobs.empty() || blobs.size() == params.size()) return;
  std::string wanted;
  for (std::size_t i = 0; i < params.size(); ++i) {
    wanted += fmt::format("{}{} {}", i == 0 ? "" : ", ", role_of(params[i], i), params[i].shape.str());
  }
  const bool spare_bias = blobs.size() == params.size() + 1 && params.size() == 1;
  throw Error(where,
              params.empty() ? std::string("no stored blobs, as it has no weights")
                             : fmt::format("{} stored blobs ({})", params.size(), wanted),
              fmt::format("{} ({}) in {}", blobs.size(), dims_of(blobs), stored.model->file),
              spare_bias ? "bias_term: true, or the caffemodel of this definition"
                         : "the caffemodel that belongs to this definition");
}

// The stored blob for a parameter that is new: its own, or where layers share it, that of the first of
// them that has one.
std::shared_ptr<const Constant> CaffeWeights::load(const std::string& name, std::string_view where,
                                                   std::size_t index, const Param& param,
                                                   const Spec& spec) const {
  std::vector<std::pair<std::string, std::size_t>> sources{{name, index}};
  const auto sharers = sharers_.find(spec.shared);
  if (sharers != sharers_.end())
    sources.insert(sources.end(), sharers->second.begin(), sharers->second.end());
  for (const auto& [layer, at] : sources) {
    const Stored stored = find(layer);
    if (stored.layer == nullptr || at >= stored.layer->blobs.size()) continue;
    const CaffeBlob& blob = stored.layer->blobs[at];
    const std::string& file = stored.model->file;
    if (!blob.fits(param.shape)) {
      if (layer != name) continue;  // another sharer's view of it
      throw Error(where, fmt::format("a stored {} of {}", role_of(param, index), param.shape.str()),
                  fmt::format("{} in {}", blob.dims_str(), file),
                  options_.fill ? "another name for this layer, if its weights are to be new"
                                : "the caffemodel that belongs to this definition");
    }
    if (blob.count() != param.shape.count()) {
      throw Error(fmt::format("{}: byte {}", file, blob.position),
                  fmt::format("{} values for {} of layer '{}'", param.shape.count(),
                              role_of(param, index), layer),
                  fmt::format("{}", blob.count()),
                  blob.foreign
                      ? "saving it with BVLC Caffe: it holds raw_data of a type that is not read"
                      : "fetching the file again: it is damaged or stripped of its weights");
    }
    return make_constant(blob, param.shape);
  }
  return nullptr;
}

// Zeros stand in for missing weights; all of them lie in one run, which the system backs lazily.
std::shared_ptr<const Constant> CaffeWeights::zeros(const Shape& shape) {
  const TensorDesc desc{DType::f32, shape, Layout::plain()};
  constexpr std::int64_t kMaxCount = std::int64_t{1} << 28;
  if (shape.count() > kMaxCount) {
    fail_missing();  // there is one
  }
  const std::size_t bytes = desc.bytes();
  if (bytes > zero_bytes_ || !zero_page_) {
    void* page = std::calloc(std::max<std::size_t>(bytes, 1), 1);
    if (page == nullptr)
      throw Error(prototxt_, human_bytes(static_cast<double>(bytes)) + " for weights", "less");
    zero_page_ =
        std::shared_ptr<const void>(page, [](const void* p) { std::free(const_cast<void*>(p)); });
    zero_bytes_ = bytes;
  }
  const std::span<const std::byte> run(static_cast<const std::byte*>(zero_page_.get()), bytes);
  return std::make_shared<const Constant>(desc, run, zero_page_);
}

ValueId CaffeWeights::share(Graph& graph, const Owner& owner, std::string_view where,
                            const Param& param, const std::string& label, bool permissive) const {
  const std::shared_ptr<const Constant> constant = graph.value(owner.value).constant;
  const Shape& shape = constant->desc().shape;
  if (shape == param.shape) return owner.value;
  if (!permissive || shape.count() != param.shape.count()) {
    throw Error(
        where,
        fmt::format("the shape {} of {}, with which {} is shared", shape.str(), owner.label, label),
        param.shape.str(),
        permissive ? "parameters of one size"
                   : "share_mode: PERMISSIVE if only the number of values must agree");
  }
  if (options_.phase == "TRAIN")  // two shapes would be two parameters
    throw Error(where,
                fmt::format("one shape for {} and {}, which are trained as one", owner.label, label),
                fmt::format("{} and {}", shape.str(), param.shape.str()), "parameters of equal shape");
  const TensorDesc desc{DType::f32, param.shape, Layout::plain()};
  return graph.add_constant(label, std::make_shared<const Constant>(desc, constant->bytes(), constant));
}

void CaffeWeights::check_missing(std::vector<std::string>& notes) const {
  if (missing_.empty()) return;
  // With a model it matters which; without, it is all of them.
  const bool list = options_.fill && !models_.empty();
  const std::string layers = fmt::format("layer{} {}", missing_.size() == 1 ? "" : "s",
                                         some_of(missing_, list ? missing_.size() : kShown));
  if (options_.fill) {
    notes.push_back(fmt::format("no weights for {}: drawn by the fillers", layers));
  } else if (options_.allow_missing_weights) {
    notes.push_back(fmt::format("no weights for {}: zeros stand in", layers));
  } else {
    fail_missing();
  }
}

void CaffeWeights::fail_missing() const {
  const std::string layers =
      fmt::format("layer{} {}", missing_.size() == 1 ? "" : "s", some_of(missing_, kShown));
  if (models_.empty()) {
    throw Error(prototxt_, fmt::format("weights for {}", layers), "no weights file",
                "naming the .caffemodel as well");
  }
  std::vector<std::string_view> names;
  for (const CaffeModel& model : models_) {
    for (const CaffeLayer& layer : model.layers) {
      if (!layer.blobs.empty()) names.push_back(layer.name);
    }
  }
  throw Error(models_.back().file, fmt::format("weights for {} of {}", layers, prototxt_),
              fmt::format("none of that name among {} layers with weights", names.size()),
              names.empty() ? "a trained caffemodel"
                            : fmt::format("the caffemodel of this definition; its nearest names are {}",
                                          closest_names(missing_.front(), names)));
}

void CaffeWeights::note_unused(std::vector<std::string>& notes) const {
  for (const CaffeModel& model : models_) {
    std::vector<std::string> unused;
    for (const CaffeLayer& layer : model.layers) {
      if (!layer.blobs.empty() && !used_.contains(layer.name)) unused.push_back(layer.name);
    }
    if (unused.empty()) continue;
    notes.push_back(fmt::format("{}: the network has no layer for the stored weights of {}", model.file,
                                some_of(unused, kShown)));
  }
}

}  // namespace maru
