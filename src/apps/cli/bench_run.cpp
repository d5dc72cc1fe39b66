#include "apps/cli/bench_run.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "api/model_state.h"
#include "apps/cli/cold_start.h"
#include "apps/cli/command_line.h"
#include "apps/cli/gpu_number.h"
#include "apps/cli/model_flags.h"
#include "apps/cli/output.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "measure/comparison.h"
#include "measure/machine.h"
#include "measure/nvml.h"
#include "measure/recorder.h"
#include "measure/result_text.h"
#include "measure/statistics.h"
#include "measure/summary.h"

namespace maru::cli {
namespace {

using namespace measure;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// As it was typed, but for the quotes that the shell took away.
std::string own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string all, word;
  for (bool is_first = true; std::getline(file, word, '\0'); is_first = false) {
    if (is_first) word = "maru";
    const bool is_plain =
        !word.empty() && word.find_first_of(" \t\n'\"\\$*?;&|<>()") == std::string::npos;
    all += (is_first ? "" : " ") + (is_plain ? word : "'" + word + "'");
  }
  return all;
}

// What tells this file from another: nobody is meant to forge one.
void identify(const std::filesystem::path& weights, BenchResult::Model& model) {
  if (weights.empty()) return;
  const MappedFile file(weights);
  const auto sum =
      ::crc32_z(0, reinterpret_cast<const Bytef*>(file.bytes().data()), file.bytes().size());
  model.crc32 = fmt::format("{:08x}", sum);
  model.weights_bytes = file.bytes().size();
}

class Run {
 public:
  explicit Run(const BenchRequest& request) : request_(request) {}

  BenchResult take() {
    reject_virtual();
    result_.maru_version = version();
    result_.command = own_command();
    result_.when = utc_now();
    describe_model();
    const BenchPhoto photo(request_.image, request_.size);
    start_cold(photo);
    const Model first = load_model(request_.model, request_.options);  // which device it will be
    open_machine(first);
    open_ways(photo);
    describe_method(photo);
    compare_ways(photo);
    look_closer(photo);
    return std::move(result_);
  }

 private:
  void reject_virtual() const {
    for (const BoardInfo& board : boards()) {
      if (board.name != request_.options.device) continue;
      throw Error("--device", "a device whose time can be measured",
                  fmt::format("\"{}\", a virtual board, whose times are modelled", board.name),
                  fmt::format("maru plan {} --device {} --policies", request_.model, board.name));
    }
  }

  void describe_model() {
    const NetworkInfo info = inspect(request_.model, request_.options);
    BenchResult::Model& model = result_.model;
    model.name = info.name;
    model.path = request_.model;
    if (!info.inputs.empty()) model.input = info.inputs[0].shape;
    const bool is_packed = info.weights.empty() && !std::filesystem::is_directory(request_.model) &&
                           std::filesystem::path(request_.model).extension() != ".prototxt";
    identify(is_packed ? std::filesystem::path(request_.model) : info.weights, model);
  }

  // First of all: Linux counts what this process holds as the child's.
  void start_cold(const BenchPhoto& photo) {
    if (request_.cold_starts == 0) return;
    std::vector<Way> ways;
    for (const NamedPolicy& policy : request_.policies) {
      const std::string name(policy.name);
      std::vector<std::string> words{"classify",  photo.path().string(),
                                     "--model",   request_.model,
                                     "--memory",  name,
                                     "--top",     "1",
                                     "--device",  request_.options.device,
                                     "--threads", std::to_string(request_.options.threads),
                                     "--batch",   std::to_string(request_.options.batch)};
      if (request_.options.tune) words.emplace_back("--tune");
      if (request_.options.precision) {
        words.emplace_back("--precision");
        words.emplace_back(to_string(*request_.options.precision));
      }
      if (!request_.options.weights.empty()) {
        words.emplace_back("--weights");
        words.push_back(request_.options.weights.string());
      }
      try {
        cli::start_cold(words);  // what is kept on disk is there from now on
      } catch (const Error& error) {
        result_.notes.push_back(fmt::format("cold start of {} is n/a: {}", name, error.what()));
        continue;
      }
      ways.push_back({name, [this, name, words] {
                        const ColdStart start = cli::start_cold(words);
                        cold_peak_[name] = std::max(cold_peak_[name], start.peak_bytes);
                        cold_last_ = start.seconds;
                      }});
    }
    if (ways.empty()) return;
    // Its clock is the sum of the starts: what comes after an answer is not counted.
    double clock = 0;
    for (Way& way : ways)
      way.run = [this, &clock, start = std::move(way.run)] {
        start();
        clock += cold_last_;
      };
    Surroundings around;
    around.now = [&clock] { return clock; };
    ComparisonOptions options;
    options.images = options.blocks = request_.cold_starts;
    options.warmup = 0;
    options.seed = request_.seed;
    const Timeline line = compare(ways, options, around);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      std::vector<std::vector<double>> starts;
      for (const Block& block : line.blocks)
        if (block.way == i) starts.push_back(block.seconds);
      cold_[ways[i].name] = median_of(starts);
    }
  }

