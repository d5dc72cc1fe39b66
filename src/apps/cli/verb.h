// Verb: one command of the program. A verb is one file, which ends with its make_*() function; main.cpp
// lists them, finds the one that is asked for, lets it declare its options, and runs it.
#pragma once

#include <memory>
#include <string_view>

#include "apps/cli/command_line.h"
#include "apps/cli/output.h"

namespace maru::cli {

class Verb {
 public:
  virtual ~Verb() = default;

  virtual std::unique_ptr<CommandLine> declare() = 0;
  // Returns the exit code. Throws Error for what ends the whole run.
  virtual int run(Output& out) = 0;
};

std::unique_ptr<Verb> make_classify();
std::unique_ptr<Verb> make_run();
std::unique_ptr<Verb> make_info();
std::unique_ptr<Verb> make_plan();
std::unique_ptr<Verb> make_pack();
std::unique_ptr<Verb> make_profile();
std::unique_ptr<Verb> make_devices();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_train();
std::unique_ptr<Verb> make_test();
std::unique_ptr<Verb> make_mean();
std::unique_ptr<Verb> make_plot_log();

}  // namespace maru::cli
