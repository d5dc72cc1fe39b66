// For tests of the import of Caffe networks: one network in three forms, and a fixture that imports
// text.
#pragma once

#include "import/caffe.h"
#include "import/caffe_test_files.h"

namespace maru::testing_files {

// A small network in each form; conv 2x3x3x3 + bias, in-place ReLU, inner product 4x50.
inline constexpr std::string_view kV2 = R"(name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } engine: CAFFE }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 4 } }
)";

inline constexpr std::string_view kV1 = R"(name: "net"
input: "data" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 5
layers {
  name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layers { name: "relu1" type: 18 bottom: "conv1" top: "conv1" }
layers { name: "ip" type: INNER_PRODUCT bottom: "conv1" top: "ip" inner_product_param { num_output: 4 } }
)";

inline constexpr std::string_view kV0 = R"(name: "net"
input: "data" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 5
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers {
  layer { name: "conv1" type: "conv" num_output: 2 kernelsize: 3 stride: 1 biasterm: true
          weight_filler { type: "xavier" } blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0. }
  bottom: "pad1" top: "conv1"
}
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 4 } bottom: "conv1" top: "ip" }
)";

inline constexpr std::string_view kPrinted = R"(graph net
  input data: f32 1x3x5x5
  conv1 = conv(data, conv1/weight, conv1/bias) outputs=2 kernel=3x3 pad=1x1: 1x2x5x5
  conv1 = unary(conv1): 1x2x5x5
  ip = inner_product(conv1, ip/weight, ip/bias) outputs=4: 1x4
  output ip
)";

inline std::vector<StoredLayer> stored() {
  return {{"conv1", "Convolution", {counting({2, 3, 3, 3}), counting({2}, 100)}},
          {"relu1", "ReLU", {}},
          {"ip", "InnerProduct", {counting({4, 50}), counting({4}, 200)}}};
}

class CaffeFixture : public ::testing::Test {
 protected:
  Imported import(std::string_view prototxt, const std::vector<StoredLayer>& weights,
                  const CaffeOptions& options = {}, Form form = Form::v2) {
    const auto path = folder.write("net.prototxt", prototxt);
    return import_caffe(path, folder.write("net.caffemodel", write_caffemodel(weights, form)), options);
  }
  // Without weights; zeros stand in.
  Imported look(std::string_view prototxt, CaffeOptions options = {}) {
    options.allow_missing_weights = true;
    return import_caffe(folder.write("net.prototxt", prototxt), std::nullopt, options);
  }
  std::string error(std::string_view prototxt, const CaffeOptions& options = {}) {
    return folder.shorten(error_of([&] { look(prototxt, options); }));
  }
  std::string error_with(std::string_view prototxt, const std::vector<StoredLayer>& weights) {
    return folder.shorten(error_of([&] { import(prototxt, weights); }));
  }
  std::vector<std::string> notes(const Imported& imported) {
    std::vector<std::string> texts;
    for (const std::string& note : imported.notes) texts.push_back(folder.shorten(note));
    return texts;
  }
  static std::vector<std::string> names(const Graph& graph, const std::vector<ValueId>& ids) {
    std::vector<std::string> result;
    for (const ValueId id : ids) result.push_back(graph.value(id).name);
    return result;
  }
  static const Constant& constant(const Graph& graph, std::string_view name) {
    for (const Value& value : graph.values()) {
      if (value.name == name && value.constant) return *value.constant;
    }
    throw std::logic_error("no constant " + std::string(name));
  }

  Folder folder;
};

using Names = std::vector<std::string>;

inline constexpr std::string_view kInput =
    "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: [2, 4, 6, 6] } } }\n";

inline std::string net(std::string_view layers) { return std::string(kInput).append(layers); }

inline std::string relu(std::string_view name, std::string_view bottom, std::string_view top,
                        std::string_view more = "") {
  return fmt::format("layer {{ name: '{}' type: 'ReLU' bottom: '{}' top: '{}' {} }}\n", name, bottom,
                     top, more);
}

}  // namespace maru::testing_files
