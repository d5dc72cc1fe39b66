#include "import/caffe_filler.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "import/caffe_attrs.h"
#include "ops/dropout.h"

namespace maru {
namespace {

using Kind = CaffeFiller::Kind;
using Norm = CaffeFiller::Norm;

constexpr std::pair<std::string_view, Kind> kKinds[] = {
    {"constant", Kind::constant}, {"uniform", Kind::uniform},
    {"gaussian", Kind::gaussian}, {"xavier", Kind::xavier},
    {"msra", Kind::msra},         {"positive_unitball", Kind::positive_unitball},
    {"bilinear", Kind::bilinear},
};

// Where a layer's filler stands, and what Caffe takes when it is not there.
struct Role {
  std::string_view type, role;  // empty type: any
  std::string_view field;       // empty: the layer has none
  double fallback;
};

constexpr Role kRoles[] = {
    {"BatchNorm", "mean", "", 0},       {"BatchNorm", "variance", "", 0},
    {"BatchNorm", "factor", "", 0},     {"Bias", "bias", "filler", 0},
    {"Scale", "scale", "filler", 1},    {"PReLU", "slope", "filler", 0.25},
    {"", "weight", "weight_filler", 0}, {"", "bias", "bias_filler", 0},
};

// Streams of one parameter; each has words of its own for every element.
constexpr std::uint32_t kValues = 0, kMask = 1;

class Draw {
 public:
  Draw(std::uint64_t seed, std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, of the name
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    key_ = {low(seed) ^ low(hash), high(seed) ^ high(hash)};
  }

  std::array<std::uint32_t, 4> words(std::uint64_t index, std::uint32_t stream,
                                     std::uint32_t attempt = 0) const {
    return philox({low(index), high(index), stream, attempt}, key_);
  }

  // In [0, 1), of 53 bits.
  static double unit(std::uint32_t first, std::uint32_t second) {
    return static_cast<double>((std::uint64_t{first} << 32 | second) >> 11) * 0x1p-53;
  }

  double uniform(std::uint64_t index, std::uint32_t stream = kValues) const {
    const auto four = words(index / 2, stream);
    return index % 2 == 0 ? unit(four[0], four[1]) : unit(four[2], four[3]);
  }

  // Of mean 0 and variance 1, by the polar method (Marsaglia and Bray 1964): two elements at once.
  double gaussian(std::uint64_t index) const {
    for (std::uint32_t attempt = 0;; ++attempt) {
      const auto four = words(index / 2, kValues, attempt);
      // Halves of odd numbers: never 0, and exact.
      const double x = std::fma(2.0, unit(four[0], four[1]), 0x1p-53 - 1);
      const double y = std::fma(2.0, unit(four[2], four[3]), 0x1p-53 - 1);
      const double s = std::fma(x, x, y * y);
      if (s >= 1) continue;
      return (index % 2 == 0 ? x : y) * std::sqrt(-2 * log_of(s) / s);
    }
  }

 private:
  static std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
  static std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

  // Libraries differ in the last bit of a logarithm, and compilers in which products and sums they make
  // one; fma() does not leave them that.
  static double log_of(double value) {
    int exponent = 0;
    double mantissa = std::frexp(value, &exponent);  // [0.5, 1)
    constexpr double kRootOfHalf = 0.70710678118654752;
    if (mantissa < kRootOfHalf) {
      mantissa *= 2;
      --exponent;
    }
    // log m = 2 (t + t^3 / 3 + t^5 / 5 + ...), |t| below 0.172.
    const double t = (mantissa - 1) / (mantissa + 1), square = t * t;
    constexpr int kLast = 21;
    double sum = 1.0 / kLast;
    for (int n = kLast - 2; n > 0; n -= 2) sum = std::fma(sum, square, 1.0 / n);
    constexpr double kLog2 = 0.69314718055994531;
    return std::fma(static_cast<double>(exponent), kLog2, 2 * t * sum);
  }

  std::array<std::uint32_t, 2> key_{};
};

double norm_of(Norm norm, const Shape& shape) {
  const std::int64_t outputs = shape.rank() > 0 ? shape[0] : 1;
  const std::int64_t inputs = shape.rank() > 1 ? shape[1] : 1;
  const std::int64_t fan_in = shape.count() / outputs, fan_out = shape.count() / inputs;
  switch (norm) {
    case Norm::fan_in:
      return static_cast<double>(fan_in);
    case Norm::fan_out:
      return static_cast<double>(fan_out);
    case Norm::average:
      return static_cast<double>(fan_in + fan_out) / 2;
  }
  return 1;
}

void fill_bilinear(const Shape& shape, std::string_view name, std::vector<float>& values) {
  if (shape.rank() != 4 || shape[2] != shape[3]) {
    throw Error(name, "4 axes and square kernels for the bilinear filler", shape.str(),
                "another filler");
  }
  const std::int64_t width = shape[3];
  const std::int64_t factor = (width + 1) / 2;
  const double f = static_cast<double>(factor);
  const double centre = static_cast<double>(2 * factor - 1 - factor % 2) / (2 * f);
  const auto share = [&](std::int64_t at) {
    return 1 - std::fabs(static_cast<double>(at) / f - centre);
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    values[i] = static_cast<float>(share(at % width) * share(at / width % width));
  }
}

void scale_to_unitball(const Shape& shape, std::vector<float>& values) {
  const std::size_t outputs = shape.rank() > 0 ? static_cast<std::size_t>(shape[0]) : 1;
  const std::size_t each = values.size() / outputs;
  for (std::size_t o = 0; o < outputs; ++o) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(o * each);
    double sum = 0;
    for (std::size_t i = 0; i < each; ++i)
      sum += static_cast<double>(begin[static_cast<std::ptrdiff_t>(i)]);
    for (std::size_t i = 0; i < each; ++i) {
      float& value = begin[static_cast<std::ptrdiff_t>(i)];
      value = static_cast<float>(static_cast<double>(value) / sum);
    }
  }
}

class FillerReader {
 public:
  FillerReader(const Field& field, std::string_view file, std::string_view layer)
      : field_(field), where_(fmt::format("{}:{} layer '{}'", file, field.line, layer)) {
    if (!field.is_message()) {
      fail(fmt::format("a block {} {{ }}", field.name), field.str(),
           fmt::format("{} {{ type: \"xavier\" }}", field.name));
    }
    read(CaffeAttrs(&field.message, file, layer));
  }

