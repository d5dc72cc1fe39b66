#include "measure/confusion.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace maru::measure {
namespace {

// Six classes, of which 0 and 4, and 1 and 5, are taken for each other.
Confusion six() {
  Confusion confusion;
  confusion.classes = {"cat", "dog <&>", "tea", "pot", "lynx", "wolf"};
  const auto add = [&](std::size_t label, std::size_t guess, int times) {
    for (int i = 0; i < times; ++i) confusion.add(label, guess);
  };
  for (std::size_t label = 0; label < 6; ++label) add(label, label, 5);
  add(0, 4, 3);
  add(4, 0, 2);
  add(5, 1, 4);
  add(2, 3, 1);
  return confusion;
}

TEST(Confusion, Counts) {
  const Confusion confusion = six();
  EXPECT_EQ(confusion.photos(0), 8);
  EXPECT_EQ(confusion.right(0), 5);
  EXPECT_EQ(confusion.right(9), 0);
  const auto mistakes = confusion.mistakes();
  ASSERT_EQ(mistakes.size(), 4u);
  EXPECT_EQ((std::vector<std::size_t>{mistakes[0].label, mistakes[1].label, mistakes[2].label}),
            (std::vector<std::size_t>{5, 0, 4}));
}

TEST(Confusion, TheOrderHasWhatIsAlikeSideBySide) {
  const std::vector<std::size_t> order = six().order();
  auto sorted = order;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
  const auto place = [&](std::size_t label) { return std::ranges::find(order, label) - order.begin(); };
  EXPECT_EQ(std::abs(place(0) - place(4)), 1);
  EXPECT_EQ(std::abs(place(1) - place(5)), 1);
  EXPECT_EQ(std::abs(place(2) - place(3)), 1);
}

TEST(Confusion, IsDrawnWithNamesThatAreSafe) {
  const Confusion confusion = six();
  const std::string figure = confusion_figure(confusion, "a \"title\"");
  EXPECT_NE(figure.find("dog &lt;&amp;&gt;: 5 of 5 taken for it"), std::string::npos);
  EXPECT_NE(figure.find("wolf: 4 of 9 taken for dog"), std::string::npos);
  EXPECT_NE(figure.find("4 × wolf → dog"), std::string::npos);
  EXPECT_EQ(figure.find("<&>"), std::string::npos);
  ConfusionFacts facts{"title", "net", "val.txt", 40, 1, {{1, 0.75}}, {}};
  for (std::size_t label = 0; label < 6; ++label)
    facts.right_by_class.push_back({confusion.right(label)});
  const std::string page = confusion_page(confusion, facts);
  EXPECT_NE(page.find("75.00 %"), std::string::npos);
  EXPECT_LT(page.find("<th scope=\"row\">wolf"), page.find("<th scope=\"row\">cat")) << "worst first";
}

// A map of 200 by 200 is made of what is not zero.
TEST(Confusion, ManyClassesStaySmall) {
  Confusion confusion;
  for (std::size_t i = 0; i < 200; ++i) confusion.classes.push_back("class " + std::to_string(i));
  for (std::size_t i = 0; i < 3550; ++i) confusion.add(i % 200, i % 3 == 0 ? (i * 7) % 200 : i % 200);
  EXPECT_EQ(confusion.order().size(), 200u);
  EXPECT_LT(confusion_figure(confusion, "t").size(), std::size_t{400000});
}

}  // namespace
}  // namespace maru::measure
