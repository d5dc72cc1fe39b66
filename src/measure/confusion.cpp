#include "measure/confusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "measure/markup.h"

namespace maru::measure {
namespace {

constexpr std::size_t kShownMistakes = 24;
constexpr std::size_t kMostLabelled = 40;  // classes whose names stand beside the map
constexpr double kMap = 600, kTop = 60, kList = 340;
constexpr int kShades = 5;

std::string name_of(const Confusion& confusion, std::size_t label, std::size_t most) {
  const std::string& name = confusion.classes[label];
  if (name.size() <= most) return name;
  std::size_t end = most - 1;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  return name.substr(0, end) + "…";
}

// 1 to kShades: a share of 1 is darkest; single ones stay visible.
int shade_of(double share) {
  return std::clamp(static_cast<int>(std::ceil(std::sqrt(share) * kShades)), 1, kShades);
}

class Figure {
 public:
  Figure(const Confusion& confusion, const std::string& title)
      : confusion_(confusion),
        is_labelled_(confusion.classes.size() <= kMostLabelled),
        left_(is_labelled_ ? 190 : 40),
        svg_("confusion", left_ + kMap + kList + 24, kTop + kMap + (is_labelled_ ? 130 : 44), title,
             "Each row is a class, each column what photos of it were taken for; on the diagonal lies "
             "what was right.") {
    svg_.text(left_, 28, "strong", title);
    map();
    list();
  }

  std::string standalone() const { return svg_.standalone(); }
  std::string str() const { return svg_.str(); }

 private:
  void map() {
    const std::vector<std::size_t> order = confusion_.order();
    std::vector<std::size_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
    const double cell = kMap / static_cast<double>(std::max<std::size_t>(order.size(), 1));
    svg_.rect(left_, kTop, kMap, kMap, "off");
    for (const auto& [pair, times] : confusion_.counts) {
      const auto& [label, guess] = pair;
      const std::int64_t photos = confusion_.photos(label);
      const double share = static_cast<double>(times) / static_cast<double>(photos);
      svg_.rect(left_ + cell * static_cast<double>(place[guess]),
                kTop + cell * static_cast<double>(place[label]), std::max(cell, 1.0),
                std::max(cell, 1.0),
                fmt::format("{} s{}", way_look(label == guess ? 1 : 0), shade_of(share)),
                fmt::format("{}: {} of {} taken for {}", confusion_.classes[label], times, photos,
                            label == guess ? "it" : confusion_.classes[guess]));
    }
    if (is_labelled_) {
      for (std::size_t i = 0; i < order.size(); ++i) {
        const double middle = cell * (static_cast<double>(i) + 0.5);
        const std::string name = name_of(confusion_, order[i], 26);
        svg_.text(left_ - 6, kTop + middle + 4, "small end", name);
        svg_.down(left_ + middle + 4, kTop + kMap + 8, "small end", name_of(confusion_, order[i], 18));
      }
    } else {
      svg_.text(left_, kTop + kMap + 20, "small soft",
                fmt::format("{} classes, those beside each other that are taken for each other; "
                            "columns: what they were taken for",
                            order.size()));
      svg_.down(left_ - 10, kTop + kMap, "small soft", "rows: what photos show");
    }
  }

  void list() {
    const double x = left_ + kMap + 20;
    double y = kTop + 10;
    svg_.text(x, y, "strong", "Most frequent mistakes");
    for (const Confusion::Pair& pair : confusion_.mistakes()) {
      y += 22;
      if (y > kTop + 22.0 * kShownMistakes + 10) break;
      svg_.text(x, y, "small",
                fmt::format("{} × {} → {}", pair.times, name_of(confusion_, pair.label, 22),
                            name_of(confusion_, pair.guess, 22)));
    }
  }

