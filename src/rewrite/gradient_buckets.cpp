#include "rewrite/gradient_buckets.h"

#include "base/error.h"
#include "ops/all_reduce.h"

namespace maru {

void GradientBuckets::add(ValueId gradient, std::function<void(ValueId)> use) {
  if (ranks_ == 1) return use(gradient);
  bytes_ += static_cast<std::int64_t>(graph_.value(gradient).desc.bytes());
  waiting_.push_back({gradient, std::move(use)});
  if (bytes_ >= most_) close();
}

void GradientBuckets::close() {
  if (waiting_.empty()) return;
  const std::string name = fmt::format("all_reduce {}", ++buckets_);
  std::vector<ValueId> src;
  std::vector<std::string> names;
  for (const Waiting& one : waiting_) {
    src.push_back(one.gradient);
    names.push_back(graph_.value(one.gradient).name + " of all ranks");
  }
  if (!token_)
    token_ = graph_.add_constant("all_reduce/token",
                                 std::make_shared<const Constant>(Shape{1}, std::vector{0.0F}));
  src.push_back(*token_);
  names.push_back(name + "/token");
  const NodeId id = graph_.add_node(name, AllReduce{ranks_}, std::move(src), std::move(names));
  token_ = graph_.node(id).dst.back();
  for (std::size_t i = 0; i < waiting_.size(); ++i) waiting_[i].use(graph_.node(id).dst[i]);
  waiting_.clear();
  bytes_ = 0;
}

}  // namespace maru
