// What the importer makes of networks as they are trained: data layers, losses, rates, fillers.
#include <gtest/gtest.h>

#include <cmath>

#include "import/caffe.h"
#include "import/caffe_test_fixture.h"
#include "ops/identity.h"
#include "ops/interpret.h"
#include "tests/shared.h"

namespace maru {
namespace {

using namespace testing_files;

std::filesystem::path source_folder() { return maru::testing::source_dir(); }

CaffeOptions training(std::string_view phase = "TRAIN") {
  CaffeOptions options;
  options.phase = phase;
  options.data_layers = true;
  options.fill = true;
  options.seed = 1;
  return options;
}

constexpr std::string_view kPhotos = R"(layer { name: 'data' type: 'ImageData' top: 'data' top: 'label'
  transform_param { mirror: true crop_size: 8 scale: 0.5 mean_value: [1, 2, 3] }
  image_data_param { source: 'train.txt' root_folder: 'photos/' batch_size: 4 shuffle: true rand_skip: 7
                     new_height: 16 new_width: 12 } }
)";

constexpr std::string_view kScores =
    "layer { type: 'Input' name: 'in' top: 'scores' top: 'label' input_param { "
    "shape { dim: [2, 3] } shape { dim: 2 } } }\n";

class CaffeTraining : public CaffeFixture {
 protected:
  Imported train(std::string_view prototxt, const CaffeOptions& options = training()) {
    return import_caffe(folder.write("net.prototxt", prototxt), std::nullopt, options);
  }
  std::string train_error(std::string_view prototxt, const CaffeOptions& options = training()) {
    return folder.shorten(error_of([&] { train(prototxt, options); }));
  }
  // The value of a loss over scores 2x3 and two labels.
  double loss(std::string_view type, std::string_view more, std::vector<std::vector<double>> inputs,
              std::string_view input = kScores) {
    const Imported imported = train(
        std::string(input) +
        fmt::format("layer {{ name: 'l' type: '{}' bottom: 'scores' bottom: 'label' top: 'l' {} }}",
                    type, more));
    const Graph& graph = imported.graph;
    return interpret<double>(graph, inputs)[static_cast<std::size_t>(graph.require("l"))][0];
  }
};

