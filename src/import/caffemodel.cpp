#include "import/caffemodel.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <protozero/pbf_reader.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "import/caffe_upgrade.h"

namespace maru {
namespace {

static_assert(std::endian::native == std::endian::little,
              "weights are read in place as little-endian floats");

using Wire = protozero::pbf_wire_type;

constexpr std::size_t kMaxLayers = 100'000, kMaxBlobs = 1'000;
constexpr std::size_t kMaxAxes = 32;  // as in Caffe

// Tags of caffe.proto (BVLC and forks agree on these).
namespace tag {
constexpr std::uint32_t kNetName = 1, kNetLayersV1 = 2, kNetLayerV2 = 100;
constexpr std::uint32_t kV0Name = 1, kV0Type = 2, kV0Blobs = 50;
constexpr std::uint32_t kV1LayerV0 = 1, kV1Name = 4, kV1Type = 5, kV1Blobs = 6;
constexpr std::uint32_t kV2Name = 1, kV2Type = 2, kV2Blobs = 7;
constexpr std::uint32_t kBlobNum = 1, kBlobWidth = 4, kBlobData = 5, kBlobShape = 7,
                        kBlobDoubleData = 8;
constexpr std::uint32_t kBlobRawData = 12;
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

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string_view file,
         Constant::Storage storage)
      : begin_(reinterpret_cast<const char*>(bytes.data())),
        size_(bytes.size()),
        owner_(std::move(owner)),
        storage_(storage) {
    model_.file = file;
  }

  CaffeModel run() {
    check_kind();
    try {
      net({begin_, size_});
    } catch (const protozero::end_of_buffer_exception&) {
      fail("a field that ends within its message", "one that reaches beyond it",
           "fetching the file again: it is cut off or damaged");
    } catch (const protozero::exception& error) {
      fail("protobuf wire data", error.what(), "fetching the file again: it is damaged");
    }
    if (model_.layers.empty()) {
      throw Error(model_.file, "a caffemodel with layers", "none", "the .caffemodel of this network");
    }
    return std::move(model_);
  }

 private:
  using View = protozero::data_view;
  using Pbf = protozero::pbf_reader;

  [[noreturn]] void fail(std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(fmt::format("{}: byte {}", model_.file, at_), expected, got, hint);
  }

  std::size_t position(const char* data) const { return static_cast<std::size_t>(data - begin_); }

  // A file of another kind fails with its name.
  void check_kind() {
    const std::string_view start(begin_, std::min<std::size_t>(size_, 256));
    const auto reject = [&](std::string_view got, std::string_view hint) {
      throw Error(model_.file, "a .caffemodel", got, hint);
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
    reject("a text file", "the .prototxt as the network and the .caffemodel in this place");
  }

  bool next(Pbf& message) {
    at_ = position(message.data().data());
    return message.next();
  }

  void want(const Pbf& message, Wire wire, std::string_view what) const {
    if (message.wire_type() == wire) return;
    fail(fmt::format("{} as {}", what, text_of(wire)), text_of(message.wire_type()),
         "the .caffemodel of Caffe itself: this is another kind of file, or damaged");
  }

  View view(Pbf& message, std::string_view what) const {
    want(message, Wire::length_delimited, what);
    return message.get_view();
  }

  std::string text(Pbf& message, std::string_view what) const {
    const View bytes = view(message, what);
    return {bytes.data(), bytes.size()};
  }

  void net(View bytes) {
    Pbf message(bytes);
    while (next(message)) {
      switch (message.tag()) {
        case tag::kNetName:
          model_.name = text(message, "the network's name");
          break;
        case tag::kNetLayersV1:
          layer_v1(view(message, "a layer"), add_layer());
          break;
        case tag::kNetLayerV2:
          layer_v2(view(message, "a layer"), add_layer());
          break;
        default:
          message.skip();
      }
    }
  }

  CaffeLayer& add_layer() {
    if (model_.layers.size() == kMaxLayers) fail(fmt::format("at most {} layers", kMaxLayers), "more");
    return model_.layers.emplace_back();
  }

  void layer_v2(View bytes, CaffeLayer& layer) {
    Pbf message(bytes);
    while (next(message)) {
      switch (message.tag()) {
        case tag::kV2Name:
          layer.name = text(message, "a layer's name");
          break;
        case tag::kV2Type:
          layer.type = text(message, "a layer's type");
          break;
        case tag::kV2Blobs:
          blob(view(message, "a blob"), layer);
          break;
        default:
          message.skip();
      }
    }
  }

  void layer_v1(View bytes, CaffeLayer& layer) {
    Pbf message(bytes);
    while (next(message)) {
      switch (message.tag()) {
        case tag::kV1LayerV0:
          layer_v0(view(message, "a V0 layer"), layer);
          break;
        case tag::kV1Name:
          layer.name = text(message, "a layer's name");
          break;
        case tag::kV1Type: {
          want(message, Wire::varint, "a layer's type");
          const std::int32_t number = message.get_enum();
          const std::string_view known = caffe_type_of_v1(number);
          layer.type = known.empty() ? fmt::format("V1 type {}", number) : std::string(known);
          break;
        }
        case tag::kV1Blobs:
          blob(view(message, "a blob"), layer);
          break;
        default:
          message.skip();
      }
    }
  }

  void layer_v0(View bytes, CaffeLayer& layer) {
    Pbf message(bytes);
    while (next(message)) {
      switch (message.tag()) {
        case tag::kV0Name:
          layer.name = text(message, "a layer's name");
          break;
        case tag::kV0Type: {
          const std::string written = text(message, "a layer's type");
          const std::string_view known = caffe_type_of_v0(written);
          layer.type = known.empty() ? written : std::string(known);
          break;
        }
        case tag::kV0Blobs:
          blob(view(message, "a blob"), layer);
          break;
        default:
          message.skip();
      }
    }
  }

  void blob(View bytes, CaffeLayer& layer) {
    if (layer.blobs.size() == kMaxBlobs)
      fail(fmt::format("at most {} blobs in a layer", kMaxBlobs), "more");
    CaffeBlob& blob = layer.blobs.emplace_back();
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
      } else {
        blob.foreign = blob.foreign || field == tag::kBlobRawData;
        message.skip();
      }
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
  }

