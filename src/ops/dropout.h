// Dropout: sets a share of the elements to zero at random, while training; its own gradient.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: data of any shape; step: one element, the number of this pass, a whole number below 2^24, in f32
// also where data is f16.
// dst: as data; each element is 0 with probability `ratio`, else divided by 1 - ratio, so that the mean
// stays (Caffe: DropoutLayer). Which ones follows from seed, step and the element's index alone, the
// same on every device and for every number of threads: nothing has to be kept for the gradient, which
// is the same operator on the gradient. Random numbers: Philox4x32-10, Salmon et al. 2011.
struct Dropout {
  static constexpr std::string_view kName = "dropout";

  double ratio = 0.5;     // 0 or more, below 1
  std::int64_t seed = 0;  // differs between the layers of a network
  // The index of the first element: data may be a part of a batch whose others are elsewhere.
  std::int64_t first = 0;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("ratio", self.ratio);
    visit("seed", self.seed);
    visit("first", self.first);
  }

  // Whether the element is kept; its index is that of the data's element and `first`.
  bool keeps(std::uint64_t step, std::uint64_t index) const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t operand) const { return operand == 1; }  // a half counts to 2048

  bool operator==(const Dropout&) const = default;
};

// Four random words, of a counter and a key. Salmon et al., Parallel Random Numbers: As Easy as 1,
// 2, 3.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

Operator dropout_operator();

}  // namespace maru