TEST_F(CaffeTraining, ImageDataBecomesInputs) {
  const Imported imported = train(std::string(kPhotos) + relu("r", "data", "r"));
  const Graph& graph = imported.graph;
  EXPECT_EQ(names(graph, graph.inputs), (Names{"data", "label"}));
  EXPECT_EQ(graph.value(graph.inputs[0]).desc.shape, (Shape{4, 3, 8, 8}));
  EXPECT_EQ(graph.value(graph.inputs[1]).desc.shape, Shape{4});
  ASSERT_EQ(imported.data.size(), 1u);
  const CaffeData& data = imported.data[0];
  EXPECT_EQ(data.name, "data");
  EXPECT_EQ(data.type, "ImageData");
  EXPECT_EQ(data.data_top, "data");
  EXPECT_EQ(data.label_top, "label");
  EXPECT_EQ(data.source, "train.txt");
  EXPECT_EQ(data.root, "photos/");
  EXPECT_EQ(data.backend, "");
  EXPECT_EQ(data.batch, 4);
  EXPECT_TRUE(data.shuffle && data.mirror && data.is_color);
  EXPECT_EQ(data.skip, 7);
  EXPECT_EQ(data.new_height, 16);
  EXPECT_EQ(data.new_width, 12);
  EXPECT_EQ(data.crop, 8);
  EXPECT_EQ(data.scale, 0.5);
  EXPECT_EQ(data.mean_values, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(notes(imported), Names{"net.prototxt: no layer reads the input \"label\""});
}

TEST_F(CaffeTraining, DataInOlderFormsIsTheSame) {
  const std::string tail =
      " transform_param { crop_size: 8 scale: 0.25 mean_file: 'mean.binaryproto' }"
      " data_param { source: 'db' batch_size: 5 backend: LMDB } }";
  const std::string_view forms[] = {
      "layers { name: 'data' type: DATA top: 'data' data_param { source: 'db' batch_size: 5 backend: "
      "LMDB crop_size: 8 scale: 0.25 mean_file: 'mean.binaryproto' } }"
      "layers { name: 'r' type: RELU bottom: 'data' top: 'r' }",
      "layers { layer { name: 'data' type: 'data' source: 'db' batchsize: 5 cropsize: 8 scale: 0.25 "
      "meanfile: 'mean.binaryproto' } top: 'data' }"
      "layers { layer { name: 'r' type: 'relu' } bottom: 'data' top: 'r' }"};
  const std::string v2 =
      "layer { name: 'data' type: 'Data' top: 'data'" + tail + relu("r", "data", "r");
  for (const std::string_view text : {std::string_view(v2), forms[0], forms[1]}) {
    const Imported imported = train(text);
    EXPECT_EQ(notes(imported), Names{});
    ASSERT_EQ(imported.data.size(), 1u);
    const CaffeData& data = imported.data[0];
    EXPECT_EQ(data.type, "Data");
    EXPECT_EQ(data.source, "db");
    EXPECT_EQ(data.backend, text == forms[1] ? "leveldb" : "lmdb");  // V0 had no other
    EXPECT_EQ(data.label_top, "");
    EXPECT_EQ(data.batch, 5);
    EXPECT_EQ(data.crop, 8);
    EXPECT_EQ(data.scale, 0.25);
    EXPECT_EQ(data.mean_file, "mean.binaryproto");
  }
}

TEST_F(CaffeTraining, CallerSaysSizeAndBatch) {
  CaffeOptions options = training();
  options.batch = 2;
  options.data_shape = [](const CaffeData& data) {
    return data.source == "train.txt" ? Shape{1, 5, 6} : Shape{};
  };
  const Imported imported = train(std::string(kPhotos) + relu("r", "data", "r"), options);
  EXPECT_EQ(imported.graph.value(imported.graph.inputs[0]).desc.shape, (Shape{2, 1, 5, 6}));
  EXPECT_EQ(imported.graph.value(imported.graph.inputs[1]).desc.shape, Shape{2});
  EXPECT_EQ(imported.data[0].batch, 2);
  options.data_shape = [](const CaffeData&) { return Shape{5, 6}; };
  EXPECT_EQ(train_error(std::string(kPhotos) + relu("r", "data", "r"), options),
            "[net.prototxt:1 layer 'data'] expected channels, height and width of the data, got 5x6");
}

TEST_F(CaffeTraining, BadDataLayers) {
  const auto bad = [&](std::string_view rest, std::string_view type = "ImageData") {
    return train_error(fmt::format("layer {{ name: 'd' type: '{}' {} }}", type, rest) +
                       relu("r", "data", "r"));
  };
  const std::string at = "[net.prototxt:1 layer 'd'] expected ";
  EXPECT_EQ(bad("top: 'data'", "HDF5Data"),
            at + "a data layer that maru reads: Data or ImageData, got \"HDF5Data\"; try an ImageData "
                 "layer with a list of photos and labels");
  EXPECT_EQ(bad("top: 'data'"),
            at + "a source, got none; try image_data_param { source: \"train.txt\" }");
  EXPECT_EQ(bad(""), at + "one top for the data, or a second one for the labels, got 0; try top: "
                          "\"data\" top: \"label\"");
  EXPECT_EQ(bad("top: 'data' data_param { source: 'x' }", "Data"),
            at + "batch_size of 1 or more, got 0");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 'x' new_height: 3 }"),
            at + "new_height and new_width together, got 3 and 0; try giving both, or neither");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 'x' }"),
            at + "the size of what it gives, got neither crop_size nor new_height; try transform_param "
                 "{ crop_size: 224 }");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 'x' } transform_param { mean_file: 'm' "
                "mean_value: 1 }"),
            at + "either mean_file or mean_value, got both; try leaving out one of them");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 'x' } transform_param { mean_value: [1, 2] }"),
            at + "one mean_value, or one for each of 3 channels, got 2");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 'x' new_height: 8 new_width: 6 } "
                "transform_param { crop_size: 7 }"),
            at + "a crop_size within 8 x 6, got 7");
  EXPECT_EQ(bad("top: 'data' image_data_param { source: 3 }"),
            "[net.prototxt:1 layer 'd'] expected a name for source, got 3");
  // Who does not ask for training is asked for another file.
  CaffeOptions deploy;
  deploy.phase = "TRAIN";
  EXPECT_EQ(train_error(std::string(kPhotos) + relu("r", "data", "r"), deploy),
            "[net.prototxt:1 layer 'data'] expected a network that begins with Input, got a layer of "
            "type \"ImageData\"; try the deploy definition, or an Input layer in its place");
  const Imported imported = train(
      "layer { name: 'd' type: 'ImageData' top: 'data' image_data_param { source: 'x' depth: 3 } "
      "transform_param { crop_size: 4 crop: 3 } }" +
      relu("r", "data", "r"));
  EXPECT_EQ(notes(imported),
            (Names{"net.prototxt:1: layer 'd' (ImageData): image_data_param.depth is not used",
                   "net.prototxt:1: layer 'd' (ImageData): transform_param.crop is not used"}));
}

