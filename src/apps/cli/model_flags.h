// ModelFlags: the options with which every verb that loads a model chooses it and how it shall run.
#pragma once

#include <maru/model.h>

#include "apps/cli/command_line.h"

namespace maru::cli {

// The model, after telling on standard error what it was proven to be and which better devices could
// not be used.
Model load_model(const std::string& path, const ModelOptions& options);

struct ModelFlags {
  std::string model;
  ModelOptions options;

  void add_model(CommandLine& line);             // --model
  void add_model_positional(CommandLine& line);  // MODEL
  void add_weights(CommandLine& line);
  void add_labels(CommandLine& line);
  void add_batch(CommandLine& line);
  void add_execution(CommandLine& line);  // --device, --memory, --precision, --tune, --threads
  void add_optimize(CommandLine& line);
  void add_check(CommandLine& line);

  ModelOptions to_options() const;

 private:
  std::string weights_, labels_;
  std::int64_t threads_ = 0;
  std::optional<Precision> precision_;
  bool no_optimize_ = false;
};

}  // namespace maru::cli
