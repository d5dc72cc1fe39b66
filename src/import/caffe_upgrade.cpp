#include "import/caffe_upgrade.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

struct LayerType {
  int number;           // of V1LayerParameter.LayerType
  std::string_view v1;  // its enumerator
  std::string_view v2;
  std::string_view v0;  // empty: not in V0
};

constexpr LayerType kTypes[] = {
    {0, "NONE", "", ""},
    {1, "ACCURACY", "Accuracy", "accuracy"},
    {2, "BNLL", "BNLL", "bnll"},
    {3, "CONCAT", "Concat", "concat"},
    {4, "CONVOLUTION", "Convolution", "conv"},
    {5, "DATA", "Data", "data"},
    {6, "DROPOUT", "Dropout", "dropout"},
    {7, "EUCLIDEAN_LOSS", "EuclideanLoss", "euclidean_loss"},
    {8, "FLATTEN", "Flatten", "flatten"},
    {9, "HDF5_DATA", "HDF5Data", "hdf5_data"},
    {10, "HDF5_OUTPUT", "HDF5Output", "hdf5_output"},
    {11, "IM2COL", "Im2col", "im2col"},
    {12, "IMAGE_DATA", "ImageData", "images"},
    {13, "INFOGAIN_LOSS", "InfogainLoss", "infogain_loss"},
    {14, "INNER_PRODUCT", "InnerProduct", "innerproduct"},
    {15, "LRN", "LRN", "lrn"},
    {16, "MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss", "multinomial_logistic_loss"},
    {17, "POOLING", "Pooling", "pool"},
    {18, "RELU", "ReLU", "relu"},
    {19, "SIGMOID", "Sigmoid", "sigmoid"},
    {20, "SOFTMAX", "Softmax", "softmax"},
    {21, "SOFTMAX_LOSS", "SoftmaxWithLoss", "softmax_loss"},
    {22, "SPLIT", "Split", "split"},
    {23, "TANH", "TanH", "tanh"},
    {24, "WINDOW_DATA", "WindowData", "window_data"},
    {25, "ELTWISE", "Eltwise", ""},
    {26, "POWER", "Power", ""},
    {27, "SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss", ""},
    {28, "HINGE_LOSS", "HingeLoss", ""},
    {29, "MEMORY_DATA", "MemoryData", ""},
    {30, "ARGMAX", "ArgMax", ""},
    {31, "THRESHOLD", "Threshold", ""},
    {32, "DUMMY_DATA", "DummyData", ""},
    {33, "SLICE", "Slice", ""},
    {34, "MVN", "MVN", ""},
    {35, "ABSVAL", "AbsVal", ""},
    {36, "SILENCE", "Silence", ""},
    {37, "CONTRASTIVE_LOSS", "ContrastiveLoss", ""},
    {38, "EXP", "Exp", ""},
    {39, "DECONVOLUTION", "Deconvolution", ""},
};

// A V0 layer holds the attributes of all types flat; where each goes.
struct V0Field {
  std::string_view name, type, message, renamed;
};

constexpr V0Field kV0Fields[] = {
    {"num_output", "conv", "convolution_param", "num_output"},
    {"num_output", "innerproduct", "inner_product_param", "num_output"},
    {"biasterm", "conv", "convolution_param", "bias_term"},
    {"biasterm", "innerproduct", "inner_product_param", "bias_term"},
    {"weight_filler", "conv", "convolution_param", "weight_filler"},
    {"weight_filler", "innerproduct", "inner_product_param", "weight_filler"},
    {"bias_filler", "conv", "convolution_param", "bias_filler"},
    {"bias_filler", "innerproduct", "inner_product_param", "bias_filler"},
    {"pad", "conv", "convolution_param", "pad"},
    {"pad", "pool", "pooling_param", "pad"},
    {"kernelsize", "conv", "convolution_param", "kernel_size"},
    {"kernelsize", "pool", "pooling_param", "kernel_size"},
    {"stride", "conv", "convolution_param", "stride"},
    {"stride", "pool", "pooling_param", "stride"},
    {"group", "conv", "convolution_param", "group"},
    {"pool", "pool", "pooling_param", "pool"},
    {"dropout_ratio", "dropout", "dropout_param", "dropout_ratio"},
    {"local_size", "lrn", "lrn_param", "local_size"},
    {"alpha", "lrn", "lrn_param", "alpha"},
    {"beta", "lrn", "lrn_param", "beta"},
    {"k", "lrn", "lrn_param", "k"},
    {"concat_dim", "concat", "concat_param", "concat_dim"},
    {"source", "data", "data_param", "source"},
    {"source", "images", "image_data_param", "source"},
    {"batchsize", "data", "data_param", "batch_size"},
    {"batchsize", "images", "image_data_param", "batch_size"},
    {"rand_skip", "data", "data_param", "rand_skip"},
    {"rand_skip", "images", "image_data_param", "rand_skip"},
    {"shuffle_images", "images", "image_data_param", "shuffle"},
    {"new_height", "images", "image_data_param", "new_height"},
    {"new_width", "images", "image_data_param", "new_width"},
    {"scale", "data", "transform_param", "scale"},
    {"scale", "images", "transform_param", "scale"},
    {"meanfile", "data", "transform_param", "mean_file"},
    {"meanfile", "images", "transform_param", "mean_file"},
    {"cropsize", "data", "transform_param", "crop_size"},
    {"cropsize", "images", "transform_param", "crop_size"},
    {"mirror", "data", "transform_param", "mirror"},
    {"mirror", "images", "transform_param", "mirror"},
};

