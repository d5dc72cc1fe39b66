#include "graph/graph.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/mapped_file.h"

namespace maru {
namespace {

// A node kind of this test's: adds what it reads; wants equal shapes.
struct Sum {
  static constexpr std::string_view kName = "sum";
  std::int64_t rounds = 1;
  double weight = 0.1;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("rounds", self.rounds);
    visit("weight", self.weight);
  }
  std::vector<TensorDesc> infer(Descs src) const {
    for (const TensorDesc& desc : src) {
      if (desc.shape != src[0].shape) throw Error("inputs", src[0].shape.str(), desc.shape.str());
    }
    return {src[0]};
  }
  Cost cost(Descs, Descs) const { return {}; }
  void reference(Views, Views) const {}
};

TensorDesc vec(std::int64_t count) { return {DType::f32, {count}, Layout::plain()}; }

TEST(Graph, PrintsWhatWasBuilt) {
  Graph graph;
  graph.name = "net";
  const ValueId in = graph.add_input("in", vec(4));
  const NodeId a = graph.add_node("first", Sum{2}, {in, in}, {"a"});
  graph.add_node("second", Sum{}, {graph.node(a).dst[0]}, {"a"});
  graph.outputs = {graph.require("a")};
  graph.verify();
  EXPECT_EQ(graph.print(),
            "graph net\n"
            "  input in: f32 4\n"
            "  a = sum(in, in) rounds=2: 4\n"
            "  a = sum(a): 4\n"
            "  output a\n");
  EXPECT_EQ(graph.find("a"), graph.node(NodeId(1)).dst[0]) << "the latest version of a name";
  EXPECT_EQ(graph.readers(in).size(), 1u);
}

TEST(Graph, ErrorsOfAShapeRuleNameTheNode) {
  Graph graph;
  const ValueId a = graph.add_input("a", vec(4)), b = graph.add_input("b", vec(5));
  try {
    graph.add_node("join", Sum{}, {a, b}, {"c"});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[sum join] expected 4, got 5");
  }
  EXPECT_THROW(graph.add_node("two", Sum{}, {a}, {"c", "d"}), Error);
}

TEST(Graph, AMissingNameComesWithItsLikes) {
  Graph graph;
  graph.name = "net";
  graph.add_input("conv1", vec(1));
  graph.add_input("pool", vec(1));
  try {
    graph.require("conv2");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[graph net] expected a value named \"conv2\", got no such value; try conv1");
  }
}

TEST(Graph, TidyDropsTheDeadAndOrdersTheRest) {
  Graph graph;
  const ValueId in = graph.add_input("in", vec(4));
  const NodeId late = graph.add_node("late", Sum{}, {in}, {"late"});
  graph.add_node("dead", Sum{}, {in}, {"dead"});
  const NodeId early = graph.add_node("early", Sum{}, {in}, {"early"});
  graph.node(late).src = {graph.node(early).dst[0]};  // now it must come after
  graph.outputs = {graph.node(late).dst[0]};
  graph.tidy();
  graph.verify();
  ASSERT_EQ(graph.nodes().size(), 2u);
  EXPECT_EQ(graph.nodes()[0].name, "early");
  EXPECT_EQ(graph.nodes()[1].name, "late");
  EXPECT_FALSE(graph.find("dead").has_value());
}

TEST(Graph, TidyNamesACycle) {
  Graph graph;
  graph.name = "net";
  const ValueId in = graph.add_input("in", vec(4));
  const NodeId a = graph.add_node("a", Sum{}, {in}, {"a"});
  const NodeId b = graph.add_node("b", Sum{}, {graph.node(a).dst[0]}, {"b"});
  graph.node(a).src = {graph.node(b).dst[0]};
  graph.outputs = {graph.node(b).dst[0]};
  EXPECT_THROW(graph.tidy(), Error);
}

TEST(Graph, VerifyFindsAGraphThatWasBroken) {
  Graph graph;
  const ValueId in = graph.add_input("in", vec(4));
  const NodeId a = graph.add_node("a", Sum{}, {in}, {"a"});
  graph.outputs = {graph.node(a).dst[0]};
  graph.verify();
  graph.value(graph.node(a).dst[0]).desc.shape = {5};
  EXPECT_THROW(graph.verify(), std::logic_error);
}

TEST(Fields, PrintExactlyWhatDiffersFromTheDefault) {
  EXPECT_EQ(Op(Sum{}).key(), "sum");
  EXPECT_EQ(Op(Sum{1, 0.2}).key(), "sum weight=0.2");
  EXPECT_NE(Op(Sum{1, 0.1}).key(), Op(Sum{1, 0.1 + 1e-16}).key()) << "keys round-trip doubles";
}

TEST(Constant, KnowsWhatFits) {
  EXPECT_THROW(Constant({2, 2}, {1, 2, 3}), Error);
  const std::byte bytes[5] = {};
  EXPECT_THROW(Constant(vec(1), std::span(bytes), nullptr), Error);
  EXPECT_EQ(Constant({3}, {1, 2, 3}).floats(), (std::vector<float>{1, 2, 3}));
  // Weights in a mapped file need not be aligned.
  std::vector<std::byte> file(9);
  const float value = 2.5f;
  std::memcpy(file.data() + 1, &value, sizeof value);
  EXPECT_EQ(Constant(vec(1), std::span(file).subspan(1, 4), nullptr).floats()[0], 2.5f);
}

// Pages that were let go read the same again; memory that is no file stays.
TEST(Constant, ReleasedPagesComeBack) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("maru_constant_" + std::to_string(::getpid()));
  std::vector<float> values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  const auto file = std::make_shared<const MappedFile>(path);
  const Constant mapped(vec(5000), file->bytes(), file, Constant::Storage::file);
  EXPECT_EQ(mapped.floats(), values);
  mapped.release_pages();
  EXPECT_EQ(mapped.floats(), values);
  const Constant owned({5000}, values);
  owned.release_pages();
  EXPECT_EQ(owned.floats(), values);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace maru
