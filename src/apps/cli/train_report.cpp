#include "apps/cli/train_report.h"

#include <unistd.h>

#include <cmath>
#include <ctime>
#include <utility>

#include "apps/cli/train_words.h"
#include "base/error.h"
#include "base/text.h"
#include "device/device.h"

namespace maru::cli {
namespace {

constexpr double kStatusSeconds = 0.2;  // between rewrites of the line

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

std::string list_of(const std::vector<std::pair<std::string, double>>& values) {
  std::string text;
  for (const auto& [name, value] : values)
    text += fmt::format("{}{} = {:.5g}", text.empty() ? "" : ", ", name, value);
  return text;
}

std::string progress_of(const TrainingFigures& at, std::int64_t max_iter) {
  std::string text =
      fmt::format("iteration {}/{}  loss {:.5g}  lr {:.4g}", at.iteration, max_iter, at.loss, at.rate);
  if (at.images_per_second > 0) {
    text += fmt::format("  {:.{}f} images/s  waited {:.1f} %", at.images_per_second,
                        at.images_per_second < 100 ? 1 : 0, 100 * at.data_wait);
  }
  text += fmt::format("  epoch {:.2f}", at.epoch);
  if (at.eta_seconds > 0) text += "  ETA " + duration_text(at.eta_seconds);
  if (at.skipped > 0) text += fmt::format("  skipped {}", at.skipped);
  return text;
}

std::string_view word_of(TrainingOutcome::Ended ended) {
  switch (ended) {
    case TrainingOutcome::Ended::finished:
      return "finished";
    case TrainingOutcome::Ended::asked:
      return "stopped";
    case TrainingOutcome::Ended::out_of_time:
      return "out of time";
    case TrainingOutcome::Ended::diverged:
      break;
  }
  return "diverged";
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json object_of(const std::vector<std::pair<std::string, double>>& values) {
  Json object = Json::object();
  for (const auto& [name, value] : values) object[name] = number(value);
  return object;
}

std::string bytes(std::size_t count) { return human_bytes(static_cast<double>(count)); }

}  // namespace

TrainReport::TrainReport(Output& out, TrainReportOptions options)
    : out_(out), options_(std::move(options)) {
  if (options_.log.empty() || !is_first()) return;
  log_.open(options_.log, std::ios::app);
  if (!log_) throw system_error(options_.log, "a log file that can be written");
}

void TrainReport::warn(const std::string& line) {
  complain(is_first() ? line : fmt::format("rank {}: {}", options_.rank, line));
  if (log_.is_open()) log_ << now() << "  " << line << std::endl;
}

void TrainReport::say(const std::string& line) {
  if (!is_first()) return;
  if (options_.json) {
    complain(line);
  } else if (is_heard_) {
    try {
      out_.write(line + '\n');
      out_.flush();
    } catch (const ReaderGone&) {  // whoever read has gone; training is not for them alone
      is_heard_ = false;
    } catch (const Error& error) {
      is_heard_ = false;
      complain(error.what());
    }
  }
  if (log_.is_open()) log_ << now() << "  " << line << std::endl;
}

void TrainReport::report(const std::string& name, const Error& error) {
  const std::lock_guard lock(mutex_);
  const std::string text = error.what();
  const bool is_named = text.find(name) != std::string::npos;
  reports_.push_back("skipped: " + (is_named ? text : name + ": " + text));
}

void TrainReport::say_reports() {
  std::vector<std::string> reports;
  {
    const std::lock_guard lock(mutex_);
    reports.swap(reports_);
  }
  for (const std::string& line : reports) warn(line);
}

std::string TrainReport::test_name(std::size_t net) const {
  return net == 0 ? "test" : fmt::format("test {}", net + 1);
}

void TrainReport::begin(const TrainingFacts& facts, const CaffeSolver& solver, std::string_view device,
                        Precision precision, bool is_resumed) {
  facts_ = facts;
  max_iter_ = solver.max_iter;
  if (!is_first()) return;
  if (!options_.csv.empty()) {
    std::vector<std::string> columns{"lr", "loss"};
    for (const std::string& name : facts.train.figures) columns.push_back("train/" + name);
    for (std::size_t i = 0; i < facts.tests.size(); ++i) {
      for (const std::string& name : facts.tests[i].figures)
        columns.push_back(test_name(i) + "/" + name);
    }
    columns.insert(columns.end(), {"images/s", "waited", "skipped", "loss scale"});
    csv_ = std::make_unique<CurveFile>(
        options_.csv, columns, is_resumed ? std::optional(facts.position.iteration) : std::nullopt);
  }
  if (!options_.tensorboard.empty()) events_ = std::make_unique<EventFile>(options_.tensorboard);
  for (const std::string& note : facts.notes) complain("note: " + note);
  for (const std::string& note : solver.notes) complain("note: " + note);

  say(fmt::format("{} on {} in {}: {} parameters, {} of them trained", facts.network, device,
                  to_string(precision), grouped(facts.parameters), grouped(facts.trained)));
  const std::string each =
      facts.ranks > 1 ? fmt::format(" on each of {} ranks", facts.ranks) : std::string();
  say(fmt::format("train: {} photos of {}, {} a pass{}, {} passes an update",
                  grouped(facts.train.photos), facts.train.data, facts.train.batch, each,
                  solver.iter_size));
  for (std::size_t i = 0; i < facts.tests.size(); ++i) {
    const auto& test = facts.tests[i];
    say(fmt::format("{}: {} photos of {}, {} a run", test_name(i), grouped(test.photos), test.data,
                    test.batch));
  }
  say(fmt::format("memory: {} states, {} training (arena {}), {} tests; {} altogether",
                  bytes(facts.state_bytes), bytes(facts.training_bytes), bytes(facts.arena_bytes),
                  bytes(facts.test_bytes),
                  bytes(facts.state_bytes + facts.training_bytes + facts.test_bytes)));
  if (facts.recomputed > 0)
    say(fmt::format("{} layers are computed again on the way back", facts.recomputed));
  say(fmt::format("seed {}, {} iteration {} of {}", facts.position.seed,
                  is_resumed ? "going on at" : "from", facts.position.iteration, solver.max_iter));
  plan_ = {{"network", facts.network},
           {"device", device},
           {"precision", to_string(precision)},
           {"parameters", facts.parameters},
           {"trained", facts.trained},
           {"photos", facts.train.photos},
           {"batch", facts.train.batch},
           {"ranks", facts.ranks},
           {"seed", facts.position.seed},
           {"recomputed", facts.recomputed},
           {"first_iteration", facts.position.iteration},
           {"bytes",
            {{"states", facts.state_bytes},
             {"training", facts.training_bytes},
             {"arena", facts.arena_bytes},
             {"tests", facts.test_bytes}}}};
}

Asked TrainReport::asks() {
  say_reports();
  return signals_.asked();
}

void TrainReport::ran(const TrainingFigures& figures) {
  if (!is_first() || !status_.is_shown() || figures.seconds - status_seconds_ < kStatusSeconds) return;
  status_seconds_ = figures.seconds;
  status_.show(progress_of(figures, max_iter_));
}

void TrainReport::keep(const TrainingFigures& at, std::vector<std::pair<std::string, double>> values) {
  const CurvePoint point{at.iteration, at.epoch, at.seconds, std::move(values)};
  try {
    if (csv_) csv_->add(point);
    if (events_) events_->add(point.iteration, point.values);
  } catch (const Error& error) {  // a full disk costs figures, no training
    if (!std::exchange(is_curve_broken_, true)) complain(error.what());
  }
}

void TrainReport::displayed(const TrainingFigures& figures) {
  if (!is_first()) return;
  std::vector<std::pair<std::string, double>> values{{"lr", figures.rate}, {"loss", figures.loss}};
  for (const auto& [name, value] : figures.outputs) values.emplace_back("train/" + name, value);
  values.emplace_back("images/s", figures.images_per_second);
  values.emplace_back("waited", figures.data_wait);
  values.emplace_back("skipped", static_cast<double>(figures.skipped));
  if (figures.loss_scale > 0) values.emplace_back("loss scale", figures.loss_scale);
  keep(figures, std::move(values));
  const std::string line =
      progress_of(figures, max_iter_) +
      (figures.outputs.empty() ? "" : fmt::format("  ({})", list_of(figures.outputs)));
  // On a terminal the line that is rewritten says so already.
  if (!status_.is_shown() || ::isatty(STDOUT_FILENO) != 1) {
    say(line);
  } else if (log_.is_open()) {
    log_ << now() << "  " << line << std::endl;
  }
}

void TrainReport::tested(std::size_t net, const TrainingFigures& at, const Evaluator::Figures& means,
                         double seconds) {
  if (!is_first()) return;
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [name, value] : means) values.emplace_back(test_name(net) + "/" + name, value);
  keep(at, std::move(values));
  say(fmt::format("{} at iteration {}: {} ({})", test_name(net), at.iteration, list_of(means),
                  duration_text(seconds)));
  tests_.push_back(
      {{"net", test_name(net)}, {"iteration", at.iteration}, {"figures", object_of(means)}});
}

void TrainReport::saved(const SnapshotFiles& files, double seconds) {
  say(fmt::format("snapshot {} ({})", files.state.string(), duration_text(seconds)));
}

void TrainReport::could_not_save(const Error& error) {
  warn(fmt::format("no snapshot: {}; training goes on", error.what()));
}

void TrainReport::could_not_test(std::size_t net, const Error& error) {
  warn(fmt::format("no figures of {}: {}; training goes on", test_name(net), error.what()));
}

int TrainReport::end(const TrainingOutcome& outcome) {
  say_reports();
  Progress::wipe();
  const TrainingFigures& last = outcome.last;
  std::string line = fmt::format("{} at iteration {} after {}, loss {:.5g}", word_of(outcome.ended),
                                 last.iteration, duration_text(last.seconds), last.loss);
  if (outcome.snapshot)
    line += fmt::format("; go on with --snapshot {}", outcome.snapshot->state.string());
  say(line);
  if (!outcome.diverged.empty()) {
    warn(Error("training", "a loss that is a number", outcome.diverged,
               "a smaller base_lr or clip_gradients, from the last good snapshot")
             .what());
  }
  if (outcome.is_unsaved && is_first()) complain("the last snapshot could not be written: see above");
  if (options_.json && is_first()) {
    Json all = plan_;
    all["ended"] = word_of(outcome.ended);
    all["iteration"] = last.iteration;
    all["epoch"] = last.epoch;
    all["seconds"] = last.seconds;
    all["loss"] = number(last.loss);
    all["lr"] = last.rate;
    all["skipped"] = last.skipped;
    all["tests"] = tests_;
    all["snapshot"] = outcome.snapshot ? Json(outcome.snapshot->state.string()) : Json(nullptr);
    if (!outcome.diverged.empty()) all["diverged"] = outcome.diverged;
    try {
      print_json(out_, all);
    } catch (const ReaderGone&) {  // how it ended is to be known all the same
    }
  }
  if (is_curve_broken_) complain("figures are missing in the curves: see above");
  if (outcome.is_untested && is_first()) complain("figures of tests are missing: see above");
  const bool has_failed =
      outcome.ended == TrainingOutcome::Ended::diverged || outcome.is_unsaved || outcome.is_untested;
  return has_failed || is_curve_broken_ ? 1 : 0;
}

}  // namespace maru::cli