  std::int64_t extent(std::int64_t value) const {
    if (value < 0) fail("an extent of 0 or more", fmt::format("{}", value));
    return value;
  }

  void shape(View bytes, std::vector<std::int64_t>& dims) {
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

  View whole(View run, std::size_t element) const {
    if (run.size() % element != 0) {
      fail(fmt::format("a run of {}-byte numbers", element), fmt::format("{} bytes", run.size()),
           "fetching the file again: it is damaged");
    }
    return run;
  }

  template <class T>
  static void append(View run, std::vector<float>& into) {
    for (std::size_t at = 0; at < run.size(); at += sizeof(T)) {
      T value;
      std::memcpy(&value, run.data() + at, sizeof(T));
      into.push_back(static_cast<float>(value));
    }
  }

  static void own(CaffeBlob& blob, std::vector<float> values) {
    auto owned = std::make_shared<const std::vector<float>>(std::move(values));
    blob.bytes = std::as_bytes(std::span<const float>(*owned));
    blob.owner = std::move(owned);
  }

  const char* begin_;
  std::size_t size_;
  std::shared_ptr<const void> owner_;
  Constant::Storage storage_;
  std::size_t at_ = 0;  // where the field that is being read begins
  CaffeModel model_;
};

}  // namespace

std::string CaffeBlob::dims_str() const {
  return dims.empty() ? "scalar" : fmt::format("{}", fmt::join(dims, "x"));
}

bool CaffeBlob::fits(const Shape& shape) const {
  const auto first = [](const auto& extents) {
    return std::ranges::find_if(extents, [](std::int64_t extent) { return extent != 1; });
  };
  const auto wanted = shape.extents();
  return std::equal(first(dims), dims.end(), first(wanted), wanted.end());
}

const CaffeLayer* CaffeModel::find(std::string_view layer) const {
  const auto found = std::find_if(layers.rbegin(), layers.rend(),
                                  [&](const CaffeLayer& candidate) { return candidate.name == layer; });
  return found == layers.rend() ? nullptr : &*found;
}

CaffeModel read_caffemodel(const std::filesystem::path& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const auto bytes = file->bytes();
  return read_caffemodel(bytes, std::move(file), path.string(), Constant::Storage::file);
}

CaffeModel read_caffemodel(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                           std::string_view file, Constant::Storage storage) {
  return Reader(bytes, std::move(owner), file, storage).run();
}

std::shared_ptr<const Constant> make_constant(const CaffeBlob& blob, const Shape& shape) {
  MARU_ASSERT(blob.count() == shape.count());
  return std::make_shared<const Constant>(TensorDesc{DType::f32, shape, Layout::plain()}, blob.bytes,
                                          blob.owner, blob.storage);
}

}  // namespace maru
