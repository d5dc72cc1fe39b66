// Curves: what changes with the iterations of a training run, as one SVG drawing of panels above each
// other. Plain values; any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace maru::measure {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by x; what is no number breaks the line
};

struct CurvePanel {
  std::string title;
  std::vector<Curve> curves;
  bool is_percent = false;      // values are shares, shown in per cent, from 0
  bool is_logarithmic = false;  // where all values are above 0; powers of ten
};

// `title` stands above; all panels have the same x axis, called `x_name`. A file of its own.
std::string curves_figure(const std::string& title, const std::string& x_name,
                          const std::vector<CurvePanel>& panels);

}  // namespace maru::measure
