#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "data/tar_archive.h"
#include "data/test_archives.h"
#include "data/zip_archive.h"

namespace maru::data {
namespace {

using namespace testing_files;

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Everything that can be had out of the archive, as the loader would; errors are the archive's own.
void read_zip(const std::string& path) {
  const ZipArchive archive(path);
  std::vector<std::byte> scratch;
  for (const auto& entry : archive.entries()) archive.read(entry, scratch);
}

void read_tar(const std::string& path) {
  const TarArchive archive(path);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < archive.size(); ++i) {
    for (const std::byte b : archive.content(i)) sum += std::to_integer<std::size_t>(b);
    sum += archive.name(i).size();
  }
  EXPECT_GE(sum, archive.size());
}

// ---- zip

TEST(Zip, EntriesStoredDeflatedAndWide) {
  const Folder folder;
  for (const bool deflate : {false, true}) {
    for (const bool zip64 : {false, true}) {
      const ZipArchive archive(
          folder.write("a.zip", zip({{"x/1.ppm", photo(1)}, {"2.ppm", photo(2)}}, {deflate, zip64})));
      ASSERT_EQ(archive.entries().size(), 2U);
      EXPECT_EQ(archive.entries()[0].name, "x/1.ppm");
      std::vector<std::byte> scratch;
      EXPECT_EQ(text(archive.read(archive.entries()[0], scratch)), photo(1));
      EXPECT_EQ(text(archive.read(archive.entries()[1], scratch)), photo(2));
    }
  }
}

TEST(Zip, AComment) {
  const Folder folder;
  std::string bytes = zip({{"1.ppm", photo(1)}});
  bytes[bytes.size() - 2] = 5;
  const ZipArchive archive(folder.write("a.zip", bytes + "hello"));
  EXPECT_EQ(archive.entries().size(), 1U);
}

TEST(Zip, WhatItDoesNotRead) {
  const Folder folder;
  EXPECT_TRUE(says(error_of([&] {
                     read_zip(folder.write("a.zip", zip({{"1", "x"}}, {.flags = 1})));
                   }),
                   "not encrypted"));
  std::string bytes = zip({{"1", "x"}});
  bytes[bytes.find("PK\1\2") + 10] = 12;
  EXPECT_TRUE(says(error_of([&] { read_zip(folder.write("a.zip", bytes)); }),
                   "stored or deflated, got method 12"));
  EXPECT_TRUE(says(error_of([&] {
                     read_zip(folder.write("a.zip", zip({{"1", ""}})));
                   }),
                   "a.zip: 1] expected a photo, got 0 bytes"));
  EXPECT_TRUE(
      says(error_of([&] { read_zip(folder.write("a.zip", "GIF89a and more of it, much more")); }),
           "expected a zip archive"));
}

TEST(Zip, ADamagedPhotoIsNoticed) {
  const Folder folder;
  for (const bool deflate : {false, true}) {
    std::string bytes = zip({{"1.ppm", photo(1, 40, 40)}}, {.deflate = deflate});
    bytes[60] = static_cast<char>(bytes[60] ^ 4);
    EXPECT_TRUE(says(error_of([&] { read_zip(folder.write("a.zip", bytes)); }),
                     "1.ppm] expected an intact entry"));
  }
}

TEST(Zip, EveryPrefixIsAnError) {
  const Folder folder;
  for (const bool zip64 : {false, true}) {
    const std::string whole = zip({{"a", "one"}, {"b", "two"}}, {.deflate = true, .zip64 = zip64});
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_NE(error_of([&] { read_zip(folder.write("a.zip", whole.substr(0, size))); }), "no error")
          << size;
    }
    EXPECT_EQ(error_of([&] { read_zip(folder.write("a.zip", whole)); }), "no error");
  }
}

TEST(Zip, DamageIsAnErrorOrHarmless) {
  const Folder folder;
  const std::string whole = zip({{"a", "one"}, {"b", "two two two"}}, {.deflate = true, .zip64 = true});
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = whole;
    for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = static_cast<char>(random());
    error_of([&] { read_zip(folder.write("a.zip", damaged)); });
  }
}

// ---- tar

