// Graph in, plan out, as text; on a device that computes nothing.
#include "plan/planner.h"

#include <gtest/gtest.h>

#include <set>

#include "ops/concat.h"
#include "ops/eltwise.h"
#include "ops/pool.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "plan/arena.h"
#include "plan/footprint.h"
#include "tests/fake_device.h"

namespace maru {
namespace {

using testing::FakeDevice;

// A graph in a few words: every call adds a node whose value has the node's name.
class Builder {
 public:
  explicit Builder(Shape shape) {
    graph.name = "net";
    graph.add_input("data", {DType::f32, shape, {}});
  }

  Builder& conv(const std::string& name, const std::string& src, std::int64_t outputs,
                std::int64_t kernel = 1) {
    const ValueId in = graph.require(src);
    const std::int64_t pad = kernel / 2;
    const Conv op{outputs, Window{{kernel, kernel}, {1, 1}, {pad, pad}, {1, 1}}, 1, false};
    const Shape weight{outputs, graph.value(in).desc.shape[1], kernel, kernel};
    const auto count = static_cast<std::size_t>(weight.count());
    const ValueId w =
        graph.add_constant(name + "/w", std::make_shared<Constant>(weight, std::vector<float>(count)));
    graph.add_node(name, op, {in, w}, {name});
    return *this;
  }
  Builder& node(const std::string& name, const Op& op, std::vector<std::string> src,
                std::vector<std::string> dst = {}) {
    std::vector<ValueId> ids;
    for (const std::string& s : src) ids.push_back(graph.require(s));
    if (dst.empty()) dst = {name};
    graph.add_node(name, op, ids, dst);
    return *this;
  }
  Builder& output(const std::string& name) {
    graph.outputs.push_back(graph.require(name));
    return *this;
  }

  // One line a step: "conv a: data 2+0 -> a 1+0 nChw4c". Places are region+offset; 1 is the arena.
  std::string plan(const FakeDevice& device = {}) const {
    graph.verify();
    const Plan plan = make_plan(graph, device, {}).plan;
    std::string text;
    for (const Step& step : plan.steps) {
      text += step.kind == Step::Kind::copy ? "copy" : step.name;
      for (const Operand& operand : step.src) {
        if (operand.region != Plan::kWeights) text += " " + describe(operand);
      }
      text += " ->";
      for (const Operand& operand : step.dst) text += " " + describe(operand);
      text += "\n";
    }
    return text + fmt::format("arena {}\n", plan.regions[Plan::kArena].bytes);
  }

  Graph graph;

