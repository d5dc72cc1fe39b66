// Training a network as a definition with data layers and losses has it:
//
//   training TRAIN_VAL.prototxt [--device D] [--precision fp32|tf32|fp16] [--batch N] [--updates N]
//            [--steps N] [--recompute]
//
// Weights are drawn by the fillers, pixels at random, labels by turns. Printed, as one line of JSON:
// medians of a pass (forward and backward) and of an update (SGD with momentum), the memory that was
// planned, and the sum of the losses of the first and the last pass. --steps: behind it the N steps of
// a pass that take longest when each is run alone, and what all of a kernel take together.
//
// Started several times as `maru train` is (docs/train.md#several-processes), it trains by ranks, N
// images each, and rank 0 speaks: a pass then takes as long as that of the slowest. What all_reduce
// takes alone, less what a pass takes more than that of one rank, was hidden behind the rest of the way
// back.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "device/registry.h"
#include "import/caffe.h"
#include "measure/probe.h"
#include "measure/statistics.h"
#include "ranks/communicator.h"
#include "train/trainer.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// How long each step takes alone, in descending order, and the sums over steps of equal operators.
void print_steps(maru::Trainer& trainer, std::size_t most, bool speaks) {
  constexpr std::size_t kTimes = 20;
  struct Row {
    double seconds = 0;
    std::string text;
  };
  std::vector<Row> rows;
  std::map<std::string, std::pair<double, int>> sums;
  const std::vector<maru::Step>& steps = trainer.plan().steps;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const maru::Step& step = steps[i];
    if (step.kind != maru::Step::Kind::kernel && step.kind != maru::Step::Kind::copy) continue;
    trainer.run_step(i, 1);
    const auto start = Clock::now();
    trainer.run_step(i, kTimes);
    const double seconds = seconds_since(start) / static_cast<double>(kTimes);
    const std::string where = step.device == 0 ? "" : " ELSEWHERE";
    rows.push_back({seconds, fmt::format("{} {} [{}]{}", step.op, step.name,
                                         step.kernel ? step.kernel->name() : "", where)});
    const std::string op = step.op.substr(0, step.op.find(' '));
    auto& sum = sums[(step.kind == maru::Step::Kind::copy ? "copy" : op) + where];
    sum.first += seconds;
    ++sum.second;
  }
  if (!speaks) return;
  std::ranges::sort(rows, std::greater{}, &Row::seconds);
  for (std::size_t i = 0; i < std::min(most, rows.size()); ++i)
    std::printf("%9.1f us  %s\n", rows[i].seconds * 1e6, rows[i].text.c_str());
  for (const auto& [op, sum] : sums)
    std::printf("%9.1f us  %d x %s\n", sum.first * 1e6, sum.second, op.c_str());
}

int run(int argc, char** argv) {
  std::string definition, precision = "fp32";
  maru::CaffeOptions import;
  import.phase = "TRAIN";
  import.batch = 8;
  import.data_layers = import.fill = true;
  import.seed = 1;
  int updates = 10;
  std::size_t most_steps = 0;
  std::string device_name = "cpu";
  const std::map<std::string, maru::Precision> precisions{{"fp32", maru::Precision::fp32},
                                                          {"tf32", maru::Precision::tf32},
                                                          {"fp16", maru::Precision::fp16}};
  maru::TrainerOptions options;
  CLI::App app("Training, measured.");
  app.add_option("TRAIN_VAL", definition)->required();
  app.add_option("--device", device_name);
  app.add_option("--precision", precision)->check(CLI::IsMember(precisions));
  app.add_option("--batch", *import.batch);
  app.add_option("--updates", updates);
  app.add_option("--steps", most_steps);
  app.add_flag("--recompute", options.training.recompute);
  CLI11_PARSE(app, argc, argv);

  maru::Imported imported = maru::import_caffe(definition, std::nullopt, import);

  const maru::Ranks ranks = maru::ranks_from_environment();
  if (device_name != "cpu") maru::see_own_gpu_only(ranks);
  options.communicator = maru::make_communicator(ranks);
  maru::DeviceOptions device;
  device.precision = precisions.at(precision);
  device.communicator = options.communicator;
  std::vector<std::unique_ptr<maru::Device>> devices;
  devices.push_back(maru::open_device(device_name, device));
  if (!devices[0]->is_host()) devices.push_back(maru::open_device("cpu", {}));
  std::vector<const maru::Device*> list;
  for (const auto& one : devices) list.push_back(one.get());
  options.precision = device.precision;
  if (list.size() > 1) options.speeds = {maru::speed_of(*list[0]), maru::assumed_speed(*list[1])};
  for (const maru::CaffeLoss& loss : imported.losses)
    options.training.losses.push_back({loss.value, loss.weight});
  options.solver.momentum = 0.9;
  const auto plan_start = Clock::now();
  maru::Trainer trainer(std::move(imported.graph), list, options);
  const double plan_seconds = seconds_since(plan_start);

  std::mt19937 random(1 + static_cast<unsigned>(ranks.rank));
  std::uniform_real_distribution<float> draw(-120, 130);
  std::vector<double> passes, steps;
  double first = 0, now = 0;
  std::ranges::generate(trainer.input(imported.data[0].data_top), [&] { return draw(random); });
  for (int i = 0; i < updates; ++i) {
    const std::span<float> labels = trainer.input(imported.data[0].label_top);
    for (std::size_t n = 0; n < labels.size(); ++n) labels[n] = static_cast<float>(n % 100);
    const auto pass_start = Clock::now();
    trainer.pass();
    passes.push_back(seconds_since(pass_start));
    now = 0;
    for (const maru::CaffeLoss& loss : imported.losses)
      now += loss.weight * static_cast<double>(trainer.output(loss.value)[0]);
    if (i == 0) first = now;
    const auto update_start = Clock::now();
    trainer.update(0.001);
    steps.push_back(seconds_since(update_start));
  }
  const std::size_t copied = trainer.plan().copied_bytes();
  const double pass = maru::measure::median(passes), update = maru::measure::median(steps);
  const nlohmann::json found{
      {"device", device_name},
      {"ranks", ranks.ranks},
      {"precision", precision},
      {"batch", *import.batch},
      {"updates", updates},
      {"plan_seconds", plan_seconds},
      {"pass_seconds", pass},
      {"update_seconds", update},
      {"images_per_second", static_cast<double>(*import.batch * ranks.ranks) / (pass + update)},
      {"state_bytes", trainer.state_bytes()},
      {"arena_bytes", trainer.arena_bytes()},
      {"copied_bytes", copied},
      {"steps", trainer.plan().steps.size()},
      {"first_loss", first},
      {"last_loss", now}};
  if (ranks.rank == 0) std::printf("%s\n", found.dump().c_str());
  if (most_steps > 0) print_steps(trainer, most_steps, ranks.rank == 0);
  if (options.communicator) options.communicator->leave();
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
