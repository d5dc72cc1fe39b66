#include <vector>

#include "base/text.h"
#include "ops/all_reduce.h"
#include "ops/batch_norm.h"
#include "ops/batch_norm_grad.h"
#include "ops/batch_norm_training.h"
#include "ops/bias.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/dropout.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/inner_product_grad.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/lrn_grad.h"
#include "ops/operator.h"
#include "ops/pool.h"
#include "ops/pool_grad.h"
#include "ops/pool_lrn.h"
#include "ops/prelu.h"
#include "ops/preprocess.h"
#include "ops/reduce.h"
#include "ops/reshape.h"
#include "ops/running_statistics.h"
#include "ops/scale.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "ops/unary.h"
#include "ops/unary_grad.h"
#include "ops/update.h"

namespace maru {

std::span<const Operator> all_operators() {
  static const std::vector<Operator> operators{
      accuracy_operator(),
      all_reduce_operator(),
      batch_norm_operator(),
      batch_norm_grad_operator(),
      batch_norm_training_operator(),
      bias_operator(),
      cast_operator(),
      concat_operator(),
      conv_operator(),
      conv_grad_data_operator(),
      conv_grad_weight_operator(),
      dropout_operator(),
      eltwise_operator(),
      flatten_operator(),
      identity_operator(),
      inner_product_operator(),
      inner_product_grad_data_operator(),
      inner_product_grad_weight_operator(),
      lrn_operator(),
      lrn_grad_operator(),
      pair_loss_operator(),
      pair_loss_grad_operator(),
      pool_operator(),
      pool_grad_operator(),
      pool_lrn_operator(),
      prelu_operator(),
      preprocess_operator(),
      reduce_operator(),
      reshape_operator(),
      running_statistics_operator(),
      scale_operator(),
      slice_operator(),
      softmax_operator(),
      softmax_loss_operator(),
      softmax_loss_grad_operator(),
      unary_operator(),
      unary_grad_operator(),
      update_operator(),
  };
  return operators;
}

const Spelling* find_spelling(std::string_view format, std::string_view type) {
  for (const Operator& op : all_operators()) {
    for (const Spelling& spelling : op.spellings) {
      if (spelling.format == format && spelling.type == type) return &spelling;
    }
  }
  return nullptr;
}

Op parse_op(std::string_view name, std::string_view attributes) {
  std::vector<std::string_view> names;
  for (const Operator& op : all_operators()) {
    names.push_back(op.name);
    if (op.name != name) continue;
    try {
      return op.parse(attributes);
    } catch (const Error& error) {
      throw error.within(name);
    }
  }
  throw Error("operator", "one that this maru has", name, closest_names(name, names));
}

}  // namespace maru
