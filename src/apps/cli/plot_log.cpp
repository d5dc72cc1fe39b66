// maru plot-log: the curves of training runs, from the CSV that `maru train` writes, as SVG.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/cli/new_file.h"
#include "apps/cli/verb.h"
#include "base/error.h"
#include "measure/curves.h"
#include "train/curve_file.h"

namespace maru::cli {
namespace {

using measure::Curve;
using measure::CurvePanel;

// Which panel a column is drawn in.
enum class Kind : std::uint8_t { loss, accuracy, rate, speed, none };

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Kind kind_of(std::string_view column) {
  if (column == "lr") return Kind::rate;
  if (column == "images/s") return Kind::speed;
  if (contains(column, "accuracy") || contains(column, "top") || contains(column, "acc"))
    return Kind::accuracy;
  return contains(column, "loss") && column != "loss scale" ? Kind::loss : Kind::none;
}

// The losses of single batches are noise over "loss", their mean with weights.
bool is_usual(std::string_view column) {
  const Kind kind = kind_of(column);
  return kind != Kind::none && (kind != Kind::loss || !column.starts_with("train/"));
}

class PlotLog final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "plot-log",
        "Draws the curves of a training run from the CSV that 'maru train --csv' writes: losses,\n"
        "accuracies, rate and speed over iterations, as one SVG file. Several files are drawn into\n"
        "one figure, to compare runs.",
        std::initializer_list<std::string_view>{"plot-log curves.csv -o curves.svg",
                                                "plot-log plain.csv normalised.csv -o both.svg"});
    line->positionals("LOG", "CSV files of 'maru train --csv'.", files_);
    line->text("-o,--output", "FILE", "The SVG file; -: standard output. Required.", output_,
               Need::required);
    line->text("--title", "TEXT", "What stands above. Default: the files' names.", title_);
    line->text("--columns", "NAMES",
               "Only these columns, with commas between. Default: loss, the losses of test\n"
               "nets, accuracies, lr and images/s.",
               columns_);
    return line;
  }

  int run(Output& out) override {
    std::string title = title_;
    for (const std::string& file : files_) {
      add(file);
      if (title_.empty())
        title += (title.empty() ? "" : ", ") + std::filesystem::path(file).stem().string();
    }
    check_columns();
    std::vector<CurvePanel> panels;
    for (CurvePanel* panel : {&loss_, &accuracy_, &rate_, &speed_}) {
      if (!panel->curves.empty()) panels.push_back(std::move(*panel));
    }
    if (panels.empty())
      throw Error(files_.front(), "a figure to draw", "none yet", "a longer run, or other --columns");
    const std::string svg = measure::curves_figure(title, "iteration", panels);
    if (output_ == "-") {
      out.write(svg);
    } else {
      write_file(output_, svg);
    }
    return 0;
  }

 private:
  bool is_wanted(std::string_view column) const {
    if (columns_.empty()) return is_usual(column);
    return contains("," + columns_ + ",", "," + std::string(column) + ",");
  }

  void check_columns() const {
    if (columns_.empty() || is_any_found_) return;
    throw Error("--columns", fmt::format("some of {}", fmt::join(known_, ", ")),
                fmt::format("\"{}\"", columns_));
  }

  void add(const std::string& file) {
    const Curves curves = read_curves(file);
    known_ = curves.columns;
    const std::string run = std::filesystem::path(file).stem().string();
    for (std::size_t c = 0; c < curves.columns.size(); ++c) {
      const std::string& column = curves.columns[c];
      if (!is_wanted(column)) continue;
      Curve curve{files_.size() > 1 ? fmt::format("{}: {}", run, column) : column, {}};
      for (const auto& row : curves.rows) {
        if (row[c]) curve.points.emplace_back(*row[0], *row[c]);
      }
      if (curve.points.empty()) continue;
      is_any_found_ = true;
      panel_of(column).curves.push_back(std::move(curve));
    }
  }

  CurvePanel& panel_of(std::string_view column) {
    switch (kind_of(column)) {
      case Kind::accuracy:
        return accuracy_;
      case Kind::rate:
        return rate_;
      case Kind::speed:
        return speed_;
      case Kind::loss:
      case Kind::none:
        break;
    }
    return loss_;
  }

  std::vector<std::string> files_, known_;
  std::string output_, title_, columns_;
  bool is_any_found_ = false;
  CurvePanel loss_{"Loss", {}}, accuracy_{"Accuracy", {}, true},
      rate_{"Learning rate", {}, false, true}, speed_{"Images a second", {}};
};

}  // namespace

std::unique_ptr<Verb> make_plot_log() { return std::make_unique<PlotLog>(); }

}  // namespace maru::cli
