#include "measure/result_json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "measure/test_result.h"

namespace maru::measure {
namespace {

std::string error_of(const std::string& text) {
  try {
    result_from_json(text, "a.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

std::string with(const std::string& pointer, const nlohmann::json& value) {
  nlohmann::json json = nlohmann::json::parse(to_json(test_result()));
  json[nlohmann::json::json_pointer(pointer)] = value;
  return json.dump();
}

TEST(ResultJson, ThereAndBackIsTheSame) {
  const BenchResult result = test_result();
  const std::string text = to_json(result);
  const BenchResult back = result_from_json(text, "a.json");
  EXPECT_EQ(to_json(back), text);
  EXPECT_EQ(back.ways[1].name, "zero-copy");
  EXPECT_EQ(back.blocks[3].seconds, result.blocks[3].seconds);
  EXPECT_EQ(back.meter->boundary, MeterFacts::Boundary::module);
  EXPECT_EQ(back.checks[1].verdict, Check::Verdict::unstable);
  EXPECT_FALSE(back.ways[0].stages.decode);
  EXPECT_EQ(back.blocks[0].state.throttled_by, result.blocks[0].state.throttled_by);
}

TEST(ResultJson, WhatWasNotMeasuredIsNull) {
  BenchResult result = test_result();
  result.meter.reset();
  result.idle_watts.reset();
  result.ways[0].median.high = std::numeric_limits<double>::infinity();
  const std::string text = to_json(result);
  EXPECT_NE(text.find("\"meter\": null"), std::string::npos);
  EXPECT_NE(text.find("\"idle_watts\": null"), std::string::npos);
  const BenchResult back = result_from_json(text, "a.json");
  EXPECT_FALSE(back.meter);
  EXPECT_TRUE(std::isinf(back.ways[0].median.high));
}

TEST(ResultJson, BytesThatAreNoUtf8DoNotEndIt) {
  BenchResult result = test_result();
  result.ways[0].label = "caf\xe9";
  EXPECT_NO_THROW(result_from_json(to_json(result), "a.json"));
}

TEST(ResultJson, ForeignFilesAreSaidToBe) {
  for (const char* text : {"", "[1, 2]", "{}", "null", "{\"images\": 3}", "\x89PNG"})
    EXPECT_NE(error_of(text).find("[a.json] expected a result of `maru bench --json`"),
              std::string::npos)
        << error_of(text);
  EXPECT_NE(error_of(with("/format", "maru bench 2")).find("maru bench 2"), std::string::npos);
}

TEST(ResultJson, DamagedFilesAreSaidWhere) {
  const auto says = [](const std::string& text, const std::string& part) {
    const std::string error = error_of(text);
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  says(with("/ways/1/median/low", "fast"),
       "[a.json.ways[1].median.low] expected a number, got \"fast\"");
  says(with("/blocks/0/way", -1), "[a.json.blocks[0].way] expected a whole number, got -1");
  says(with("/blocks/0/way", 2), "expected a block of one of 2 ways, got way 2");
  says(with("/blocks/0/seconds", nlohmann::json::array()), "expected blocks with runs");
  says(with("/machine/cores", 1.5), "[a.json.machine.cores] expected a whole number");
  says(with("/meter/boundary", "moon"), "[a.json.meter.boundary]");
  says(with("/checks", 3), "[a.json.checks] expected a list");
  says(with("/model", nullptr), "[a.json.model] expected an object, got null");
  says(with("/model/batch", 0), "one image a run");
  nlohmann::json json = nlohmann::json::parse(to_json(test_result()));
  json["method"].erase("order");
  says(json.dump(), "[a.json.method] expected \"order\", got none");
}

// Whatever is cut off or turned over, there is a result or an Error.
TEST(ResultJson, NoDamageDoesMore) {
  const std::string text = to_json(test_result());
  for (std::size_t length = 0; length < text.size(); length += 37)
    EXPECT_NE(error_of(text.substr(0, length)), "none");
  for (std::size_t at = 0; at < text.size(); at += 13) {
    std::string damaged = text;
    damaged[at] = damaged[at] == '7' ? '"' : '7';
    error_of(damaged);
  }
}

}  // namespace
}  // namespace maru::measure
