#include "import/caffe_weights.h"

#include <gtest/gtest.h>

#include "import/caffe_test_fixture.h"

namespace maru {
namespace {

using namespace testing_files;

class CaffeWeightsTest : public CaffeFixture {};

TEST_F(CaffeWeightsTest, MissingWeights) {
  const auto path = folder.write("net.prototxt", kV2);
  EXPECT_EQ(
      folder.shorten(error_of([&] { import_caffe(path, std::nullopt); })),
      "[net.prototxt] expected weights for layers 'conv1', 'ip', got no weights file; try naming the "
      ".caffemodel as well");
  auto layers = stored();
  layers[2].name = "ip_1000";
  EXPECT_EQ(error_with(kV2, layers),
            "[net.caffemodel] expected weights for layer 'ip' of net.prototxt, got none of that name "
            "among 2 layers "
            "with weights; try the caffemodel of this definition; its nearest names are ip_1000");
  const Imported imported = look(kV2);
  EXPECT_EQ(imported.graph.print(), kPrinted);
  EXPECT_EQ(notes(imported), Names{"no weights for layers 'conv1', 'ip': zeros stand in"});
  EXPECT_EQ(constant(imported.graph, "ip/weight").floats(), std::vector<float>(200, 0.0F));
  std::string many;
  for (int i = 1; i <= 6; ++i) {
    many += fmt::format("layer {{ name: 'p{}' type: 'PReLU' bottom: 'data' top: 'data' }}\n", i);
  }
  EXPECT_NE(error_with(net(many), stored()).find("weights for layers 'p1', 'p2', 'p3' and 3 more of"),
            std::string::npos);
  EXPECT_EQ(
      error(net("layer { name: 'i' type: 'InnerProduct' bottom: 'data' top: 'i' inner_product_param { "
                "num_output: 2000000000 } }")),
      "[net.prototxt] expected weights for layer 'i', got no weights file; try naming the .caffemodel "
      "as well");
}

TEST_F(CaffeWeightsTest, StoredBlobsThatDoNotFit) {
  auto layers = stored();
  layers[0].blobs.pop_back();
  EXPECT_EQ(error_with(kV2, layers),
            "[net.prototxt:3 layer 'conv1'] expected 2 stored blobs (weight 2x3x3x3, bias 2), got 1 "
            "(2x3x3x3) in "
            "net.caffemodel; try the caffemodel that belongs to this definition");
  layers = stored();
  layers[0].blobs[0] = counting({2, 3, 5, 5});
  EXPECT_EQ(error_with(kV2, layers),
            "[net.prototxt:3 layer 'conv1'] expected a stored weight of 2x3x3x3, got 2x3x5x5 in "
            "net.caffemodel; try "
            "the caffemodel that belongs to this definition");
  layers = stored();
  layers[0].blobs[0] = counting({3, 2, 3, 3});
  EXPECT_NE(error_with(kV2, layers).find("got 3x2x3x3"), std::string::npos);
  layers = stored();
  layers[1].blobs = {counting({1})};
  EXPECT_EQ(
      error_with(kV2, layers),
      "[net.prototxt:8 layer 'relu1'] expected no stored blobs, as it has no weights, got 1 (1) in "
      "net.caffemodel; try the caffemodel that belongs to this definition");
  std::string no_bias(kV2);
  no_bias.insert(no_bias.find("num_output: 4"), "bias_term: false ");
  EXPECT_NE(error_with(no_bias, stored()).find("try bias_term: true, or the caffemodel"),
            std::string::npos);
  layers = stored();
  layers[2].blobs[1].values.pop_back();
  const std::string cut = error_with(kV2, layers);
  EXPECT_TRUE(cut.starts_with("[net.caffemodel: byte ")) << cut;
  EXPECT_NE(cut.find("expected 4 values for bias of layer 'ip', got 3; try fetching the file again"),
            std::string::npos)
      << cut;
}

TEST_F(CaffeWeightsTest, UnusedStoredLayersAreNoted) {
  auto layers = stored();
  layers.push_back({"loss1/conv", "Convolution", {counting({1})}});
  layers.push_back({"split", "Split", {}});
  EXPECT_EQ(notes(import(kV2, layers)),
            Names{"net.caffemodel: the network has no layer for the stored weights of 'loss1/conv'"});
}

constexpr std::string_view kShared = R"(
layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a'
        param { name: 'w' } param { name: '' } inner_product_param { num_output: 2 } }
layer { name: 'b' type: 'InnerProduct' bottom: 'data' top: 'b'
        param { name: 'w' MODE } inner_product_param { num_output: 2 } }
)";

