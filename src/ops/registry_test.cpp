// The registry of operators: spellings, keys, attributes, cases.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "ops/conv.h"
#include "ops/inner_product.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/preprocess.h"
#include "ops/slice.h"
#include "ops/test_operands.h"
#include "tests/paths.h"

namespace maru {
namespace {

using namespace testing_ops;

TEST(Registry, EverySpellingIsFoundOnce) {
  std::set<std::string> seen;
  std::string_view previous;
  for (const Operator& op : all_operators()) {
    EXPECT_LT(previous, op.name);
    previous = op.name;
    EXPECT_FALSE(op.cases.empty()) << op.name;
    for (const Spelling& spelling : op.spellings) {
      EXPECT_TRUE(seen.emplace(spelling.type).second) << spelling.type;
      EXPECT_EQ(find_spelling(spelling.format, spelling.type), &spelling);
    }
  }
}

TEST(Registry, KeysTellAttributesApart) {
  EXPECT_EQ(Op(Pool{}).attributes(), "");
  EXPECT_EQ(Op(InnerProduct{3, 1, true, false, Unary{}}).key(),
            "inner_product outputs=3 activation=relu");
  EXPECT_EQ(Op(Preprocess{2, 3}).key(), "preprocess height=2 width=3");
  EXPECT_NE(Op(Lrn{5, 0.1}).key(), Op(Lrn{5, std::nextafter(0.1, 1)}).key());
  EXPECT_NE(Op(Slice{1, {}, 2}).key(), Op(Slice{1, {3}, 2}).key());
}

TEST(Registry, AttributesThatWerePrintedAreReadBack) {
  for (const Operator& op : all_operators()) {
    ASSERT_NE(op.parse, nullptr) << op.name;
    EXPECT_EQ(op.parse("").key(), op.name) << "what is left out has its default";
    for (const Case& one : op.cases) {
      EXPECT_EQ(parse_op(one.op.name(), one.op.attributes()).key(), one.op.key()) << one.name;
    }
  }
  // More digits, nesting and empty lists than the cases have.
  Conv conv{
      64, {{3, 5}, {2, 1}, {1, 0}, {1, 2}}, 2, false, Unary{Unary::Kind::power, 1.0 / 3, -0.1, 1e-300}};
  ASSERT_TRUE(parse_op("conv", Op(conv).attributes()).as<Conv>());
  EXPECT_EQ(*parse_op("conv", Op(conv).attributes()).as<Conv>(), conv);
  Preprocess rgb{
      224, 224, {Preprocessing::Channels::rgb, Preprocessing::Resize::crop, {0.1F, 2, 3e9F}, 1 / 3.0F}};
  EXPECT_EQ(*parse_op("preprocess", Op(rgb).attributes()).as<Preprocess>(), rgb);
  Slice slice{-1, {}, 3};
  EXPECT_EQ(*parse_op("slice", Op(slice).attributes()).as<Slice>(), slice);
}

TEST(Registry, WrongAttributesNameOperatorAndField) {
  const struct {
    const char *op, *attributes, *says;
  } rows[] = {
      {"convv", "", "[operator] expected one that this maru has, got convv; try conv"},
      {"conv", "kernel=3", "[conv: kernel] expected 2 numbers with x between, got 3"},
      {"conv", "kernel=3x3x3", "[conv: kernel] expected 2 numbers with x between, got 3x3x3"},
      {"conv", "kernel=3x", "[conv: kernel] expected a whole number, got "},
      {"conv", "group=1.5", "[conv: group] expected a whole number, got 1.5"},
      {"conv", "group=99999999999999999999", "[conv: group] expected a whole number"},
      {"conv", "bias=maybe", "[conv: bias] expected yes or no, got maybe"},
      {"conv", "activation=reluu", "[conv: activation] expected relu or elu or"},
      {"conv", "activation=elu(alpha=1", "[conv: activation] expected (...), got (alpha=1"},
      {"conv", "activation=elu(beta=1)", "[conv: activation] expected attributes among"},
      {"conv", "outputs=1 outputs=2", "[conv: outputs] expected one value, got two"},
      {"conv", "colour=2", "[conv: conv] expected attributes among outputs, kernel, stride"},
      {"conv", "outputs", "[conv: attributes] expected name=value"},
      {"slice", "points=1,2", "[slice: points] expected [...], got 1,2"},
      {"slice", "points=[1,,2]", "[slice: points] expected a whole number, got "},
      {"lrn", "alpha=1e", "[lrn: alpha] expected a number, got 1e"},
      {"lrn", "region=?", "[lrn: region] expected across or within, got ?"},
  };
  for (const auto& row : rows) {
    try {
      parse_op(row.op, row.attributes);
      ADD_FAILURE() << row.op << " " << row.attributes;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with(row.says)) << error.what();
    }
  }
}

// docs/layers.md has each of Caffe's layers, and whether it trains.
TEST(Registry, TheDocumentsListTheLayers) {
  std::ifstream file(testing::source_dir() + "/docs/layers.md");
  ASSERT_TRUE(file) << testing::source_dir();
  std::map<std::string, bool> listed;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    const std::size_t end = line.find('`', 3);
    listed[line.substr(3, end - 3)] = line.compare(end, 8, "` | yes ") == 0;
  }
  for (const Operator& op : all_operators()) {
    for (const Spelling& spelling : op.spellings) {
      const auto found = listed.find(std::string(spelling.type));
      ASSERT_NE(found, listed.end()) << spelling.type;
      EXPECT_EQ(found->second, op.gradient != nullptr) << spelling.type;
      listed.erase(found);
    }
  }
  for (const char* other : {"Data", "ImageData", "Input", "Silence"})
    EXPECT_EQ(listed.erase(other), 1U);
  EXPECT_TRUE(listed.empty()) << listed.begin()->first;
}

// In float and in double, the reference kernels agree on every case that the backends will be given.
TEST(Registry, CasesRunInFloatAndDouble) {
  for (const Operator& op : all_operators()) {
    std::set<std::string> names;
    for (const Case& one : op.cases) {
      SCOPED_TRACE(fmt::format("{}: {}", op.name, one.name));
      EXPECT_EQ(one.op.name(), op.name);
      EXPECT_TRUE(names.insert(one.name).second);
      ASSERT_LE(one.data, one.src.size());
      std::mt19937 random(7);
      std::uniform_real_distribution<float> draw(static_cast<float>(one.low),
                                                 static_cast<float>(one.high));
      std::vector<Data> src;
      for (const TensorDesc& desc : one.src) {
        src.push_back({desc, std::vector<double>(static_cast<std::size_t>(desc.count()))});
        for (double& value : src.back().values) value = static_cast<double>(draw(random));
      }
      const auto floats = run_as<float>(one.op, src, one.fill);
      const auto doubles = run_as<double>(one.op, src, one.fill);
      ASSERT_EQ(floats.size(), doubles.size());
      for (std::size_t i = 0; i < floats.size(); ++i) {
        expect_near(floats[i], doubles[i], 1e-6);
        for (const double value : doubles[i]) ASSERT_TRUE(std::isfinite(value));
      }
    }
  }
}

}  // namespace
}  // namespace maru
