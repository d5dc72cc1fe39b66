#include "import/caffe_proto.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "tensor/half.h"

namespace maru {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are read and written in place as little-endian floats");

using Wire = protozero::pbf_wire_type;

constexpr std::size_t kMaxAxes = 32;  // as in Caffe

// Tags of caffe.proto (BVLC and forks agree on these).
namespace tag {
constexpr std::uint32_t kBlobNum = 1, kBlobWidth = 4, kBlobData = 5, kBlobShape = 7,
                        kBlobDoubleData = 8;
// Those of NVCaffe and OpenCV (shrinkCaffeModel), and the two values of raw_data_type that are read.
constexpr std::uint32_t kBlobRawType = 10, kBlobRawData = 12;
constexpr std::int32_t kRawFloat = 1, kRawHalf = 2;
constexpr std::uint32_t kShapeDim = 1;
}  // namespace tag

std::string_view text_of(Wire wire) {
  switch (wire) {
    case Wire::varint:
      return "a varint";
    case Wire::fixed64:
      return "8 bytes";
    case Wire::length_delimited:
      return "a block";
    case Wire::fixed32:
      return "4 bytes";
    default:
      return "an unknown wire type";
  }
}

template <class T>
void append(protozero::data_view run, std::vector<float>& into) {
  for (std::size_t at = 0; at < run.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, run.data() + at, sizeof(T));
    into.push_back(static_cast<float>(value));
  }
}

void append_halves(protozero::data_view run, std::vector<float>& into) {
  for (std::size_t at = 0; at < run.size(); at += sizeof(std::uint16_t)) {
    std::uint16_t half = 0;
    std::memcpy(&half, run.data() + at, sizeof half);
    into.push_back(from_half(half));
  }
}

void own(CaffeBlob& blob, std::vector<float> values) {
  auto owned = std::make_shared<const std::vector<float>>(std::move(values));
  blob.bytes = std::as_bytes(std::span<const float>(*owned));
  blob.owner = std::move(owned);
}

}  // namespace

CaffeProtoReader::CaffeProtoReader(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                   std::string_view file, Constant::Storage storage)
    : begin_(reinterpret_cast<const char*>(bytes.data())),
      size_(bytes.size()),
      owner_(std::move(owner)),
      storage_(storage),
      file_(file) {}

void CaffeProtoReader::fail(std::string_view expected, std::string_view got,
                            std::string_view hint) const {
  throw Error(fmt::format("{}: byte {}", file_, at_), expected, got, hint);
}

void CaffeProtoReader::fail_wire(const protozero::exception& error) const {
  if (dynamic_cast<const protozero::end_of_buffer_exception*>(&error) != nullptr) {
    fail("a field that ends within its message", "one that reaches beyond it",
         "fetching the file again: it is cut off or damaged");
  }
  fail("protobuf wire data", error.what(), "fetching the file again: it is damaged");
}

void CaffeProtoReader::check_kind(std::string_view kind, std::string_view text_hint) {
  kind_ = kind;
  const std::string_view start(begin_, std::min<std::size_t>(size_, 256));
  const auto reject = [&](std::string_view got, std::string_view hint) {
    throw Error(file_, fmt::format("a {}", kind), got, hint);
  };
  if (start.starts_with("\x89HDF")) {
    reject("an HDF5 file",
           "snapshot_format: BINARYPROTO in the solver, or saving it with net.save() in pycaffe");
  }
  // Wire data has a tag below 0x20 among its first bytes; text may be UTF-8.
  const bool is_text = std::ranges::all_of(start, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  });
  if (!is_text || start.empty()) return;
  if (start.starts_with("version https://git-lfs")) reject("a Git LFS pointer", "git lfs pull");
  if (start.starts_with("<")) reject("a web page", "fetching the file itself");
  reject("a text file", text_hint);
}

bool CaffeProtoReader::next(Pbf& message) {
  at_ = position(message.data().data());
  return message.next();
}

void CaffeProtoReader::want(const Pbf& message, Wire wire, std::string_view what) const {
  if (message.wire_type() == wire) return;
  fail(fmt::format("{} as {}", what, text_of(wire)), text_of(message.wire_type()),
       fmt::format("a {} of Caffe's: this is another kind of file, or damaged", kind_));
}

CaffeProtoReader::View CaffeProtoReader::view(Pbf& message, std::string_view what) const {
  want(message, Wire::length_delimited, what);
  return message.get_view();
}

std::string CaffeProtoReader::text(Pbf& message, std::string_view what) const {
  const View bytes = view(message, what);
  return {bytes.data(), bytes.size()};
}

