// What reports are written with: text made safe for HTML, numbers as people read them, axes with round
// ticks, and an SVG drawing. Plain values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace maru::measure {

// For the inside of elements and of quoted attributes. What XML does not allow (control characters,
// broken UTF-8) becomes U+FFFD: names come from files.
std::string escaped(std::string_view text);

// So many significant digits, no exponent; "n/a" for what is no number.
std::string digits_of(double value, int significant);

// A unit in which `largest`, in the basic unit, has one to three digits before the point.
struct Unit {
  double factor = 1;  // value in this unit = value / factor
  std::string name;   // "ms"

  std::string operator()(double value, int significant = 4) const;  // "12.25 ms"
  std::string number(double value, int significant = 4) const;      // "12.25"
};
Unit seconds_unit(double largest);
Unit joules_unit(double largest);
Unit watts_unit(double largest);
Unit rate_unit(double largest, std::string_view what);  // "GFLOP/s", "GB/s"
std::string bytes_text(double bytes);                   // "24.9 MB", decimal

// Round ticks over a range; low and high are ticks.
struct Axis {
  double low = 0, high = 1, step = 1;
  int decimals = 0;

  std::vector<double> ticks() const;
  std::string label(double tick) const;
  // Where between 0 and 1 a value lies; what is outside lies on the edge.
  double place(double value) const;
};
Axis axis_over(double low, double high, int about);

// Lines of at most so many characters, broken at spaces.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns);

// One drawing, with its words for those who cannot see it. Classes are those of svg_style().
class Svg {
 public:
  // `id` is unique in its page. `more` goes to the classes of the element.
  Svg(std::string_view id, double width, double height, std::string_view title,
      std::string_view description, std::string_view more = {});

  double width() const { return width_; }
  double height() const { return height_; }

  // A `tip` shows where the pointer rests.
  void rect(double x, double y, double width, double height, std::string_view look,
            std::string_view tip = {});
  void line(double x1, double y1, double x2, double y2, std::string_view look);
  void path(std::string_view commands, std::string_view look);
  void text(double x, double y, std::string_view look, std::string_view words);
  void down(double x, double y, std::string_view look, std::string_view words);  // read upwards

  // For the inside of a page, whose style it takes.
  std::string str() const;
  // A file of its own, with its style and a ground.
  std::string standalone() const;

 private:
  std::string head(bool alone) const;

  std::string id_, title_, description_, more_, body_;
  double width_, height_;
};

// "M1.5 2" and the like, with no more digits than can be seen.
std::string at(char command, double x, double y);

// Colours for light and dark, and what drawings look like: shared by pages and single drawings. `root`
// is the element that carries the colours.
std::string svg_style(std::string_view root);
// The look of the way with this index: "w0" to "w4", again from the first.
std::string way_look(std::size_t way);

// A page around `body`, which is markup.
std::string page(std::string_view title, std::string_view body);

}  // namespace maru::measure
