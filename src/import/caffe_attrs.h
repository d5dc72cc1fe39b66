// CaffeAttrs: the attributes of one Caffe layer for the operators' parsers, over the prototxt tree. It
// keeps account of the fields it was asked for, so that the importer can name those that nobody reads.
// Borrows the tree; lives during the import of one layer; not thread-safe.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "import/prototxt.h"
#include "ops/operator.h"

namespace maru {

class CaffeAttrs final : public AttrReader {
 public:
  // where: "deploy.prototxt:12 layer 'conv1'". message: nullptr for a layer without attributes.
  CaffeAttrs(const Message* message, std::string_view file, std::string_view layer);

  // Names may lead through blocks: "shape.dim". All throw Error "[file:line layer 'conv1'] ..." for a
  // field of another type, given more than once where one is wanted, or out of the range of 32 bits.
  bool has(std::string_view field) const override;
  std::int64_t integer(std::string_view field, std::int64_t fallback) const override;
  double number(std::string_view field, double fallback) const override;
  bool boolean(std::string_view field, bool fallback) const override;
  std::string text(std::string_view field, std::string_view fallback) const override;
  std::vector<std::int64_t> integers(std::string_view field) const override;
  std::vector<double> numbers(std::string_view field) const override;

  // Fields that nobody asked for, without those that matter to training only (fillers, engine, ...).
  struct Unread {
    std::string name;  // dotted
    int line;
    std::string meant;  // a field of which this is a misspelling, as it seems; or empty
  };
  std::vector<Unread> unread() const;

 private:
  std::vector<const Field*> fields(std::string_view name) const;
  const Field* one(std::string_view name) const;
  std::int64_t to_integer(const Field& field) const;
  double to_number(const Field& field) const;
  [[noreturn]] void fail(const Field& field, std::string_view expected, std::string_view got) const;
  void collect_unread(const Message& message, const std::string& prefix,
                      std::vector<Unread>& found) const;
  std::string similar_to(std::string_view field, std::string_view prefix) const;

  const Message* message_;
  std::string_view file_, layer_;
  mutable std::set<std::string, std::less<>> asked_;
};

// True for a field inside a *_param block that changes nothing about a trained network's results.
bool is_training_field(std::string_view name);

}  // namespace maru
