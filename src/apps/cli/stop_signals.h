// StopSignals: what a user asks of a long run by signals, as Caffe has it: SIGINT (Ctrl-C) and SIGTERM
// to stop with a snapshot, SIGHUP for a snapshot. A second SIGINT or SIGTERM ends the program at once.
// One at a time; asked by one thread.
#pragma once

#include "train/training_loop.h"

namespace maru::cli {

class StopSignals {
 public:
  StopSignals();   // a signal that is ignored (nohup) stays so
  ~StopSignals();  // signals do what they did before
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // A snapshot is asked for once for each signal; a stop from then on.
  Asked asked();
};

}  // namespace maru::cli
