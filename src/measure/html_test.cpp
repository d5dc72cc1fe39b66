#include "measure/html.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "measure/figures.h"
#include "measure/markup.h"
#include "measure/profile_files.h"
#include "measure/profile_text.h"
#include "measure/test_result.h"
#include "tests/reports.h"

namespace maru::measure {
namespace {

using testing::sample_bench;
using testing::sample_profile;

// Reads markup as XML would, but for HTML's elements without an end; the words of all text come back.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::string words() {
    std::vector<std::string> open;
    std::string words;
    while (!text_.empty()) {
      const std::size_t begin = text_.find('<');
      words += text_.substr(0, begin);
      check_text(text_.substr(0, begin));
      if (begin == std::string_view::npos) break;
      text_.remove_prefix(begin);
      const std::size_t end = text_.find('>');
      if (end == std::string_view::npos) {
        ADD_FAILURE() << "an element without an end: " << text_.substr(0, 60);
        break;
      }
      std::string_view tag = text_.substr(1, end - 1);
      text_.remove_prefix(end + 1);
      words += ' ';
      if (tag.starts_with('!')) continue;
      if (tag.starts_with('/')) {
        if (open.empty() || open.back() != tag.substr(1)) {
          ADD_FAILURE() << "</" << tag.substr(1) << "> ends "
                        << (open.empty() ? "nothing" : open.back());
          break;
        }
        open.pop_back();
        continue;
      }
      const bool is_closed = tag.ends_with('/');
      if (is_closed) tag.remove_suffix(1);
      const std::string name(tag.substr(0, tag.find_first_of(" \n")));
      check_attributes(tag.substr(name.size()));
      if (name == "style") {  // its text is no markup
        style += text_.substr(0, text_.find("</style>"));
        text_.remove_prefix(text_.find("</style>"));
      }
      const bool has_no_end = name == "meta" || name == "br" || name == "wbr";
      if (!is_closed && !has_no_end) open.push_back(name);
    }
    EXPECT_TRUE(open.empty()) << open.back() << " is not ended";
    return words;
  }

  std::string style;
  std::set<std::string> ids;

 private:
  static void check_text(std::string_view text) {
    for (std::size_t at = text.find('&'); at != std::string_view::npos; at = text.find('&', at + 1)) {
      const std::string_view entity = text.substr(at, text.find(';', at) - at + 1);
      EXPECT_TRUE(entity == "&amp;" || entity == "&lt;" || entity == "&gt;" || entity == "&quot;" ||
                  entity == "&#39;")
          << text.substr(at, 20);
    }
  }

  void check_attributes(std::string_view text) {
    while (!(text = text.substr(std::min(text.find_first_not_of(" \n"), text.size()))).empty()) {
      const std::size_t equals = text.find("=\"");
      ASSERT_NE(equals, std::string_view::npos) << text;
      const std::string_view name = text.substr(0, equals);
      text.remove_prefix(equals + 2);
      const std::string_view value = text.substr(0, text.find('"'));
      ASSERT_LT(value.size(), text.size());
      text.remove_prefix(value.size() + 1);
      check_text(value);
      EXPECT_EQ(value.find('<'), std::string_view::npos) << value;
      EXPECT_FALSE(name == "href" || name == "src" || name.starts_with("on")) << name;
      EXPECT_EQ(value.find("nan"), std::string_view::npos) << name << '=' << value;
      EXPECT_EQ(value.find("inf"), std::string_view::npos) << name << '=' << value;
      if (name == "id") {
        EXPECT_TRUE(ids.insert(std::string(value)).second) << "twice: " << value;
      }
    }
  }

  std::string_view text_;
};

// Nothing from elsewhere: the only address is the name of SVG, which nobody opens.
void expect_alone(std::string html) {
  const std::string svg = "xmlns=\"http://www.w3.org/2000/svg\"";
  for (std::size_t at = html.find(svg); at != std::string::npos; at = html.find(svg))
    html.erase(at, svg.size());
  for (const char* word : {"http:", "https:", "url(", "@import", "<script", "<link", "<img", "<iframe"})
    EXPECT_EQ(html.find(word), std::string::npos) << word;
}

std::string words_of(const std::string& html) {
  expect_alone(html);
  return Reader(html).words();
}

void expect_words(const std::string& text, std::initializer_list<std::string_view> all) {
  for (const std::string_view word : all) EXPECT_NE(text.find(word), std::string::npos) << word;
}

