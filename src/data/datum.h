// Datum: what Caffe's databases hold, one photo with its label (caffe.proto). A value that points into
// the record; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace maru::data {

struct Datum {
  std::int32_t channels = 0, height = 0, width = 0;
  std::span<const std::byte> data;  // planes of bytes, or a file
  std::int64_t label = 0;
  bool encoded = false;  // a JPEG or PNG file
};

// Throws Error, with `name`, for what is none, has floats (float_data), or whose planes are not as
// large as it says; of planes there are 1 or 3.
Datum parse_datum(std::span<const std::byte> record, std::string_view name);

}  // namespace maru::data
