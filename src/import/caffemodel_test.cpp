#include "import/caffemodel.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/error.h"
#include "import/caffe_test_files.h"

namespace maru {
namespace {

using namespace testing_files;

// Exactly as long as the content, so that a sanitizer sees each byte read beyond it.
CaffeModel read(std::string_view content) {
  auto bytes = std::make_shared<std::vector<std::byte>>(content.size());
  if (!content.empty()) std::memcpy(bytes->data(), content.data(), content.size());
  const std::span<const std::byte> all(*bytes);
  return read_caffemodel(all, bytes, "m");
}

std::string error_reading(std::string_view content) {
  return error_of([&] { read(content); });
}

std::vector<float> floats(const CaffeBlob& blob) {
  std::vector<float> values(static_cast<std::size_t>(blob.count()));
  if (!values.empty()) std::memcpy(values.data(), blob.bytes.data(), blob.bytes.size());
  return values;
}

// A V2 network of one layer with one blob; the blob begins at byte 5 while all of it is short.
std::string around(const std::string& blob) {
  std::string layer, content;
  protozero::pbf_writer(layer).add_message(7, blob);
  protozero::pbf_writer(content).add_message(100, layer);
  return content;
}

std::vector<StoredLayer> two_layers() {
  return {{"conv1", "Convolution", {counting({2, 3, 1, 1}), counting({2}, 100)}},
          {"relu1", "ReLU", {}},
          {"ip", "InnerProduct", {counting({4, 2}, 7)}}};
}

TEST(Caffemodel, AllThreeForms) {
  for (const Form form : {Form::v0, Form::v1, Form::v2}) {
    const CaffeModel model = read(write_caffemodel(two_layers(), form));
    EXPECT_EQ(model.name, "net");
    ASSERT_EQ(model.layers.size(), 3u);
    EXPECT_EQ(model.layers[0].name, "conv1");
    EXPECT_EQ(model.layers[0].type, "Convolution");
    EXPECT_EQ(model.layers[1].type, "ReLU");
    EXPECT_EQ(model.layers[2].type, "InnerProduct");
    ASSERT_EQ(model.layers[0].blobs.size(), 2u);
    const CaffeBlob& bias = model.layers[0].blobs[1];
    EXPECT_EQ(bias.legacy, form != Form::v2);
    EXPECT_EQ(bias.dims_str(), form == Form::v2 ? "2" : "1x1x1x2");
    EXPECT_TRUE(bias.fits({2}));
    EXPECT_FALSE(bias.fits({3}));
    EXPECT_FALSE(bias.fits({2, 1}));
    EXPECT_EQ(floats(bias), (std::vector<float>{100, 101}));
    const CaffeBlob& product = model.layers[2].blobs[0];
    EXPECT_TRUE(product.fits({4, 2}));
    EXPECT_EQ(floats(product).back(), 14);
    EXPECT_EQ(model.find("ip"), &model.layers[2]);
    EXPECT_EQ(model.find("nobody"), nullptr);
  }
}

TEST(Caffemodel, PackedFloatsStayWhereTheyAre) {
  const std::string content = write_caffemodel(two_layers(), Form::v2);
  const auto* begin = reinterpret_cast<const std::byte*>(content.data());
  auto owner = std::make_shared<int>(0);
  {
    const CaffeModel model =
        read_caffemodel(std::span(begin, content.size()), std::shared_ptr<const void>(owner), "m");
    const CaffeBlob& blob = model.layers[0].blobs[0];
    EXPECT_GE(blob.bytes.data(), begin);
    EXPECT_LE(blob.bytes.data() + blob.bytes.size(), begin + content.size());
    const auto constant = make_constant(blob, {2, 3, 1, 1});
    EXPECT_EQ(constant->bytes().data(), blob.bytes.data());
    EXPECT_EQ(constant->floats(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_GT(owner.use_count(), 2);
  }
  EXPECT_EQ(owner.use_count(), 1);
}

TEST(Caffemodel, OtherWaysToStoreNumbers) {
  const auto read_blob = [](const std::string& blob) {
    return read(around(blob)).layers.at(0).blobs.at(0);
  };
  // One by one, as protobuf wrote them before [packed = true].
  EXPECT_EQ(floats(read_blob(write_blob({{3}, {1, 2, 3}, false}, Form::v1))),
            (std::vector<float>{1, 2, 3}));
  {
    // In two runs and one by one.
    std::string blob;
    protozero::pbf_writer writer(blob);
    const std::vector<float> first{1, 2}, last{4};
    writer.add_packed_float(5, first.begin(), first.end());
    writer.add_float(5, 3);
    writer.add_packed_float(5, last.begin(), last.end());
    EXPECT_EQ(floats(read_blob(blob)), (std::vector<float>{1, 2, 3, 4}));
  }
  {
    std::string blob;
    protozero::pbf_writer writer(blob);
    const std::vector<double> values{0.5, -2};
    writer.add_packed_double(8, values.begin(), values.end());
    writer.add_double(8, 9);
    EXPECT_EQ(floats(read_blob(blob)), (std::vector<float>{0.5, -2, 9}));
  }
  {
    // A shape one by one; gradients are passed over.
    std::string blob;
    protozero::pbf_writer writer(blob);
    {
      protozero::pbf_writer shape(writer, 7);
      shape.add_int64(1, 2);
      shape.add_int64(1, 1);
    }
    const std::vector<float> data{1, 2}, diff{8, 9};
    writer.add_packed_float(5, data.begin(), data.end());
    writer.add_packed_float(6, diff.begin(), diff.end());
    const CaffeBlob read = read_blob(blob);
    EXPECT_EQ(read.dims, (std::vector<std::int64_t>{2, 1}));
    EXPECT_FALSE(read.legacy);
    EXPECT_EQ(floats(read), data);
  }
  {
    const CaffeBlob empty = read_blob("");
    EXPECT_EQ(empty.dims_str(), "scalar");
    EXPECT_EQ(empty.count(), 0);
  }
}

TEST(Caffemodel, FilesOfAnotherKind) {
  EXPECT_EQ(error_reading("name: \"net\"\nlayer { }\n"),
            "[m] expected a .caffemodel, got a text file; try the .prototxt as the network and the "
            ".caffemodel "
            "in this place");
  EXPECT_NE(error_reading("# \xEA\xB0\x80\nname: \"net\"\n").find("a text file"), std::string::npos);
  EXPECT_EQ(error_reading("<!DOCTYPE html>"),
            "[m] expected a .caffemodel, got a web page; try fetching the file itself");
  EXPECT_EQ(error_reading("version https://git-lfs.github.com/spec/v1\n"),
            "[m] expected a .caffemodel, got a Git LFS pointer; try git lfs pull");
  EXPECT_EQ(error_reading("\x89HDF\r\n\x1a\n"),
            "[m] expected a .caffemodel, got an HDF5 file; try snapshot_format: BINARYPROTO in the "
            "solver, or "
            "saving it with net.save() in pycaffe");
  EXPECT_EQ(error_reading(std::string("\x0a\x03net", 5)),
            "[m] expected a caffemodel with layers, got none; try the .caffemodel of this network");
  // A solver state: field 1 is a number there.
  EXPECT_EQ(
      error_reading("\x08\x01\x12\x01"),
      "[m: byte 0] expected the network's name as a block, got a varint; try a .caffemodel of Caffe's: "
      "this is another kind of file, or damaged");
  const Folder folder;
  EXPECT_EQ(folder.shorten(error_of([&] { read_caffemodel(folder.path("none.caffemodel")); })),
            "[none.caffemodel] expected a readable file, got No such file or directory; try checking "
            "the path");
  EXPECT_EQ(folder.shorten(error_of([&] { read_caffemodel(folder.write("empty", "")); })),
            "[empty] expected a file with content, got 0 bytes; try fetching the file again");
}

TEST(Caffemodel, MalformedFieldsAreExplained) {
  const auto packed = [](std::uint32_t tag, std::string_view bytes) {
    std::string blob;
    protozero::pbf_writer(blob).add_bytes(tag, std::string(bytes));
    return blob;
  };
  const auto blob_error = [](const std::string& blob) { return error_reading(around(blob)); };
  EXPECT_EQ(blob_error(packed(5, "12345")),
            "[m: byte 5] expected a run of 4-byte numbers, got 5 bytes; try fetching the file again: "
            "it is damaged");
  EXPECT_EQ(blob_error(packed(8, "1234")),
            "[m: byte 5] expected a run of 8-byte numbers, got 4 bytes; try fetching the file again: "
            "it is damaged");
  std::string negative;
  protozero::pbf_writer(negative).add_int32(2, -5);
  EXPECT_EQ(blob_error(negative), "[m: byte 5] expected an extent of 0 or more, got -5");
  const std::vector<std::int64_t> many(33, 1);
  std::string shape, blob;
  protozero::pbf_writer(shape).add_packed_int64(1, many.begin(), many.end());
  protozero::pbf_writer(blob).add_message(7, shape);
  EXPECT_EQ(blob_error(blob), "[m: byte 7] expected a blob of at most 32 axes, got more");
  EXPECT_EQ(
      error_reading("\xa2\x06\x7f\x0a"),
      "[m: byte 0] expected a field that ends within its message, got one that reaches beyond it; try "
      "fetching the file again: it is cut off or damaged");
  EXPECT_NE(error_reading("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "no error");
  // A length of 4 GB allocates nothing.
  EXPECT_NE(error_reading("\x12\xff\xff\xff\xff\x0f\x00\x01"), "no error");
}

void touch(const CaffeModel& model) {
  float sum = 0;
  for (const CaffeLayer& layer : model.layers) {
    for (const CaffeBlob& blob : layer.blobs) {
      for (const float value : floats(blob)) sum += value;
    }
  }
  volatile float sink = sum;
  (void)sink;
}

TEST(Caffemodel, EveryPrefixIsAnErrorOrAModel) {
  for (const Form form : {Form::v0, Form::v1, Form::v2}) {
    const std::string content = write_caffemodel(two_layers(), form);
    std::size_t whole = 0;
    for (std::size_t size = 0; size < content.size(); ++size) {
      try {
        touch(read(std::string_view(content).substr(0, size)));
        ++whole;  // cut between two layers
      } catch (const Error& error) {
        EXPECT_TRUE(std::string_view(error.what()).starts_with("[m")) << error.what();
      }
    }
    EXPECT_EQ(whole, 2u);
  }
}

TEST(Caffemodel, FlippedBitsAreAnErrorOrAModel) {
  std::mt19937 random(1);
  for (const Form form : {Form::v0, Form::v1, Form::v2}) {
    auto layers = two_layers();
    layers[2].blobs[0].packed = false;
    const std::string content = write_caffemodel(layers, form);
    for (int round = 0; round < 4000; ++round) {
      std::string damaged = content;
      for (std::uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
        damaged[random() % damaged.size()] ^= static_cast<char>(1U << random() % 8);
      }
      try {
        touch(read(damaged));
      } catch (const Error&) {
      }
    }
  }
}

// NVCaffe's and OpenCV's form.
std::string raw_blob(std::int32_t type, std::string_view data, std::int64_t extent) {
  std::string blob;
  protozero::pbf_writer writer(blob);
  {
    protozero::pbf_writer shape(writer, 7);
    shape.add_packed_int64(1, &extent, &extent + 1);
  }
  writer.add_enum(10, type);
  writer.add_bytes(12, data.data(), data.size());
  std::string layer, net;
  protozero::pbf_writer(layer).add_string(1, "ip");
  protozero::pbf_writer(layer).add_string(7, blob);
  protozero::pbf_writer(net).add_string(100, layer);
  return net;
}

CaffeBlob read_raw(const std::string& net) {
  const auto owner = std::make_shared<const std::string>(net);
  const CaffeModel model =
      read_caffemodel(std::as_bytes(std::span(owner->data(), owner->size())), owner, "raw.caffemodel");
  return model.layers.at(0).blobs.at(0);
}

TEST(Caffemodel, RawDataIsReadAsHalvesAndFloats) {
  // 1, -2, 65504, the least half, in binary16.
  const std::string halves("\x00\x3c\x00\xc0\xff\x7b\x01\x00", 8);
  const CaffeBlob half = read_raw(raw_blob(2, halves, 4));
  EXPECT_FALSE(half.foreign);
  ASSERT_EQ(half.count(), 4);
  std::vector<float> values(4);
  std::memcpy(values.data(), half.bytes.data(), half.bytes.size());
  EXPECT_EQ(values, (std::vector<float>{1, -2, 65504, 0x1p-24F}));

  const std::vector<float> floats{0.5F, -7};
  const std::string raw(reinterpret_cast<const char*>(floats.data()), 8);
  const CaffeBlob whole = read_raw(raw_blob(1, raw, 2));
  ASSERT_EQ(whole.count(), 2);
  EXPECT_EQ(std::memcmp(whole.bytes.data(), floats.data(), 8), 0);

  const CaffeBlob other = read_raw(raw_blob(0, raw, 1));  // DOUBLE, which nobody writes
  EXPECT_TRUE(other.foreign);
  EXPECT_EQ(other.count(), 0);
  EXPECT_THROW(read_raw(raw_blob(2, halves.substr(0, 7), 4)), Error);
}

}  // namespace
}  // namespace maru