TEST_F(CaffeTraining, SoftmaxWithLossByItsNormalizations) {
  // -log softmax: of equal scores log 3; of (log 6, 0, 0) at class 0 log(8 / 6).
  const std::vector<std::vector<double>> inputs{{0, 0, 0, std::log(6), 0, 0}, {1, 0}};
  const double first = std::log(3), second = std::log(8.0 / 6);
  const auto of = [&](std::string_view more) { return loss("SoftmaxWithLoss", more, inputs); };
  EXPECT_NEAR(of(""), (first + second) / 2, 1e-12);
  EXPECT_NEAR(of("loss_param { normalization: NONE }"), first + second, 1e-12);
  EXPECT_NEAR(of("loss_param { ignore_label: 1 }"), second, 1e-12);
  EXPECT_NEAR(of("loss_param { ignore_label: 1 normalization: FULL }"), second / 2, 1e-12);
  EXPECT_NEAR(of("loss_param { ignore_label: 1 normalization: 2 }"), second / 2, 1e-12);
  EXPECT_NEAR(of("loss_param { ignore_label: 1 normalize: false }"), second / 2, 1e-12);
  EXPECT_NEAR(of("loss_param { ignore_label: 1 normalize: true }"), second, 1e-12);
  // The newer field counts.
  EXPECT_NEAR(of("loss_param { ignore_label: 1 normalize: true normalization: FULL }"), second / 2,
              1e-12);
  EXPECT_NEAR(of("softmax_param { axis: -1 engine: CAFFE }"), (first + second) / 2, 1e-12);
  EXPECT_EQ(train_error(std::string(kScores) +
                        "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'scores' bottom: 'label' "
                        "loss_param { normalization: MEAN } }"),
            "[net.prototxt:2 layer 'l': loss_param.normalization] expected FULL or VALID or BATCH_SIZE "
            "or NONE, got MEAN");
}