TEST(Markup, EscapesWhatComesFromFiles) {
  EXPECT_EQ(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escaped("1.2 µJ, 高"), "1.2 µJ, 高");
  EXPECT_EQ(escaped(std::string_view("a\0b\x1b", 4)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  // Cut off, alone, too long, a surrogate, beyond Unicode, no character.
  for (const char* broken :
       {"\xC3", "\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xEF\xBF\xBF"})
    EXPECT_TRUE(escaped(broken).starts_with("\xEF\xBF\xBD")) << broken;
}

TEST(Markup, DigitsThatMeanSomething) {
  EXPECT_EQ(digits_of(12.2549, 4), "12.25");
  EXPECT_EQ(digits_of(9.9996, 4), "10.00");
  EXPECT_EQ(digits_of(123456, 4), "123456");
  EXPECT_EQ(digits_of(-0.01234, 2), "-0.012");
  EXPECT_EQ(digits_of(0, 4), "0");
  EXPECT_EQ(digits_of(std::numeric_limits<double>::infinity(), 4), "n/a");
  EXPECT_EQ(digits_of(std::nan(""), 4), "n/a");
}

TEST(Markup, UnitsOfOneToThreeDigits) {
  EXPECT_EQ(seconds_unit(0.0123)(0.0123), "12.30 ms");
  EXPECT_EQ(seconds_unit(12e-6)(12e-6, 3), "12.0 µs");
  EXPECT_EQ(seconds_unit(3e-9)(3e-9, 1), "0.003 µs");
  EXPECT_EQ(seconds_unit(2)(2, 2), "2.0 s");
  EXPECT_EQ(joules_unit(0.04)(0.04, 3), "40.0 mJ");
  EXPECT_EQ(rate_unit(4.5e11, "FLOP/s")(4.5e11, 3), "450 GFLOP/s");
}

TEST(Markup, AxesHaveRoundTicks) {
  const Axis axis = axis_over(0, 16.9, 5);
  EXPECT_EQ(axis.ticks(), (std::vector<double>{0, 5, 10, 15, 20}));
  EXPECT_EQ(axis.label(5), "5");
  const Axis small = axis_over(0.93, 1.02, 5);
  EXPECT_EQ(small.label(small.low), "0.92");
  EXPECT_LE(small.low, 0.93);
  EXPECT_GE(small.high, 1.02);
  for (const double value : {0.0, 5.0, -3.0, 1e-9, 1e12}) {  // a range of nothing
    const Axis flat = axis_over(value, value, 4);
    EXPECT_GT(flat.high, flat.low);
    EXPECT_GE(flat.ticks().size(), 2U);
    EXPECT_LE(flat.ticks().size(), 13U);
  }
  const double none = std::nan("");
  EXPECT_GT(axis_over(none, none, 4).high, 0);
  EXPECT_EQ(axis.place(none), 0);
}

TEST(Markup, WrapsAtSpaces) {
  EXPECT_EQ(wrapped("aa bb cc", 5), (std::vector<std::string>{"aa bb", "cc"}));
  EXPECT_EQ(wrapped("toolong a", 3), (std::vector<std::string>{"toolong", "a"}));
  EXPECT_EQ(wrapped("", 3), std::vector<std::string>{""});
}

TEST(BenchReport, HasEveryNumber) {
  const BenchResult result = sample_bench(true);
  const std::string words = words_of(html_of(result));
  expect_words(words, {"16.90 ms",
                       "16.65 to 17.10",
                       "3.549 J",
                       "174.0 ms",
                       "522,416",
                       "113.0 MB",
                       "0.86 (0.85 to 0.88)",
                       "13.6 % less",
                       "no difference in time was shown",
                       "NVIDIA H200",
                       "measured at the board",
                       "the CPU and its memory",
                       "75.00 W",
                       "ABC CBA",
                       "seed 42",
                       "d6d1f6a1",
                       "cat.jpg",
                       "n02123159 tiger cat",
                       "0.5003",
                       "&lt;b&gt;net&lt;/b&gt;",
                       "copied as planned",
                       "maru bench --model",
                       "p99",
                       "2026-11-22T22:40:00Z",
                       "3.70 to 3.70 GHz"});
  EXPECT_EQ(words.find("UNSTABLE"), std::string::npos);
}

TEST(BenchReport, SaysWhatIsMissingAndWhatToDo) {
  const std::string words = words_of(html_of(sample_bench(false)));
  expect_words(words, {"Energy of an image: n/a", "is not readable", "sudo chmod a+r"});
  EXPECT_EQ(words.find(" J "), std::string::npos);
  EXPECT_EQ(words.find("Power"), std::string::npos);
}

TEST(BenchReport, SaysUnstableFirst) {
  BenchResult result = sample_bench(true);
  result.checks.push_back({"drift", Check::Verdict::unstable, "copy became slower"});
  std::string words = words_of(html_of(result));
  EXPECT_LT(words.find("UNSTABLE"), words.find("16.90"));
  expect_words(figure_of(result), {"UNSTABLE"});
  result.checks.push_back({"outputs", Check::Verdict::failed, "they differ"});
  words = words_of(html_of(result));
  EXPECT_LT(words.find("FAILED"), words.find("UNSTABLE"));
}

TEST(BenchReport, CountersHaveAPowerTraceToo) {
  BenchResult result = test_result();
  for (Reading& reading : result.power) reading.watts.reset();
  result.meter->period_seconds = 0.01;
  result.machine.gpu = "A GPU";
  const std::vector<Reading> power = power_of(result);
  ASSERT_GE(power.size(), 2U);
  for (const Reading& reading : power) EXPECT_NEAR(*reading.watts, 10, 1e-6);
  expect_words(words_of(html_of(result)),
               {"Mean power between readings", "GPU 1.10 to 1.10 GHz", "GPU at most", "one a block, of",
                "its edges may be off by 1.0 %"});
}

TEST(BenchReport, SurvivesWhatIsHardlyThere) {
  words_of(html_of(BenchResult()));
  words_of(figure_of(BenchResult()));
  BenchResult result = sample_bench(true);
  const double infinity = std::numeric_limits<double>::infinity();
  for (WayResult& way : result.ways) way.median = {way.median.value, 0, infinity};  // one block
  result.ratios[0].seconds = {0.9, 0, infinity};
  for (Block& block : result.blocks) block.begin = block.end = 0;
  expect_words(words_of(html_of(result)), {"no interval", "16.90 ms"});
  EXPECT_EQ(html_of(result).find("to n/a"), std::string::npos) << "not in what pops up either";
  words_of(figure_of(result));
  for (WayResult& way : result.ways) way.median = {};
  for (Block& block : result.blocks) block.seconds.clear();
  words_of(html_of(result));
  result.blocks[0].way = 77;
  words_of(html_of(result));
}

TEST(BenchReport, ManySamplesAreThinned) {
  BenchResult result = sample_bench(false);
  const std::size_t before = html_of(result).size();
  for (Block& block : result.blocks) {
    const std::vector<double> once = block.seconds;
    for (int i = 0; i < 99; ++i) block.seconds.insert(block.seconds.end(), once.begin(), once.end());
  }
  EXPECT_LT(html_of(result).size(), 4 * before);
}

TEST(Figure, IsAFileOfItsOwn) {
  const std::string svg = figure_of(sample_bench(true));
  EXPECT_TRUE(svg.starts_with("<svg xmlns="));
  Reader reader(svg);
  expect_words(reader.words(), {"Time of an image, ms", "Energy of an image, J", "zero-copy", "16.90"});
  expect_words(reader.style, {"prefers-color-scheme:dark"});
}

TEST(ProfileReport, HasEveryStep) {
  const ProfileResult result = sample_profile();
  const std::string words = words_of(html_of(result));
  for (const ProfiledStep& step : result.steps) {
    std::string name = escaped(step.name);  // may be broken at signs, which leaves spaces here
    EXPECT_NE(words.find(name.substr(0, name.find('/'))), std::string::npos) << name;
  }
  expect_words(words, {"oneDNN jit", "10.00 ms", "468", "208 %", "n/a", "20.0", "mJ", "± ",
                       "225 GFLOP/s", "told by a test", "conv2/ 3x3"});
  words_of(html_of(ProfileResult()));
}

TEST(ProfileReport, TextOfAllAndOfFew) {
  const ProfileResult result = sample_profile();
  const std::string all = text_of(result), few = text_of(result, 1);
  expect_words(all, {"conv2/3x3", "pool1", "10.00 ms", "note: told by a test", "roof of cpu", "208 %"});
  EXPECT_LT(all.find("pool1"), all.find("conv2/3x3"));
  EXPECT_EQ(few.find("pool1"), std::string::npos);
  expect_words(few, {"conv2/3x3"});
  EXPECT_FALSE(text_of(ProfileResult()).empty());
}

}  // namespace
}  // namespace maru::measure
