// Networks as Caffe's files have them, trained: what the importer tells is what the trainer needs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "device/registry.h"
#include "import/caffe.h"
#include "import/caffe_test_files.h"
#include "import/caffemodel_writer.h"
#include "ops/interpret.h"
#include "tests/paths.h"
#include "tests/shared.h"
#include "train/trainer.h"

namespace maru {
namespace {

constexpr std::int64_t kBatch = 8, kClasses = 3, kSide = 6;

constexpr std::string_view kNetwork = R"(name: "small"
layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 6 }
  image_data_param { source: "train.txt" batch_size: 8 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param { dropout_ratio: 0.1 } }
layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux" propagate_down: false
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "aux/loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" top: "aux/loss" loss_weight: 0.3 }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
)";

CaffeOptions phase(std::string_view name, bool fill) {
  CaffeOptions options;
  options.phase = name;
  options.data_layers = true;
  options.fill = fill;
  options.seed = 7;
  return options;
}

TrainingOptions training_of(const Imported& imported) {
  TrainingOptions training;
  for (const CaffeLoss& loss : imported.losses) training.losses.push_back({loss.value, loss.weight});
  training.rates = [&imported](std::string_view name) { return imported.rates.find(name)->second; };
  return training;
}

struct Photos {
  std::vector<float> data, label;
};

// Each class is brighter in a channel of its own.
Photos draw(std::mt19937& random) {
  Photos photos;
  std::normal_distribution<float> noise(0, 0.3F);
  for (std::int64_t n = 0; n < kBatch; ++n) {
    const auto label = static_cast<std::int64_t>(random() % kClasses);
    photos.label.push_back(static_cast<float>(label));
    for (std::int64_t i = 0; i < 3 * kSide * kSide; ++i)
      photos.data.push_back(noise(random) + (i / (kSide * kSide) == label ? 1.0F : 0.0F));
  }
  return photos;
}

TEST(ImportedTraining, LearnsAndComesBackFromItsCaffemodel) {
  const testing_files::Folder folder;
  const auto definition = folder.write("net.prototxt", kNetwork);
  const Imported imported = import_caffe(definition, std::nullopt, phase("TRAIN", true));
  TrainerOptions options;
  options.training = training_of(imported);
  options.solver.momentum = 0.9;
  const auto device = open_device("cpu", {});
  const Device* const devices[] = {device.get()};
  Trainer trainer(imported.graph, devices, options);

  // All parameters are trained; rates are those of the file.
  const std::vector<CaffeParam> learnable = learnable_params(imported);
  ASSERT_EQ(trainer.parameters().size(), learnable.size());
  for (std::size_t i = 0; i < learnable.size(); ++i) {
    EXPECT_EQ(trainer.parameters()[i].name, learnable[i].name);
    EXPECT_EQ(trainer.parameters()[i].shape, learnable[i].shape);
  }
  EXPECT_EQ(trainer.parameters()[1].rate_mult, 2);
  EXPECT_EQ(trainer.parameters()[1].decay_mult, 0);

  std::mt19937 random(3);
  std::vector<double> losses;
  for (int step = 0; step < 60; ++step) {
    const Photos photos = draw(random);
    std::ranges::copy(photos.data, trainer.input("data").begin());
    std::ranges::copy(photos.label, trainer.input("label").begin());
    trainer.pass();
    losses.push_back(static_cast<double>(trainer.output("loss")[0]));
    trainer.update(0.02);
  }
  EXPECT_LT(losses.back(), losses.front() / 3);

  // What is written is what was trained: tested from the file, the network is right.
  std::map<std::string, std::vector<float>> values;
  std::vector<CaffemodelLayer> layers;
  for (const CaffeStored& stored : imported.layers) {
    CaffemodelLayer& layer = layers.emplace_back(CaffemodelLayer{stored.name, stored.type, {}});
    for (const CaffeParam& param : stored.params) {
      auto& read = values[param.name];
      read.resize(static_cast<std::size_t>(param.shape.count()));
      trainer.states().read(param.name, read);
      layer.blobs.push_back({{param.shape.begin(), param.shape.end()}, read});
    }
  }
  const auto weights = folder.path("net.caffemodel");
  write_caffemodel(weights, imported.graph.name, layers);
  const Imported tested = import_caffe(definition, weights, phase("TEST", false));
  EXPECT_EQ(tested.notes, std::vector<std::string>{});
  for (const auto& [name, read] : values) {
    const auto& found = tested.graph.values();
    const auto value = std::ranges::find_if(
        found, [&, wanted = name](const Value& one) { return one.name == wanted && one.constant; });
    ASSERT_NE(value, found.end());
    EXPECT_EQ(value->constant->floats(), read) << name;
  }
  const Photos photos = draw(random);
  const std::vector<std::vector<float>> inputs{photos.data, photos.label};
  const auto results = interpret<float>(tested.graph, inputs);
  EXPECT_EQ(results[static_cast<std::size_t>(tested.graph.require("accuracy"))][0], 1);
}

// The auxiliary classifier learns, but what it stands on does not learn from it.
TEST(ImportedTraining, PropagateDownIsHonoured) {
  const testing_files::Folder folder;
  const auto gradients_of_conv = [&](double weight) {
    std::string text(kNetwork);
    text.replace(text.find("loss_weight: 0.3"), 16, fmt::format("loss_weight: {}", weight));
    const Imported imported =
        import_caffe(folder.write("net.prototxt", text), std::nullopt, phase("TRAIN", true));
    TrainerOptions options;
    options.training = training_of(imported);
    const auto device = open_device("cpu", {});
    const Device* const devices[] = {device.get()};
    Trainer trainer(imported.graph, devices, options);
    std::mt19937 random(3);
    const Photos photos = draw(random);
    std::ranges::copy(photos.data, trainer.input("data").begin());
    std::ranges::copy(photos.label, trainer.input("label").begin());
    trainer.pass();
    std::pair<std::vector<float>, std::vector<float>> found;
    for (const auto& [name, into] :
         {std::pair{"conv/weight", &found.first}, {"aux/weight", &found.second}}) {
      into->resize(static_cast<std::size_t>(trainer.states().shape_of(name).count()));
      trainer.states().read(std::string(name) + "/gradient", *into);
    }
    return found;
  };
  const auto small = gradients_of_conv(0.5), large = gradients_of_conv(1);
  EXPECT_EQ(small.first, large.first);
  for (std::size_t i = 0; i < small.second.size(); ++i)
    EXPECT_EQ(2 * small.second[i], large.second[i]) << i;
}

TEST(ImportedTraining, GoogLeNetThatShips) {
  CaffeOptions options = phase("TRAIN", true);
  options.batch = 1;
  const auto path =
      std::filesystem::path(maru::testing::source_dir()) / "models/googlenet/train_val.prototxt";
  Imported imported = import_caffe(path, std::nullopt, options);
  const std::vector<Parameter> parameters =
      build_gradients(imported.graph, training_of(imported)).parameters;
  const std::vector<CaffeParam> learnable = learnable_params(imported);
  ASSERT_EQ(parameters.size(), learnable.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_EQ(parameters[i].name, learnable[i].name);
    EXPECT_EQ(parameters[i].rate_mult, parameters[i].name.ends_with("/bias") ? 2 : 1);
    EXPECT_EQ(parameters[i].decay_mult, parameters[i].name.ends_with("/bias") ? 0 : 1);
  }
}

}  // namespace
}  // namespace maru
