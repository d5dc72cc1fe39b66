#include "measure/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "measure/markup.h"

namespace maru::measure {
namespace {

constexpr double kWidth = 960, kLeft = 78, kRight = 24, kTop = 46, kPlot = 170;
constexpr double kTitle = 24, kLegendRow = 17, kBelow = 44;  // of a panel, around its plot
constexpr std::size_t kLooks = 5;                            // colours there are
// More points than this are no more to see than this many, and a browser draws them slower.
constexpr std::size_t kMostPoints = 2000;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return low > high; }
};

// Of many points, each n-th, and the last.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  if (points.size() <= kMostPoints) return points;
  const std::size_t each = (points.size() + kMostPoints - 1) / kMostPoints;
  std::vector<std::pair<double, double>> fewer;
  for (std::size_t i = 0; i < points.size(); i += each) fewer.push_back(points[i]);
  fewer.push_back(points.back());
  return fewer;
}

// Where the name of a curve stands in the legend.
struct Entry {
  double x = 0;
  std::size_t row = 0;
};

// Left to right, in as many rows as it takes; about seven units a character.
std::vector<Entry> legend_of(const CurvePanel& panel) {
  std::vector<Entry> entries;
  double x = kLeft;
  std::size_t row = 0;
  for (const Curve& curve : panel.curves) {
    const double width = 7.0 * static_cast<double>(curve.name.size()) + 44;
    if (x > kLeft && x + width > kWidth - kRight) {
      x = kLeft;
      ++row;
    }
    entries.push_back({x, row});
    x += width;
  }
  return entries;
}

double height_of(const CurvePanel& panel) {
  const std::vector<Entry> legend = legend_of(panel);
  const std::size_t rows = legend.empty() ? 0 : legend.back().row + 1;
  return kTitle + kLegendRow * static_cast<double>(rows) + kPlot + kBelow;
}

double height_of(const std::vector<CurvePanel>& panels) {
  double height = kTop + 12;
  for (const CurvePanel& panel : panels) height += height_of(panel);
  return height;
}

class Drawing {
 public:
  Drawing(const std::string& title, const std::string& x_name, const std::vector<CurvePanel>& panels)
      : panels_(panels), svg_("curves", kWidth, height_of(panels), title, description()) {
    svg_.text(kLeft, 28, "strong", title);
    Range range;
    for (const CurvePanel& panel : panels_) {
      for (const Curve& curve : panel.curves) {
        for (const auto& point : curve.points) range.add(point.first);
      }
    }
    x_ = range.is_empty() ? axis_over(0, 1, 10) : axis_over(range.low, range.high, 10);
    double top = kTop;
    for (const CurvePanel& panel : panels_) {
      draw(panel, top, &panel == &panels_.back(), x_name);
      top += height_of(panel);
    }
  }

  std::string str() const { return svg_.standalone(); }

 private:
  std::string description() const {
    std::string text;
    for (const CurvePanel& panel : panels_) {
      for (const Curve& curve : panel.curves) {
        Range range;
        for (const auto& point : curve.points) range.add(point.second);
        if (range.is_empty()) continue;
        text += fmt::format("{}: {} from {:.4g} to {:.4g}, at last {:.4g}. ", panel.title, curve.name,
                            range.low, range.high, curve.points.back().second);
      }
    }
    return text;
  }

  double x_of(double value) const { return kLeft + (kWidth - kLeft - kRight) * x_.place(value); }

  void draw(const CurvePanel& panel, double top, bool is_last, const std::string& x_name) {
    Range range;
    for (const Curve& curve : panel.curves) {
      for (const auto& point : curve.points) range.add(point.second);
    }
    const bool is_log = panel.is_logarithmic && !range.is_empty() && range.low > 0;
    const double factor = panel.is_percent ? 100 : 1;
    const auto scaled = [&](double value) { return is_log ? std::log10(value) : factor * value; };
    Axis axis = axis_over(0, 1, 5);
    if (is_log) {
      // From one power of ten to another, so that ticks are powers.
      const double low = std::floor(std::log10(range.low) + 1e-9);
      axis = axis_over(low, std::max(std::ceil(std::log10(range.high) - 1e-9), low + 1), 4);
    } else if (!range.is_empty()) {
      axis = axis_over(panel.is_percent ? std::min(0.0, range.low) : scaled(range.low),
                       scaled(range.high), 5);
    }
    const double bottom = top + height_of(panel) - kBelow;
    const auto y_of = [&](double place) { return bottom - kPlot * place; };
    svg_.text(kLeft, top + 12, "strong", panel.title);
    for (const double tick : axis.ticks()) {
      if (is_log && std::abs(tick - std::round(tick)) > 1e-6) continue;
      const double y = y_of(axis.place(tick));
      svg_.line(kLeft, y, kWidth - kRight, y, "rule");
      const std::string label =
          is_log ? fmt::format("{:g}", std::pow(10.0, std::round(tick))) : axis.label(tick);
      svg_.text(kLeft - 8, y + 4, "small soft end", label + (panel.is_percent ? " %" : ""));
    }
    svg_.line(kLeft, bottom, kWidth - kRight, bottom, "axis");
    for (const double tick : x_.ticks()) {
      svg_.line(x_of(tick), bottom, x_of(tick), bottom + 4, "axis");
      svg_.text(x_of(tick), bottom + 18, "small soft mid", x_.label(tick));
    }
    if (is_last) svg_.text((kLeft + kWidth - kRight) / 2, bottom + 36, "soft mid", x_name);
    const std::vector<Entry> legend = legend_of(panel);
    for (std::size_t i = 0; i < panel.curves.size(); ++i) {
      const Curve& curve = panel.curves[i];
      const std::string look = way_look(i);
      const std::string line = "curve " + look + (i < kLooks ? "" : " again");
      std::string path;
      char command = 'M';
      for (const auto& [x, y] : thinned(curve.points)) {
        if (!std::isfinite(y)) {
          command = 'M';
          continue;
        }
        path += at(command, x_of(x), y_of(axis.place(scaled(y))));
        command = 'L';
      }
      svg_.path(path, line);
      const double y = top + kTitle + kLegendRow * static_cast<double>(legend[i].row) + 10;
      svg_.path(at('M', legend[i].x, y - 4) + at('L', legend[i].x + 20, y - 4), line);
      svg_.text(legend[i].x + 26, y, "small", curve.name);
    }
  }

  const std::vector<CurvePanel>& panels_;
  Svg svg_;
  Axis x_;
};

}  // namespace

std::string curves_figure(const std::string& title, const std::string& x_name,
                          const std::vector<CurvePanel>& panels) {
  return Drawing(title, x_name, panels).str();
}

}  // namespace maru::measure
