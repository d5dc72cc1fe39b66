// Rewrites: Graph -> smaller Graph that computes the same outputs. Each pass may be used alone, leaves
// the graph tidy and tells whether it changed anything. A value that is a graph output stays, with its
// name; constants are never changed, only replaced, since other nodes and graphs may share them. Ids
// change.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "ops/unary.h"

namespace maru {

// What was done, in order: "fused relu conv1/relu_7x7 into conv1/7x7_s2".
struct RewriteLog {
  std::vector<std::string> lines;

  template <class... Args>
  void add(fmt::format_string<Args...> text, Args&&... args) {
    lines.push_back(fmt::format(text, std::forward<Args>(args)...));
  }
};

// relu, elu, sigmoid and tanh: what most kernels apply to their result.
bool is_common_activation(const Unary& unary);

struct RewriteOptions {
  std::function<bool(const Unary&)> fusable = is_common_activation;
  // Convolutions that must read one value before they are merged; 0 leaves all apart.
  std::size_t least_siblings = 2;
  // Channel offsets of merged convolutions are made multiples of this, with channels of zero weights
  // between them where needed, so that each is a window of a blocked layout too. 1: as they fall.
  std::int64_t sibling_alignment = 1;
};

// All passes, in the order below, until none changes anything.
void rewrite_for_inference(Graph& graph, RewriteLog& log, const RewriteOptions& options = {});

// Dropout, Split, a Reshape to the same shape, a Power of 1 and whatever else gives back its input.
// Keeps one whose input and result are both asked for. InnerProduct reads through a Flatten or Reshape
// before it.
bool drop_identities(Graph& graph, RewriteLog& log);

// BatchNorm, Scale, Bias and linear Power into the convolution or inner product before them, or after
// them where that is exact (no padding, or no shift). Those left over: neighbours become one Scale or
// Power. Folded parameters are computed in double.
bool fold_affine(Graph& graph, RewriteLog& log);

// A Unary that alone reads a convolution, inner product or eltwise becomes its activation.
bool fuse_activations(Graph& graph, RewriteLog& log,
                      const std::function<bool(const Unary&)>& fusable = is_common_activation);

// 1x1 convolutions of one value, alike in stride, activation and bias, become one with a Slice behind
// it. A member that is the first operand of a concatenation comes last, so that its channels can lie in
// the merged result and in the concatenation at once; one that is the last operand comes first.
bool merge_siblings(Graph& graph, RewriteLog& log, std::size_t least = 2, std::int64_t alignment = 1);

// Whether the device that will run the graph has a kernel for the operator on these operands, of which
// those marked are constants.
using Offered = std::function<bool(const Op& op, Descs src, Descs dst, std::span<const bool> constant)>;

// A Pool that alone reads an Lrn, or the other way round, and it become one PoolLrn, where that is
// offered.
bool fuse_pool_lrn(Graph& graph, RewriteLog& log, const Offered& is_offered);

// Half precision: every node that is offered with data in f16 has it so, views where their operands
// have it. f32 stay: constants; operands that Op::keeps_f32() names; single numbers; what a last
// softmax or a loss reads, where no layer with parameters makes it. Values are cast where f16 and f32
// meet, each once. Inputs and outputs of the graph keep their types, and so do states: of a parameter
// that is trained, which is f32, nodes read one cast (vectors as they are, where that is offered), and
// its gradient is summed in f32 and comes out so. Ends with fold_casts().
bool use_half_precision(Graph& graph, RewriteLog& log, const Offered& is_offered);

// A Cast into the Preprocess before it, or into what can widen, where that is its only reader and the
// result is offered; drops those that are there twice, back and forth, or for nothing.
bool fold_casts(Graph& graph, RewriteLog& log, const Offered& is_offered);

}  // namespace maru
