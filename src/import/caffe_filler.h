// Fillers: what the weights of a new layer begin with, by Caffe's formulas (filler.hpp). No state; any
// thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "import/prototxt.h"
#include "tensor/shape.h"

namespace maru {

struct CaffeFiller {
  enum class Kind : std::uint8_t {
    constant,           // value
    uniform,            // [min, max)
    gaussian,           // mean, std; with sparse, all but about so many of each input's are zero
    xavier,             // uniform, +- sqrt(3 / n)
    msra,               // gaussian, std sqrt(2 / n)
    positive_unitball,  // uniform, the sum of each output's is 1
    bilinear,           // interpolation, for scaling up by a deconvolution
  };
  enum class Norm : std::uint8_t { fan_in, fan_out, average };  // what n is

  Kind kind = Kind::constant;
  double value = 0, min = 0, max = 1, mean = 0, std = 1;
  std::int64_t sparse = -1;  // -1: none
  Norm norm = Norm::fan_in;
};

// The filler of a layer's parameter: the one that its block names for this role, or what Caffe takes
// where it names none. block: the layer's attributes, "convolution_param { }", or nullptr. Throws Error
// with file and line for a filler that Caffe does not have or would refuse.
CaffeFiller read_caffe_filler(const Message* block, std::string_view layer_type, std::string_view role,
                              std::string_view file, std::string_view layer_name);

// The values. They follow from seed and name alone, element by element, by whole numbers and operations
// that IEEE 754 defines to the last bit: the same on every machine. Throws Error (at `name`) for a
// shape that the filler is not for.
std::vector<float> fill(const CaffeFiller& filler, const Shape& shape, std::uint64_t seed,
                        std::string_view name);

}  // namespace maru
