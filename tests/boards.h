// What tests of the virtual boards share: their names, small networks, and a device of which the CPU
// must run some operators.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "device/registry.h"
#include "graph/graph.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/eltwise.h"
#include "ops/pool.h"
#include "ops/reshape.h"
#include "ops/softmax.h"
#include "tests/devices.h"
#include "tests/layouts.h"

namespace maru::testing {

inline constexpr const char* kBoards[] = {"tk1",  "tx2",  "nano",   "xavier", "orin",
                                          "thor", "mali", "adreno", "strix",  "pcie"};
inline constexpr MemoryPolicy kAllPolicies[] = {MemoryPolicy::automatic, MemoryPolicy::copy,
                                                MemoryPolicy::zero_copy};

inline std::string_view policy_word(MemoryPolicy policy) {
  return policy == MemoryPolicy::copy        ? "copy"
         : policy == MemoryPolicy::zero_copy ? "zero_copy"
                                             : "auto";
}

// A board on which the CPU beside it must run some operators.
class PartialBoard final : public Device {
 public:
  PartialBoard(const std::string& name, std::set<std::string_view> unsupported)
      : board_(open_device("board:" + name, {})), unsupported_(std::move(unsupported)) {}

  std::string_view name() const override { return board_->name(); }
  std::string description() const override { return board_->description(); }
  std::span<const Heap* const> heaps() const override { return board_->heaps(); }
  const DeviceModel* model() const override { return board_->model(); }
  std::unique_ptr<Queue> make_queue() const override { return board_->make_queue(); }
  int channel_block() const override { return board_->channel_block(); }
  double copy_seconds(double bytes) const override { return board_->copy_seconds(bytes); }
  std::vector<Offer> offers(const Call& call) const override {
    return unsupported_.contains(call.op.name()) ? std::vector<Offer>{} : board_->offers(call);
  }
  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    return board_->compile(call, offer);
  }
  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    board_->transfer(queue, src, src_offset, dst, dst_offset, bytes);
  }

 private:
  std::unique_ptr<Device> board_;
  std::set<std::string_view> unsupported_;
};

struct SmallNet {
  Graph graph;
  std::mt19937 random{3};

  explicit SmallNet(Shape shape) {
    graph.name = "net";
    graph.add_input("data", {DType::f32, shape, {}});
  }
  SmallNet& add(const std::string& name, const Op& op, std::vector<std::string> src) {
    std::vector<ValueId> ids;
    for (const std::string& s : src) ids.push_back(graph.require(s));
    for (const Param& param : op.params(graph.descs(ids))) {
      const auto drawn = draw(param.shape.count(), -1, 1, random);
      ids.push_back(graph.add_constant(
          name + "/" + std::string(param.role),
          std::make_shared<Constant>(param.shape, std::vector<float>(drawn.begin(), drawn.end()))));
    }
    graph.add_node(name, op, ids, {name});
    return *this;
  }
  SmallNet& output(const std::string& name) {
    graph.outputs.push_back(graph.require(name));
    return *this;
  }
};

inline Conv small_conv(std::int64_t outputs, std::int64_t kernel = 1) {
  const std::int64_t pad = kernel / 2;
  return {outputs, Window{{kernel, kernel}, {1, 1}, {pad, pad}, {1, 1}}, 1, true};
}

// An inception-like block: pieces change sides when softmax, eltwise or pool run on the CPU.
inline SmallNet block(std::int64_t batch, std::int64_t extent = 8) {
  SmallNet net({batch, 3, extent, extent});
  net.add("a", small_conv(8, 3), {"data"})
      .add("p", Pool{Pool::Kind::max, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}}, {"a"});
  net.add("l", small_conv(8), {"a"})
      .add("sum", Eltwise{}, {"l", "a"})
      .add("join", Concat{}, {"sum", "p"});
  net.add("c", small_conv(5), {"join"}).add("flat", Flatten{}, {"c"}).add("prob", Softmax{}, {"flat"});
  net.output("prob");
  return net;
}

inline SmallNet chain(std::int64_t extent) {
  SmallNet net({1, 4, extent, extent});
  net.add("a", small_conv(8, 3), {"data"})
      .add("b", Pool{Pool::Kind::max, Window{{2, 2}, {2, 2}, {0, 0}, {1, 1}}}, {"a"});
  net.add("c", small_conv(4, 3), {"b"}).output("c");
  return net;
}

}  // namespace maru::testing
