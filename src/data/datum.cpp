#include "data/datum.h"

#include <protozero/pbf_reader.hpp>

#include "base/error.h"

namespace maru::data {
namespace {

using Wire = protozero::pbf_wire_type;

constexpr std::uint32_t kChannels = 1, kHeight = 2, kWidth = 3, kData = 4, kLabel = 5, kFloats = 6,
                        kEncoded = 7;

constexpr std::string_view kHint = "a database of Caffe's Datums, as convert_imageset writes it";

std::uint64_t varint(protozero::pbf_reader& message, std::string_view name) {
  if (message.wire_type() != Wire::varint) {
    throw Error(name, "a Datum", "another kind of record", kHint);
  }
  return message.get_uint64();
}

}  // namespace

Datum parse_datum(std::span<const std::byte> record, std::string_view name) {
  Datum datum;
  bool floats = false;
  try {
    protozero::pbf_reader message(reinterpret_cast<const char*>(record.data()), record.size());
    while (message.next()) {
      switch (message.tag()) {
        case kChannels:
          datum.channels = static_cast<std::int32_t>(varint(message, name));
          break;
        case kHeight:
          datum.height = static_cast<std::int32_t>(varint(message, name));
          break;
        case kWidth:
          datum.width = static_cast<std::int32_t>(varint(message, name));
          break;
        case kLabel:
          datum.label = static_cast<std::int32_t>(varint(message, name));
          break;
        case kEncoded:
          datum.encoded = varint(message, name) != 0;
          break;
        case kData: {
          if (message.wire_type() != Wire::length_delimited) {
            throw Error(name, "a Datum", "another kind of record", kHint);
          }
          const auto view = message.get_view();
          datum.data = std::as_bytes(std::span(view.data(), view.size()));
          break;
        }
        case kFloats:
          floats = true;
          message.skip();
          break;
        default:
          message.skip();
      }
    }
  } catch (const protozero::exception& error) {
    throw Error(name, "a Datum", fmt::format("a damaged record ({})", error.what()), kHint);
  }
  if (datum.data.empty()) {
    if (floats) {
      throw Error(name, "a photo of bytes", "a Datum of floats (float_data)",
                  "photos as they were, before their features were computed");
    }
    throw Error(name, "a Datum with data", "none", kHint);
  }
  if (datum.encoded) return datum;
  const std::string extents = fmt::format("{} x {} x {}", datum.channels, datum.height, datum.width);
  if ((datum.channels != 1 && datum.channels != 3) || datum.height < 1 || datum.width < 1 ||
      datum.height > 1 << 15 || datum.width > 1 << 15) {
    throw Error(name, "1 or 3 channels of a photo", extents);
  }
  const std::uint64_t wanted = static_cast<std::uint64_t>(datum.channels) *
                               static_cast<std::uint64_t>(datum.height) *
                               static_cast<std::uint64_t>(datum.width);
  if (datum.data.size() != wanted) {
    throw Error(name, fmt::format("{} bytes of {}", wanted, extents),
                fmt::format("{} bytes", datum.data.size()), kHint);
  }
  return datum;
}

}  // namespace maru::data
