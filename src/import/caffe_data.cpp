#include "import/caffe_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "import/caffe_attrs.h"

namespace maru {
namespace {

constexpr std::string_view kRead[] = {"Data", "ImageData"};
constexpr std::string_view kOthers[] = {"HDF5Data",      "WindowData",     "MemoryData",
                                        "AnnotatedData", "VideoData",      "DummyData",
                                        "HDF5Output",    "DenseImageData", "ImageLabelData"};

class DataReader {
 public:
  DataReader(const Message& layer, std::string_view file, std::string_view where)
      : layer_(layer), file_(file), where_(where) {
    data_.where = where;
    if (const Field* name = layer.find("name")) data_.name = name->text;
    if (const Field* type = layer.find("type")) data_.type = type->text;
  }

  CaffeData run(const CaffeOptions& options, std::vector<std::string>& notes) {
    if (std::ranges::find(kRead, data_.type) == std::end(kRead)) {
      fail("a data layer that maru reads: Data or ImageData", fmt::format("\"{}\"", data_.type),
           "an ImageData layer with a list of photos and labels");
    }
    read_tops();
    const bool images = data_.type == "ImageData";
    const CaffeAttrs source(block(images ? "image_data_param" : "data_param"), file_, data_.name);
    read_source(source, images);
    const CaffeAttrs transform(block("transform_param"), file_, data_.name);
    read_transform(transform);
    note(source, images ? "image_data_param" : "data_param", notes);
    note(transform, "transform_param", notes);
    if (options.batch) data_.batch = *options.batch;
    return std::move(data_);
  }

 private:
  [[noreturn]] void fail(std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(where_, expected, got, hint);
  }

  const Message* block(std::string_view name) const {
    const auto blocks = layer_.all(name);
    if (blocks.empty()) return nullptr;
    if (blocks.size() > 1) fail(fmt::format("one {}", name), fmt::format("{}", blocks.size()));
    if (!blocks[0]->is_message()) fail(fmt::format("a block {} {{ }}", name), blocks[0]->str());
    return &blocks[0]->message;
  }

  void read_tops() {
    if (layer_.has("bottom"))
      fail("a data layer without bottoms", layer_.find("bottom")->str(), "another type of layer");
    const auto tops = layer_.all("top");
    if (tops.empty() || tops.size() > 2) {
      fail("one top for the data, or a second one for the labels", fmt::format("{}", tops.size()),
           "top: \"data\" top: \"label\"");
    }
    data_.data_top = tops[0]->text;
    if (tops.size() == 2) data_.label_top = tops[1]->text;
  }

  std::int64_t at_least(const CaffeAttrs& attrs, std::string_view name, std::int64_t least,
                        std::int64_t fallback) const {
    const std::int64_t value = attrs.integer(name, fallback);
    if (value < least) fail(fmt::format("{} of {} or more", name, least), fmt::format("{}", value));
    return value;
  }

  void read_source(const CaffeAttrs& attrs, bool images) {
    data_.source = attrs.text("source", "");
    if (data_.source.empty()) {
      fail("a source", "none",
           images ? "image_data_param { source: \"train.txt\" }"
                  : "data_param { source: \"train_lmdb\" }");
    }
    data_.batch = at_least(attrs, "batch_size", 1, images ? 1 : 0);
    data_.skip = at_least(attrs, "rand_skip", 0, 0);
    if (!images) {
      data_.backend = attrs.text("backend", "LEVELDB");
      if (data_.backend != "LEVELDB" && data_.backend != "LMDB")
        fail("LEVELDB or LMDB for backend", data_.backend);
      std::ranges::transform(data_.backend, data_.backend.begin(), [](char c) {
        return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      });
      attrs.integer("prefetch", 0);  // maru's loader has its own depth
      data_.force_color = attrs.boolean("force_encoded_color", false);
      return;
    }
    data_.root = attrs.text("root_folder", "");
    data_.shuffle = attrs.boolean("shuffle", false);
    data_.is_color = attrs.boolean("is_color", true);
    data_.new_height = static_cast<int>(at_least(attrs, "new_height", 0, 0));
    data_.new_width = static_cast<int>(at_least(attrs, "new_width", 0, 0));
    if ((data_.new_height == 0) != (data_.new_width == 0)) {
      fail("new_height and new_width together",
           fmt::format("{} and {}", data_.new_height, data_.new_width), "giving both, or neither");
    }
  }

  void read_transform(const CaffeAttrs& attrs) {
    data_.crop = static_cast<int>(at_least(attrs, "crop_size", 0, 0));
    data_.mirror = attrs.boolean("mirror", false);
    data_.scale = attrs.number("scale", 1);
    data_.mean_file = attrs.text("mean_file", "");
    data_.mean_values = attrs.numbers("mean_value");
    data_.force_color = attrs.boolean("force_color", false) || data_.force_color;
    data_.force_gray = attrs.boolean("force_gray", false);
    if (!data_.mean_file.empty() && !data_.mean_values.empty())
      fail("either mean_file or mean_value", "both", "leaving out one of them");
    if (data_.force_color && data_.force_gray)
      fail("either force_color or force_gray", "both", "leaving out one of them");
    if (data_.force_gray) data_.is_color = false;
    if (data_.force_color) data_.is_color = true;
    const std::size_t channels = data_.is_color ? 3 : 1;
    if (data_.mean_values.size() > 1 && data_.mean_values.size() != channels) {
      fail(fmt::format("one mean_value, or one for each of {} channels", channels),
           fmt::format("{}", data_.mean_values.size()));
    }
    if (data_.new_height > 0 && data_.crop > std::min(data_.new_height, data_.new_width)) {
      fail(fmt::format("a crop_size within {} x {}", data_.new_height, data_.new_width),
           fmt::format("{}", data_.crop));
    }
  }

  void note(const CaffeAttrs& attrs, std::string_view block, std::vector<std::string>& notes) const {
    for (const CaffeAttrs::Unread& field : attrs.unread()) {
      if (!field.meant.empty())
        throw Error(fmt::format("{}:{} layer '{}'", file_, field.line, data_.name),
                    "a field of the layer", fmt::format("{}.{}", block, field.name), field.meant);
      notes.push_back(fmt::format("{}:{}: layer '{}' ({}): {}.{} is not used", file_, field.line,
                                  data_.name, data_.type, block, field.name));
    }
  }

  const Message& layer_;
  std::string_view file_, where_;
  CaffeData data_;
};

}  // namespace

bool is_caffe_data_layer(std::string_view type) {
  return std::ranges::find(kRead, type) != std::end(kRead) ||
         std::ranges::find(kOthers, type) != std::end(kOthers);
}

CaffeData read_caffe_data(const Message& layer, std::string_view file, std::string_view where,
                          const CaffeOptions& options, std::vector<std::string>& notes) {
  return DataReader(layer, file, where).run(options, notes);
}

Shape caffe_data_shape(const CaffeData& data, const CaffeOptions& options) {
  Shape shape;
  if (options.data_shape) shape = options.data_shape(data);
  if (shape.rank() == 3) return shape;
  if (shape.rank() != 0) throw Error(data.where, "channels, height and width of the data", shape.str());
  const std::int64_t channels = data.is_color ? 3 : 1;
  if (data.crop > 0) return {channels, data.crop, data.crop};
  if (data.new_height > 0) return {channels, data.new_height, data.new_width};
  throw Error(data.where, "the size of what it gives", "neither crop_size nor new_height",
              "transform_param { crop_size: 224 }");
}

}  // namespace maru