class Upgrader {
 public:
  explicit Upgrader(std::string_view file) : file_(file) {}

  Message run(Message net) {
    const Field* old_layer = net.find("layers");
    const Field* new_layer = net.find("layer");
    if (old_layer != nullptr && new_layer != nullptr) {
      fail(std::max(old_layer->line, new_layer->line), "either layer { } or the older layers { }",
           "both", "writing all of them as layer { }");
    }
    for (const Field& field : net.fields) {
      if ((field.name == "layer" || field.name == "layers") && !field.is_message()) {
        fail(field.line, fmt::format("a block {} {{ }}", field.name), field.str());
      }
    }
    if (old_layer != nullptr) {
      merge_padding(net);
      for (Field& field : net.fields) {
        if (field.name != "layers") continue;
        if (field.message.has("layer")) v0_to_v1(field);
        move_transforms(field.message);
        v1_to_v2(field);
        field.name = "layer";
      }
    }
    inputs_to_layer(net);
    for (Field& field : net.fields) {
      if (field.name == "layer") freeze_batch_norm(field.message);
    }
    return net;
  }

 private:
  [[noreturn]] void fail(int line, std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(fmt::format("{}:{}", file_, line), expected, got, hint);
  }

  std::string text(const Message& message, std::string_view name) const {
    const Field* field = message.find(name);
    if (field == nullptr) return {};
    if (field->is_message()) fail(field->line, fmt::format("text for {}", name), field->str());
    return field->text;
  }

  // The V0 part of a `layers` entry, or nullptr for V1.
  const Message* v0_part(const Field& layers) const {
    const Field* inner = layers.message.find("layer");
    if (inner == nullptr) return nullptr;
    if (!inner->is_message()) fail(inner->line, "a block layer { }", inner->str());
    return &inner->message;
  }

  // V0 had padding as a layer of its own; the convolution or pooling that reads one pads by itself
  // since.
  void merge_padding(Message& net) {
    struct Padding {
      std::string bottom;
      Field pad;
    };
    std::map<std::string, Padding, std::less<>> padded;  // by the blob it makes
    std::vector<Field> kept;
    for (Field& layers : net.fields) {
      const Message* v0 = layers.name == "layers" ? v0_part(layers) : nullptr;
      const std::string type = v0 != nullptr ? text(*v0, "type") : "";
      if (type == "padding") {
        const auto bottoms = layers.message.all("bottom"), tops = layers.message.all("top");
        if (bottoms.size() != 1 || tops.size() != 1) {
          fail(layers.line, "a padding layer with one bottom and one top",
               fmt::format("{} and {}", bottoms.size(), tops.size()));
        }
        if (padded.contains(bottoms[0]->text)) {
          fail(layers.line, "a padding layer that reads no other padding layer", bottoms[0]->str());
        }
        const Field* pad = v0->find("pad");
        Field amount = pad != nullptr ? *pad : Field{"pad", layers.line, Field::Kind::number, "0", {}};
        padded[tops[0]->text] = {bottoms[0]->text, std::move(amount)};
        continue;
      }
      for (Field& field : layers.message.fields) {
        if (field.name != "bottom") continue;
        const auto found = padded.find(field.text);
        if (found == padded.end()) continue;
        if (type != "conv" && type != "pool") {
          fail(field.line, "a padding layer before conv or pool only",
               fmt::format("\"{}\", padded, before a layer of type \"{}\"", field.text, type));
        }
        field.text = found->second.bottom;
        Message& target = std::ranges::find(layers.message.fields, "layer", &Field::name)->message;
        target.erase("pad");
        target.fields.push_back(found->second.pad);
      }
      if (layers.name == "layers") {
        for (const Field* top : layers.message.all("top")) padded.erase(top->text);
      }
      kept.push_back(std::move(layers));
    }
    net.fields = std::move(kept);
  }

