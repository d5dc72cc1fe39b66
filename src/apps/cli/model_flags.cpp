#include "apps/cli/model_flags.h"

#include "apps/cli/output.h"

namespace maru::cli {
namespace {

constexpr const char* kModelHelp =
    "The network: a folder with network, weights, labels and model.json,\n"
    "a Caffe network (.prototxt), or a packed model (.maru). Required.";

}  // namespace

Model load_model(const std::string& path, const ModelOptions& options) {
  Model model = Model::load(path, options);
  for (const std::string& why : model.passed_over()) complain("passed over: " + why);
  if (options.check) complain(model.proof());
  return model;
}

void ModelFlags::add_model(CommandLine& line) {
  line.text("-m,--model", "PATH", kModelHelp, model, Need::required);
}

void ModelFlags::add_model_positional(CommandLine& line) {
  line.positional("MODEL", kModelHelp, model);
}

void ModelFlags::add_weights(CommandLine& line) {
  line.text("-w,--weights", "FILE",
            "The weights (.caffemodel). Default: the only ones beside the network.", weights_);
}

void ModelFlags::add_labels(CommandLine& line) {
  line.text("--labels", "FILE",
            "What the classes are called, one a line. Default: labels.txt or\n"
            "synset_words.txt beside the network.",
            labels_);
}

void ModelFlags::add_batch(CommandLine& line) {
  line.integer("--batch", "Images a run; 0: as the network file says. Default: 1.", options.batch, 0,
               4096);
}

void ModelFlags::add_execution(CommandLine& line) {
  line.text("--device", "NAME",
            "What computes: auto, or a name that 'maru devices' lists. Default: auto.", options.device);
  line.choice<MemoryPolicy>(
      "--memory",
      "Where tensors live that the CPU and the device both use. auto: per tensor,\n"
      "from what this machine's memory does; copy: twice, kept equal by copies;\n"
      "zero-copy: once, where both see it. Default: auto.",
      {{"auto", MemoryPolicy::automatic},
       {"copy", MemoryPolicy::copy},
       {"zero-copy", MemoryPolicy::zero_copy}},
      options.memory);
  line.choice<Precision>(
      "--precision",
      "fp32: single precision; tf32: products are rounded where the device has units for\n"
      "that; fp16: tensors in half precision, sums in single. Default: fp32, or what a\n"
      "packed model is in.",
      {{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"fp16", Precision::fp16}}, precision_);
  line.flag("--tune",
            "Take the fastest variants of kernels, where the device has several: measured once\n"
            "for each layer on this machine, which takes a while, and kept.",
            options.tune);
  line.integer("--threads", "Threads of the CPU; 0: one a core. Default: 0.", threads_, 0, 1024);
}

void ModelFlags::add_optimize(CommandLine& line) {
  line.flag("--no-optimize", "Run every layer as the file has it, none folded, fused or merged.",
            no_optimize_);
}

void ModelFlags::add_check(CommandLine& line) {
  line.flag("--check",
            "Prove the plan before it runs (each read after its write, one owner at a\n"
            "time) and watch every run; standard error says so. A fault is named; code 1.",
            options.check);
}

ModelOptions ModelFlags::to_options() const {
  ModelOptions all = options;
  all.weights = weights_;
  all.labels = labels_;
  all.threads = static_cast<int>(threads_);
  all.optimize = !no_optimize_;
  all.precision = precision_;
  return all;
}

}  // namespace maru::cli
