// PoolLrn: Pool and Lrn, one after the other, where no other node reads what is between them. No model
// file has it; a rewrite makes it where the device runs both at once.
#pragma once

#include "ops/lrn.h"
#include "ops/pool.h"

namespace maru {

// src, dst: as of the two operators in their order.
struct PoolLrn {
  static constexpr std::string_view kName = "pool_lrn";
  enum class Order : std::uint8_t { pool_first, lrn_first };

  Order order = Order::pool_first;
  Pool pool = {};
  Lrn lrn = {};

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("order", self.order);
    visit("pool", self.pool);
    visit("lrn", self.lrn);
  }

  // What is between the two.
  TensorDesc between(Descs src) const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const PoolLrn&) const = default;
};

std::string_view to_string(PoolLrn::Order order) noexcept;
Operator pool_lrn_operator();

}  // namespace maru
