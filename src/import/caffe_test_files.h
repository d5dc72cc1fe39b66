// For tests: caffemodels written field by field with protozero, files in a folder of their own, and
// errors as text.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/files.h"

namespace maru::testing_files {

enum class Form { v0, v1, v2 };

struct Blob {
  std::vector<std::int64_t> dims;
  std::vector<float> values;
  bool packed = true;
};

struct StoredLayer {
  std::string name;
  std::string type;  // V2's; V1 needs one of the numbers below
  std::vector<Blob> blobs;
};

inline Blob counting(std::vector<std::int64_t> dims, float first = 0) {
  Blob blob{std::move(dims), {}};
  std::int64_t count = 1;
  for (const std::int64_t dim : blob.dims) count *= dim;
  for (std::int64_t i = 0; i < count; ++i) blob.values.push_back(first + static_cast<float>(i));
  return blob;
}

inline std::string write_blob(const Blob& blob, Form form) {
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  if (form == Form::v2) {
    protozero::pbf_writer shape(writer, 7);
    shape.add_packed_int64(1, blob.dims.begin(), blob.dims.end());
  } else {
    const std::size_t lead = 4 - blob.dims.size();
    for (std::size_t i = 0; i < 4; ++i) {
      writer.add_int32(static_cast<std::uint32_t>(i + 1),
                       static_cast<std::int32_t>(i < lead ? 1 : blob.dims[i - lead]));
    }
  }
  if (blob.packed) {
    writer.add_packed_float(5, blob.values.begin(), blob.values.end());
  } else {
    for (const float value : blob.values) writer.add_float(5, value);
  }
  return bytes;
}

inline int v1_number(std::string_view type) {
  return type == "Convolution" ? 4 : type == "InnerProduct" ? 14 : type == "ReLU" ? 18 : 0;
}

inline std::string v0_type(std::string_view type) {
  return type == "Convolution" ? "conv" : type == "InnerProduct" ? "innerproduct" : "relu";
}

inline std::string write_caffemodel(const std::vector<StoredLayer>& layers, Form form) {
  std::string bytes;
  protozero::pbf_writer net(bytes);
  net.add_string(1, "net");
  for (const StoredLayer& layer : layers) {
    if (form == Form::v2) {
      protozero::pbf_writer writer(net, 100);
      writer.add_string(1, layer.name);
      writer.add_string(2, layer.type);
      for (const Blob& blob : layer.blobs) writer.add_message(7, write_blob(blob, form));
      continue;
    }
    protozero::pbf_writer writer(net, 2);
    writer.add_string(2, "some bottom");
    if (form == Form::v1) {
      writer.add_string(4, layer.name);
      writer.add_enum(5, v1_number(layer.type));
      for (const Blob& blob : layer.blobs) writer.add_message(6, write_blob(blob, form));
      continue;
    }
    protozero::pbf_writer inner(writer, 1);
    inner.add_string(1, layer.name);
    inner.add_string(2, v0_type(layer.type));
    for (const Blob& blob : layer.blobs) inner.add_message(50, write_blob(blob, form));
  }
  return bytes;
}

using testing::error_of;
using testing::Folder;

}  // namespace maru::testing_files
