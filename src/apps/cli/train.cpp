// maru train: trains a network as a Caffe solver file says.
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "apps/cli/train_report.h"
#include "apps/cli/train_words.h"
#include "apps/cli/verb.h"
#include "base/error.h"
#include "device/registry.h"
#include "measure/probe.h"
#include "ranks/communicator.h"

namespace maru::cli {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

std::vector<std::string> names_in(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    if (end > 0) names.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

class Train final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "train",
        "Trains a network as a Caffe solver file says: its networks, its rates, its tests and\n"
        "snapshots. Photos are decoded and augmented by threads beside it. Ctrl-C or SIGTERM stops\n"
        "it with a snapshot, a second one at once; SIGHUP writes a snapshot. It goes on from one to\n"
        "the bit, on the CPU. Started several times by mpirun or torchrun, the processes train one\n"
        "network together, each with a GPU of its own; see docs/train.md.",
        std::initializer_list<std::string_view>{
            "train --solver solver.prototxt",
            "train --solver solver.prototxt --train-data photos/train --test-data photos/val",
            "train --solver solver.prototxt --resume --stop-after 9m --csv curves.csv",
            "train --solver solver.prototxt --weights bvlc_googlenet.caffemodel",
            "train --solver solver.prototxt --augment area=0.2:1,mirror,brightness=0.3",
            "mpirun -np 4 maru train --solver solver.prototxt --device cuda"});
    declare_what(*line);
    declare_how(*line);
    declare_reports(*line);
    return line;
  }

  int run(Output& out) override {
    const Clock::time_point start = Clock::now();
    ranks_ = ranks_from_environment();
    TrainReport report(out, {csv_, tensorboard_, log_, json_, ranks_.rank});
    TrainingLoopOptions options = to_options(report, start);
    const std::string name = device_name(options.solver);
    if (name != "cpu") see_own_gpu_only(ranks_);
    options.communicator = make_communicator(ranks_);
    const std::shared_ptr<Communicator> communicator = options.communicator;
    const std::vector<std::unique_ptr<Device>> devices = open_devices(name, options);
    for (const auto& device : devices) options.devices.push_back(device.get());
    if (devices.size() > 1) options.speeds = {speed_of(*devices[0]), assumed_speed(*devices[1])};
    const CaffeSolver solver = options.solver;
    const bool is_resumed = options.snapshot.has_value();
    TrainingLoop loop(std::move(options));
    report.begin(loop.facts(), solver, devices[0]->name(), precision_, is_resumed);
    const int code = report.end(loop.run(report));
    if (communicator) communicator->leave();
    return code;
  }

 private:
  void declare_what(CommandLine& line) {
    line.text("-s,--solver", "FILE",
              "The solver (SolverParameter in text, .prototxt). What it names is looked for from\n"
              "here, then beside it. Required.",
              solver_, Need::required);
    line.text("--snapshot", "FILE", "Go on from this .solverstate, and the .caffemodel it names.",
              snapshot_);
    line.flag("--resume",
              "Go on from the newest snapshot that the solver has written; where there is none,\n"
              "begin. For training in pieces with one command.",
              resume_);
    line.text("-w,--weights", "FILES",
              "Begin with the weights of these .caffemodel files (commas between), layers matched\n"
              "by name; layers that none has are drawn by their fillers.",
              weights_);
    line.text("--train-data", "PATH",
              "Photos to train on, instead of what the network says: a folder of folders, a list,\n"
              "tar files or an LMDB; see docs/data.md.",
              train_data_);
    line.text("--test-data", "PATH", "The same for test nets.", test_data_);
    line.text("--data-root", "DIR",
              "What paths in lists begin in. Default: the list's own folder; or the working\n"
              "directory, where the first of them is found only there.",
              root_);
    line.text("--augment", "WORDS",
              "What is done to photos when training, with commas between; added to what the data\n"
              "layer says. area=0.08:1: a part of that share of the photo, anywhere; ratio=1.33:\n"
              "its aspect ratio, at most; crop=N, resize=HxW (before crop), whole; mirror,\n"
              "no-mirror; brightness=, contrast=, saturation=0.4: factors from 0.6 to 1.4.",
              augment_);
    line.text("--test-augment", "WORDS",
              "The same for tests: centre=0.875 takes that share of each side, whole the photo.",
              test_augment_);
    line.flag("--test-all", "Tests take each photo once, whatever test_iter says.", test_all_);
  }

  void declare_how(CommandLine& line) {
    line.text("--device", "NAME",
              "What computes: a name that 'maru devices' lists, or auto: CUDA where it is, else\n"
              "the CPU. Default: what solver_mode says, else auto.",
              device_);
    line.choice<MemoryPolicy>("--memory", "As of 'maru run': auto, copy or zero-copy. Default: auto.",
                              {{"auto", MemoryPolicy::automatic},
                               {"copy", MemoryPolicy::copy},
                               {"zero-copy", MemoryPolicy::zero_copy}},
                              policy_);
    line.choice<Precision>(
        "--precision",
        "fp32; tf32: products are rounded where the device has units for that; fp16: data\n"
        "in half precision, weights and sums in single, with a loss scale. Default: fp32.",
        {{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"fp16", Precision::fp16}}, precision_);
    line.integer("--threads",
                 "Threads that decode photos; 0: one a core, which ranks of one machine share.\n"
                 "Default: 0.",
                 threads_, 0, 1024);
    line.integer("--batch", "Photos a pass, instead of what the data layer says.", batch_, 1, 65536);
    line.integer("--max-iter", "Updates altogether, instead of the solver's max_iter.", max_iter_, 1,
                 1000000000);
    line.flag("--recompute",
              "Less memory for more time: results of layers are forgotten, and computed again on\n"
              "the way back. Changes no result.",
              recompute_);
    line.text("--stop-after", "TIME",
              "Stop with a snapshot after so long, counted from the start of the program: 9m,\n"
              "90s, 1h30m.",
              stop_after_);
    line.text("--prefix", "PATH", "Of snapshots, instead of the solver's snapshot_prefix.", prefix_);
    line.integer("--seed", "Instead of the solver's random_seed. Default: another each time.", seed_, 0,
                 std::int64_t{1} << 62);
  }

  void declare_reports(CommandLine& line) {
    line.text("--csv", "FILE",
              "Figures as CSV, for 'maru plot-log'. When training goes on, so does the file.", csv_);
    line.text("--tensorboard", "DIR", "Figures as an event file for TensorBoard, in this folder.",
              tensorboard_);
    line.text("--log", "FILE", "What is said, with the time, added to this file.", log_);
    line.flag("--json", "Print a summary as JSON at the end; lines for people go to standard error.",
              json_);
  }

  void check() const {
    if (!snapshot_.empty() && !weights_.empty())
      throw UsageError("--weights", "either --snapshot or --weights", "both",
                       "--weights alone, to begin anew with those weights");
    if (!snapshot_.empty() && resume_)
      throw UsageError("--resume", "either --snapshot or --resume", "both");
  }

  TrainingLoopOptions to_options(TrainReport& report, Clock::time_point start) const {
    check();
    TrainingLoopOptions options;
    options.solver = read_caffe_solver(solver_);
    CaffeSolver& solver = options.solver;
    if (max_iter_ > 0) solver.max_iter = max_iter_;
    options.prefix = prefix_.empty() ? solver.snapshot_prefix : prefix_;
    if (!snapshot_.empty()) options.snapshot = snapshot_;
    if (resume_) options.snapshot = newest_snapshot(options.prefix);
    options.weights = solver.weights;
    if (!weights_.empty()) {
      options.weights.clear();
      for (const std::string& name : names_in(weights_)) options.weights.emplace_back(name);
    }
    options.seed =
        seed_ >= 0 ? static_cast<std::uint64_t>(seed_) : solver.seed.value_or(std::random_device()());
    options.policy = policy_;
    options.precision = precision_;
    options.whole_tests = test_all_;
    options.recompute = recompute_;
    if (batch_ > 0) options.batch = batch_;
    options.train = feed_options(report, train_data_, "--augment", augment_);
    options.test = feed_options(report, test_data_, "--test-augment", test_augment_);
    if (!stop_after_.empty())
      options.deadline =
          start + std::chrono::duration_cast<Clock::duration>(
                      std::chrono::duration<double>(duration_of("--stop-after", stop_after_)));
    return options;
  }

  FeedOptions feed_options(TrainReport& report, const std::string& data, std::string_view option,
                           const std::string& words) const {
    FeedOptions options;
    options.data = data;
    options.root = root_;
    options.threads = threads_ > 0 ? static_cast<int>(threads_) : threads_of_rank();
    options.report = [&report](const std::string& name, const Error& error) {
      report.report(name, error);
    };
    Augment tried;
    apply_augment(option, words, tried);  // what is wrong with it is said first
    if (!words.empty())
      options.augment = [option, words](Augment& augment) { apply_augment(option, words, augment); };
    return options;
  }

  // Ranks of one machine share its cores; 0, which is all of them, for one alone.
  int threads_of_rank() const {
    if (ranks_.local_ranks == 1) return 0;
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / ranks_.local_ranks);
  }

  std::string device_name(const CaffeSolver& solver) const {
    if (!device_.empty()) return device_;
    return solver.mode_given && !solver.gpu ? "cpu" : "auto";
  }

  std::vector<std::unique_ptr<Device>> open_devices(std::string name,
                                                    const TrainingLoopOptions& training) const {
    const int number = ranks_.ranks > 1 ? 0 : training.solver.device;  // a rank sees one GPU alone
    DeviceOptions options;
    options.precision = precision_;
    options.communicator = training.communicator;
    options.threads =
        std::getenv("OMP_NUM_THREADS") != nullptr ? omp_get_max_threads() : threads_of_rank();
    std::vector<std::unique_ptr<Device>> devices;
    if (name == "auto") {
      // Others have no kernels for training: the CPU would do most of it, beside them.
      name = "cpu";
      if (std::ranges::find(all_backends(), "cuda", &Backend::name) != all_backends().end()) {
        try {
          devices.push_back(open_device(number > 0 ? fmt::format("cuda:{}", number) : "cuda", options));
        } catch (const Error& error) {
          complain(fmt::format("passed over: {}", error.what()));
        }
      }
    }
    if (devices.empty()) devices.push_back(open_device(name, options));
    if (!devices[0]->is_host()) {
      DeviceOptions beside;
      beside.threads = options.threads;
      devices.push_back(open_device("cpu", beside));
    }
    return devices;
  }

  std::string solver_, snapshot_, weights_, train_data_, test_data_, root_, augment_, test_augment_;
  std::string device_, stop_after_, prefix_, csv_, tensorboard_, log_;
  bool resume_ = false, test_all_ = false, recompute_ = false, json_ = false;
  MemoryPolicy policy_ = MemoryPolicy::automatic;
  Precision precision_ = Precision::fp32;
  Ranks ranks_;
  std::int64_t threads_ = 0, batch_ = 0, max_iter_ = 0, seed_ = -1;
};

}  // namespace

std::unique_ptr<Verb> make_train() { return std::make_unique<Train>(); }

}  // namespace maru::cli