TEST_F(CaffeTraining, OtherLosses) {
  const std::string pair =
      "layer { type: 'Input' name: 'in' top: 'scores' top: 'label' input_param { "
      "shape { dim: [2, 1] } shape { dim: 2 } } }\n";
  // A row with a column, as Caffe compares them.
  EXPECT_NEAR(loss("EuclideanLoss", "", {{1, 5}, {2, 2}}, pair), (1.0 + 9.0) / 2 / 2, 1e-12);
  EXPECT_NEAR(loss("SigmoidCrossEntropyLoss", "", {{0, std::log(3)}, {1, 0}}, pair),
              (std::log(2) + std::log(4)) / 2, 1e-12);
  EXPECT_NEAR(loss("Accuracy", "", {{3, 2, 1, 1, 2, 3}, {0, 1}}), 0.5, 0);
  EXPECT_NEAR(loss("Accuracy", "accuracy_param { top_k: 2 }", {{3, 2, 1, 1, 2, 3}, {0, 1}}), 1, 0);
  EXPECT_NEAR(loss("Accuracy", "accuracy_param { ignore_label: 1 }", {{3, 2, 1, 1, 2, 3}, {0, 1}}), 1,
              0);
  const auto bad = [&](std::string_view layer) {
    return train_error(std::string(kScores).append(layer));
  };
  EXPECT_EQ(
      bad("layer { name: 'a' type: 'Accuracy' bottom: 'scores' bottom: 'label' top: 'a' top: 'b' }"),
      "[net.prototxt:2 layer 'a': tops] expected one top: the share of all, got two: that of each "
      "class too; try leaving out the second; maru test gives the table of classes");
  EXPECT_EQ(bad("layer { name: 'l' type: 'SigmoidCrossEntropyLoss' bottom: 'scores' bottom: 'scores' "
                "loss_param { normalization: FULL } }"),
            "[net.prototxt:2 layer 'l': loss_param] expected normalization: BATCH_SIZE for this loss, "
            "got full; try normalization: BATCH_SIZE with another loss_weight");
  EXPECT_NE(bad("layer { name: 'l' type: 'SigmoidCrossEntropyLoss' bottom: 'scores' bottom: 'scores' "
                "loss_param { ignore_label: 3 } }")
                .find("expected no ignore_label for this loss, got 3"),
            std::string::npos);
  EXPECT_EQ(bad("layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'scores' bottom: 'scores' }"),
            "[net.prototxt:2 layer 'l'] expected 2, one for each place of 2x3, got 2x3");
  EXPECT_NE(bad("layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'scores' }")
                .find("expected 2 inputs, got 1"),
            std::string::npos);
  EXPECT_EQ(notes(train(std::string(kScores) +
                        "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'scores' bottom: 'label' "
                        "loss_param { smooth: true }\n softmax_param { hot: 1 } }")),
            (Names{"net.prototxt:2: layer 'l' (SoftmaxWithLoss): loss_param.smooth is not used",
                   "net.prototxt:3: layer 'l' (SoftmaxWithLoss): softmax_param.hot is not used"}));
}

TEST_F(CaffeTraining, LossesWithTheirWeights) {
  const auto layer = [](std::string_view more) {
    return std::string(kScores) +
           fmt::format(
               "layer {{ name: 'l' type: 'SoftmaxWithLoss' bottom: 'scores' bottom: 'label' {} }}\n",
               more);
  };
  const auto losses = [&](std::string_view more) {
    std::vector<std::pair<std::string, double>> found;
    const Imported imported = train(layer(more));
    for (const CaffeLoss& loss : imported.losses) found.emplace_back(loss.value, loss.weight);
    return found;
  };
  using Found = std::vector<std::pair<std::string, double>>;
  EXPECT_EQ(losses("top: 'loss'"), (Found{{"loss", 1}}));
  EXPECT_EQ(losses(""), (Found{{"l", 1}}));  // Caffe gives it a top
  EXPECT_EQ(losses("top: 'loss' loss_weight: 0.3"), (Found{{"loss", 0.3}}));
  EXPECT_EQ(losses("top: 'loss' loss_weight: 0"), Found{});
  EXPECT_EQ(losses("top: 'loss' top: 'prob' loss_weight: 2 loss_weight: 0"), (Found{{"loss", 2}}));
  const Imported both = train(layer("top: 'loss' top: 'prob'"));
  EXPECT_EQ(names(both.graph, both.graph.outputs), (Names{"loss", "prob"}));
  EXPECT_EQ(both.graph.value(both.graph.require("prob")).desc.shape, (Shape{2, 3}));
  // What nobody asked for is no output, a loss that others read is one.
  const Imported read =
      train(layer("top: 'loss'") + "layer { name: 's' type: 'Silence' bottom: 'loss' }\n" +
            "layer { name: 'p' type: 'Power' bottom: 'loss' top: 'twice' power_param { scale: 2 } }");
  EXPECT_EQ(names(read.graph, read.graph.outputs), (Names{"loss", "twice"}));

  EXPECT_EQ(train_error(layer("top: 'loss' top: 'prob' loss_weight: 1")),
            "[net.prototxt:2 layer 'l'] expected a loss_weight for each of 2 tops, or none, got 1");
  EXPECT_EQ(train_error(layer("top: 'loss' loss_weight: x")),
            "[net.prototxt:2 layer 'l'] expected a finite number for loss_weight, got x");
  EXPECT_EQ(
      train_error(layer("top: 'loss' top: 'prob' loss_weight: 1 loss_weight: 1")),
      "[net.prototxt:2 layer 'l'] expected a loss of one element for the loss_weight of \"prob\", "
      "got 2x3; try a layer that makes one number of it, such as EuclideanLoss");
  EXPECT_EQ(train_error(layer("top: 'loss'") +
                        "layer { name: 'p' type: 'Power' bottom: 'loss' top: 'loss' }"),
            "[net.prototxt:2 layer 'l'] expected the loss \"loss\" as this layer makes it, got a layer "
            "that changes it in place; try a top of its own for that layer");
  // Any layer that makes one number can be a loss.
  const Imported power = train(layer("top: 'loss' loss_weight: 0") +
                               "layer { name: 'p' type: 'Power' bottom: 'loss' top: 'twice' "
                               "power_param { scale: 2 } loss_weight: 3 "
                               "}");
  ASSERT_EQ(power.losses.size(), 1u);
  EXPECT_EQ(power.losses[0].value, "twice");
  EXPECT_EQ(power.losses[0].weight, 3);
}