 private:
  static std::string describe(const Operand& operand) {
    return fmt::format("{}:{}@{}+{}", operand.name, operand.desc.layout.str(), operand.region,
                       operand.offset);
  }
};

TEST(Planner, ChainReusesMemoryAndKeepsTheLayout) {
  Builder net({1, 3, 2, 2});
  net.conv("a", "data", 8).conv("b", "a", 8).conv("c", "b", 8).output("c");
  EXPECT_EQ(net.plan(),
            "a data:nchw@2+0 -> a:nChw4c@1+0\n"
            "b a:nChw4c@1+0 -> b:nChw4c@1+128\n"
            "c b:nChw4c@1+128 -> c:nChw4c@1+0\n"
            "copy c:nChw4c@1+0 -> c:nchw@3+0\n"
            "arena 256\n");
}

TEST(Planner, ConcatenationIsWrittenInPlace) {
  Builder net({1, 3, 2, 2});
  net.conv("a", "data", 8).conv("b", "a", 4).conv("c", "a", 12);
  net.node("join", Concat{}, {"b", "c"}).conv("d", "join", 4).node("s", Softmax{}, {"d"}).output("s");
  EXPECT_EQ(net.plan(),
            "a data:nchw@2+0 -> a:nChw4c@1+256\n"
            "b a:nChw4c@1+256 -> b:nChw4c@1+0\n"
            "c a:nChw4c@1+256 -> c:nChw4c@1+64\n"
            "d join:nChw4c@1+0 -> d:nChw4c@1+256\n"
            "copy d:nChw4c@1+256 -> d as nchw:nchw@1+0\n"
            "s d as nchw:nchw@1+0 -> s:nchw@3+0\n"
            "arena 384\n");
}

// The heart of an inception block: the merged convolution's last slice is the concatenation's first
// part.
TEST(Planner, MergedSiblingsAndConcatenationOverlap) {
  Builder net({1, 4, 1, 1});
  net.conv("m", "data", 16).node("cut", Slice{1, {4, 8}, 3}, {"m"}, {"r5", "r3", "one"});
  net.conv("five", "r5", 4).conv("three", "r3", 8);
  net.node("join", Concat{}, {"one", "three", "five"}).conv("next", "join", 4).output("next");
  EXPECT_EQ(net.plan(),
            "m data:nChw4c@2+0 -> m:nChw4c@1+0\n"
            "five r5:nChw4c@1+0 -> five:nChw4c@1+96\n"
            "three r3:nChw4c@1+16 -> three:nChw4c@1+64\n"
            "next join:nChw4c@1+32 -> next:nChw4c@3+0\n"
            "arena 112\n");
}

// Channels that only fill up to a block are nobody's, and may begin anywhere.
TEST(Planner, UnreadPartsOfASliceNeedNoBlock) {
  Builder net({1, 4, 1, 1});
  net.conv("m", "data", 16).node("cut", Slice{1, {5, 8}, 3}, {"m"}, {"five", "unused", "eight"});
  net.conv("a", "five", 4).conv("b", "eight", 4).output("a").output("b");
  EXPECT_EQ(net.plan(),
            "m data:nChw4c@2+0 -> m:nChw4c@1+0\n"
            "a five:nChw4c@1+0 -> a:nChw4c@3+0\n"
            "b eight:nChw4c@1+32 -> b:nChw4c@4+0\n"
            "arena 64\n");
}

// So do the windows of a batch: the last block of each is its own, though channels do not fill it.
TEST(Planner, WindowsOfABatchMayEndInsideABlock) {
  Builder net({2, 4, 1, 1});
  net.conv("m", "data", 16).node("cut", Slice{1, {5, 8}, 3}, {"m"}, {"five", "unused", "eight"});
  net.conv("a", "five", 4).conv("b", "eight", 4).output("a").output("b");
  EXPECT_EQ(net.plan(),
            "m data:nChw4c@2+0 -> m:nChw4c@1+0\n"
            "a five:nChw4c[16]@1+0 -> a:nChw4c@3+0\n"
            "b eight:nChw4c[16]@1+32 -> b:nChw4c@4+0\n"
            "arena 128\n");
}

TEST(Planner, BatchesUseWindowsWhereKernelsTakeThem) {
  Builder net({2, 4, 1, 1});
  net.conv("a", "data", 4).conv("b", "data", 8).node("join", Concat{}, {"a", "b"}).conv("d", "join", 4);
  net.output("d");
  EXPECT_EQ(net.plan(),
            "a data:nChw4c@2+0 -> a:nChw4c[12]@1+0\n"
            "b data:nChw4c@2+0 -> b:nChw4c[12]@1+16\n"
            "d join:nChw4c@1+0 -> d:nChw4c@3+0\n"
            "arena 96\n");
  FakeDevice whole_only;
  whole_only.takes_windows = false;
  EXPECT_EQ(net.plan(whole_only),
            "a data:nChw4c@2+0 -> a:nChw4c@1+160\n"
            "b data:nChw4c@2+0 -> b:nChw4c@1+96\n"
            "copy a:nChw4c@1+160 -> a in join:nChw4c[12]@1+0\n"
            "copy b:nChw4c@1+96 -> b in join:nChw4c[12]@1+16\n"
            "d join:nChw4c@1+0 -> d:nChw4c@3+0\n"
            "arena 192\n");
}

TEST(Planner, AnOperandThatIsJoinedTwiceIsCopiedOnce) {
  Builder net({1, 4, 1, 1});
  net.conv("a", "data", 4).node("join", Concat{}, {"a", "a"}).conv("d", "join", 4).output("d");
  EXPECT_EQ(net.plan(),
            "a data:nChw4c@2+0 -> a:nChw4c@1+0\n"
            "copy a:nChw4c@1+0 -> a in join:nChw4c@1+16\n"
            "d join:nChw4c@1+0 -> d:nChw4c@3+0\n"
            "arena 32\n");
}

TEST(Planner, OffsetsBetweenBlocksFallBackToPlainMemory) {
  Builder net({1, 4, 2, 2});
  net.conv("a", "data", 6).conv("b", "data", 6).node("join", Concat{}, {"a", "b"}).output("join");
  EXPECT_EQ(net.plan(),
            "copy data:nchw@2+0 -> data as nChw4c:nChw4c@1+256\n"
            "a data as nChw4c:nChw4c@1+256 -> a:nChw4c@1+0\n"
            "b data as nChw4c:nChw4c@1+256 -> b:nChw4c@1+128\n"
            "copy a:nChw4c@1+0 -> a as nchw:nchw@3+0\n"
            "copy b:nChw4c@1+128 -> b as nchw:nchw@3+96\n"
            "arena 320\n");
}

TEST(Planner, WorksInPlaceOnlyForTheLastReader) {
  Builder net({1, 4, 1, 1});
  net.conv("a", "data", 4).node("r", Unary{}, {"a"}).conv("b", "r", 4).output("b");
  EXPECT_EQ(net.plan(),
            "a data:nChw4c@2+0 -> a:nChw4c@1+0\n"
            "r a:nChw4c@1+0 -> r:nChw4c@1+0\n"
            "b r:nChw4c@1+0 -> b:nChw4c@3+0\n"
            "arena 16\n");
  Builder kept({1, 4, 1, 1});
  kept.conv("a", "data", 4).node("r", Unary{}, {"a"}).node("e", Eltwise{}, {"a", "r"}).output("e");
  EXPECT_EQ(kept.plan(),
            "a data:nChw4c@2+0 -> a:nChw4c@1+0\n"
            "r a:nChw4c@1+0 -> r:nChw4c@1+16\n"
            "e a:nChw4c@1+0 r:nChw4c@1+16 -> e:nChw4c@3+0\n"
            "arena 32\n");
}

TEST(Planner, NeverWritesIntoTheCallersInput) {
  Builder net({1, 4, 1, 1});
  net.node("r", Unary{}, {"data"}).conv("b", "r", 4).output("b");
  EXPECT_EQ(net.plan(),
            "r data:nchw@2+0 -> r:nchw@1+0\n"
            "b r:nChw4c@1+0 -> b:nChw4c@3+0\n"
            "arena 16\n");
}

TEST(Planner, ReshapeIsALook) {
  Builder net({2, 4, 2, 1});
  net.node("r", Unary{}, {"data"})
      .node("flat", Flatten{}, {"r"})
      .node("s", Softmax{}, {"flat"})
      .output("s");
  EXPECT_EQ(net.plan(),
            "r data:nchw@2+0 -> r:nchw@1+0\n"
            "s flat:nchw@1+0 -> s:nchw@3+0\n"
            "arena 64\n");
}

TEST(Planner, OutputsOfTheCallerAreNeverShared) {
  Builder net({1, 4, 1, 1});
  net.conv("a", "data", 4).output("a").output("data");
  net.node("flat", Flatten{}, {"a"}).output("flat");
  EXPECT_EQ(net.plan(),
            "a data:nChw4c@2+0 -> a:nChw4c@3+0\n"
            "copy a:nchw@3+0 -> a alone:nchw@5+0\n"
            "copy data:nchw@2+0 -> data:nchw@4+0\n"
            "arena 0\n");
}

TEST(Planner, WorkspaceLivesForOneStep) {
  Builder net({1, 3, 2, 2});
  net.conv("a", "data", 4).conv("b", "a", 4).conv("c", "b", 4).output("c");
  FakeDevice device;
  device.workspace = 1000;
  const Plan plan = make_plan(net.graph, device, {}).plan;
  // The three workspaces share one place; next to it two tensors of 64 bytes live at once.
  EXPECT_EQ(plan.regions[Plan::kArena].bytes, 1008u + 2 * 64);
}

TEST(Planner, NamesTheNodeThatNobodyRuns) {
  Builder net({1, 3, 2, 2});
  net.conv("first", "data", 4).output("first");
  FakeDevice device;
  device.unsupported = "conv";
  try {
    net.plan(device);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "conv first");
    EXPECT_EQ(error.expected(), "an operator that fake can run");
  }
}

TEST(Planner, PackedConstantsAreSharedByEqualKernelsAlone) {
  Builder net({1, 4, 1, 1});
  const auto shared = std::make_shared<Constant>(Shape{4, 4, 1, 1}, std::vector<float>(16));
  const ValueId w = net.graph.add_constant("w", shared);
  const Conv op{4, Window{}, 1, false};
  const ValueId data = net.graph.inputs[0];
  const NodeId a = net.graph.add_node("a", op, {data, w}, {"a"});
  net.graph.add_node("b", op, {net.graph.node(a).dst[0], w}, {"b"});
  net.output("b");
  const FakeDevice device;
  const Planned planned = make_plan(net.graph, device, {});
  EXPECT_EQ(planned.constants.size(), 1u);
  EXPECT_EQ(planned.plan.regions[Plan::kWeights].bytes, 64u);
}

TEST(Arena, BlocksThatLiveTogetherNeverOverlap) {
  std::uint32_t state = 1;
  const auto next = [&](std::uint32_t below) {
    return (state = state * 1664525u + 1013904223u) / 65536 % below;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<planning::Block> blocks;
    const std::size_t steps = 1 + next(20);
    for (std::uint32_t i = 0; i < 1 + next(40); ++i) {
      const std::size_t first = next(static_cast<std::uint32_t>(steps));
      const std::size_t last = first + next(static_cast<std::uint32_t>(steps - first));
      blocks.push_back({1 + next(5000), first, last});
    }
    const std::size_t arena = planning::place(blocks, 64);
    std::size_t lower_bound = 0;
    for (std::size_t step = 0; step < steps; ++step) {
      std::size_t live = 0;
      for (const auto& block : blocks)
        live += block.first <= step && step <= block.last ? block.bytes : 0;
      lower_bound = std::max(lower_bound, live);
    }
    EXPECT_GE(arena, lower_bound);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto& a = blocks[i];
      EXPECT_EQ(a.offset % 64, 0u);
      EXPECT_LE(a.offset + a.bytes, arena);
      for (std::size_t j = 0; j < i; ++j) {
        const auto& b = blocks[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
        EXPECT_TRUE(!together || apart) << "blocks " << i << " and " << j;
      }
    }
  }
}

TEST(Plan, TextAndJsonTellTheSame) {
  Builder net({1, 3, 2, 2});
  net.conv("a", "data", 4).node("s", Softmax{}, {"a"}).output("s");
  const FakeDevice device;  // a plan names the heaps of its device
  const Plan plan = make_plan(net.graph, device, {MemoryPolicy::zero_copy}).plan;
  EXPECT_EQ(plan.copied_bytes(), 64u);
  EXPECT_EQ(plan.text(),
            "plan of net on fake, memory zero-copy: 3 steps, 64 bytes copied a run\n"
            "\n"
            "regions (a place below is region+offset in bytes)\n"
            "  0   weights                          64 bytes in fake: the one memory of this device\n"
            "  1   arena                           128 bytes in fake: the one memory of this device\n"
            "  2   input data                       48 bytes in fake: the one memory of this device\n"
            "  3   output s                         64 bytes in fake: the one memory of this device\n"
            "\n"
            "steps\n"
            "  0   a\n"
            "      conv outputs=4 bias=no\n"
            "      by blocks: the only offer\n"
            "      <- data f32 1x3x2x2 nchw @2+0\n"
            "      <- a/w f32 4x3x1x1 nchw @0+0\n"
            "      -> a f32 1x4x2x2 nChw4c @1+0\n"
            "  1   a as nchw (copy)\n"
            "      copy\n"
            "      by move: s wants nchw\n"
            "      <- a f32 1x4x2x2 nChw4c @1+0\n"
            "      -> a as nchw f32 1x4x2x2 nchw @1+64\n"
            "  2   s\n"
            "      softmax\n"
            "      by rows: the only offer\n"
            "      <- a as nchw f32 1x4x2x2 nchw @1+64\n"
            "      -> s f32 1x4x2x2 nchw @3+0\n");
  const std::string json = plan.json();
  EXPECT_NE(json.find("\"copied_bytes\": 64"), std::string::npos);
  EXPECT_NE(json.find("\"layout\": \"nChw4c\""), std::string::npos);
}

// Two windows of one tensor overlap byte by byte or not at all, whatever their images are apart.
TEST(Footprints, WindowsOverlapByTheirBytes) {
  using planning::Footprint;
  for (std::size_t begin_a = 0; begin_a < 12; ++begin_a) {
    for (const std::size_t length : {1U, 3U, 5U}) {
      for (const std::size_t stride : {5U, 6U, 7U}) {
        for (const std::size_t count : {1U, 2U, 4U}) {
          const Footprint a{1, begin_a, length, stride, count}, b{1, 7, 2, 6, 3};
          std::set<std::size_t> bytes;
          a.each_run([&](std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) bytes.insert(i);
          });
          bool overlap = false;
          b.each_run([&](std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) overlap = overlap || bytes.contains(i);
          });
          EXPECT_EQ(a.overlaps(b), overlap)
              << begin_a << " " << length << " " << stride << " " << count;
          EXPECT_EQ(b.overlaps(a), overlap);
          EXPECT_EQ(a.end(), *bytes.rbegin() + 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace maru
