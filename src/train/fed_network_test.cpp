// What a data layer gives its network: channels, levels and sizes, from each kind of data.
#include "train/fed_network.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/mean.h"
#include "data/test_archives.h"
#include "device/registry.h"

namespace maru {
namespace {

using namespace data::testing_files;

constexpr int kWidth = 8, kHeight = 6;

// Two plain Datums of one channel.
void grey_lmdb(const Folder& folder) {
  lmdb(folder.path("db"), {{"0", datum({1, kHeight, kWidth, 2, planes(4, kWidth, kHeight, 1)})},
                           {"1", datum({1, kHeight, kWidth, 0, planes(5, kWidth, kHeight, 1)})}});
}

// A network whose result is what the data layer gives.
FedNetwork fed(const Folder& folder, const std::string& layer, FeedOptions options = {}) {
  CaffeNet net;
  net.file = folder.write("net.prototxt", "layer { name: \"d\" top: \"data\" top: \"label\" " + layer +
                                              " }\nlayer { name: \"p\" type: \"Power\" bottom: "
                                              "\"data\" top: \"p\" power_param { shift: 0.5 } }\n");
  net.phase = "TEST";
  return load_fed_network(net, {}, options);
}

// That result for the first batch, less what the layer behind adds.
std::vector<float> given(const FedNetwork& network) {
  Loader loader(network.data, network.loader);
  const Batch batch = loader.next();
  const auto device = open_device("cpu", {});
  const Device* const devices[] = {device.get()};
  StateMemory states(*device);
  PlannedRun plan(network.imported.graph, devices, {}, states);
  feed(network, batch, batch.count, plan);
  plan.run();
  const auto p = plan.output("p");
  std::vector<float> result(p.begin(), p.end());
  for (float& value : result) value -= 0.5F;
  return result;
}

Shape shape_of(const FedNetwork& network) {
  const Graph& graph = network.imported.graph;
  return graph.value(graph.require("p")).desc.shape;
}

const std::string kData =
    R"(type: "Data" data_param { source: "db" backend: LMDB batch_size: 2 } transform_param { )";

TEST(FedNetwork, PlainDatumsOfOneChannelStayOne) {
  const Folder folder;
  grey_lmdb(folder);
  const FedNetwork network = fed(folder, kData + "scale: 0.00390625 mean_value: 3 }");
  EXPECT_EQ(shape_of(network), (Shape{2, 1, kHeight, kWidth}));
  const std::vector<float> got = given(network);
  ASSERT_EQ(got.size(), 96U);
  for (int i = 0; i < 96; ++i) {
    const float wanted =
        (static_cast<float>(level(4 + i / 48, i % kWidth, i % 48 / kWidth, 0)) - 3) / 256;
    ASSERT_NEAR(got[static_cast<std::size_t>(i)], wanted, 1e-6F) << i;
  }
  EXPECT_EQ(shape_of(fed(folder, kData + "crop_size: 4 }")), (Shape{2, 1, 4, 4}));
  EXPECT_EQ(shape_of(fed(folder, kData + "force_color: true }")), (Shape{2, 3, kHeight, kWidth}));
}

TEST(FedNetwork, EncodedDatumsHaveTheirOwnChannels) {
  const Folder folder;
  lmdb(folder.path("db"), {{"0", datum({.label = 1, .data = "P5\n2 1\n255\nab", .encoded = true})}});
  EXPECT_EQ(shape_of(fed(folder, kData + "}")), (Shape{2, 1, 1, 2}));
  EXPECT_EQ(shape_of(fed(folder, kData + "force_color: true }")), (Shape{2, 3, 1, 2}));
  EXPECT_TRUE(says(error_of([&] { fed(folder, kData + "mean_value: [1, 2, 3] }"); }),
                   "expected one mean_value, as the data has one channel, got 3"));
}

TEST(FedNetwork, PhotosInGreyWhereTheLayerWantsThat) {
  const Folder folder;
  folder.write("a.ppm", photo(7, kWidth, kHeight));
  folder.write("list.txt", "a.ppm 0\n");
  const std::string list = "type: \"ImageData\" image_data_param { source: \"" +
                           folder.path("list.txt").string() + "\" batch_size: 1 ";
  EXPECT_EQ(shape_of(fed(folder, list + "}")), (Shape{1, 3, kHeight, kWidth}));
  for (const std::string& layer :
       {list + "is_color: false }", list + "} transform_param { force_gray: true }"}) {
    const FedNetwork network = fed(folder, layer);
    EXPECT_EQ(shape_of(network), (Shape{1, 1, kHeight, kWidth}));
    const std::vector<float> got = given(network);
    ASSERT_EQ(got.size(), 48U);
    for (int i = 0; i < 48; ++i) {
      const auto of = [&](int c) { return static_cast<double>(level(7, i % kWidth, i / kWidth, c)); };
      ASSERT_NEAR(static_cast<double>(got[static_cast<std::size_t>(i)]),
                  0.299 * of(0) + 0.587 * of(1) + 0.114 * of(2), 1e-4)
          << i;
    }
  }
}

TEST(FedNetwork, AMeanImageHasTheChannelsOfTheData) {
  const Folder folder;
  grey_lmdb(folder);
  const MeanImage mean = compute_mean(open_data_set({folder.path("db")}), {});
  EXPECT_EQ(mean.channels, 1);
  write_binaryproto(folder.path("mean.binaryproto"), mean);
  const FedNetwork network = fed(folder, kData + "mean_file: \"mean.binaryproto\" }");
  EXPECT_EQ(shape_of(network), (Shape{2, 1, kHeight, kWidth}));
  const std::vector<float> got = given(network);
  for (int i = 0; i < 48; ++i) {
    const int x = i % kWidth, y = i / kWidth;
    const float half = static_cast<float>(int{level(4, x, y, 0)} - int{level(5, x, y, 0)}) / 2;
    EXPECT_EQ(got[static_cast<std::size_t>(i)], half) << i;
    EXPECT_EQ(got[static_cast<std::size_t>(i + 48)], -half) << i;
  }

  MeanOptions three;
  three.channels = 3;
  write_binaryproto(folder.path("mean.binaryproto"),
                    compute_mean(open_data_set({folder.path("db")}), three));
  EXPECT_TRUE(
      says(error_of([&] { fed(folder, kData + "mean_file: \"mean.binaryproto\" }"); }),
           "mean.binaryproto] expected a mean image of as many channels as the data has, 1, got 3; try "
           "maru mean --grey, of these photos"));
}

TEST(FedNetwork, OtherInputsAreNoPhotos) {
  const Folder folder;
  lmdb(folder.path("db"), {{"0", datum({2, 1, 1, 0, "ab"})}});
  EXPECT_TRUE(says(error_of([&] { fed(folder, kData + "}"); }), "expected 1 or 3 channels of a photo"));
}

}  // namespace
}  // namespace maru
