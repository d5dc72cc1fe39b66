// What a data layer of a Caffe network (Data, ImageData) says. No state; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "import/caffe.h"

namespace maru {

// A layer that brings data from outside, whether or not maru knows the kind.
bool is_caffe_data_layer(std::string_view type);

// Reads a layer's fields; adds a note for each that nobody reads. `layer` is its block, `where` what
// errors say of it: "file:line layer 'data'". Throws Error for a kind that maru does not read, and for
// what Caffe would refuse.
CaffeData read_caffe_data(const Message& layer, std::string_view file, std::string_view where,
                          const CaffeOptions& options, std::vector<std::string>& notes);

// C x H x W of what the layer gives, as CaffeOptions::data_shape has it.
Shape caffe_data_shape(const CaffeData& data, const CaffeOptions& options);

}  // namespace maru
