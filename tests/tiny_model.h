// A network small enough to write down, that really tells something: the colour of a photo.
// For tests of everything above the network: api, C API, command line, examples.
#pragma once

#include <filesystem>
#include <fstream>
#include <protozero/pbf_writer.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace maru::testing {

// The channel averages of 3x3 pixels (blue, green, red) and their darkness; the largest of each 2x2;
// then each class looks at its own of these four and away from the others.
inline constexpr std::string_view kTinyNetwork = R"(name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer {
  name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
layer {
  name: "colour" type: "InnerProduct" bottom: "pool" top: "colour"
  inner_product_param { num_output: 4 }
}
layer { name: "prob" type: "Softmax" bottom: "colour" top: "prob" }
)";
inline constexpr std::string_view kTinyLabels = "red\ngreen\nblue\ndark\n";
inline constexpr std::string_view kTinyCard = R"({
  "name": "tiny",
  "origin": "written by tests/tiny_model.h",
  "network": "deploy.prototxt",
  "weights": "tiny.caffemodel",
  "labels": "labels.txt",
  "preprocessing": {"channels": "bgr", "mean": [128], "scale": 0.0078125, "resize": "squash"}
}
)";

struct TinyBlob {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

inline std::vector<TinyBlob> tiny_conv() {
  std::vector<float> weights;
  for (int out = 0; out < 4; ++out) {
    for (int channel = 0; channel < 3; ++channel) {
      const float sum = out == 3 ? -1.0F / 3 : out == channel ? 1.0F : 0.0F;
      weights.insert(weights.end(), 9, sum / 9);
    }
  }
  return {{{4, 3, 3, 3}, weights}, {{4}, {0, 0, 0, 0}}};
}

inline std::vector<TinyBlob> tiny_colour() {
  constexpr int channel_of[] = {2, 1, 0, 3};  // red, green, blue, dark in the order of conv
  std::vector<float> weights;
  for (const int own : channel_of) {
    for (int channel = 0; channel < 4; ++channel) {
      weights.insert(weights.end(), 16, channel == own ? 3.0F / 16 : -1.0F / 16);
    }
  }
  return {{{4, 64}, weights}, {{4}, {0, 0, 0, 0.25F}}};
}

// Field numbers are those of caffe.proto (NetParameter, LayerParameter, BlobProto, BlobShape).
inline std::string tiny_weights() {
  std::string bytes;
  protozero::pbf_writer net(bytes);
  net.add_string(1, "tiny");
  const auto add_layer = [&](const char* name, const char* type, const std::vector<TinyBlob>& blobs) {
    protozero::pbf_writer layer(net, 100);
    layer.add_string(1, name);
    layer.add_string(2, type);
    for (const TinyBlob& tensor : blobs) {
      protozero::pbf_writer blob(layer, 7);
      blob.add_packed_float(5, tensor.values.begin(), tensor.values.end());
      protozero::pbf_writer shape(blob, 7);
      shape.add_packed_int64(1, tensor.shape.begin(), tensor.shape.end());
    }
  };
  add_layer("conv", "Convolution", tiny_conv());
  add_layer("colour", "InnerProduct", tiny_colour());
  return bytes;
}

// Writes deploy.prototxt, tiny.caffemodel, labels.txt and model.json to `folder`, which it makes where
// it does not exist. Returns it. Input: 3 x 8 x 8 (the file says a batch of 2); output: prob, 4
// classes.
inline std::filesystem::path write_tiny_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, std::string_view content) {
    std::ofstream file(folder / name, std::ios::binary);
    file << content << std::flush;
    if (!file) throw std::runtime_error("cannot write " + (folder / name).string());
  };
  write("deploy.prototxt", kTinyNetwork);
  write("tiny.caffemodel", tiny_weights());
  write("labels.txt", kTinyLabels);
  write("model.json", kTinyCard);
  return folder;
}

// A photo of one colour as a binary PPM file.
inline std::string tiny_photo(int width, int height, unsigned char red, unsigned char green,
                              unsigned char blue) {
  std::string file = "P6\n" + std::to_string(width) + ' ' + std::to_string(height) + "\n255\n";
  for (int i = 0; i < width * height; ++i) {
    for (const unsigned char level : {red, green, blue}) file += static_cast<char>(level);
  }
  return file;
}

}  // namespace maru::testing
