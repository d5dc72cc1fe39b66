// LossScale: what losses' gradients are multiplied by in half precision, so that small ones do not
// vanish: found by trying, as large as it can be. A plain value; part of what a snapshot must keep.
#pragma once

#include <cstdint>

namespace maru {

// Halves where gradients overflowed, which costs an update, and doubles after 2000 updates without that
// (the figures that PyTorch's GradScaler and NVIDIA's guide begin with). Always a power of two, so that
// dividing by it is exact.
struct LossScale {
  static constexpr double kFirst = 65536;
  // A gradient that overflows times kLeast is above 2^30: no range is wide enough for that training.
  static constexpr double kLeast = 0x1p-14, kMost = 0x1p24;
  static constexpr std::int64_t kPatience = 2000;

  double scale = kFirst;
  std::int64_t good = 0;  // updates in a row since it changed last

  // After an update whose gradients were finite, or not.
  void count(bool is_finite) {
    if (!is_finite) {
      scale = scale / 2 < kLeast ? kLeast : scale / 2;
      good = 0;
    } else if (++good >= kPatience) {
      scale = scale * 2 > kMost ? kMost : scale * 2;
      good = 0;
    }
  }

  bool operator==(const LossScale&) const = default;
};

}  // namespace maru
