// TrainReport: what `maru train` says and keeps of a run (of several ranks, rank 0; the others say what
// went wrong with them): lines for people, one of them rewritten on a
// terminal, a log file, CSV, TensorBoard, and a summary. Owned by the verb; one thread, but for
// report(), which any may call.
#pragma once

#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "apps/cli/json.h"
#include "apps/cli/stop_signals.h"
#include "train/curve_file.h"
#include "train/event_file.h"
#include "train/training_loop.h"

namespace maru::cli {

struct TrainReportOptions {
  std::string csv, tensorboard, log;  // empty: none
  bool json = false;                  // standard output is for the summary alone
  int rank = 0;                       // only rank 0 says and keeps what is the same on all
};

class TrainReport final : public TrainingObserver {
 public:
  TrainReport(Output& out, TrainReportOptions options);

  // A line for people, now.
  void say(const std::string& line);
  // What went wrong with a photo, from any thread; said at the next line.
  void report(const std::string& name, const Error& error);

  // Opens CSV and TensorBoard's file, and says what will run. Throws Error.
  void begin(const TrainingFacts& facts, const CaffeSolver& solver, std::string_view device,
             Precision precision, bool is_resumed);
  // Says how it ended; with `json` on standard output. Returns the exit code.
  int end(const TrainingOutcome& outcome);

  Asked asks() override;
  void ran(const TrainingFigures& figures) override;
  void displayed(const TrainingFigures& figures) override;
  void tested(std::size_t net, const TrainingFigures& at, const Evaluator::Figures& means,
              double seconds) override;
  void saved(const SnapshotFiles& files, double seconds) override;
  void could_not_save(const Error& error) override;
  void could_not_test(std::size_t net, const Error& error) override;

 private:
  void keep(const TrainingFigures& at, std::vector<std::pair<std::string, double>> values);
  void say_reports();
  // To standard error and the log.
  void warn(const std::string& line);
  bool is_first() const { return options_.rank == 0; }
  std::string test_name(std::size_t net) const;

  Output& out_;
  TrainReportOptions options_;
  StopSignals signals_;
  StatusLine status_;
  std::ofstream log_;
  std::unique_ptr<CurveFile> csv_;
  std::unique_ptr<EventFile> events_;
  TrainingFacts facts_;
  std::int64_t max_iter_ = 0;
  bool is_heard_ = true;  // standard output can be written to
  bool is_curve_broken_ = false;
  double status_seconds_ = -1;  // when the line was last rewritten
  Json tests_ = Json::array();
  Json plan_;
  std::mutex mutex_;
  std::vector<std::string> reports_;  // under mutex_
};

}  // namespace maru::cli
