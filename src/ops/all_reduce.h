// AllReduce: the mean of tensors over the processes that train together.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: tensors, at least one. dst: as many, of the same shapes and element types: each element is its
// mean over all ranks, each of which runs the same node. dst[i] may be the bytes of src[i].
//
// What one rank sends is not in the graph, so two such nodes must not change places on one rank only:
// each takes a result of the one before it (rewrite/gradient_buckets.h).
//
// The reference is for one rank, whose mean is what it has. It throws Error for more: no plain kernel
// can reach the others, and must not be offered for that (is_shared()).
struct AllReduce {
  static constexpr std::string_view kName = "all_reduce";

  std::int64_t ranks = 1;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("ranks", self.ranks);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const AllReduce&) const = default;
};

// Whether the operator is one over several ranks.
bool is_shared(const Op& op);

Operator all_reduce_operator();

}  // namespace maru
