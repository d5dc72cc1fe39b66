// How the verbs name tensors, in text and in JSON.
#pragma once

#include <maru/model.h>

#include "apps/cli/json.h"
#include "tensor/shape.h"
#include "tensor/tensor_desc.h"

namespace maru::cli {

inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  return Shape(std::span<const std::int64_t>(shape)).str();
}

inline Json to_json(const TensorInfo& tensor) {
  return {
      {"name", tensor.name}, {"dtype", std::string(to_string(tensor.dtype))}, {"shape", tensor.shape}};
}

inline Json to_json(const std::vector<TensorInfo>& tensors) {
  Json list = Json::array();
  for (const TensorInfo& tensor : tensors) list.push_back(to_json(tensor));
  return list;
}

}  // namespace maru::cli