TEST_F(CaffeTraining, RatesOfParameters) {
  const auto ip = [](std::string_view name, std::string_view bottom, std::string_view more) {
    return fmt::format(
        "layer {{ name: '{}' type: 'InnerProduct' bottom: '{}' top: '{}' "
        "inner_product_param {{ num_output: 3 }} {} }}\n",
        name, bottom, name, more);
  };
  using Rates = std::pair<double, double>;
  const Imported imported = train(
      net(ip("a", "data", "param { lr_mult: 1 decay_mult: 2 } param { lr_mult: 0.5 decay_mult: 0 }") +
          ip("b", "data", "param { lr_mult: 0 }") + ip("c", "data", "") +
          ip("d", "a", "param { name: 'w' } param { lr_mult: 4 }") +
          ip("e", "b", "param { name: 'w' lr_mult: 3 }")));
  const auto rates = [&](std::string_view name) { return imported.rates.find(name)->second; };
  EXPECT_EQ(rates("a/weight"), (Rates{1, 2}));
  EXPECT_EQ(rates("a/bias"), (Rates{0.5, 0}));
  EXPECT_EQ(rates("b/weight"), (Rates{0, 1}));
  EXPECT_EQ(rates("b/bias"), (Rates{1, 1}));
  EXPECT_EQ(rates("c/bias"), (Rates{1, 1}));
  EXPECT_EQ(rates("d/weight"), (Rates{3, 1}));  // shared: the first that says something
  EXPECT_EQ(rates("d/bias"), (Rates{4, 1}));
  EXPECT_EQ(imported.rates.count("e/weight"), 0u);

  ASSERT_EQ(imported.layers.size(), 6u);
  EXPECT_EQ(imported.layers[0].type, "Input");
  EXPECT_EQ(imported.layers[0].params.size(), 0u);
  ASSERT_EQ(imported.layers[5].params.size(), 2u);
  EXPECT_EQ(imported.layers[5].params[0].name, "d/weight");
  EXPECT_EQ(imported.layers[5].params[0].shape, (Shape{3, 3}));
  Names order;
  for (const CaffeParam& param : learnable_params(imported)) order.push_back(param.name);
  EXPECT_EQ(order, (Names{"a/weight", "a/bias", "b/weight", "b/bias", "c/weight", "c/bias", "d/weight",
                          "d/bias", "e/bias"}));

  EXPECT_EQ(train_error(net(ip("a", "data", "param { name: 'w' lr_mult: 1 }") +
                            ip("b", "data", "param { name: 'w' lr_mult: 2 }"))),
            "[net.prototxt:2 layer 'a'] expected one lr_mult for the shared parameter \"w\", got 1 of "
            "layer 'a' and 2 of layer 'b'; try the same in both layers");
  EXPECT_EQ(train_error(net(ip("a", "data", "param { lr_mult: fast }"))),
            "[net.prototxt:2 layer 'a'] expected a finite number for lr_mult, got fast");
  // V1 says the same in other words.
  const Imported old = train(kV1);
  EXPECT_EQ(old.rates.find("conv1/weight")->second, (Rates{1, 1}));
  EXPECT_EQ(old.rates.find("conv1/bias")->second, (Rates{2, 0}));
}

