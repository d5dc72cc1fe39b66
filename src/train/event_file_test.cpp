#include "train/event_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <protozero/pbf_reader.hpp>
#include <vector>

#include "base/error.h"
#include "tests/files.h"

namespace maru {
namespace {

// RFC 3720, appendix B.4; and the check value of CRC catalogues.
TEST(EventFile, ChecksumsAreThoseOfTheStandard) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string up, down;
  for (char i = 0; i < 32; ++i) {
    up += i;
    down.insert(down.begin(), i);
  }
  EXPECT_EQ(crc32c(up), 0x46DD794Eu);
  EXPECT_EQ(crc32c(down), 0x113FDB5Cu);
  EXPECT_EQ(crc32c(""), 0u);
  // Turned by 15 bits, and the constant of record_writer.h added.
  EXPECT_EQ(masked(0), 0xA282EAD8u);
  EXPECT_EQ(masked(0x00008000), 0xA282EAD9u);
}

std::string file_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> records_of(std::string_view file) {
  std::vector<std::string> records;
  while (!file.empty()) {
    std::uint64_t length = 0;
    for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file.at(i));
    const std::string bytes(file.substr(12, length));
    const std::string whole = tf_record(bytes);
    EXPECT_EQ(file.substr(0, whole.size()), whole);
    file.remove_prefix(std::min(whole.size(), file.size()));
    records.push_back(bytes);
  }
  return records;
}

TEST(EventFile, HoldsScalarsByStep) {
  const testing::Folder own;
  const std::filesystem::path folder = own.path("events/run");
  EventFile first(folder), second(folder);
  EXPECT_NE(first.path(), second.path());
  const std::vector<std::pair<std::string, double>> values{{"train/loss", 1.5}, {"lr", 0.01}};
  first.add(200, values);
  const std::vector<std::string> records = records_of(file_of(first.path()));
  ASSERT_EQ(records.size(), 2u);
  protozero::pbf_reader head(records[0]);
  ASSERT_TRUE(head.next(3));
  EXPECT_EQ(head.get_string(), "brain.Event:2");
  protozero::pbf_reader event(records[1]);
  ASSERT_TRUE(event.next(1));
  EXPECT_GT(event.get_double(), 1.6e9);  // seconds since 1970
  ASSERT_TRUE(event.next(2));
  EXPECT_EQ(event.get_int64(), 200);
  ASSERT_TRUE(event.next(5));
  protozero::pbf_reader summary = event.get_message();
  for (const auto& [tag, value] : values) {
    ASSERT_TRUE(summary.next(1));
    protozero::pbf_reader one = summary.get_message();
    ASSERT_TRUE(one.next(1));
    EXPECT_EQ(one.get_string(), tag);
    ASSERT_TRUE(one.next(2));
    EXPECT_EQ(one.get_float(), static_cast<float>(value));
  }
  EXPECT_FALSE(summary.next());
}

TEST(EventFile, SaysWhereItCannotBe) { EXPECT_THROW(EventFile("/proc/none/of/it"), Error); }

}  // namespace
}  // namespace maru