  void v0_to_v1(Field& layers) {
    const std::string type = text(*v0_part(layers), "type");
    Message upgraded;
    Message old;
    for (Field& field : layers.message.fields) {
      if (field.name != "layer") {
        upgraded.fields.push_back(std::move(field));
      } else if (old.fields.empty()) {
        old = std::move(field.message);
      } else {
        fail(field.line, "one layer { } in layers { }", "another one");
      }
    }
    for (Field& field : old.fields) {
      if (field.name == "type") {
        const auto known = std::ranges::find(kTypes, std::string_view(field.text), &LayerType::v0);
        if (field.kind != Field::Kind::string || known == std::end(kTypes) || known->v0.empty()) {
          std::vector<std::string_view> names;
          for (const LayerType& candidate : kTypes) {
            if (!candidate.v0.empty()) names.push_back(candidate.v0);
          }
          fail(field.line, "a layer type of Caffe's first form (V0)", field.str(),
               closest_names(field.text, names));
        }
        field.kind = Field::Kind::word;
        field.text = known->v1;
        upgraded.fields.push_back(std::move(field));
        continue;
      }
      const auto place = std::ranges::find_if(kV0Fields, [&](const V0Field& candidate) {
        return candidate.name == field.name && candidate.type == type;
      });
      if (place == std::end(kV0Fields)) {
        upgraded.fields.push_back(std::move(field));
        continue;
      }
      auto target = std::ranges::find(upgraded.fields, place->message, &Field::name);
      if (target == upgraded.fields.end()) {
        upgraded.add_message(place->message, field.line);
        target = upgraded.fields.end() - 1;
      }
      field.name = place->renamed;
      target->message.fields.push_back(std::move(field));
    }
    layers.message = std::move(upgraded);
  }

  // Data layers of V1 said themselves what transform_param says since.
  static void move_transforms(Message& layer) {
    std::vector<Field> moved;
    for (Field& block : layer.fields) {
      if (!block.is_message() || (block.name != "data_param" && block.name != "image_data_param"))
        continue;
      for (const std::string_view name : {"scale", "mean_file", "crop_size", "mirror"}) {
        for (const Field* field : block.message.all(name)) moved.push_back(*field);
        block.message.erase(name);
      }
    }
    if (moved.empty()) return;
    auto target = std::ranges::find(layer.fields, "transform_param", &Field::name);
    if (target == layer.fields.end()) {
      layer.add_message("transform_param", moved[0].line);
      target = layer.fields.end() - 1;
    }
    for (Field& field : moved) target->message.fields.push_back(std::move(field));
  }

  void v1_to_v2(Field& layers) {
    Message upgraded;
    std::vector<Field> specs;
    std::map<std::string, std::size_t, std::less<>> counts;
    // The n-th value of a V1 list goes to the n-th param { }.
    const auto add_to_spec = [&](Field& field, std::string_view name) {
      if (field.is_message()) {
        fail(field.line, fmt::format("a value for {} in the older layers {{ }}", field.name),
             field.str(), "layer { type: \"Convolution\" ... } for the present form");
      }
      const std::size_t index = counts[field.name]++;
      if (index >= specs.size()) specs.push_back({"param", field.line, Field::Kind::message, {}, {}});
      field.name = name;
      specs[index].message.fields.push_back(std::move(field));
    };
    for (Field& field : layers.message.fields) {
      if (field.name == "type") {
        field.text = v2_type(field);
        field.kind = Field::Kind::string;
        upgraded.fields.push_back(std::move(field));
      } else if (field.name == "param") {
        add_to_spec(field, "name");
      } else if (field.name == "blob_share_mode") {
        add_to_spec(field, "share_mode");
      } else if (field.name == "blobs_lr") {
        add_to_spec(field, "lr_mult");
      } else if (field.name == "weight_decay") {
        add_to_spec(field, "decay_mult");
      } else {
        upgraded.fields.push_back(std::move(field));
      }
    }
    for (Field& spec : specs) upgraded.fields.push_back(std::move(spec));
    layers.message = std::move(upgraded);
  }