  void open_machine(const Model& first) {
    const Device& device = *first.state().devices[0];
    result_.device = device.name();
    result_.device_description = device.description();
    result_.model.precision = to_string(first.precision());
    result_.model.batch = first.batch();
    gpu_ = gpu_number(device.name(), std::getenv("CUDA_VISIBLE_DEVICES"));
    const bool is_hidden = !gpu_ && device.name().starts_with("cuda");
    const char* const hidden = "CUDA_VISIBLE_DEVICES does not tell the GPU's number";
    if (is_hidden)
      result_.notes.push_back(
          fmt::format("the GPU's clock, temperature and memory are n/a: {}", hidden));
    MeterOptions options;
    options.gpu = gpu_;
    options.gpu_name = gpu_name(result_.device_description);
    options.worker = worker_of(device);
    if (gpu_) {
      std::string why;
      nvml_ = Nvml::open(*gpu_, options.nvml, why, options.gpu_name);
      if (!nvml_) result_.notes.push_back("the GPU's clock, temperature and memory are n/a: " + why);
    }
    result_.machine = machine_facts(nvml_.get());
    if (is_hidden && request_.meter == "auto") {  // any other meter would miss the GPU
      result_.meter_absences.push_back({"nvml", hidden, "CUDA_VISIBLE_DEVICES=0, or another number"});
      return;
    }
    meter_ = open_meter(request_.meter, options, result_.meter_absences);
    if (!meter_) return;
    result_.meter = meter_->facts();
    result_.meter_absences.clear();
  }

  std::optional<std::uint64_t> used_bytes() const { return nvml_ ? nvml_->used_bytes() : std::nullopt; }

  void open_ways(const BenchPhoto& photo) {
    std::optional<Error> why;
    for (const NamedPolicy& policy : request_.policies) {
      const auto before = used_bytes();
      try {
        ways_.push_back(std::make_unique<OpenWay>(request_.model, request_.options, policy, photo));
        ways_.back()->run();
      } catch (const Error& error) {
        result_.notes.push_back(fmt::format("{} is left out: {}", policy.name, error.what()));
        complain(result_.notes.back());
        if (!why) why = error;
        continue;
      }
      WayResult& way = result_.ways.emplace_back();
      way.name = policy.name;
      const auto after = used_bytes();
      way.peak_device_bytes = ways_.back()->planned_bytes();
      if (before && after && *after > *before)
        way.peak_device_bytes = *after - *before;
      else if (way.peak_device_bytes)
        result_.notes.push_back(fmt::format(
            "peak memory, device, of {} is that of its plan (planned), not measured", way.name));
      if (const auto cold = cold_.find(way.name); cold != cold_.end()) {
        way.cold_start = cold->second;
        way.peak_host_bytes = cold_peak_[way.name];
      }
    }
    if (ways_.empty()) throw Error(*why);
    note_equal_plans();
    if (request_.write_photo)
      result_.notes.emplace_back(
          "each run begins by writing the photo's pixels to the session's memory");
  }

  void note_equal_plans() {
    std::map<std::string, std::vector<std::string>> same;
    for (const auto& way : ways_) same[way->plan()].push_back(way->name());
    for (const auto& [plan, names] : same) {
      if (names.size() < 2) continue;
      const bool is_host = ways_[0]->model().state().devices[0]->is_host();
      result_.notes.push_back(fmt::format(
          "{} do the same here, step by step{}: their ratio shows what the method makes of equal ways",
          fmt::join(names, " and "), is_host ? ", since the CPU has one memory" : ""));
    }
  }

  void describe_method(const BenchPhoto& photo) {
    BenchResult::Method& method = result_.method;
    method.images = request_.images;
    method.blocks = request_.blocks;
    method.warmup = request_.warmup;
    method.seed = request_.seed;
    method.photo = photo.text();
    method.threads = request_.options.threads > 0 ? request_.options.threads : result_.machine.cores;
    if (meter_) method.block_seconds = block_seconds_for(*result_.meter);
  }

