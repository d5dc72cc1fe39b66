// The packed file by itself: what is written is read back, and what is broken is an Error.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/softmax.h"
#include "pack/packed_model.h"
#include "pack/reader.h"
#include "pack/writer.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

class PackedFileTest : public ::testing::Test {
 protected:
  PackedFileTest()
      : folder_(fs::temp_directory_path() /
                fmt::format("maru_pack_{}_{}", ::getpid(),
                            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(folder_);
  }
  ~PackedFileTest() override { fs::remove_all(folder_); }

  // Sections model, weights.0 (200 000 bytes of which the last are filled), labels.
  fs::path write(const char* name = "a.maru", bool replace = false) {
    PackedWriter writer(folder_ / name, 3, "1.2.3");
    writer.begin_section("model");
    writer.append("{}");
    writer.begin_section("weights.0");
    std::vector<std::byte> values(1000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::byte>(i * 7);
    writer.append(values);
    writer.fill_to(100000);
    writer.append(values);
    writer.fill_to(200000);
    writer.begin_section("labels");
    writer.append("red\n");
    writer.append("green\n");
    writer.finish(replace);
    return folder_ / name;
  }
  std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  fs::path broken(const std::string& bytes) {
    const fs::path path = folder_ / "broken.maru";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path;
  }
  std::string error_of(const fs::path& path) {
    try {
      const PackedFile file(path);
      file.verify_weights();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(PackedFileTest, HoldsWhatWasWritten) {
  const PackedFile file(write());
  EXPECT_EQ(file.text("model"), "{}");
  EXPECT_EQ(split_labels(file.text("labels")), (std::vector<std::string>{"red", "green"}));
  const auto weights = file.weights(0);
  ASSERT_TRUE(weights.has_value());
  ASSERT_EQ(weights->size(), 200000u);
  for (const std::size_t at : {std::size_t{0}, std::size_t{100000}}) {
    EXPECT_EQ((*weights)[at + 3], std::byte{21});
    EXPECT_EQ((*weights)[at + 1000], std::byte{0});
  }
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(weights->data()) % 4096, 0u);
  EXPECT_FALSE(file.weights(1).has_value());
  EXPECT_THROW(file.text("graph"), Error);
  EXPECT_NO_THROW(file.verify_weights());
  EXPECT_EQ(file.header().maru_version, "1.2.3");
  EXPECT_EQ(file.header().file_bytes % kPackedAlignment, 0u);
  EXPECT_EQ(files(), 1u) << "nothing but the file";
}

TEST_F(PackedFileTest, NothingStaysOfOneThatWasNotFinished) {
  {
    PackedWriter writer(folder_ / "a.maru", 1, "1.2.3");
    writer.begin_section("model");
    writer.append("{}");
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
  EXPECT_THROW(PackedWriter(folder_ / "none" / "a.maru", 1, "1.2.3"), Error);
}

TEST_F(PackedFileTest, IsReplacedOnlyWhenToldSo) {
  const fs::path path = broken("a note");
  EXPECT_THROW(write("broken.maru"), Error);
  EXPECT_EQ(content(path), "a note");
  write("broken.maru", true);
  EXPECT_EQ(error_of(path), "none");
  EXPECT_EQ(files(), 1u);
  fs::create_symlink("broken.maru", folder_ / "link.maru");
  write("link.maru", true);
  EXPECT_TRUE(fs::is_symlink(folder_ / "link.maru"));
}

TEST_F(PackedFileTest, EveryPrefixIsAnError) {
  const std::string whole = content(write());
  const fs::path path = broken(whole);
  for (std::size_t size = whole.size() - 1;; size = size > 400 ? size - 97 : size - 1) {
    fs::resize_file(path, size);
    EXPECT_NE(error_of(path), "none") << size;
    if (size == 0) break;
  }
  EXPECT_NE(error_of(broken(whole + "x")), "none");
}

TEST_F(PackedFileTest, EveryFlippedBitIsAnErrorOrInThePadding) {
  const fs::path good = write();
  const std::string whole = content(good);
  const auto sections = PackedFile(good).header().sections;
  const auto is_used = [&](std::size_t at) {
    return at < kPackedHeaderBytes + sections.size() * kPackedEntryBytes ||
           std::ranges::any_of(sections, [&](const PackedSection& section) {
             return at >= section.offset && at < section.offset + section.bytes;
           });
  };
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t at = i < 1000 ? random() % 300 : random() % whole.size();
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << random() % 8));
    EXPECT_EQ(error_of(broken(flipped)) != "none", is_used(at)) << at;
  }
}

TEST_F(PackedFileTest, SaysWhatIsWrong) {
  const std::string whole = content(write());
  const auto with = [&](std::size_t at, std::string_view bytes) {
    std::string changed = whole;
    changed.replace(at, bytes.size(), bytes);
    return error_of(broken(changed));
  };
  EXPECT_NE(with(8, std::string_view("\x02\0\0\0", 4)).find("version 2, written by maru 1.2.3"),
            std::string::npos);
  EXPECT_NE(with(12, "\1\2\3\4").find("order of bytes"), std::string::npos);
  EXPECT_NE(with(0, "PK").find("another kind of file"), std::string::npos);
  EXPECT_NE(with(16, "\1").find("as its header says"), std::string::npos);
  EXPECT_NE(with(24, "\xff\xff\xff").find("at most 64 sections"), std::string::npos);
  EXPECT_NE(with(28, "x").find("checksum"), std::string::npos);
  EXPECT_NE(with(64 + 3 * 64, "[").find("section model"), std::string::npos);
  EXPECT_NE(with(65536, "x").find("section weights.0"), std::string::npos);
  EXPECT_NE(error_of(folder_ / "none.maru"), "none");
  EXPECT_NE(error_of(folder_), "none");
}

// Headers whose checksum is right, as somebody who means harm would write them.
TEST_F(PackedFileTest, SectionsLieInTheFileAndApart) {
  std::string whole = content(write());
  const auto error_with = [&](auto change) {
    PackedHeader header = decode_packed_header(std::as_bytes(std::span(whole)), "a");
    change(header.sections);
    const auto head = encode(header);
    std::string changed = whole;
    std::memcpy(changed.data(), head.data(), head.size());
    return error_of(broken(changed));
  };
  using Sections = std::vector<PackedSection>;
  EXPECT_EQ(error_with([](Sections&) {}), "none");
  for (const auto& change : std::vector<std::function<void(Sections&)>>{
           [](Sections& s) { s[0].offset = 0; },
           [](Sections& s) { s[0].bytes = 1 << 20; },
           [](Sections& s) { s[2].bytes = ~std::uint64_t{0}; },
           [](Sections& s) { s[2].offset = ~std::uint64_t{0}; },
           [](Sections& s) { s[1].offset += 64; },
           [](Sections& s) { std::swap(s[0], s[2]); },
           [](Sections& s) { s[0].name = "labels"; },
           [](Sections& s) { s[0].name = ""; },
       }) {
    EXPECT_NE(error_with(change).find("a place of its own"), std::string::npos);
  }
}

TEST(PackedModel, TextsAreReadBack) {
  PackedCard card{"net", "somewhere", {}, {"a note"}, {"fused relu", "merged"}, false};
  card.preprocessing = {
      Preprocessing::Channels::rgb, Preprocessing::Resize::crop, {127.5F}, 1 / 127.5F};
  EXPECT_EQ(read_card(card_text(card)), card);
  PackedFor made_for{"cpu", "some CPU", 2, 4, {{"conv1", "oneDNN"}}, {4096, 64}, {}};
  made_for.places = {{"conv1.weight", 1, 0, 64, 128, "blocked"}, {"conv1.bias", 2, 1, 0, 4, "plain"}};
  EXPECT_EQ(read_plan(plan_text(made_for)), made_for);
  EXPECT_EQ(plan_text(made_for).find("precision"), std::string::npos);  // as before there was one
  made_for.precision = Precision::fp16;
  EXPECT_EQ(read_plan(plan_text(made_for)), made_for);
  const std::vector<std::string> labels{"red", "", "blue \xe9"};
  EXPECT_EQ(split_labels(labels_text(labels)), labels);
}

Graph small_graph() {
  Graph graph;
  graph.name = "small";
  const ValueId in = graph.add_input("data", f32({1, 3, 8, 8}));
  const auto shared = std::make_shared<const Constant>(Shape{4, 3, 1, 1}, std::vector<float>(12, 1));
  const ValueId a = graph.add_constant("a.weight", shared), b = graph.add_constant("b.weight", shared);
  const Conv conv{4, {}, 1, false, Unary{Unary::Kind::relu, 0.1}};
  const NodeId left = graph.add_node("left", conv, {in, a}, {"l"});
  const NodeId right = graph.add_node("right", conv, {in, b}, {"r"});
  const NodeId join =
      graph.add_node("join", Concat{}, {graph.node(left).dst[0], graph.node(right).dst[0]}, {"j"});
  graph.add_node("prob", Softmax{}, {graph.node(join).dst[0]}, {"p"});
  graph.outputs = {graph.require("p"), graph.require("l")};
  return graph;
}

TEST(PackedModel, GraphsAreReadBack) {
  const Graph graph = small_graph();
  const Graph back = read_graph(graph_text(graph), std::nullopt);
  back.verify();
  EXPECT_EQ(back.print(), graph.print());
  EXPECT_EQ(graph_text(back), graph_text(graph));
  EXPECT_EQ(back.node(NodeId(0)).op.key(), graph.node(NodeId(0)).op.key());
  const auto constant = [&](std::size_t node) {
    return back.value(back.node(NodeId(static_cast<std::uint32_t>(node))).src[1]).constant;
  };
  EXPECT_EQ(constant(0), constant(1)) << "one parameter stays one";
  EXPECT_FALSE(constant(0)->has_bytes());
  EXPECT_THROW(constant(0)->bytes(), std::logic_error);
  EXPECT_EQ(read_graph(graph_text(graph), 5).value(back.outputs[0]).desc.shape, Shape({5, 8, 8, 8}));
}

TEST(PackedModel, WrongTextsSayWhere) {
  const std::string good = graph_text(small_graph());
  const auto error_with = [&](std::string_view what, std::string_view instead) -> std::string {
    std::string text = good;
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    text.replace(at, what.size(), instead);
    try {
      read_graph(text, std::nullopt);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  const struct {
    const char *what, *instead, *says;
  } rows[] = {
      {"outputs=4", "outputs=four", "[left: conv: outputs]"},
      {"\"conv\"", "\"konv\"", "[left: operator]"},
      {"\"src\":[0,1]", "\"src\":[0,7]", "[left: src]"},
      {"\"src\":[0,1]", "\"src\":[0,-1]", "[left: src]"},
      {"\"src\":[0,1]", "\"src\":[0]", "[conv left]"},
      {"[1,3,8,8]", "[1,3,8.5,8]", "[shape]"},
      {"[1,3,8,8]", "[1,3,-8,8]", ""},
      {"[1,3,8,8]", "[1,3,99999999999999999999,8]", "[shape]"},
      {"[1,3,8,8]", "[1,3,1000000000,1000000000]", ""},
      {"\"f32\"", "\"f33\"", "[dtype]"},
      {"\"same_as\":0", "\"same_as\":1", "[same_as]"},
      {"\"outputs\":[", "\"outputs\":[1e9,", "[outputs]"},
      {"\"nodes\"", "\"knots\"", "[nodes]"},
      {"{", "", "[json]"},
  };
  for (const auto& row : rows) {
    const std::string got = error_with(row.what, row.instead);
    EXPECT_NE(got, "none") << row.instead;
    EXPECT_TRUE(got.starts_with(row.says)) << got;
  }
}

// Random damage never does worse than an Error.
TEST(PackedModel, DamagedTextsAreErrorsAtMost) {
  PackedFor made_for{
      "cpu", "some CPU", 2, 4, {{"conv1", "oneDNN"}}, {4096}, {{"w", 1, 0, 0, 8, "plain"}}};
  const std::string texts[] = {graph_text(small_graph()), card_text({}), plan_text(made_for)};
  std::mt19937 random(2);
  for (int i = 0; i < 6000; ++i) {
    std::string text = texts[i % 3];
    for (std::uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
          break;
        case 1:
          text.erase(at, 1 + random() % 8);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 8));
      }
      if (text.empty()) text = "{";
    }
    try {
      if (i % 3 == 0) read_graph(text, 2).verify();
      if (i % 3 == 1) read_card(text);
      if (i % 3 == 2) read_plan(text);
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace maru