  std::string v2_type(const Field& type) const {
    if (type.kind == Field::Kind::word) {
      const auto known = std::ranges::find(kTypes, std::string_view(type.text), &LayerType::v1);
      if (known != std::end(kTypes)) return std::string(known->v2);
    } else if (const auto number = type.integer()) {
      const auto known = std::ranges::find(kTypes, *number, &LayerType::number);
      if (known != std::end(kTypes)) return std::string(known->v2);
    } else if (type.kind == Field::Kind::string) {
      const auto known = std::ranges::find(kTypes, std::string_view(type.text), &LayerType::v2);
      fail(type.line, "an enumerator as the type in the older layers { }", type.str(),
           known != std::end(kTypes) ? fmt::format("type: {}, or layer {{ }} with this type", known->v1)
                                     : std::string("layer { } with this type"));
    }
    std::vector<std::string_view> names;
    for (const LayerType& candidate : kTypes) names.push_back(candidate.v1);
    fail(type.line, "a layer type of Caffe's older form (V1)", type.str(),
         closest_names(type.text, names));
  }

  void inputs_to_layer(Message& net) {
    const auto names = net.all("input"), dims = net.all("input_dim"), shapes = net.all("input_shape");
    if (names.empty()) {
      const Field* lone = !dims.empty() ? dims[0] : !shapes.empty() ? shapes[0] : nullptr;
      if (lone != nullptr) fail(lone->line, fmt::format("input: \"name\" with {}", lone->name), "none");
      return;
    }
    if (!dims.empty() && !shapes.empty()) {
      fail(shapes[0]->line, "either input_dim or input_shape", "both");
    }
    const bool listed = shapes.empty();
    if (listed ? dims.size() != 4 * names.size() : shapes.size() != names.size()) {
      fail(names[0]->line,
           fmt::format("4 input_dim or one input_shape for each input ({})", names.size()),
           listed ? fmt::format("{} input_dim", dims.size())
                  : fmt::format("{} input_shape", shapes.size()));
    }
    Field layer{"layer", names[0]->line, Field::Kind::message, {}, {}};
    layer.message.add_string("name", layer.line, "input");
    layer.message.add_string("type", layer.line, "Input");
    Field param{"input_param", layer.line, Field::Kind::message, {}, {}};
    for (std::size_t i = 0; i < names.size(); ++i) {
      Field top = *names[i];
      top.name = "top";
      layer.message.fields.push_back(std::move(top));
      Field shape{"shape", listed ? dims[4 * i]->line : shapes[i]->line, Field::Kind::message, {}, {}};
      if (!listed) {
        if (!shapes[i]->is_message())
          fail(shapes[i]->line, "a block input_shape { }", shapes[i]->str());
        shape.message = shapes[i]->message;
      }
      for (std::size_t axis = 0; listed && axis < 4; ++axis) {
        Field dim = *dims[4 * i + axis];
        dim.name = "dim";
        shape.message.fields.push_back(std::move(dim));
      }
      param.message.fields.push_back(std::move(shape));
    }
    layer.message.fields.push_back(std::move(param));
    for (const std::string_view name : {"input", "input_dim", "input_shape"}) net.erase(name);
    const auto front = std::ranges::find(net.fields, "layer", &Field::name);
    net.fields.insert(front, std::move(layer));
  }

  // The first BatchNorm needed three hand-written params to keep the solver off its statistics.
  static void freeze_batch_norm(Message& layer) {
    const Field* type = layer.find("type");
    if (type == nullptr || type->text != "BatchNorm" || layer.all("param").size() != 3) return;
    for (Field& param : layer.fields) {
      if (param.name != "param" || !param.is_message()) continue;
      param.message.erase("lr_mult");
      param.message.erase("decay_mult");
      param.message.add_number("lr_mult", param.line, "0");
      param.message.add_number("decay_mult", param.line, "0");
    }
  }

  std::string_view file_;
};

}  // namespace

Message upgrade_caffe_net(Message net, std::string_view file) {
  return Upgrader(file).run(std::move(net));
}

std::string_view caffe_type_of_v1(int number) {
  const auto known = std::ranges::find(kTypes, number, &LayerType::number);
  return known == std::end(kTypes) ? std::string_view() : known->v2;
}

std::string_view caffe_type_of_v0(std::string_view type) {
  const auto known = std::ranges::find(kTypes, type, &LayerType::v0);
  return type.empty() || known == std::end(kTypes) ? std::string_view() : known->v2;
}

}  // namespace maru
