// maru bench: the ways to use memory, side by side: time and energy.
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "apps/cli/bench_run.h"
#include "apps/cli/new_file.h"
#include "apps/cli/verb.h"
#include "base/error.h"
#include "measure/html.h"
#include "measure/result_compare.h"
#include "measure/result_json.h"
#include "measure/result_text.h"

namespace maru::cli {
namespace {

namespace fs = std::filesystem;

class Bench final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "bench",
        "Measures the ways to use memory against each other on one device: copy, zero-copy, auto. They "
        "run\n"
        "in turns, in blocks (ABBA), so that what drifts hits all alike; each figure has an interval\n"
        "that holds the truth 95 times of 100. Energy comes from the same runs, where the machine\n"
        "has a meter; where it has none it is n/a, and what would enable one is said.\n"
        "A run is from the photo's pixels in memory of the CPU to the best label. What was found is\n"
        "printed; UNSTABLE means that the machine changed meanwhile, and the ratio is not to be "
        "believed.",
        std::initializer_list<std::string_view>{
            "bench --model models/googlenet-tiny --image cat.jpg",
            "bench --model models/googlenet-tiny --device opencl --size 3840x2160 "
            "--compare copy,zero-copy --paper",
            "bench --model models/googlenet-tiny --json now.json --html now.html",
            "bench --compare-files before.json now.json --fail-if-slower 1.05"});
    declare_what(*line);
    declare_how(*line);
    declare_reports(*line);
    return line;
  }

  int run(Output& out) override {
    if (!files_.empty()) return compare_files(out);
    if (factor_) throw UsageError("--fail-if-slower", "--compare-files A B beside it", "none");
    const BenchRequest request = to_request();
    check_reports();
    const measure::BenchResult result = run_bench(request);
    const bool is_written = write_reports(out, result);
    for (const measure::Check& check : result.checks)
      if (check.verdict == measure::Check::Verdict::failed) {
        complain(fmt::format("{}: {}", check.name, check.text));
        return 1;
      }
    return is_written ? 0 : 1;
  }

 private:
  void declare_what(CommandLine& line) {
    line.text("-m,--model", "PATH",
              "The network: a folder with network, weights, labels and model.json,\n"
              "a Caffe network (.prototxt), or a packed model (.maru).",
              request_.model);
    line.text("-w,--weights", "FILE",
              "The weights (.caffemodel). Default: the only ones beside the network.", weights_);
    line.text("--image", "FILE", "The photo (JPEG, PNG, PPM, PGM). Default: a synthetic one, 640x480.",
              image_);
    line.text("--size", "WxH", "The photo's size, as 3840x2160: --image is rescaled to it.", size_);
    line.integer("--batch", "Photos a run. Default: 1.", request_.options.batch, 1, 4096);
    line.text("--device", "NAME",
              "What computes: auto, or a name that 'maru devices' lists. Default: auto.",
              request_.options.device);
    line.choice<Precision>(
        "--precision", "fp32, tf32 or fp16. Default: fp32, or what a packed model is in.",
        {{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"fp16", Precision::fp16}}, precision_);
    line.flag("--tune", "Take the fastest variants of kernels, measured once and kept.",
              request_.options.tune);
    line.integer("--threads", "Threads of the CPU; 0: one a core. Default: 0.", threads_, 0, 1024);
  }

  void declare_how(CommandLine& line) {
    line.text("--compare", "WAYS",
              "Which ways: some of copy, zero-copy and auto, with commas between. The first is\n"
              "what the others are held against. What the device cannot do is left out, and\n"
              "said. Default: copy,zero-copy,auto.",
              ways_);
    line.integer("--images", "Runs of each way at least, in all its blocks. Default: 100.", images_, 1,
                 100000000);
    line.integer("--blocks",
                 "Blocks of each way; with fewer than 6 the intervals promise less. Default: 6.",
                 blocks_, 1, 10000);
    line.integer("--warmup", "Runs of each way that are not counted. Default: 10.", warmup_, 0,
                 1000000);
    line.integer("--cold-starts",
                 "How often each way is started as a program of its own, exec to label; 0:\n"
                 "never. Default: 6.",
                 cold_, 0, 10000);
    line.flag("--write-photo",
              "Each run begins by writing the photo's pixels anew, as a camera would: for memory\n"
              "that stays with the device as long as the CPU does not touch it.",
              request_.write_photo);
    line.integer("--seed", "Of the order of blocks. Default: 1.", seed_, 0, 1000000000);
    line.text("--meter", "METER",
              "auto: the first that is there and sees the device; none; nvml; rapl; jetson; pi5;\n"
              "wt310e:ADDRESS; command:PROGRAM, which prints joules. A meter that is slow makes\n"
              "blocks long: 10 s for one that is new ten times a second. Default: auto.",
              request_.meter);
  }

  void declare_reports(CommandLine& line) {
    line.text("--json", "FILE",
              "All that was found, as JSON; -: on standard output, and nothing else there.", json_);
    line.text("--csv", "FILE", "A line a run, as CSV; - as above.", csv_);
    line.text("--html", "FILE", "A page of its own, with figures.", html_);
    line.text("--svg", "FILE", "The figure of that page alone: time left, energy right.", svg_);
    line.flag("--markdown", "Print Markdown instead of text.", markdown_);
    line.flag("--paper",
              "Print also the table and figure of the experiment of 2016 (GoogLeNet on a Jetson\n"
              "TK1), with these figures beside the published ones.",
              paper_);
    line.texts("--compare-files", "A B",
               "Measure nothing: hold two results of --json against each other, now (B) over\n"
               "before (A), with an interval. Says what differs of machine, model and method.",
               files_, true);
    line.number("--fail-if-slower",
                "With --compare-files: exit code 1 when the whole interval of a way's time\n"
                "lies above this factor, as 1.05.",
                factor_);
  }

  BenchRequest to_request() const {
    if (request_.model.empty()) throw UsageError("--model", "a network", "none", "'maru bench --help'");
    BenchRequest request = request_;
    request.options.weights = weights_;
    request.options.precision = precision_;
    request.options.threads = static_cast<int>(threads_);
    request.policies = policies_of(ways_);
    request.image = image_;
    if (!size_.empty()) request.size = photo_size(size_);
    request.images = static_cast<std::uint64_t>(images_);
    request.blocks = static_cast<std::uint64_t>(blocks_);
    request.warmup = static_cast<std::uint64_t>(warmup_);
    request.cold_starts = static_cast<std::uint64_t>(cold_);
    request.seed = static_cast<std::uint64_t>(seed_);
    return request;
  }

  // Before minutes of measuring, not after.
  void check_reports() const {
    int on_output = 0;
    for (const auto& [option, name] :
         {std::pair{"--json", json_}, {"--csv", csv_}, {"--html", html_}, {"--svg", svg_}}) {
      if (name.empty()) continue;
      if (name == "-") {
        ++on_output;
        continue;
      }
      const fs::path folder = fs::absolute(name).parent_path();
      if (fs::is_directory(name) || !fs::is_directory(folder))
        throw Error(option, "a file in a folder that is there", fmt::format("\"{}\"", name),
                    "another name");
      if (!fs::exists(name) && ::access(folder.c_str(), W_OK) != 0)
        throw Error(option, "a folder that can be written to", folder.string(), "another folder");
    }
    if (on_output > 1)
      throw UsageError("-", "one of --json, --csv, --html and --svg on standard output",
                       std::to_string(on_output));
    if (on_output == 1 && (markdown_ || paper_))
      throw UsageError("-", "standard output for one report", "--markdown or --paper, too", "a file");
  }

  // Standard output first, so that a file that cannot be written costs nothing else; false then.
  bool write_reports(Output& out, const measure::BenchResult& result) const {
    const auto is_output = [](const std::string& name) { return name == "-"; };
    if (!is_output(json_) && !is_output(csv_) && !is_output(html_) && !is_output(svg_)) {
      out.write(markdown_ ? measure::markdown_of(result) : measure::text_of(result));
      if (paper_)
        out.write((markdown_ ? "\n```\n" : "\n") + measure::paper_of(result) +
                  (markdown_ ? "```\n" : ""));
      out.flush();
    }
    bool is_written = true;
    const auto report = [&](const std::string& name, auto&& text) {
      if (name.empty()) return;
      if (name == "-") {
        out.write(text(result));
        return;
      }
      try {
        write_file(name, text(result));
      } catch (const Error& error) {
        complain(error.what());
        is_written = false;
      }
    };
    report(json_, [](const auto& r) { return measure::to_json(r); });
    report(csv_, [](const auto& r) { return measure::csv_of(r); });
    report(html_, [](const auto& r) { return measure::html_of(r); });
    report(svg_, [](const auto& r) { return measure::figure_of(r); });
    return is_written;
  }

  int compare_files(Output& out) const {
    if (files_.size() != 2)
      throw UsageError("--compare-files", "two files", fmt::format("{}", files_.size()),
                       "--compare-files before.json now.json");
    if (!request_.model.empty())
      throw UsageError("--compare-files", "no --model beside it, since it measures nothing", "one");
    if (factor_ && *factor_ <= 0)
      throw UsageError("--fail-if-slower", "a factor above 0", fmt::format("{}", *factor_));
    const measure::ResultComparison found =
        measure::compare_results(measure::read_result(files_[0]), measure::read_result(files_[1]));
    for (const std::string& warning : found.warnings) complain("warning: " + warning);
    if (json_ == "-") {
      out.write(measure::to_json(found));
    } else {
      out.write(measure::text_of(found));
      if (!json_.empty()) write_file(json_, measure::to_json(found));
    }
    if (!factor_ || !found.is_slower(static_cast<double>(*factor_))) return 0;
    complain(fmt::format("not shown to be within a factor of {}: see above", *factor_));
    return 1;
  }

  BenchRequest request_;
  std::string weights_, image_, size_, ways_ = "copy,zero-copy,auto", json_, csv_, html_, svg_;
  std::optional<Precision> precision_;
  std::int64_t images_ = 100, blocks_ = 6, warmup_ = 10, seed_ = 1, threads_ = 0, cold_ = 6;
  bool markdown_ = false, paper_ = false;
  std::vector<std::string> files_;
  std::optional<float> factor_;
};

}  // namespace

std::unique_ptr<Verb> make_bench() { return std::make_unique<Bench>(); }

}  // namespace maru::cli
