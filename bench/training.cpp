// Training a network as its deploy definition has it, with a softmax loss behind its last layer:
//
//   training MODEL [--device D] [--batch N] [--updates N]
//
// MODEL is a folder with a Caffe network and its weights. Random pixels, labels by turns. Printed, as
// one line of JSON: medians of a pass (forward and backward) and of an update (SGD with momentum), the
// memory that was planned, and the loss of the first and the last pass.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "api/package.h"
#include "device/registry.h"
#include "import/caffe.h"
#include "measure/statistics.h"
#include "ops/loss.h"
#include "ops/softmax.h"
#include "rewrite/rewrite.h"
#include "train/trainer.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int run(int argc, char** argv) {
  std::string folder, device_name = "cpu";
  std::int64_t batch = 8;
  int updates = 10;
  CLI::App app("Training, measured.");
  app.add_option("MODEL", folder)->required();
  app.add_option("--device", device_name);
  app.add_option("--batch", batch);
  app.add_option("--updates", updates);
  CLI11_PARSE(app, argc, argv);

  const maru::Package package = maru::find_package(folder, {}, {});
  maru::CaffeOptions import;
  import.batch = batch;
  maru::Graph graph = maru::import_caffe(package.network, package.weights, import).graph;
  const maru::Node last = graph.node(*graph.value(graph.outputs[0]).producer);
  const maru::ValueId scores = last.op.as<maru::Softmax>() != nullptr ? last.src[0] : last.dst[0];
  const maru::ValueId label = graph.add_input("label", {maru::DType::f32, {batch}});
  const maru::NodeId loss = graph.add_node("training loss", maru::SoftmaxLoss{}, {scores, label},
                                           {"training loss", "shares"});
  graph.outputs = {graph.node(loss).dst[0]};
  graph.tidy();
  maru::RewriteLog log;
  maru::fuse_activations(graph, log);

  std::vector<std::unique_ptr<maru::Device>> devices;
  devices.push_back(maru::open_device(device_name, {}));
  if (!devices[0]->is_host()) devices.push_back(maru::open_device("cpu", {}));
  std::vector<const maru::Device*> list;
  for (const auto& device : devices) list.push_back(device.get());
  maru::TrainerOptions options;
  options.training.losses = {{"training loss", 1}};
  options.solver.momentum = 0.9;
  const auto plan_start = Clock::now();
  maru::Trainer trainer(std::move(graph), list, options);
  const double plan_seconds = seconds_since(plan_start);

  std::mt19937 random(1);
  std::uniform_real_distribution<float> draw(-120, 130);
  std::vector<double> passes, steps;
  double first = 0, now = 0;
  std::ranges::generate(trainer.input(trainer.plan().inputs[0].name), [&] { return draw(random); });
  for (int i = 0; i < updates; ++i) {
    const std::span<float> labels = trainer.input("label");
    for (std::size_t n = 0; n < labels.size(); ++n) labels[n] = static_cast<float>(n);
    const auto pass_start = Clock::now();
    trainer.pass();
    passes.push_back(seconds_since(pass_start));
    now = trainer.output("training loss")[0];
    if (i == 0) first = now;
    const auto update_start = Clock::now();
    trainer.update(0.001);
    steps.push_back(seconds_since(update_start));
  }
  std::size_t copied = trainer.plan().copied_bytes();
  const double pass = maru::measure::median(passes), update = maru::measure::median(steps);
  std::printf("%s\n",
              nlohmann::json{{"device", device_name},
                             {"batch", batch},
                             {"updates", updates},
                             {"plan_seconds", plan_seconds},
                             {"pass_seconds", pass},
                             {"update_seconds", update},
                             {"images_per_second", static_cast<double>(batch) / (pass + update)},
                             {"state_bytes", trainer.state_bytes()},
                             {"arena_bytes", trainer.arena_bytes()},
                             {"copied_bytes", copied},
                             {"steps", trainer.plan().steps.size()},
                             {"first_loss", first},
                             {"last_loss", now}}
                  .dump()
                  .c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
