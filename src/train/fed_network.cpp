#include "train/fed_network.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/loss.h"
#include "rewrite/photos.h"
#include "vision/image.h"

namespace maru {
namespace {

namespace fs = std::filesystem;
using Frame = Preprocess::Frame;

// As written, or beside the network where there is no such file.
std::string found(const std::string& path, const CaffeNet& net) {
  std::error_code none;
  if (path.empty() || fs::path(path).is_absolute() || fs::exists(path, none)) return path;
  const fs::path beside = net.file.parent_path() / path;
  return fs::exists(beside, none) ? beside.string() : path;
}

DataSource source_of(const CaffeData& layer, const CaffeNet& net, const FeedOptions& options) {
  DataSource source;
  if (!options.data.empty()) {
    source.path = options.data;
    source.root = options.root;
    return source;
  }
  if (layer.source.empty())
    throw Error(layer.where, "a source, or a data set for it", "none", "--train-data and --test-data");
  if (layer.backend == "leveldb")
    throw Error(layer.where, "a database of kind LMDB", "LevelDB",
                "Caffe's convert_imageset with -backend lmdb, or the photos themselves: --train-data");
  source.path = found(layer.source, net);
  source.kind = layer.type == "Data" ? "lmdb" : "list";
  if (layer.type == "ImageData")
    source.root = options.root.empty() ? found(layer.root, net) : options.root;
  return source;
}

// C x H x W of what the data layer gives; what it does not say itself, the first photo does. As in
// Caffe, Datums have their own channels, plain or encoded, unless the layer forces others; photos of a
// list are in colour unless the layer wants them in grey.
Shape shape_given(const CaffeNet& net, const FeedOptions& options, const CaffeData& layer) {
  std::int64_t channels = layer.is_color ? 3 : 1, height = layer.new_height, width = layer.new_width;
  if (layer.crop > 0) height = width = layer.crop;
  const bool has_own_channels = layer.type == "Data" && layer.is_color && !layer.force_color;
  if (height > 0 && !has_own_channels) return {channels, height, width};
  const auto data = open_data_set(source_of(layer, net, options));
  std::vector<std::byte> scratch;
  const StoredPhoto photo = data->read(0, scratch);
  ImageInfo info;
  if (photo.channels > 0) {
    info.height = photo.height;
    info.width = photo.width;
    info.is_grey = photo.channels == 1;
  } else {
    info = probe_image(photo.bytes, data->name(0));
  }
  if (info.is_grey && has_own_channels) channels = 1;
  if (height > 0) return {channels, height, width};
  return {channels, info.height, info.width};
}

const CaffeData& only_data_layer(const Imported& imported, const CaffeNet& net) {
  if (imported.data.size() != 1)
    throw Error(net.file.string(), fmt::format("one data layer in phase {}", net.phase),
                fmt::format("{}", imported.data.size()), "a layer of type Data or ImageData");
  return imported.data[0];
}

// How many classes the labels choose among, and which label beside them no loss looks at.
void tell_labels(DataSource& source, const Graph& graph, const std::string& label) {
  if (label.empty()) return;
  const std::optional<ValueId> id = graph.find(label);
  if (!id) return;
  bool is_first = true;
  for (const NodeId reader : graph.readers(*id)) {
    const Node& node = graph.node(reader);
    const auto* loss = node.op.as<SoftmaxLoss>();
    if (loss == nullptr || node.src.size() < 2 || node.src[1] != *id) continue;
    source.ignored = is_first || source.ignored == loss->ignore ? loss->ignore : std::nullopt;
    is_first = false;
    const Shape& scores = graph.value(node.src[0]).desc.shape;
    const std::int64_t here = scores[scores.axis(loss->axis)];
    source.classes = source.classes == 0 ? here : std::min(source.classes, here);
  }
}

Augment augment_of(const CaffeData& layer, const Shape& input, bool is_training) {
  Augment augment;
  augment.height = input[2];
  augment.width = input[3];
  augment.new_height = layer.new_height;
  augment.new_width = layer.new_width;
  augment.crop = layer.crop;
  augment.random = is_training;
  augment.mirror = layer.mirror;
  return augment;
}

std::vector<float> means_of(const CaffeData& layer) {
  if (layer.mean_values.empty()) return {0};
  return {layer.mean_values.begin(), layer.mean_values.end()};
}

FloatInput floats_of(const CaffeData& layer, const CaffeNet& net, std::int64_t channels) {
  FloatInput floats;
  const std::string file = found(layer.mean_file, net);
  floats.mean = std::make_shared<const MeanImage>(read_binaryproto(file));
  if (floats.mean->channels != channels) {
    throw Error(file, fmt::format("a mean image of as many channels as the data has, {}", channels),
                fmt::format("{}", floats.mean->channels),
                channels == 1 ? "maru mean --grey, of these photos" : "maru mean, of these photos");
  }
  floats.channels = static_cast<int>(channels);
  floats.scale = static_cast<float>(layer.scale);
  return floats;
}

// As the data layer changes levels.
Preprocessing preprocessing_of(const CaffeData& layer) {
  Preprocessing how;
  how.mean = means_of(layer);
  how.scale = static_cast<float>(layer.scale);
  return how;
}

}  // namespace

std::vector<std::string> FedNetwork::figures() const {
  std::vector<std::string> names;
  const Graph& graph = imported.graph;
  for (const ValueId id : graph.outputs) {
    if (graph.value(id).desc.shape.count() == 1) names.push_back(graph.value(id).name);
  }
  return names;
}

std::vector<std::string> FedNetwork::copied() const {
  if (floats.empty()) return {};
  return {floats};
}

FedNetwork load_fed_network(const CaffeNet& net, const BeginningWeights& weights,
                            const FeedOptions& options, std::optional<std::int64_t> batch) {
  FedNetwork network;
  network.net = net.file.string();
  CaffeOptions caffe;
  caffe.data_layers = true;
  caffe.batch = batch;
  caffe.fill = weights.fill;
  caffe.seed = weights.seed;
  caffe.data_shape = [&](const CaffeData& layer) { return shape_given(net, options, layer); };
  std::optional<fs::path> first;
  if (!weights.files.empty()) {
    first = weights.files.front();
    caffe.more_weights.assign(weights.files.begin() + 1, weights.files.end());
  }
  network.imported = import_caffe(net, first, caffe);
  const CaffeData layer = only_data_layer(network.imported, net);
  Graph& graph = network.imported.graph;
  const ValueId input = graph.require(layer.data_top);
  const Shape shape = graph.value(input).desc.shape;
  if (shape.rank() != 4 || (shape[1] != 3 && shape[1] != 1))
    throw Error(layer.where, "photos, N x 3 x height x width, or N x 1 in grey", shape.str());
  if (layer.mean_values.size() > 1 && shape[1] == 1)
    throw Error(layer.where, "one mean_value, as the data has one channel",
                fmt::format("{}", layer.mean_values.size()));
  // Nobody reads the labels of a network that only gives scores.
  const std::optional<ValueId> label =
      layer.label_top.empty() ? std::nullopt : graph.find(layer.label_top);
  if (label && !graph.readers(*label).empty()) network.label = layer.label_top;

  DataSource source = source_of(layer, net, options);
  tell_labels(source, graph, network.label);
  network.source = source.path;
  network.data = open_data_set(source);

  LoaderOptions& loader = network.loader;
  loader.batch = shape[0];
  loader.augment = augment_of(layer, shape, net.phase == "TRAIN");
  if (options.augment) options.augment(loader.augment);
  require_valid(loader.augment);
  loader.shuffle = net.phase == "TRAIN";
  loader.threads = options.threads;
  loader.report = options.report;
  loader.repeat = net.phase == "TRAIN";
  if (layer.mean_file.empty()) {
    const PhotoInputs photos =
        take_photos(graph, input, Loader::photo_bytes(loader.augment), preprocessing_of(layer));
    network.pixels = photos.pixels;
    network.frames = photos.frames;
  } else {
    loader.floats = floats_of(layer, net, shape[1]);
    network.floats = layer.data_top;
  }
  return network;
}

namespace {

// Of its first `samples`: the photos, in whichever form the network takes them.
std::span<const std::byte> photos_of(const FedNetwork& network, const Batch& batch,
                                     std::size_t samples) {
  if (!network.floats.empty())
    return std::as_bytes(batch.floats.first(batch.floats.size() / batch.labels.size() * samples));
  const Frame& last = batch.frames[samples - 1];
  const auto end =
      std::int64_t{last.offset_16} * Frame::kUnit + std::int64_t{last.height} * last.row_bytes;
  return batch.pixels.first(std::min(batch.pixels.size(), static_cast<std::size_t>(end)));
}

const std::string& photos_name(const FedNetwork& network) {
  return network.floats.empty() ? network.pixels : network.floats;
}

void copy(std::span<const std::byte> bytes, PlannedRun& run, const std::string& name) {
  std::memcpy(run.input_bytes(name, bytes.size()).data(), bytes.data(), bytes.size());
}

}  // namespace

LoaderOptions loader_into(PlannedRun& run, const FedNetwork& network) {
  LoaderOptions options = network.loader;
  const std::int64_t bytes = Loader::batch_bytes(options);
  const std::int64_t count = options.ahead + 1;
  const bool is_framed = network.floats.empty();
  // A frame's offset has 32 bits.
  if (is_framed && bytes > Frame::kUnit * std::numeric_limits<std::int32_t>::max() / (count + 1))
    return options;
  const auto slots = run.make_slots(photos_name(network), static_cast<std::size_t>(bytes),
                                    static_cast<std::size_t>(count), is_framed);
  options.memory.assign(slots.begin(), slots.end());
  options.packed = options.memory.empty() || run.copies_slots(photos_name(network));
  return options;
}

void feed(const FedNetwork& network, const Batch& batch, std::int64_t count, PlannedRun& run) {
  const auto samples = static_cast<std::size_t>(count);
  const std::span<const std::byte> photos = photos_of(network, batch, samples);
  const std::optional<std::size_t> slot = run.take_slot(photos_name(network), photos);
  if (!slot) copy(photos, run, photos_name(network));
  if (!network.frames.empty()) {
    const auto frames = batch.frames.first(samples);
    const auto shift = static_cast<std::int64_t>(slot.value_or(0)) / Frame::kUnit;
    auto* written =
        reinterpret_cast<Frame*>(run.input_bytes(network.frames, frames.size_bytes()).data());
    for (Frame frame : frames) {
      frame.offset_16 += static_cast<std::int32_t>(shift);
      *written++ = frame;
    }
  }
  if (!network.label.empty()) copy(std::as_bytes(batch.labels.first(samples)), run, network.label);
}

}  // namespace maru
