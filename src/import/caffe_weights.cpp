#include "import/caffe_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

// "a", "b", "c" and 5 more
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 4;
  const std::size_t shown = names.size() <= kShown ? names.size() : kShown - 1;
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

CaffeWeights::CaffeWeights(std::optional<CaffeModel> model, std::string_view prototxt)
    : model_(std::move(model)), prototxt_(prototxt) {}

void CaffeWeights::declare(const std::string& name, const Message& layer) {
  std::vector<Spec>& specs = specs_[name];
  if (!specs.empty()) return;  // a second layer of that name is the importer's to judge
  for (const Field* param : layer.all("param")) {
    Spec& spec = specs.emplace_back();
    if (!param->is_message()) {
      throw Error(fmt::format("{}:{} layer '{}'", prototxt_, param->line, name), "a block param { }",
                  param->str(), "param { name: ... } to share a parameter");
    }
    if (const Field* shared = param->message.find("name")) spec.shared = shared->text;
    if (const Field* mode = param->message.find("share_mode")) {
      spec.permissive = mode->text == "PERMISSIVE" || mode->text == "1";
      if (!spec.permissive && mode->text != "STRICT" && mode->text != "0") {
        throw Error(fmt::format("{}:{} layer '{}'", prototxt_, mode->line, name),
                    "STRICT or PERMISSIVE for share_mode", mode->str());
      }
    }
    if (!spec.shared.empty()) sharers_[spec.shared].emplace_back(name, specs.size() - 1);
  }
}

std::vector<ValueId> CaffeWeights::add(Graph& graph, const std::string& name, std::string_view where,
                                       std::span<const Param> params) {
  used_.insert(name);
  const CaffeLayer* stored = model_ ? model_->find(name) : nullptr;
  if (stored != nullptr) check_count(*stored, where, params);
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
    values.push_back(graph.add_constant(label, load(name, where, i, params[i], spec)));
    if (!spec.shared.empty()) owners_.emplace(spec.shared, Owner{values.back(), label});
  }
  return values;
}

void CaffeWeights::check_count(const CaffeLayer& stored, std::string_view where,
                               std::span<const Param> params) const {
  if (stored.blobs.empty() || stored.blobs.size() == params.size()) return;
  std::string wanted;
  for (std::size_t i = 0; i < params.size(); ++i) {
    wanted += fmt::format("{}{} {}", i == 0 ? "" : ", ", role_of(params[i], i), params[i].shape.str());
  }
  const bool spare_bias = stored.blobs.size() == params.size() + 1 && params.size() == 1;
  throw Error(where,
              params.empty() ? std::string("no stored blobs, as it has no weights")
                             : fmt::format("{} stored blobs ({})", params.size(), wanted),
              fmt::format("{} ({}) in {}", stored.blobs.size(), dims_of(stored.blobs), model_->file),
              spare_bias ? "bias_term: true, or the caffemodel of this definition"
                         : "the caffemodel that belongs to this definition");
}

// The stored blob for a parameter that is new: its own, or where layers share it, that of the first of
// them that has one.
std::shared_ptr<const Constant> CaffeWeights::load(const std::string& name, std::string_view where,
                                                   std::size_t index, const Param& param,
                                                   const Spec& spec) {
  std::vector<std::pair<std::string, std::size_t>> sources{{name, index}};
  const auto sharers = sharers_.find(spec.shared);
  if (sharers != sharers_.end())
    sources.insert(sources.end(), sharers->second.begin(), sharers->second.end());
  for (const auto& [layer, at] : sources) {
    const CaffeLayer* stored = model_ ? model_->find(layer) : nullptr;
    if (stored == nullptr || at >= stored->blobs.size()) continue;
    const CaffeBlob& blob = stored->blobs[at];
    if (!blob.fits(param.shape)) {
      if (layer != name) continue;  // another sharer's view of it
      throw Error(where, fmt::format("a stored {} of {}", role_of(param, index), param.shape.str()),
                  fmt::format("{} in {}", blob.dims_str(), model_->file),
                  "the caffemodel that belongs to this definition");
    }
    if (blob.count() != param.shape.count()) {
      throw Error(fmt::format("{}: byte {}", model_->file, blob.position),
                  fmt::format("{} values for {} of layer '{}'", param.shape.count(),
                              role_of(param, index), layer),
                  fmt::format("{}", blob.count()),
                  blob.foreign ? "saving it with BVLC Caffe: it holds raw_data, a form of NVCaffe"
                               : "fetching the file again: it is damaged or stripped of its weights");
    }
    return make_constant(blob, param.shape);
  }
  if (missing_.empty() || missing_.back() != name) missing_.push_back(name);
  return zeros(param.shape);
}

// Zeros stand in for missing weights; all of them lie in one run, which the system backs lazily.
std::shared_ptr<const Constant> CaffeWeights::zeros(const Shape& shape) {
  const TensorDesc desc{DType::f32, shape, Layout::plain()};
  constexpr std::int64_t kMaxCount = std::int64_t{1} << 28;
  if (shape.count() > kMaxCount) {
    std::vector<std::string> notes;
    check_missing(false, notes);  // there is one
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
  const TensorDesc desc{DType::f32, param.shape, Layout::plain()};
  return graph.add_constant(label, std::make_shared<const Constant>(desc, constant->bytes(), constant));
}

void CaffeWeights::check_missing(bool allowed, std::vector<std::string>& notes) const {
  if (missing_.empty()) return;
  const std::string layers =
      fmt::format("layer{} {}", missing_.size() == 1 ? "" : "s", some_of(missing_));
  if (allowed) {
    notes.push_back(fmt::format("no weights for {}: zeros stand in", layers));
    return;
  }
  if (!model_) {
    throw Error(prototxt_, fmt::format("weights for {}", layers), "no weights file",
                "naming the .caffemodel as well");
  }
  std::vector<std::string_view> names;
  for (const CaffeLayer& layer : model_->layers) {
    if (!layer.blobs.empty()) names.push_back(layer.name);
  }
  throw Error(model_->file, fmt::format("weights for {} of {}", layers, prototxt_),
              fmt::format("none of that name among {} layers with weights", names.size()),
              names.empty() ? "a trained caffemodel"
                            : fmt::format("the caffemodel of this definition; its nearest names are {}",
                                          closest_names(missing_.front(), names)));
}

void CaffeWeights::note_unused(std::vector<std::string>& notes) const {
  if (!model_) return;
  std::vector<std::string> unused;
  for (const CaffeLayer& layer : model_->layers) {
    if (!layer.blobs.empty() && !used_.contains(layer.name)) unused.push_back(layer.name);
  }
  if (unused.empty()) return;
  notes.push_back(fmt::format("{}: the network has no layer for the stored weights of {}", model_->file,
                              some_of(unused)));
}

}  // namespace maru