CaffeBlob CaffeProtoReader::blob(View bytes) {
  CaffeBlob blob;
  blob.position = position(bytes.data());
  std::vector<std::int64_t> legacy(4, 0);
  bool has_shape = false;
  View packed;                 // the one run of floats, while there is no more than one
  std::vector<float> floats;   // otherwise, all of them so far
  std::vector<float> doubles;  // Caffe prefers these where both are there
  const auto unpack = [&] {
    append<float>(packed, floats);
    packed = {};
  };
  View raw;
  std::int32_t raw_type = -1;
  Pbf message(bytes);
  while (next(message)) {
    const std::uint32_t field = message.tag();
    if (field >= tag::kBlobNum && field <= tag::kBlobWidth) {
      want(message, Wire::varint, "a legacy extent");
      legacy[field - tag::kBlobNum] = extent(message.get_int64());
      blob.legacy = true;
    } else if (field == tag::kBlobShape) {
      shape(view(message, "a shape"), blob.dims);
      has_shape = true;
    } else if (field == tag::kBlobData && message.wire_type() == Wire::fixed32) {
      unpack();
      floats.push_back(message.get_float());
    } else if (field == tag::kBlobData) {
      const View run = whole(view(message, "data"), sizeof(float));
      if (packed.empty() && floats.empty()) {
        packed = run;
      } else {
        unpack();
        append<float>(run, floats);
      }
    } else if (field == tag::kBlobDoubleData && message.wire_type() == Wire::fixed64) {
      doubles.push_back(static_cast<float>(message.get_double()));
    } else if (field == tag::kBlobDoubleData) {
      append<double>(whole(view(message, "double_data"), sizeof(double)), doubles);
    } else if (field == tag::kBlobRawType) {
      want(message, Wire::varint, "raw_data_type");
      raw_type = message.get_enum();
    } else if (field == tag::kBlobRawData) {
      raw = view(message, "raw_data");
    } else {
      message.skip();
    }
  }
  const bool has_values = !packed.empty() || !floats.empty() || !doubles.empty();
  if (!has_values && raw_type == tag::kRawFloat) {
    packed = whole(raw, sizeof(float));
  } else if (!has_values && raw_type == tag::kRawHalf) {
    append_halves(whole(raw, sizeof(std::uint16_t)), floats);
  } else {
    blob.foreign = !raw.empty();
  }
  // With either legacy extents or a shape, Caffe looks at the legacy ones.
  if (blob.legacy) {
    blob.dims = std::move(legacy);
  } else if (!has_shape) {
    blob.dims.clear();
  }
  if (!doubles.empty()) {
    own(blob, std::move(doubles));
  } else if (!floats.empty()) {
    own(blob, std::move(floats));
  } else {
    blob.bytes = std::as_bytes(std::span(packed.data(), packed.size()));
    blob.owner = owner_;
    blob.storage = storage_;
  }
  return blob;
}

std::int64_t CaffeProtoReader::extent(std::int64_t value) const {
  if (value < 0) fail("an extent of 0 or more", fmt::format("{}", value));
  return value;
}

void CaffeProtoReader::shape(View bytes, std::vector<std::int64_t>& dims) {
  const auto add = [&](std::int64_t value) {
    if (dims.size() == kMaxAxes) fail(fmt::format("a blob of at most {} axes", kMaxAxes), "more");
    dims.push_back(extent(value));
  };
  Pbf message(bytes);
  while (next(message)) {
    if (message.tag() != tag::kShapeDim) {
      message.skip();
    } else if (message.wire_type() == Wire::varint) {
      add(message.get_int64());
    } else {
      want(message, Wire::length_delimited, "the extents");
      for (const std::int64_t value : message.get_packed_int64()) add(value);
    }
  }
}

CaffeProtoReader::View CaffeProtoReader::whole(View run, std::size_t element) const {
  if (run.size() % element != 0) {
    fail(fmt::format("a run of {}-byte numbers", element), fmt::format("{} bytes", run.size()),
         "fetching the file again: it is damaged");
  }
  return run;
}

void CaffeProtoPieces::add_head(std::string head) {
  bytes_ += head.size();
  if (pieces_.empty() || !pieces_.back().values.empty()) {
    pieces_.push_back({std::move(head), {}});
  } else {
    pieces_.back().head += head;
  }
}

void CaffeProtoPieces::add_string(std::uint32_t tag, std::string_view text) {
  std::string head;
  protozero::pbf_writer(head).add_bytes(tag, text.data(), text.size());
  add_head(std::move(head));
}

void CaffeProtoPieces::add_int(std::uint32_t tag, std::int64_t value) {
  std::string head;
  protozero::pbf_writer(head).add_int64(tag, value);
  add_head(std::move(head));
}

void CaffeProtoPieces::add_message(std::uint32_t tag, const CaffeProtoPieces& message) {
  // Tag, wire type 2 and length, and then what the message is.
  std::string head;
  protozero::add_varint_to_buffer(&head, std::uint64_t{tag} << 3 | 2);
  protozero::add_varint_to_buffer(&head, message.bytes_);
  add_head(std::move(head));
  for (const Piece& piece : message.pieces_) {
    add_head(piece.head);
    if (piece.values.empty()) continue;
    pieces_.back().values = piece.values;
    bytes_ += piece.values.size_bytes();
  }
}

void CaffeProtoPieces::add_blob(std::uint32_t tag, std::span<const std::int64_t> shape,
                                std::span<const float> values, std::string_view name) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  if (count != static_cast<std::int64_t>(values.size())) {
    throw Error(name, fmt::format("{} values, as its shape says", count),
                fmt::format("{}", values.size()));
  }
  std::string extents;
  protozero::pbf_writer(extents).add_packed_int64(tag::kShapeDim, shape.begin(), shape.end());
  CaffeProtoPieces blob;
  blob.add_string(tag::kBlobShape, extents);
  std::string head;
  protozero::add_varint_to_buffer(&head, std::uint64_t{tag::kBlobData} << 3 | 2);
  protozero::add_varint_to_buffer(&head, values.size_bytes());
  blob.add_head(std::move(head));
  blob.pieces_.back().values = values;
  blob.bytes_ += values.size_bytes();
  add_message(tag, blob);
}

void CaffeProtoPieces::write(AtomicFile& file) const {
  constexpr std::size_t kMost = std::numeric_limits<std::int32_t>::max();
  if (bytes_ > kMost) {
    throw Error(file.path().string(),
                fmt::format("at most {} in one file, as Caffe reads it",
                            human_bytes(static_cast<double>(kMost))),
                human_bytes(static_cast<double>(bytes_)));
  }
  for (const Piece& piece : pieces_) {
    file.write(piece.head);
    file.write(std::as_bytes(piece.values));
  }
}

}  // namespace maru
