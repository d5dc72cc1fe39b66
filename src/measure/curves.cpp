#include "measure/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "measure/markup.h"

namespace maru::measure {
namespace {

constexpr double kWidth = 960, kLeft = 78, kRight = 24, kTop = 58, kPanel = 250, kPlot = 170;
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

class Drawing {
 public:
  Drawing(const std::string& title, const std::string& x_name, const std::vector<CurvePanel>& panels)
      : panels_(panels),
        svg_("curves", kWidth, kTop + kPanel * static_cast<double>(panels.size()) + 16, title,
             description()) {
    svg_.text(kLeft, 28, "strong", title);
    Range range;
    for (const CurvePanel& panel : panels_) {
      for (const Curve& curve : panel.curves) {
        for (const auto& point : curve.points) range.add(point.first);
      }
    }
    x_ = range.is_empty() ? axis_over(0, 1, 8) : axis_over(range.low, range.high, 8);
    for (std::size_t i = 0; i < panels_.size(); ++i)
      draw(panels_[i], kTop + kPanel * static_cast<double>(i), i + 1 == panels_.size(), x_name);
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
    const double bottom = top + 26 + kPlot;
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
    double legend = kWidth - kRight;
    for (std::size_t i = panel.curves.size(); i-- > 0;) {
      const Curve& curve = panel.curves[i];
      const std::string look = way_look(i);
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
      svg_.path(path, "curve " + look);
      // About seven units a character; labels stand at the right, the first one leftmost.
      svg_.text(legend, top + 12, "small end " + look, curve.name);
      legend -= 7.0 * static_cast<double>(curve.name.size()) + 18;
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