  void compare_ways(const BenchPhoto& photo) {
    std::vector<Way> ways;
    for (const auto& way : ways_) {
      ways.push_back({way->name(), [&photo, this, it = way.get()] {
                        if (request_.write_photo) it->write_photo(photo);
                        it->run();
                      }});
    }
    ComparisonOptions options{request_.images, request_.blocks, request_.warmup, request_.seed,
                              result_.method.block_seconds};
    std::unique_ptr<Recorder> recorder;
    Surroundings around;
    around.now = now_seconds;
    if (meter_) {
      constexpr double kLeast = 3, kMost = 10, kSettle = 2;
      options.idle_seconds = std::clamp(100 * result_.meter->period_seconds, kLeast, kMost);
      options.settle_seconds = kSettle;
      recorder = std::make_unique<Recorder>(*meter_);
      around.open = [&] { with_meter(recorder, &Recorder::open); };
      around.close = [&] { with_meter(recorder, &Recorder::close); };
    }
    around.sleep = [&](double seconds) {
      if (!recorder) return;  // only for the meter's sake
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    };
    MachineWatch watch(nvml_.get());
    around.before = [&] { watch.start(); };
    around.state = [&] { return watch.look(); };
    Progress progress(ways.size() * request_.blocks);
    around.ended = [&](std::uint64_t blocks) { progress.show(blocks); };
    Timeline line = compare(ways, options, around);
    result_.method.order = line.order;
    result_.blocks = std::move(line.blocks);
    with_meter(recorder, &Recorder::finish);
    if (recorder) take_energy(*recorder, line.zero);
    summarise(result_);
  }

  // A meter that fails midway takes its energy with it, and no times.
  void with_meter(std::unique_ptr<Recorder>& recorder, void (Recorder::*act)()) {
    if (!recorder) return;
    try {
      (*recorder.*act)();
    } catch (const Error& error) {
      recorder.reset();
      const std::string name = result_.meter->name;
      result_.meter.reset();
      result_.meter_absences.push_back({name, fmt::format("it failed midway: {}", error.what()), ""});
      result_.notes.push_back(fmt::format(
          "energy is n/a, since the meter {} failed midway; times are not touched by it", name));
      complain(fmt::format("meter {} failed midway: {}", name, error.what()));
    }
  }

  void take_energy(const Recorder& recorder, double zero) {
    const std::vector<WindowEnergy>& windows = recorder.windows();
    MARU_ASSERT(windows.size() == result_.blocks.size() + 1);
    result_.idle_watts = windows[0].joules / (windows[0].end - windows[0].begin);
    for (std::size_t i = 0; i < result_.blocks.size(); ++i) {
      Block& block = result_.blocks[i];
      block.joules = windows[i + 1].joules;
      block.uncertainty_joules = windows[i + 1].uncertainty_joules;
      block.power_joules = windows[i + 1].power_joules;
    }
    constexpr std::size_t kKept = 4000;
    const std::vector<Reading>& trace = recorder.trace();
    const std::size_t stride = trace.size() / kKept + 1;
    for (std::size_t i = 0; i < trace.size(); i += stride) {
      result_.power.push_back(trace[i]);
      result_.power.back().seconds -= zero;
    }
  }

  // What would have disturbed the measurement.
  void look_closer(const BenchPhoto& photo) {
    std::vector<std::string> names;
    std::vector<std::vector<float>> scores;
    std::vector<OpenWay::Copied> planned, counted;
    const auto batch = static_cast<std::uint64_t>(result_.model.batch);
    for (std::size_t i = 0; i < ways_.size(); ++i) {
      OpenWay& open = *ways_[i];
      WayResult& way = result_.ways[i];
      names.push_back(way.name);
      scores.push_back(open.scores());
      planned.push_back(open.planned());
      counted.push_back(open.counted());
      way.copied_bytes = counted.back().bytes / batch;
      way.crossing_bytes = counted.back().crossing / batch;
      const Score best = open.best();
      way.label = best.label.empty() ? fmt::format("class {}", best.index) : std::string(best.label);
      way.score = static_cast<double>(best.score);
      const double writing = request_.write_photo ? open.write_seconds(photo) : 0;
      way.stages = open.stages(photo, way.median.value - writing);
      if (request_.write_photo)
        result_.notes.push_back(
            fmt::format("writing the photo takes {} ms an image of {}; no stage has it",
                        figure(writing * 1e3 / static_cast<double>(batch)), way.name));
    }
    result_.checks = {outputs_check(names, scores, ways_[0]->model().precision()),
                      ledger_check(names, planned, counted), drift_check(result_)};
  }

  const BenchRequest& request_;
  BenchResult result_;
  std::optional<int> gpu_;
  std::unique_ptr<Nvml> nvml_;
  std::unique_ptr<Meter> meter_;
  std::vector<std::unique_ptr<OpenWay>> ways_;
  std::map<std::string, Interval> cold_;
  std::map<std::string, std::uint64_t> cold_peak_;
  double cold_last_ = 0;
};

}  // namespace

BenchResult run_bench(const BenchRequest& request) { return Run(request).take(); }

}  // namespace maru::cli