  const Confusion& confusion_;
  bool is_labelled_;
  double left_;
  Svg svg_;
};

}  // namespace

std::int64_t Confusion::photos(std::size_t label) const {
  std::int64_t sum = 0;
  for (auto at = counts.lower_bound({label, 0}); at != counts.end() && at->first.first == label; ++at)
    sum += at->second;
  return sum;
}

std::int64_t Confusion::right(std::size_t label) const {
  const auto found = counts.find({label, label});
  return found == counts.end() ? 0 : found->second;
}

std::vector<Confusion::Pair> Confusion::mistakes() const {
  std::vector<Pair> pairs;
  for (const auto& [pair, times] : counts) {
    if (pair.first != pair.second) pairs.push_back({pair.first, pair.second, times});
  }
  std::ranges::stable_sort(pairs, std::ranges::greater{}, &Pair::times);
  return pairs;
}

std::vector<std::size_t> Confusion::order() const {
  const std::size_t count = classes.size();
  std::vector<std::map<std::size_t, double>> likeness(count);
  std::vector<double> total(count, 0);
  for (const Pair& pair : mistakes()) {
    const double share = static_cast<double>(pair.times) /
                         static_cast<double>(std::max<std::int64_t>(photos(pair.label), 1));
    likeness[pair.label][pair.guess] += share;
    likeness[pair.guess][pair.label] += share;
    total[pair.label] += share;
    total[pair.guess] += share;
  }
  constexpr double kFade = 0.6;  // how much the last few count
  std::vector<double> near(count, 0);
  std::vector<bool> is_placed(count, false);
  std::vector<std::size_t> order;
  while (order.size() < count) {
    std::size_t best = count;
    for (std::size_t i = 0; i < count; ++i) {
      if (is_placed[i]) continue;
      if (best == count || std::pair(near[i], total[i]) > std::pair(near[best], total[best])) best = i;
    }
    is_placed[best] = true;
    order.push_back(best);
    for (double& value : near) value = value < 1e-9 ? 0 : value * kFade;
    for (const auto& [other, share] : likeness[best]) near[other] += share;
  }
  return order;
}

std::string confusion_figure(const Confusion& confusion, const std::string& title) {
  return Figure(confusion, title).standalone();
}

std::string confusion_page(const Confusion& confusion, const ConfusionFacts& facts) {
  std::string html;
  const auto add = [&](const std::string& text) { html += text; };
  add(
      fmt::format("<h1>{}</h1>\n<p class=\"sub\">{} photos of {}, by {}. Tested by "
                  "<code>maru test</code>.</p>\n<div class=\"tiles\">",
                  escaped(facts.title), facts.photos, escaped(facts.data), escaped(facts.model)));
  for (const auto& [k, share] : facts.top)
    add(fmt::format("<div class=\"tile\"><b>{:.2f} %</b><span>top-{}</span></div>", 100 * share, k));
  add(fmt::format(
      "<div class=\"tile\"><b>{}</b><span>photos that could not be read</span></div></div>\n",
      facts.skipped));
  add("<h2>What was taken for what</h2>\n<figure>\n" + Figure(confusion, facts.title).str() +
      "<figcaption>Rows are classes, columns what their photos were taken for; what was right lies on "
      "the diagonal. A field is as dark as its share of the row.</figcaption>\n</figure>\n");
  add("<h2>Classes, worst first</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th "
      "class=\"left\">class</th><th>photos</th>");
  for (const auto& top : facts.top) add(fmt::format("<th>top-{}</th>", top.first));
  add("<th class=\"left\">most taken for</th></tr></thead>\n<tbody>\n");
  std::vector<std::size_t> labels(confusion.classes.size());
  std::iota(labels.begin(), labels.end(), std::size_t{0});
  const auto share_of = [&](std::size_t label) {
    const std::int64_t photos = confusion.photos(label);
    return photos == 0 ? 2.0
                       : static_cast<double>(confusion.right(label)) / static_cast<double>(photos);
  };
  std::ranges::stable_sort(labels, {}, share_of);
  std::map<std::size_t, Confusion::Pair> worst;
  for (const Confusion::Pair& pair : confusion.mistakes()) worst.emplace(pair.label, pair);
  for (const std::size_t label : labels) {
    const std::int64_t photos = confusion.photos(label);
    if (photos == 0) continue;
    add(fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td>", escaped(confusion.classes[label]),
                    photos));
    for (const std::int64_t right : facts.right_by_class[label])
      add(fmt::format("<td>{:.1f} %</td>",
                      100 * static_cast<double>(right) / static_cast<double>(photos)));
    const auto pair = worst.find(label);
    add(pair == worst.end()
            ? std::string("<td class=\"left\"></td></tr>\n")
            : fmt::format("<td class=\"left\">{} ({})</td></tr>\n",
                          escaped(confusion.classes[pair->second.guess]), pair->second.times));
  }
  add("</tbody></table></div>\n");
  return page(facts.title, html);
}

}  // namespace maru::measure