TEST_F(CaffeTraining, StatisticsAreNotTrained) {
  CaffeOptions options = training("TEST");
  const Imported imported = train(
      net("layer { name: 'bn' type: 'BatchNorm' bottom: 'data' top: 'bn' param { lr_mult: 1 } }\n"
          "layer { name: 's' type: 'Scale' bottom: 'bn' top: 's' scale_param { bias_term: true } }\n"
          "layer { name: 'p' type: 'PReLU' bottom: 's' top: 'p' }\n"
          "layer { name: 'b' type: 'Bias' bottom: 'p' top: 'b' bias_param { filler { value: 7 } } }"),
      options);
  for (const char* name : {"bn/mean", "bn/variance", "bn/factor"}) {
    EXPECT_EQ(imported.rates.find(name)->second, (std::pair{0.0, 0.0})) << name;
    EXPECT_EQ(constant(imported.graph, name).floats()[0], 0) << name;
  }
  EXPECT_EQ(constant(imported.graph, "s/scale").floats(), (std::vector<float>{1, 1, 1, 1}));
  EXPECT_EQ(constant(imported.graph, "s/bias").floats(), (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(constant(imported.graph, "p/slope").floats()[0], 0.25F);
  EXPECT_EQ(constant(imported.graph, "b/bias").floats()[0], 7);
}

TEST_F(CaffeTraining, GivenWeightsAreTakenAndOthersDrawn) {
  const std::string text(kV2);
  const auto path = folder.write("net.prototxt", text);
  auto one = stored(), other = stored();
  one.pop_back();
  other.erase(other.begin());
  other[1].blobs[0] = counting({4, 50}, 1000);
  const auto first = folder.write("one.caffemodel", write_caffemodel(one, Form::v2));
  const auto second = folder.write("other.caffemodel", write_caffemodel(other, Form::v2));

  const Imported partly = import_caffe(path, first, training());
  EXPECT_EQ(constant(partly.graph, "conv1/weight").floats()[53], 53);
  EXPECT_EQ(constant(partly.graph, "ip/bias").floats(), std::vector<float>(4));  // constant 0
  EXPECT_EQ(notes(partly), Names{"no weights for layer 'ip': drawn by the fillers"});
  EXPECT_EQ(notes(train(text)), Names{"no weights for layers 'conv1', 'ip': drawn by the fillers"});

  // Of several files, the last that has the layer.
  CaffeOptions options = training();
  options.more_weights = {second};
  const Imported all =
      import_caffe(path, folder.write("net.caffemodel", write_caffemodel(stored(), Form::v1)), options);
  EXPECT_EQ(constant(all.graph, "conv1/weight").floats()[53], 53);
  EXPECT_EQ(constant(all.graph, "ip/weight").floats()[0], 1000);
  EXPECT_EQ(notes(all), Names{});

  other[1].blobs[0] = counting({5, 50});
  const auto wrong = folder.write("wrong.caffemodel", write_caffemodel(other, Form::v2));
  EXPECT_EQ(folder.shorten(error_of([&] { import_caffe(path, wrong, training()); })),
            "[net.prototxt:9 layer 'ip'] expected a stored weight of 4x50, got 5x50 in "
            "wrong.caffemodel; try another name for this layer, if its weights are to be new");
}

TEST_F(CaffeTraining, DrawsFollowFromSeedAndName) {
  const auto weights = [&](std::string_view prefix, std::uint64_t seed) {
    CaffeOptions options = training();
    options.seed = seed;
    const Imported imported =
        train(net(std::string(prefix) +
                  "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "
                  "num_output: 2 kernel_size: 1 weight_filler { type: 'xavier' } } }"),
              options);
    return constant(imported.graph, "c/weight").floats();
  };
  const auto drawn = weights("", 1);
  EXPECT_EQ(weights("", 1), drawn);
  EXPECT_EQ(weights(relu("r", "data", "r"), 1), drawn);
  EXPECT_NE(weights("", 2), drawn);
}

TEST_F(CaffeTraining, NoGradientsWherePropagateDownIsFalse) {
  const auto layer = [](std::string_view more) {
    return std::string(kScores) + relu("r", "scores", "x") +
           fmt::format("layer {{ name: 'l' type: 'EuclideanLoss' bottom: 'x' bottom: 'scores' {} }}",
                       more);
  };
  const auto stops = [&](std::string_view more, std::string_view phase) {
    int count = 0;
    const Imported imported = train(layer(more), training(phase));
    for (const Node& node : imported.graph.nodes()) {
      const auto* identity = node.op.as<Identity>();
      count += identity != nullptr && identity->reason == Identity::Reason::stop;
    }
    return count;
  };
  EXPECT_EQ(stops("", "TRAIN"), 0);
  EXPECT_EQ(stops("propagate_down: true propagate_down: true", "TRAIN"), 0);
  EXPECT_EQ(stops("propagate_down: false propagate_down: true", "TRAIN"), 1);
  EXPECT_EQ(stops("propagate_down: false propagate_down: false", "TRAIN"), 1);  // scores are an input
  EXPECT_EQ(stops("propagate_down: false propagate_down: true", "TEST"), 0);
  EXPECT_EQ(train_error(layer("propagate_down: false")),
            "[net.prototxt:3 layer 'l'] expected propagate_down for each of 2 bottoms, or not at all, "
            "got 1");
  EXPECT_EQ(train_error(layer("propagate_down: false propagate_down: 7")),
            "[net.prototxt:3 layer 'l'] expected true or false for propagate_down, got 7");
}

TEST_F(CaffeTraining, SharedParametersOfTwoShapesAreNotTrained) {
  const std::string text =
      net("layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a' param { name: 'w' } "
          "inner_product_param { num_output: 3 bias_term: false } }\n"
          "layer { name: 'b' type: 'Convolution' bottom: 'data' top: 'b' param { name: 'w' share_mode: "
          "PERMISSIVE } convolution_param { num_output: 3 kernel_size: 6 bias_term: false } }");
  EXPECT_NO_THROW(train(text, training("TEST")));
  EXPECT_EQ(
      train_error(text),
      "[net.prototxt:3 layer 'b'] expected one shape for a/weight and b/weight, which are trained "
      "as one, got 3x144 and 3x4x6x6; try parameters of equal shape");
}

TEST_F(CaffeTraining, DefinitionsInMemory) {
  const Message message = parse_prototxt(kV2, "given");
  CaffeOptions options;
  options.allow_missing_weights = true;
  EXPECT_EQ(import_caffe(message, "given", std::nullopt, options).graph.print(), kPrinted);
  EXPECT_EQ(
      error_of([&] { import_caffe(parse_prototxt("layer { }", "given"), "given", std::nullopt); }),
      error_of([&] { import_caffe(parse_prototxt("layer {\t}", "given"), "given", std::nullopt); }));
}

// The networks that ship.
TEST_F(CaffeTraining, GoogLeNet) {
  const auto place = source_folder() / "models" / "googlenet";
  const Imported trained = import_caffe(place / "train_val.prototxt", std::nullopt, training());
  ASSERT_EQ(trained.losses.size(), 3u);
  EXPECT_EQ(trained.losses[0].value, "loss1/loss1");
  EXPECT_EQ(trained.losses[0].weight, 0.3);
  EXPECT_EQ(trained.losses[2].value, "loss3/loss3");
  EXPECT_EQ(trained.losses[2].weight, 1);
  EXPECT_EQ(names(trained.graph, trained.graph.outputs),
            (Names{"loss1/loss1", "loss2/loss1", "loss3/loss3"}));
  EXPECT_EQ(trained.data.at(0).source, "train.txt");
  EXPECT_EQ(trained.graph.value(trained.graph.inputs[0]).desc.shape.count(1, 4), 3 * 224 * 224);
  // 57 convolutions, two more and four layers before the auxiliary classifiers, and one classifier.
  EXPECT_EQ(learnable_params(trained).size(), 2u * (57 + 2 + 4 + 1));
  EXPECT_EQ(trained.rates.find("conv1/7x7_s2/bias")->second, (std::pair{2.0, 0.0}));
  EXPECT_EQ(constant(trained.graph, "conv1/7x7_s2/bias").floats()[0], 0.2F);
  EXPECT_EQ(constant(trained.graph, "loss3/classifier/bias").floats()[0], 0);

  const Imported tested = import_caffe(place / "train_val.prototxt", std::nullopt, training("TEST"));
  EXPECT_EQ(tested.data.at(0).source, "val.txt");
  EXPECT_FALSE(tested.data.at(0).mirror);
  EXPECT_EQ(tested.graph.outputs.size(), 9u);
  const Imported used = import_caffe(place / "deploy.prototxt", std::nullopt, training("TEST"));
  EXPECT_EQ(names(used.graph, used.graph.outputs), Names{"prob"});
  for (const auto* imported : {&trained, &tested, &used}) {
    EXPECT_EQ(imported->notes.size(), 1u);  // drawn by the fillers
  }
  // What is trained is what is used, by name and shape.
  for (const CaffeParam& param : learnable_params(used))
    EXPECT_EQ(constant(trained.graph, param.name).desc().shape, param.shape) << param.name;
}

TEST_F(CaffeTraining, GoogLeNetNormalised) {
  const auto place = source_folder() / "models" / "googlenet_bn";
  const Imported tested = import_caffe(place / "train_val.prototxt", std::nullopt, training("TEST"));
  EXPECT_EQ(names(tested.graph, tested.graph.outputs),
            (Names{"loss3/loss3", "loss3/top-1", "loss3/top-5"}));
  // 57 convolutions of one blob, with three statistics, scale and bias each; a classifier of two.
  EXPECT_EQ(learnable_params(tested).size(), 57u * 6 + 2);
  EXPECT_EQ(tested.rates.find("conv1/7x7_s2/bn/mean")->second, (std::pair{0.0, 0.0}));
  EXPECT_EQ(tested.rates.find("conv1/7x7_s2/scale/scale")->second, (std::pair{1.0, 0.0}));
  const Imported used = import_caffe(place / "deploy.prototxt", std::nullopt, training("TEST"));
  for (const CaffeParam& param : learnable_params(used))
    EXPECT_EQ(constant(tested.graph, param.name).desc().shape, param.shape) << param.name;
  const Imported trained = import_caffe(place / "train_val.prototxt", std::nullopt, training());
  EXPECT_EQ(learnable_params(trained).size(), 57u * 6 + 2);
}

TEST_F(CaffeTraining, GoogLeNetIsThatOfBvlc) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet/deploy.prototxt");
  const auto theirs = testing::shared_folder() / "models" / "bvlc_googlenet" / "deploy.prototxt";
  CaffeOptions options;
  options.allow_missing_weights = true;
  const Graph bvlc = import_caffe(theirs, std::nullopt, options).graph;
  const Graph ours =
      import_caffe(source_folder() / "models/googlenet/deploy.prototxt", std::nullopt, options).graph;
  ASSERT_EQ(ours.nodes().size(), bvlc.nodes().size());
  for (std::size_t i = 0; i < bvlc.nodes().size(); ++i) {
    const Node &a = ours.nodes()[i], &b = bvlc.nodes()[i];
    EXPECT_EQ(a.name, b.name);
    if (a.name == "loss3/classifier" || a.name == "prob") continue;
    EXPECT_EQ(a.op.attributes(), b.op.attributes()) << a.name;
    const auto shapes = [](const Graph& graph, const std::vector<ValueId>& ids) {
      std::vector<Shape> found;
      for (const ValueId id : ids) found.push_back(graph.value(id).desc.shape);
      return found;
    };
    EXPECT_EQ(shapes(ours, a.src), shapes(bvlc, b.src)) << a.name;
    EXPECT_EQ(shapes(ours, a.dst), shapes(bvlc, b.dst)) << a.name;
  }
  EXPECT_EQ(ours.value(ours.outputs[0]).desc.shape, (Shape{10, 200}));
}

}  // namespace
}  // namespace maru
