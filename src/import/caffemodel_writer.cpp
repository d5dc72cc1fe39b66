#include "import/caffemodel_writer.h"

#include "import/caffe_proto.h"

namespace maru {
namespace {

// Tags of caffe.proto.
constexpr std::uint32_t kNetName = 1, kNetLayer = 100;
constexpr std::uint32_t kLayerName = 1, kLayerType = 2, kLayerBlobs = 7;

}  // namespace

void write_caffemodel(AtomicFile& file, std::string_view net_name,
                      std::span<const CaffemodelLayer> layers) {
  CaffeProtoPieces net;
  net.add_string(kNetName, net_name);
  for (const CaffemodelLayer& layer : layers) {
    CaffeProtoPieces message;
    message.add_string(kLayerName, layer.name);
    message.add_string(kLayerType, layer.type);
    for (const CaffemodelBlob& blob : layer.blobs)
      message.add_blob(kLayerBlobs, blob.shape, blob.values, layer.name);
    net.add_message(kNetLayer, message);
  }
  net.write(file);
}

void write_caffemodel(const std::filesystem::path& path, std::string_view net_name,
                      std::span<const CaffemodelLayer> layers) {
  AtomicFile file(path, "the weights");
  write_caffemodel(file, net_name, layers);
  file.commit();
}

}  // namespace maru
