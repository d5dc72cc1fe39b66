// maru profile: how long each step of a plan takes, and what it could take.
#include <maru/session.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "api/model_state.h"
#include "apps/cli/gpu_number.h"
#include "apps/cli/model_flags.h"
#include "apps/cli/new_file.h"
#include "apps/cli/roof.h"
#include "apps/cli/verb.h"
#include "base/error.h"
#include "measure/html.h"
#include "measure/nvml.h"
#include "measure/profile_files.h"
#include "measure/profile_text.h"
#include "measure/profiling.h"
#include "rewrite/photos.h"

namespace maru::cli {
namespace {

using measure::ProfiledStep;
using measure::ProfileResult;

std::string_view word_of(StepInfo::Kind kind) {
  constexpr std::string_view kWords[] = {"kernel", "copy", "wait", "release"};
  return kWords[static_cast<std::size_t>(kind)];
}

std::string_view word_of(Precision precision) {
  constexpr std::string_view kWords[] = {"fp32", "tf32", "fp16"};
  return kWords[static_cast<std::size_t>(precision)];
}

std::string_view word_of(MemoryPolicy memory) {
  constexpr std::string_view kWords[] = {"auto", "copy", "zero-copy"};
  return kWords[static_cast<std::size_t>(memory)];
}

std::string in_quotes(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// As it was typed, so that it can be typed again.
std::string command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text = "maru", word;
  for (std::size_t i = 0; std::getline(file, word, '\0'); ++i) {
    const bool plain = !word.empty() && word.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789-_=./,:+@%") == std::string::npos;
    if (i > 0) text += " " + (plain ? word : in_quotes(word));
  }
  return text;
}

std::string date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32] = "";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

class Profile final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "profile",
        "Shows where the time of a run goes: each step of the plan alone, its median with a 95 %\n"
        "interval, its share, bytes, rate, and how near it comes to what the device can do at best\n"
        "(measured here: a large convolution, and the device's memory). Steps of a device that works\n"
        "on its own are repeated until waiting is less than 5 % of what is timed; what is left of it\n"
        "is in the figures, and said. The sum of all steps is held against a whole run.\n"
        "Start with --top 10; 'maru plan' has the same steps with their memory.",
        std::initializer_list<std::string_view>{
            "profile --model models/googlenet-tiny --top 10",
            "profile --model models/googlenet-tiny --device opencl --html report.html --trace "
            "trace.json",
            "profile --model net.maru --device cuda --precision fp16 --energy --json profile.json"});
    flags_.add_model(*line);
    flags_.add_weights(*line);
    flags_.add_execution(*line);
    flags_.add_batch(*line);
    flags_.add_optimize(*line);
    line->text("--image", "FILE", "The photo to run on. Default: one of noise, 640 x 480.", image_);
    line->flag("--raw", "Run on raw input tensors, as 'maru run' does (noise), instead of photos.",
               raw_);
    line->integer("--runs", "Samples of each step, and of the whole run. Default: 30.", runs_, 1,
                  1000000);
    line->integer("--top", "Print only so many steps, those that take most. Default: 0, all, in order.",
                  top_, 0, 1000000);
    line->flag("--energy",
               "Also take the energy of each step: it is repeated for 20 updates of the meter.\n"
               "Standard error says beforehand how long that takes.",
               energy_);
    line->text("--meter", "METER",
               "What tells the energy: auto, none, nvml, rapl, jetson, pi5, wt310e:ADDRESS,\n"
               "command:PROGRAM. Default: auto.",
               meter_);
    line->integer("--energy-seconds",
                  "At most so long for all energy; steps that take least are left out. Default: 600.",
                  energy_seconds_, 1, 1000000);
    line->flag("--no-roof", "Do not measure what the device can do at best, which takes seconds.",
               no_roof_);
    line->text("--json", "FILE", "Write everything that was found as JSON.", json_);
    line->text("--html", "FILE", "Write a report for people: one file, to be opened by any browser.",
               html_);
    line->text("--trace", "FILE",
               "Write a trace (Chrome's JSON) for https://ui.perfetto.dev or chrome://tracing.",
               trace_);
    return line;
  }

  int run(Output& out) override {
    ModelOptions options = flags_.to_options();
    options.photos = !raw_;
    if (raw_ && !image_.empty()) throw UsageError("--image", "no --raw beside it", "both");
    if (options.device.starts_with("board:")) {
      throw Error("--device", "a device that is here, to be measured",
                  fmt::format("\"{}\", whose times are modelled", options.device),
                  fmt::format("maru plan {} --device {}", flags_.model, options.device));
    }
    int on_output = 0;
    for (const std::string* file : {&json_, &html_, &trace_}) {
      if (*file == "-")
        ++on_output;
      else if (!file->empty())
        NewFile{*file};  // throws now, not after minutes
    }
    if (on_output > 1)
      throw UsageError("-", "one of --json, --html and --trace on standard output",
                       std::to_string(on_output));
    const Model model = load_model(flags_.model, options);
    Session session(model);
    ProfileResult result = describe(model, options);
    result.photo = fill(session, model);

    // Before anything that takes long.
    const auto meter = open_meter(worker_of(*model.state().device_list[0]), result);
    const measure::Profilee what = profilee(model, session);
    {
      Progress bar(static_cast<std::size_t>(runs_));
      std::string why;
      const auto gpu = gpu_number(result.device, std::getenv("CUDA_VISIBLE_DEVICES"));
      const auto nvml = gpu ? measure::Nvml::open(*gpu, measure::MeterOptions().nvml, why,
                                                  gpu_name(result.device_description))
                            : nullptr;
      result.machine = measure::machine_facts(nvml.get());
      measure::MachineWatch watch(nvml.get());
      watch.start();
      measure::ProfilingOptions timing;
      timing.runs = static_cast<std::uint64_t>(runs_);
      measure::time_steps(what, timing, result,
                          [&](std::uint64_t pass) { bar.show(static_cast<std::size_t>(pass)); });
      result.state = watch.look();
      note_state(result);
    }
    if (meter != nullptr) take_energy(what, *meter, result);
    if (!no_roof_) take_roofs(model, options, result);
    if (on_output == 0) out.write(measure::text_of(result, static_cast<std::size_t>(top_)));
    return write_files(out, result) ? 0 : 1;
  }

 private:
  ProfileResult describe(const Model& model, const ModelOptions& options) const {
    const Model::State& state = model.state();
    const Device& device = *state.device_list[0];
    ProfileResult result;
    result.model.name = model.name();
    result.model.path = flags_.model;
    result.model.batch = model.batch();
    result.model.precision = word_of(model.precision());
    result.model.input = input_shape(state);
    result.maru_version = version();
    result.command = command();
    result.when = date();
    result.device = device.name();
    result.device_description = device.description();
    result.memory = word_of(options.memory);
    result.threads = options.threads;
    for (StepInfo& step : model.steps()) {
      ProfiledStep one;
      one.name = std::move(step.name);
      one.op = std::move(step.op);
      one.kernel = std::move(step.kernel);
      one.kind = word_of(step.kind);
      one.device = std::move(step.device);
      one.flops = step.flops;
      one.bytes = step.bytes;
      result.steps.push_back(std::move(one));
    }
    return result;
  }

  // What the network itself reads: behind the preprocessing of photos.
  static std::vector<std::int64_t> input_shape(const Model::State& state) {
    const Shape* shape = nullptr;
    if (!state.photos && !state.plan.inputs.empty()) shape = &state.plan.inputs[0].desc.shape;
    for (const Step& step : state.plan.steps) {
      if (state.photos && step.name.starts_with(kPhotoNodes) && !step.dst.empty())
        shape = &step.dst[0].desc.shape;
    }
    std::vector<std::int64_t> extents;
    for (std::size_t i = 0; shape != nullptr && i < shape->rank(); ++i) extents.push_back((*shape)[i]);
    return extents;
  }

  // Gives the session something to run on; returns what.
  std::string fill(Session& session, const Model& model) const {
    std::uint32_t state = 1;
    const auto noise = [&] {
      state = state * 1664525U + 1013904223U;
      return static_cast<std::uint8_t>(state >> 24U);
    };
    if (raw_) {
      for (const TensorInfo& input : model.inputs()) {
        const TensorSpan tensor = session.input(input.name);
        if (tensor.dtype == DType::f32) {
          std::ranges::generate(tensor.as<float>(), [&] { return static_cast<float>(noise()) - 128; });
        } else {
          std::ranges::fill(tensor.bytes, std::byte{0});
        }
      }
      return "raw tensors, noise";
    }
    constexpr std::int64_t kWidth = 640, kHeight = 480;
    for (std::int64_t slot = 0; slot < model.batch(); ++slot) {
      if (image_.empty()) {
        std::ranges::generate(session.photo(kWidth, kHeight, slot), noise);
      } else {
        session.load_photo(image_, slot);
      }
    }
    return image_.empty() ? fmt::format("noise, {} x {}", kWidth, kHeight)
                          : std::filesystem::path(image_).filename().string();
  }

  static void note_state(ProfileResult& result) {
    constexpr double kDisturbing = 0.05;  // of the cores
    if (result.state.load.value_or(0) > kDisturbing * std::max(result.machine.cores, 1)) {
      result.notes.push_back(
          fmt::format("Others kept {:.2f} of {} cores busy meanwhile: these times are not those of a "
                      "quiet machine.",
                      *result.state.load, result.machine.cores));
    }
    if (!result.state.throttled_by.empty()) {
      result.notes.push_back(
          fmt::format("Clocks were held down: {}.", fmt::join(result.state.throttled_by, ", ")));
    }
  }

  static measure::Profilee profilee(const Model& model, Session& session) {
    measure::Profilee what;
    what.run_step = [&session](std::size_t step, std::size_t times) { session.run_step(step, times); };
    what.run = [&session] { session.run(); };
    const Model::State& state = model.state();
    for (const Step& step : state.plan.steps)
      what.is_waited_for.push_back(!state.device_list[step.device]->is_host());
    return what;
  }

  std::unique_ptr<measure::Meter> open_meter(Worker worker, ProfileResult& result) const {
    if (!energy_) {
      result.meter_absences.push_back({"energy", "it was not asked for", "--energy"});
      return nullptr;
    }
    measure::MeterOptions options;
    options.gpu = gpu_number(result.device, std::getenv("CUDA_VISIBLE_DEVICES"));
    options.gpu_name = gpu_name(result.device_description);
    options.worker = worker;
    auto meter = measure::open_meter(meter_, options, result.meter_absences);
    if (meter != nullptr) result.meter = meter->facts();
    return meter;
  }

  void take_energy(const measure::Profilee& what, measure::Meter& meter, ProfileResult& result) const {
    const measure::EnergyPlan plan =
        measure::plan_energy(result, meter.facts(), static_cast<double>(energy_seconds_));
    complain(fmt::format("energy by {}: {} steps, {:.1f} s each, {:.0f} s in all{}", meter.facts().name,
                         plan.steps.size(), plan.window_seconds, plan.seconds(),
                         plan.left_out == 0
                             ? ""
                             : fmt::format("; {} that take least are left out, --energy-seconds allows "
                                           "no more",
                                           plan.left_out)));
    if (plan.left_out > 0) {
      result.notes.push_back(fmt::format(
          "The energy of {} steps that take least was not measured: there was no time for them.",
          plan.left_out));
    }
    Progress bar(plan.steps.size());
    std::size_t done = 0;
    try {
      measure::take_energy(what, meter, plan, result, [&](std::size_t) { bar.show(++done); });
    } catch (const Error& error) {  // the times are there all the same
      complain(fmt::format("energy is n/a: {}", error.what()));
      for (ProfiledStep& step : result.steps) {
        step.joules = step.uncertainty_joules = std::nullopt;
        step.energy_times = 0;
      }
      result.meter.reset();
      result.meter_absences = {{meter.facts().name,
                                fmt::format("expected {}, got {}", error.expected(), error.got()),
                                error.hint()}};
    }
  }

  static void take_roofs(const Model& model, const ModelOptions& options, ProfileResult& result) {
    const Model::State& state = model.state();
    std::set<std::size_t> used;
    for (const Step& step : state.plan.steps) used.insert(step.device);
    ModelOptions same = options;
    same.precision = model.precision();
    for (const std::size_t device : used)
      result.roofs.push_back(measure_roof(*state.device_list[device], same));
    measure::compare_with_roofs(result);
  }

  // Whether all could be written.
  bool write_files(Output& out, const ProfileResult& result) const {
    bool is_written = true;
    const auto write = [&](const std::string& file, std::string (*text)(const ProfileResult&)) {
      if (file.empty()) return;
      if (file == "-") return out.write(text(result));
      try {
        write_file(file, text(result));
      } catch (const Error& error) {
        complain(error.what());
        is_written = false;
      }
    };
    write(json_, measure::json_of);
    write(html_, measure::html_of);
    write(trace_, measure::trace_of);
    return is_written;
  }

  ModelFlags flags_;
  std::string image_, meter_ = "auto", json_, html_, trace_;
  std::int64_t runs_ = 30, top_ = 0, energy_seconds_ = 600;
  bool raw_ = false, energy_ = false, no_roof_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_profile() { return std::make_unique<Profile>(); }

}  // namespace maru::cli
