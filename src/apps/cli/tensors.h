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

// What is said of a model that is not in single precision: nothing, or "in fp16".
inline std::string in_precision(Precision precision) {
  return precision == Precision::fp32 ? "" : fmt::format("in {}", to_string(precision));
}
// The same in an object.
inline void add_precision(Json& object, Precision precision) {
  if (precision != Precision::fp32) object["precision"] = to_string(precision);
}

}  // namespace maru::cli
