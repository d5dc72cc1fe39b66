// Confusion: how often photos of each class were taken for which, counted, and as a picture and a page.
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace maru::measure {

struct Confusion {
  std::vector<std::string> classes;  // names, by label
  // (label, what came first among the scores) -> photos. Right ones are on the diagonal.
  std::map<std::pair<std::size_t, std::size_t>, std::int64_t> counts;

  void add(std::size_t label, std::size_t guess) { ++counts[{label, guess}]; }
  std::int64_t photos(std::size_t label) const;
  std::int64_t right(std::size_t label) const;

  struct Pair {
    std::size_t label, guess;
    std::int64_t times;
  };
  // What was wrong, most frequent first; equal ones by label.
  std::vector<Pair> mistakes() const;
  // Classes in an order that has those beside each other that are taken for each other: next is the one
  // that was confused most with the last few.
  std::vector<std::size_t> order() const;
};

// What a page says beside the picture.
struct ConfusionFacts {
  std::string title, model, data;
  std::int64_t photos = 0, skipped = 0;
  std::vector<std::pair<std::int64_t, double>> top;       // k, share of photos
  std::vector<std::vector<std::int64_t>> right_by_class;  // per class, per k
};

// A map of classes by classes, each field as dark as the share of its row; beside it the most frequent
// mistakes. A file of its own.
std::string confusion_figure(const Confusion& confusion, const std::string& title);
std::string confusion_page(const Confusion& confusion, const ConfusionFacts& facts);

}  // namespace maru::measure
