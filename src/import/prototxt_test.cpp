#include "import/prototxt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "base/error.h"

namespace maru {
namespace {

Message parse(std::string_view text) { return parse_prototxt(text, "net"); }

std::string error_of(std::string_view text) {
  try {
    parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The tree on one line: name=value, blocks in braces.
std::string print(const Message& message) {
  std::string text;
  for (const Field& field : message.fields) {
    if (!text.empty()) text += ' ';
    text += field.name;
    text += field.is_message() ? "{" + print(field.message) + "}" : "=" + field.str();
  }
  return text;
}

TEST(Prototxt, FieldsInOrder) {
  EXPECT_EQ(print(parse("")), "");
  EXPECT_EQ(print(parse(" # only a comment")), "");
  EXPECT_EQ(print(parse("b: 1 a: \"x\" b: MAX")), "b=1 a=\"x\" b=MAX");
  EXPECT_EQ(print(parse("a:1;b:2,c:3 ; d { e:1, };")), "a=1 b=2 c=3 d{e=1}");
  EXPECT_EQ(print(parse("a { b: { c < d: 1 > } } e: <> f {}")), "a{b{c{d=1}}} e{} f{}");
  EXPECT_EQ(print(parse("\xEF\xBB\xBF# mark\r\na: 1\r\nb: 2 # end")), "a=1 b=2");
  EXPECT_EQ(print(parse("a#one\n:#two\n1")), "a=1");
}

TEST(Prototxt, Lists) {
  EXPECT_EQ(print(parse("dim: [1, 3,224 , 224] x: []")), "dim=1 dim=3 dim=224 dim=224");
  EXPECT_EQ(print(parse("s: ['a', \"b\" 'c'] p [{x: 1}, <y: 2>] q: [ {} ]")),
            "s=\"a\" s=\"bc\" p{x=1} p{y=2} q{}");
  EXPECT_EQ(error_of("a: [1, 2"), "[net:1] expected ',' or ']' in the list a, got the end of the file");
  EXPECT_EQ(error_of("a: [1,]"), "[net:1] expected a value for a, got ']'");
  EXPECT_EQ(error_of("a [1]"), "[net:1] expected ':' after a, got '['");
}

TEST(Prototxt, LinesAreCounted) {
  const Message net = parse("a: 1\n\n# c\nlayer {\n  b: 'x'\n     'y'\n  c: 2\n}\n");
  EXPECT_EQ(net.fields[0].line, 1);
  EXPECT_EQ(net.fields[1].line, 4);
  EXPECT_EQ(net.fields[1].message.fields[0].line, 5);
  EXPECT_EQ(net.fields[1].message.fields[0].text, "xy");
  EXPECT_EQ(net.fields[1].message.fields[1].line, 7);
  EXPECT_EQ(parse("d: [1,\n2]").fields[1].line, 2);
}

TEST(Prototxt, Strings) {
  const auto text = [](std::string_view source) { return parse(source).fields.at(0).text; };
  EXPECT_EQ(text(R"(s: "a\n\t\\\"\'\?b")"), "a\n\t\\\"'?b");
  EXPECT_EQ(text(R"(s: '"' "'" '')"), "\"'");
  EXPECT_EQ(text(R"(s: "\101\x41\x4a\7\0601")"), "AAJ\a01");
  EXPECT_EQ(text(R"(s: "\u00e9\U0001F600")"), "\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(text("s: \"\xEA\xB0\x80 # no comment\""), "\xEA\xB0\x80 # no comment");
  EXPECT_EQ(error_of("\ns: \"ab"),
            "[net:2] expected a closing \" on the same line, got the end of the file");
  EXPECT_EQ(error_of("s: 'ab\n'"),
            "[net:1] expected a closing ' on the same line, got the end of the line");
  EXPECT_EQ(error_of(R"(s: "\q")"), R"([net:1] expected an escape such as \n or \\, got '\' and 'q')");
  EXPECT_EQ(error_of(R"(s: "\xg")"), "[net:1] expected 1 digits in the escape, got 'g'");
  EXPECT_EQ(error_of(R"(s: "\U00110000")"), "[net:1] expected a Unicode code point, got U+110000");
}

TEST(Prototxt, Integers) {
  const auto integer = [](std::string_view text) {
    return parse("i: " + std::string(text)).fields[0].integer();
  };
  EXPECT_EQ(integer("0"), 0);
  EXPECT_EQ(integer("-12"), -12);
  EXPECT_EQ(integer("- 12"), -12);
  EXPECT_EQ(integer("0x1F"), 31);
  EXPECT_EQ(integer("-0XfF"), -255);
  EXPECT_EQ(integer("017"), 15);
  EXPECT_EQ(integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(integer("9223372036854775808"), std::nullopt);
  EXPECT_EQ(integer("99999999999999999999999"), std::nullopt);
  EXPECT_EQ(integer("1.0"), std::nullopt);
  EXPECT_EQ(integer("1e3"), std::nullopt);
  EXPECT_EQ(integer("one"), std::nullopt);
  EXPECT_EQ(integer("'1'"), std::nullopt);
}

TEST(Prototxt, Numbers) {
  const auto number = [](std::string_view text) {
    return parse("x: " + std::string(text)).fields[0].number();
  };
  EXPECT_EQ(number("1"), 1.0);
  EXPECT_EQ(number("-0.5"), -0.5);
  EXPECT_EQ(number(".25"), 0.25);
  EXPECT_EQ(number("2."), 2.0);
  EXPECT_EQ(number("1e-4"), 1e-4);
  EXPECT_EQ(number("1.5E+3"), 1500.0);
  EXPECT_EQ(number("0.75f"), 0.75);
  EXPECT_EQ(number("10F"), 10.0);
  EXPECT_EQ(number("inf"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(number("-Infinity"), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(*number("nan")));
  EXPECT_TRUE(std::isnan(*number("-nan")));
  EXPECT_EQ(number("0x10"), std::nullopt);
  EXPECT_EQ(number("1e999"), std::nullopt);
  EXPECT_EQ(number("MAX"), std::nullopt);
  for (const char* bad : {"3x3", "1.2.3", "08", "0x", "1e", "1e+", ".", "12ab", "--1", "1-2"}) {
    EXPECT_NE(error_of("x: " + std::string(bad)), "no error") << bad;
  }
  EXPECT_EQ(error_of("x: 3x3"), "[net:1] expected a number, got 3x3");
  EXPECT_EQ(error_of("x: -\n"), "[net:2] expected a number after '-', got the end of the file");
}

TEST(Prototxt, Booleans) {
  const auto boolean = [](std::string_view text) {
    return parse("b: " + std::string(text)).fields[0].boolean();
  };
  for (const char* yes : {"true", "True", "t", "1"}) EXPECT_EQ(boolean(yes), true);
  for (const char* no : {"false", "False", "f", "0"}) EXPECT_EQ(boolean(no), false);
  for (const char* none : {"yes", "2", "'true'", "{}"}) EXPECT_EQ(boolean(none), std::nullopt);
}

TEST(Prototxt, ErrorsNameTheLineAndTheRemedy) {
  EXPECT_EQ(
      error_of("layer {\n  name: 'a'\n"),
      "[net:3] expected '}' for the block layer of line 1, got the end of the file; try checking that "
      "braces pair");
  EXPECT_EQ(
      error_of("layer {\n>"),
      "[net:2] expected '}' for the block layer of line 1, got '>'; try checking that braces pair");
  EXPECT_EQ(error_of("a: 1\n}"),
            "[net:2] expected a field name, got a closing brace that nothing opened");
  EXPECT_EQ(error_of("name \"x\""), "[net:1] expected ':' or '{' after name, got '\"'");
  EXPECT_EQ(error_of("a {\n b: }"), "[net:2] expected a value for b, got '}'");
  EXPECT_EQ(error_of("a:"), "[net:1] expected a value for a, got the end of the file");
  EXPECT_EQ(error_of(": 1"), "[net:1] expected a field name, got ':'");
  EXPECT_EQ(error_of("// note"), "[net:1] expected a field name, got '/'; try # for comments");
  EXPECT_EQ(error_of("\n\t\x12"), "[net:2] expected a field name, got byte 0x12");
  EXPECT_EQ(
      error_of(std::string_view("\n\x05net\x00\x12", 7)),
      "[net:1] expected a network definition in protobuf text, got a binary file; try the .prototxt in "
      "this place and the .caffemodel as the weights");
  EXPECT_EQ(error_of("\n <!DOCTYPE html>"),
            "[net:1] expected a network definition in protobuf text, got a web page; try fetching the "
            "raw file");
  EXPECT_EQ(error_of("version https://git-lfs.github.com/spec/v1\n"),
            "[net:1] expected a network definition in protobuf text, got a Git LFS pointer; try git "
            "lfs pull");
}

TEST(Prototxt, DepthIsLimited) {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += "a{";
    for (int i = 0; i < depth; ++i) text += "}";
    return text;
  };
  EXPECT_EQ(error_of(nested(100)), "no error");
  EXPECT_EQ(error_of(nested(101)),
            "[net:1] expected at most 100 nested blocks, got more; try checking that braces pair");
  EXPECT_NE(error_of(std::string(1'000'000, '<')), "no error");
  EXPECT_NE(error_of(nested(1'000'000)), "no error");
}

TEST(Prototxt, Accessors) {
  Message message = parse("a: 1 b: 2 a: 3");
  EXPECT_EQ(message.find("a")->text, "1");
  EXPECT_EQ(message.find("c"), nullptr);
  EXPECT_EQ(message.all("a").size(), 2u);
  message.erase("a");
  EXPECT_EQ(print(message), "b=2");
  EXPECT_EQ(parse("a: \"" + std::string(100, 'x') + "\"").fields[0].str(),
            "\"" + std::string(60, 'x') + "...\"");
}

TEST(Prototxt, DamagedTextIsAnErrorOrATree) {
  const std::string good =
      "name: \"net\" # c\nlayer { name: 'a' type: \"X\\n\" p { x: -1.5e3f y: [1, 2] z: true } <a: "
      "0x1f> }\n";
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string text = good.substr(0, random() % (good.size() + 1));
    for (int change = 0; change < 2 && !text.empty(); ++change) {
      text[random() % text.size()] =
          static_cast<char>(round % 2 == 0 ? random() % 256 : good[random() % good.size()]);
    }
    error_of(text);
  }
}

}  // namespace
}  // namespace maru