TEST_F(CaffeWeightsTest, SharedParameters) {
  const std::string text = "input: 'data' input_shape { dim: [1, 3] }" +
                           std::string(kShared).replace(kShared.find("MODE"), 4, "");
  const auto layer = [](std::string name, float first) {
    return StoredLayer{
        std::move(name), "InnerProduct", {counting({2, 3}, first), counting({2}, first)}};
  };
  {
    // Both layers store it: the first owner's counts.
    const Imported imported = import(text, {layer("b", 50), layer("a", 10)});
    const Graph& graph = imported.graph;
    EXPECT_EQ(graph.nodes()[0].src[1], graph.nodes()[1].src[1]);
    EXPECT_NE(graph.nodes()[0].src[2], graph.nodes()[1].src[2]);
    EXPECT_EQ(graph.value(graph.nodes()[1].src[1]).name, "a/weight");
    EXPECT_EQ(constant(graph, "a/weight").floats()[0], 10);
    EXPECT_EQ(constant(graph, "b/bias").floats()[0], 50);
  }
  {
    // Only the second does; the first lacks its bias then.
    EXPECT_NE(error_with(text, {layer("b", 50)}).find("weights for layer 'a'"), std::string::npos);
    std::string no_bias = text;
    no_bias.insert(no_bias.find("num_output: 2"), "bias_term: false ");
    EXPECT_EQ(constant(import(no_bias, {layer("b", 50)}).graph, "a/weight").floats()[0], 50);
  }
  {
    // The same in V1.
    const std::string v1 =
        "input: 'data' input_dim: [1, 3, 1, 1] layers { name: 'a' type: INNER_PRODUCT bottom: 'data' "
        "top: 'a' param: 'w' "
        "param: '' inner_product_param { num_output: 2 } } layers { name: 'b' type: INNER_PRODUCT "
        "bottom: 'data' "
        "top: 'b' param: 'w' param: '' blob_share_mode: STRICT inner_product_param { num_output: 2 } }";
    const Imported imported = import(v1, {layer("a", 10), layer("b", 50)}, {}, Form::v1);
    EXPECT_EQ(imported.graph.nodes()[0].src[1], imported.graph.nodes()[1].src[1]);
  }
}

TEST_F(CaffeWeightsTest, SharedParametersOfDifferentShape) {
  const auto text = [](std::string_view mode) {
    return "input: 'data' input: 'wide' input_shape { dim: [1, 3] } input_shape { dim: [1, 6] }\n"
           "layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a' param { name: 'w' }\n"
           "inner_product_param { num_output: 2 bias_term: false } }\n"
           "layer { name: 'b' type: 'InnerProduct' bottom: 'wide' top: 'b' param { name: 'w' " +
           std::string(mode) + " }\ninner_product_param { num_output: 1 bias_term: false } }";
  };
  const std::vector<StoredLayer> weights{{"a", "InnerProduct", {counting({2, 3}, 10)}}};
  EXPECT_EQ(error_with(text(""), weights),
            "[net.prototxt:4 layer 'b'] expected the shape 2x3 of a/weight, with which b/weight is "
            "shared, got 1x6; "
            "try share_mode: PERMISSIVE if only the number of values must agree");
  const Imported imported = import(text("share_mode: PERMISSIVE"), weights);
  EXPECT_EQ(constant(imported.graph, "b/weight").desc().shape, (Shape{1, 6}));
  EXPECT_EQ(constant(imported.graph, "b/weight").bytes().data(),
            constant(imported.graph, "a/weight").bytes().data());
  EXPECT_NE(error_with(text("share_mode: LOOSE"), weights)
                .find("STRICT or PERMISSIVE for share_mode, got LOOSE"),
            std::string::npos);
}

TEST_F(CaffeWeightsTest, OldBatchNormWithThreeParams) {
  const std::string text =
      net("layer { name: 'bn' type: 'BatchNorm' bottom: 'data' top: 'data' param { lr_mult: 0 } param "
          "{ lr_mult: 0 } "
          "param { lr_mult: 0 } batch_norm_param { use_global_stats: true } }");
  const Imported imported =
      import(text, {{"bn", "BatchNorm", {counting({4}), counting({4}), counting({1}, 1)}}});
  EXPECT_EQ(names(imported.graph,
                  {imported.graph.nodes()[0].src.begin() + 1, imported.graph.nodes()[0].src.end()}),
            (Names{"bn/mean", "bn/variance", "bn/factor"}));
  EXPECT_EQ(notes(imported), Names{});
}

TEST_F(CaffeWeightsTest, WeightsOutliveTheFileAndTheImport) {
  const Graph graph = import(kV2, stored()).graph;
  std::filesystem::remove(folder.path("net.caffemodel"));
  EXPECT_EQ(constant(graph, "ip/weight").floats()[199], 199);
}

}  // namespace
}  // namespace maru
