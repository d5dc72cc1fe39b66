#include "import/caffe_attrs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

// Enumerators that a prototxt may also give by number.
struct Enumerator {
  std::string_view field;
  std::int64_t number;
  std::string_view name;
};

constexpr Enumerator kEnumerators[] = {
    {"pool", 0, "MAX"},
    {"pool", 1, "AVE"},
    {"pool", 2, "STOCHASTIC"},
    {"operation", 0, "PROD"},
    {"operation", 1, "SUM"},
    {"operation", 2, "MAX"},
    {"norm_region", 0, "ACROSS_CHANNELS"},
    {"norm_region", 1, "WITHIN_CHANNEL"},
    {"round_mode", 0, "CEIL"},
    {"round_mode", 1, "FLOOR"},
    {"normalization", 0, "FULL"},
    {"normalization", 1, "VALID"},
    {"normalization", 2, "BATCH_SIZE"},
    {"normalization", 3, "NONE"},
    {"variance_norm", 0, "FAN_IN"},
    {"variance_norm", 1, "FAN_OUT"},
    {"variance_norm", 2, "AVERAGE"},
    {"backend", 0, "LEVELDB"},
    {"backend", 1, "LMDB"},
};

constexpr std::string_view kTrainingFields[] = {
    "weight_filler",           "bias_filler",         "filler",          "engine",
    "moving_average_fraction", "cudnn_math_override", "force_nd_im2col", "dropout_ratio",
};

}  // namespace

bool is_training_field(std::string_view name) {
  return std::ranges::find(kTrainingFields, name) != std::end(kTrainingFields);
}

CaffeAttrs::CaffeAttrs(const Message* message, std::string_view file, std::string_view layer)
    : message_(message), file_(file), layer_(layer) {}

void CaffeAttrs::fail(const Field& field, std::string_view expected, std::string_view got) const {
  throw Error(fmt::format("{}:{} layer '{}'", file_, field.line, layer_),
              fmt::format("{} for {}", expected, field.name), got);
}

std::vector<const Field*> CaffeAttrs::fields(std::string_view name) const {
  asked_.emplace(name);
  std::vector<const Message*> within;
  if (message_ != nullptr) within.push_back(message_);
  while (true) {
    const std::size_t dot = name.find('.');
    std::vector<const Field*> found;
    for (const Message* message : within) {
      for (const Field* field : message->all(name.substr(0, dot))) found.push_back(field);
    }
    if (dot == std::string_view::npos) return found;
    within.clear();
    for (const Field* field : found) {
      if (!field->is_message()) fail(*field, "a block { }", field->str());
      within.push_back(&field->message);
    }
    name.remove_prefix(dot + 1);
  }
}

const Field* CaffeAttrs::one(std::string_view name) const {
  const auto found = fields(name);
  if (found.size() > 1) fail(*found[1], "one value", fmt::format("{}", found.size()));
  return found.empty() ? nullptr : found[0];
}

std::int64_t CaffeAttrs::to_integer(const Field& field) const {
  constexpr std::int64_t kLow = std::numeric_limits<std::int32_t>::min();
  constexpr std::int64_t kHigh = std::numeric_limits<std::int32_t>::max();
  const auto value = field.integer();
  if (!value) fail(field, "an integer", field.str());
  if (*value < kLow || *value > kHigh) fail(field, "an integer of 32 bits", field.str());
  return *value;
}

double CaffeAttrs::to_number(const Field& field) const {
  const auto value = field.number();
  if (!value) fail(field, "a number", field.str());
  if (!std::isfinite(*value)) fail(field, "a finite number", field.str());
  return *value;
}

bool CaffeAttrs::has(std::string_view field) const { return !fields(field).empty(); }

std::int64_t CaffeAttrs::integer(std::string_view field, std::int64_t fallback) const {
  const Field* found = one(field);
  return found == nullptr ? fallback : to_integer(*found);
}

double CaffeAttrs::number(std::string_view field, double fallback) const {
  const Field* found = one(field);
  return found == nullptr ? fallback : to_number(*found);
}

bool CaffeAttrs::boolean(std::string_view field, bool fallback) const {
  const Field* found = one(field);
  if (found == nullptr) return fallback;
  const auto value = found->boolean();
  if (!value) fail(*found, "true or false", found->str());
  return *value;
}

std::string CaffeAttrs::text(std::string_view field, std::string_view fallback) const {
  const Field* found = one(field);
  if (found == nullptr) return std::string(fallback);
  if (const auto number = found->integer()) {
    for (const Enumerator& entry : kEnumerators) {
      if (entry.field == found->name && entry.number == *number) return std::string(entry.name);
    }
  }
  if (found->kind != Field::Kind::string && found->kind != Field::Kind::word) {
    fail(*found, "a name", found->str());
  }
  return found->text;
}

std::vector<std::int64_t> CaffeAttrs::integers(std::string_view field) const {
  std::vector<std::int64_t> values;
  for (const Field* found : fields(field)) values.push_back(to_integer(*found));
  return values;
}

std::vector<double> CaffeAttrs::numbers(std::string_view field) const {
  std::vector<double> values;
  for (const Field* found : fields(field)) values.push_back(to_number(*found));
  return values;
}

std::vector<CaffeAttrs::Unread> CaffeAttrs::unread() const {
  std::vector<Unread> found;
  if (message_ != nullptr) collect_unread(*message_, "", found);
  return found;
}

void CaffeAttrs::collect_unread(const Message& message, const std::string& prefix,
                                std::vector<Unread>& found) const {
  for (const Field& field : message.fields) {
    const std::string name = prefix + field.name;
    if (asked_.contains(name) || is_training_field(field.name)) continue;
    const std::string inner = name + ".";
    const auto below = asked_.lower_bound(inner);
    if (field.is_message() && below != asked_.end() && below->starts_with(inner)) {
      collect_unread(field.message, inner, found);
    } else {
      found.push_back({name, field.line, similar_to(field.name, prefix)});
    }
  }
}

// Among the fields of the block that begins so.
std::string CaffeAttrs::similar_to(std::string_view field, std::string_view prefix) const {
  for (std::string_view known : asked_) {
    if (!known.starts_with(prefix)) continue;
    known.remove_prefix(prefix.size());
    known = known.substr(0, known.find('.'));
    if (are_similar(field, known)) return std::string(known);
  }
  for (const std::string_view known : kTrainingFields) {
    if (are_similar(field, known)) return std::string(known);
  }
  return {};
}

}  // namespace maru
