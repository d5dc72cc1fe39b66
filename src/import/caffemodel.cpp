#include "import/caffemodel.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "import/caffe_proto.h"
#include "import/caffe_upgrade.h"

namespace maru {
namespace {

constexpr std::size_t kMaxLayers = 100'000, kMaxBlobs = 1'000;

// Tags of caffe.proto (BVLC and forks agree on these).
namespace tag {
constexpr std::uint32_t kNetName = 1, kNetLayersV1 = 2, kNetLayerV2 = 100;
constexpr std::uint32_t kV0Name = 1, kV0Type = 2, kV0Blobs = 50;
constexpr std::uint32_t kV1LayerV0 = 1, kV1Name = 4, kV1Type = 5, kV1Blobs = 6;
constexpr std::uint32_t kV2Name = 1, kV2Type = 2, kV2Blobs = 7;
}  // namespace tag

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string_view file,
         Constant::Storage storage)
      : reader_(bytes, std::move(owner), file, storage) {
    model_.file = file;
  }

  CaffeModel run() {
    reader_.check_kind(".caffemodel", "the .prototxt as the network and the .caffemodel in this place");
    reader_.guarded([&] { net(reader_.all()); });
    if (model_.layers.empty()) {
      throw Error(model_.file, "a caffemodel with layers", "none", "the .caffemodel of this network");
    }
    return std::move(model_);
  }

 private:
  using View = CaffeProtoReader::View;
  using Pbf = CaffeProtoReader::Pbf;

  bool next(Pbf& message) { return reader_.next(message); }
  View view(Pbf& message, std::string_view what) const { return reader_.view(message, what); }
  std::string text(Pbf& message, std::string_view what) const { return reader_.text(message, what); }

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
    if (model_.layers.size() == kMaxLayers)
      reader_.fail(fmt::format("at most {} layers", kMaxLayers), "more");
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
          reader_.want(message, CaffeProtoReader::Wire::varint, "a layer's type");
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
      reader_.fail(fmt::format("at most {} blobs in a layer", kMaxBlobs), "more");
    layer.blobs.push_back(reader_.blob(bytes));
  }

  CaffeProtoReader reader_;
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
