// PhotoFlags: the options with which a verb says how photos become a network's input, where the model's
// card does not.
#pragma once

#include <maru/model.h>

#include "apps/cli/command_line.h"

namespace maru::cli {

struct PhotoFlags {
  std::optional<std::vector<float>> mean;
  std::string mean_file;  // instead; empty: none
  std::optional<float> scale;
  std::optional<Preprocessing::Channels> channels;
  std::optional<Preprocessing::Resize> resize;

  void add(CommandLine& line);  // --mean, --scale, --channels, --resize
  // Puts what was said in the place of what the model's card says. Throws Error.
  void apply(const std::string& model, ModelOptions& options) const;
};

}  // namespace maru::cli