TEST(Tar, NamesInAllTheirForms) {
  const Folder folder;
  const std::string longest(300, 'n');
  const std::string record = "path=" + longest + "x\n";
  std::string bytes = tar_entry("./1.ppm", photo(1)) + tar_entry("folder", "", '5') +
                      tar_entry("2.ppm", photo(2), '0', "deep/er") +
                      tar_entry("././@LongLink", longest + '\0', 'L') + tar_entry("cut", photo(3)) +
                      tar_entry("head", std::to_string(record.size() + 4) + " " + record, 'x') +
                      tar_entry("cut", photo(4)) + tar_entry("link", "", '2') +
                      tar_entry("5.ppm", photo(5), '\0') + std::string(1024, '\0');
  const TarArchive archive(folder.write("a.tar", bytes));
  ASSERT_EQ(archive.size(), 5U);
  EXPECT_EQ(archive.name(0), "1.ppm");
  EXPECT_EQ(archive.name(1), "deep/er/2.ppm");
  EXPECT_EQ(archive.name(2), longest);
  EXPECT_EQ(archive.name(3), longest + "x");
  EXPECT_EQ(archive.name(4), "5.ppm");
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(text(archive.content(static_cast<std::size_t>(i))), photo(i + 1));
}

TEST(Tar, SizesOfPaxAndOfBase256) {
  const Folder folder;
  std::string pax = tar_entry("1.ppm", photo(1));
  std::memcpy(pax.data() + 124, "00000000000", 11);  // the size is the pax header's to say
  unsigned sum = 0;
  std::memcpy(pax.data() + 148, "        ", 8);
  for (int i = 0; i < 512; ++i) sum += static_cast<unsigned char>(pax[static_cast<std::size_t>(i)]);
  std::memcpy(pax.data() + 148, fmt::format("{:06o}\0 ", sum).data(), 8);
  const std::string record = fmt::format("size={}\n", photo(1).size());
  const std::string size = fmt::format("{} {}", record.size() + 3, record);
  std::string wide = tar_entry("2.ppm", photo(2));
  std::memset(wide.data() + 124, 0, 12);
  wide[124] = static_cast<char>(0x80);
  wide[135] = static_cast<char>(photo(2).size() & 0xFF);
  wide[134] = static_cast<char>(photo(2).size() >> 8);
  std::memcpy(wide.data() + 148, "        ", 8);
  sum = 0;
  for (int i = 0; i < 512; ++i) sum += static_cast<unsigned char>(wide[static_cast<std::size_t>(i)]);
  std::memcpy(wide.data() + 148, fmt::format("{:06o}\0 ", sum).data(), 8);
  const TarArchive archive(
      folder.write("a.tar", tar_entry("head", size, 'x') + pax + wide + std::string(1024, '\0')));
  ASSERT_EQ(archive.size(), 2U);
  EXPECT_EQ(text(archive.content(0)), photo(1));
  EXPECT_EQ(text(archive.content(1)), photo(2));
}

TEST(Tar, EveryPrefixIsAnError) {
  const Folder folder;
  const std::string whole = tar_entry("head", "12 path=abc\n", 'x') + tar_entry("1", "one") +
                            tar_entry("2", "two") + std::string(512, '\0');
  // Of blocks that are cut at other places there is no more to see.
  for (std::size_t size = 0; size < whole.size(); size += size % 512 < 8 ? 1 : 63) {
    EXPECT_NE(error_of([&] { read_tar(folder.write("a.tar", whole.substr(0, size))); }), "no error")
        << size;
  }
  EXPECT_EQ(error_of([&] { read_tar(folder.write("a.tar", whole)); }), "no error");
}

TEST(Tar, ErrorsSayWhere) {
  const Folder folder;
  EXPECT_TRUE(says(error_of([&] { read_tar(folder.write("a.tar", std::string(2000, 'x'))); }),
                   "a.tar: byte 0] expected a tar archive, got another kind of file"));
  std::string bytes = tar({{"1", "one"}, {"2", "two"}});
  bytes[1024 + 3] = 'x';
  EXPECT_TRUE(says(error_of([&] { read_tar(folder.write("a.tar", bytes)); }),
                   "a.tar: byte 1024] expected the header of an entry, got a block whose checksum"));
}

TEST(Tar, DamageIsAnErrorOrHarmless) {
  const Folder folder;
  std::mt19937 random(11);
  for (int i = 0; i < 300; ++i) {
    // Headers whose checksums are right: the fields that decide are at random.
    std::string size(random() % 14, '7');
    for (char& c : size) c = static_cast<char>(random());
    const std::string records = std::to_string(random() % 40) + " path=" + size + "\n";
    std::string bytes = tar_entry(size, records, "0xgLK75"[random() % 7]) + tar_entry("1", "one", 'x') +
                        std::string(512, '\0');
    error_of([&] { read_tar(folder.write("a.tar", bytes)); });
  }
}

}  // namespace
}  // namespace maru::data
