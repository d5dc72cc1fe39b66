#include "rewrite/rewrite.h"

namespace maru {

bool is_common_activation(const Unary& unary) {
  switch (unary.kind) {
    case Unary::Kind::relu:
    case Unary::Kind::elu:
    case Unary::Kind::sigmoid:
    case Unary::Kind::tanh:
      return true;
    default:
      return false;
  }
}

void rewrite_for_inference(Graph& graph, RewriteLog& log, const RewriteOptions& options) {
  graph.tidy();
  for (bool changed = true; changed;) {
    // Siblings are merged last: what is folded into one of them makes it like or unlike the others.
    do {
      changed = drop_identities(graph, log);
      changed |= fold_affine(graph, log);
      changed |= fuse_activations(graph, log, options.fusable);
    } while (changed);
    changed = merge_siblings(graph, log, options.least_siblings, options.sibling_alignment);
  }
}

}  // namespace maru