  const CaffeFiller& filler() const { return filler_; }

 private:
  [[noreturn]] void fail(std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(where_, expected, got, hint);
  }

  void read(const CaffeAttrs& attrs) {
    const std::string type = attrs.text("type", "constant");
    const auto kind = std::ranges::find(kKinds, type, &std::pair<std::string_view, Kind>::first);
    if (kind == std::end(kKinds)) {
      std::vector<std::string_view> names;
      for (const auto& [name, unused] : kKinds) names.push_back(name);
      fail(fmt::format("a type that Caffe has for {}", field_.name), fmt::format("\"{}\"", type),
           closest_names(type, names));
    }
    filler_.kind = kind->second;
    filler_.value = attrs.number("value", 0);
    filler_.min = attrs.number("min", 0);
    filler_.max = attrs.number("max", 1);
    filler_.mean = attrs.number("mean", 0);
    filler_.std = attrs.number("std", 1);
    filler_.sparse = attrs.integer("sparse", -1);
    filler_.norm = enumerator<Norm>(
        attrs, "variance_norm", Norm::fan_in,
        {{"FAN_IN", Norm::fan_in}, {"FAN_OUT", Norm::fan_out}, {"AVERAGE", Norm::average}});
    for (const CaffeAttrs::Unread& unread : attrs.unread()) {
      constexpr std::string_view kNames[] = {"type", "value", "min",    "max",
                                             "mean", "std",   "sparse", "variance_norm"};
      fail(fmt::format("a field of {}", field_.name), unread.name, closest_names(unread.name, kNames));
    }
    if (filler_.kind == Kind::uniform && !(filler_.min <= filler_.max))
      fail("a min of at most max", fmt::format("{} and {}", filler_.min, filler_.max));
    if (filler_.kind == Kind::gaussian && !(filler_.std > 0))
      fail("a std above 0", fmt::format("{}", filler_.std), "type: \"constant\" for equal values");
    if (filler_.sparse < -1 || (filler_.sparse != -1 && filler_.kind != Kind::gaussian)) {
      fail("sparse of 0 or more, for the gaussian filler alone", fmt::format("{}", filler_.sparse));
    }
  }

  const Field& field_;
  std::string where_;
  CaffeFiller filler_;
};

}  // namespace

CaffeFiller read_caffe_filler(const Message* block, std::string_view layer_type, std::string_view role,
                              std::string_view file, std::string_view layer_name) {
  const auto known = std::ranges::find_if(kRoles, [&](const Role& candidate) {
    return candidate.role == role && (candidate.type.empty() || candidate.type == layer_type);
  });
  CaffeFiller filler;
  if (known == std::end(kRoles)) return filler;
  filler.value = known->fallback;
  const auto fields =
      block == nullptr || known->field.empty() ? std::vector<const Field*>() : block->all(known->field);
  if (fields.empty()) return filler;
  if (fields.size() > 1) {
    throw Error(fmt::format("{}:{} layer '{}'", file, fields[1]->line, layer_name),
                fmt::format("one {}", known->field), fmt::format("{}", fields.size()));
  }
  return FillerReader(*fields[0], file, layer_name).filler();
}

std::vector<float> fill(const CaffeFiller& filler, const Shape& shape, std::uint64_t seed,
                        std::string_view name) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  if (values.empty()) return values;
  const Draw draw(seed, name);
  const auto uniform = [&](double min, double max) {
    // Rounding to float must not reach the end.
    const float last = std::nextafter(static_cast<float>(max), -std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto value = static_cast<float>(std::fma(max - min, draw.uniform(i), min));
      values[i] = min < max ? std::min(value, last) : value;
    }
  };
  const auto gaussian = [&](double mean, double deviation) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(std::fma(deviation, draw.gaussian(i), mean));
  };
  switch (filler.kind) {
    case Kind::constant:
      std::ranges::fill(values, static_cast<float>(filler.value));
      break;
    case Kind::uniform:
      uniform(filler.min, filler.max);
      break;
    case Kind::gaussian: {
      gaussian(filler.mean, filler.std);
      if (filler.sparse < 0) break;
      const double outputs = shape.rank() > 0 ? static_cast<double>(shape[0]) : 1;
      const double share = static_cast<double>(filler.sparse) / outputs;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = draw.uniform(i, kMask) < share ? values[i] : 0.0F;
      break;
    }
    case Kind::xavier: {
      const double edge = std::sqrt(3 / norm_of(filler.norm, shape));
      uniform(-edge, edge);
      break;
    }
    case Kind::msra:
      gaussian(0, std::sqrt(2 / norm_of(filler.norm, shape)));
      break;
    case Kind::positive_unitball:
      uniform(0, 1);
      scale_to_unitball(shape, values);
      break;
    case Kind::bilinear:
      fill_bilinear(shape, name, values);
      break;
  }
  return values;
}

}  // namespace maru
