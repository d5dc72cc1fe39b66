// Data sets of tar shards and of LMDB.
#include <gtest/gtest.h>

#include "data/data_set.h"
#include "data/datum.h"
#include "data/test_archives.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;
using namespace testing_files;

std::string content(const DataSet& data, std::int64_t index) {
  std::vector<std::byte> scratch;
  const auto bytes = data.read(index, scratch).bytes;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string open_error(const DataSource& source) {
  return error_of([&] { open_data_set(source); });
}

// ---- tar

TEST(DataTar, LabelsBesidePhotosAsWebdatasetWritesThem) {
  const Folder folder;
  folder.write("s-1.tar", tar({{"b/2.ppm", photo(2)}, {"b/2.cls", " 7\n"}, {"b/2.json", "{}"}}));
  folder.write("s-0.tar", tar({{"0.cls", "3"},
                               {"0.ppm", photo(0)},
                               {"0.mask.ppm", photo(9)},
                               {"1.PPM", photo(1)},
                               {"1.cls", "0"}}));
  folder.write("other.tar", tar({{"x.ppm", photo(5)}, {"x.cls", "1"}}));
  const auto data = open_data_set({folder.path("s-*.tar")});
  ASSERT_EQ(data->size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(content(*data, i), photo(i)) << i;
  EXPECT_EQ(data->label(0), 3);
  EXPECT_EQ(data->label(1), 0);
  EXPECT_EQ(data->label(2), 7);
  EXPECT_EQ(data->name(2), folder.path("s-1.tar").string() + ": b/2.ppm");
  EXPECT_EQ(data->check().bad, 0);
  EXPECT_EQ(open_data_set({folder.path()})->size(), 4);
  EXPECT_EQ(open_data_set({folder.path("s-{0,1}.tar")})->size(), 3);
  EXPECT_EQ(open_data_set({folder.path("s-0.tar")})->size(), 2);
}

TEST(DataTar, AFolderForEachClassInAllShards) {
  const Folder folder;
  folder.write("0.tar", tar({{"./train/dog/a.ppm", photo(1)}, {"train/cat/deep/b.ppm", photo(2)}}));
  folder.write("1.tar", tar({{"train/ape/c.ppm", photo(3)}, {"train/readme.txt", "none"}}));
  const auto data = open_data_set({folder.path("*.tar")});
  ASSERT_EQ(data->size(), 3);
  EXPECT_EQ(data->class_names(), (std::vector<std::string>{"ape", "cat", "dog"}));
  EXPECT_EQ(data->label(0), 2);
  EXPECT_EQ(data->label(1), 1);
  EXPECT_EQ(data->label(2), 0);
  EXPECT_TRUE(says(open_error({.path = folder.path("*.tar"), .classes = 2}), "got 3 folders"));
}

TEST(DataTar, ErrorsNameTheEntry) {
  const Folder folder;
  const auto error = [&](const std::vector<std::pair<std::string, std::string>>& files) {
    return open_error({.path = folder.write("a.tar", tar(files)), .classes = 10});
  };
  EXPECT_TRUE(says(error({{"a.ppm", photo(1)}, {"b.ppm", photo(1)}, {"b.cls", "1"}}),
                   "a.tar: a.ppm] expected its label beside it, in a.cls, got none"));
  EXPECT_TRUE(says(error({{"a.ppm", photo(1)}, {"a.cls", "10"}}),
                   "a.tar: a.cls] expected a label from 0 to 9, one of 10 classes, got \"10\""));
  EXPECT_TRUE(says(error({{"a.ppm", photo(1)}, {"a.cls", "dog"}}), "got \"dog\""));
  EXPECT_TRUE(says(error({{"a.ppm", photo(1)}, {"a.cls", "-1"}}), "got \"-1\""));
  EXPECT_TRUE(says(error({{"a.ppm", photo(1)}}), "or a folder for each class, got neither"));
  EXPECT_TRUE(says(error({{"x/a.ppm", photo(1)}, {"b.ppm", photo(1)}}), "a.tar: b.ppm]"));
  EXPECT_TRUE(says(error({{"a.txt", "x"}}), "expected photos in the archive"));
  EXPECT_TRUE(says(open_error({folder.path("none-*.tar")}), "nothing that matches"));
}

TEST(DataTar, AnEmptyPhotoIsNamed) {
  const Folder folder;
  const auto data = open_data_set({folder.write("a.tar", tar({{"a.ppm", ""}, {"a.cls", "0"}}))});
  EXPECT_TRUE(
      says(error_of([&] { content(*data, 0); }), "a.tar: a.ppm] expected a photo, got 0 bytes"));
}

// ---- LMDB

TEST(DataLmdb, DatumsInTheOrderOfTheirKeys) {
  const Folder folder;
  const std::string path = folder.path("train_lmdb");
  lmdb(path, {{"00000001_b", datum({3, 6, 8, 5, planes(2, 8, 6)})},
              {"00000000_a", datum({.label = 4, .data = photo(1), .encoded = true})},
              {"00000002_c", datum({1, 6, 8, 300, planes(3, 8, 6, 1)})}});
  fs::remove(path + "/lock.mdb");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_exec);
  const auto data = open_data_set({path});
  ASSERT_EQ(data->size(), 3);
  EXPECT_EQ(data->label(0), 4);
  EXPECT_EQ(data->label(1), 5);
  EXPECT_EQ(data->label(2), 300);
  EXPECT_EQ(data->name(0), path + ": key 00000000_a");
  EXPECT_EQ(content(*data, 0), photo(1));
  EXPECT_EQ(content(*data, 1), planes(2, 8, 6));
  std::vector<std::byte> scratch;
  const StoredPhoto raw = data->read(1, scratch);
  EXPECT_EQ(raw.channels, 3);
  EXPECT_EQ(raw.height, 6);
  EXPECT_EQ(raw.width, 8);
  EXPECT_EQ(raw.label, 5);
  EXPECT_EQ(data->read(0, scratch).channels, 0);
  EXPECT_EQ(data->check().bad, 0);
  EXPECT_FALSE(fs::exists(path + "/lock.mdb"));
  EXPECT_EQ(open_data_set({path + "/data.mdb"})->size(), 3);
  fs::permissions(path, fs::perms::owner_all);
}

TEST(DataLmdb, LargeRecordsLieInPagesOfTheirOwn) {
  const Folder folder;
  std::vector<std::pair<std::string, std::string>> records;
  for (int i = 0; i < 40; ++i) {
    records.emplace_back(fmt::format("{:08}", i), datum({3, 50, 70, i, planes(i, 70, 50)}));
  }
  lmdb(folder.path("db"), records);
  const auto data = open_data_set({.path = folder.path("db"), .classes = 39});
  ASSERT_EQ(data->size(), 40);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(content(*data, i), planes(i, 70, 50));
  const DataCheck found = data->check();
  EXPECT_EQ(found.bad, 1);
  ASSERT_EQ(found.first.size(), 1U);
  EXPECT_TRUE(
      says(found.first[0], "key 00000039] expected a label from 0 to 38, one of 39 classes, got 39"));
}

TEST(DataLmdb, WhatItDoesNotRead) {
  const Folder folder;
  const auto error = [&](const std::string& record) {
    const Folder place;
    lmdb(place.path("db"), {{"k", record}});
    const auto data = open_data_set({place.path("db")});
    return error_of([&] { content(*data, 0); });
  };
  EXPECT_TRUE(says(error(datum({.channels = 2, .height = 1, .width = 1, .floats = {1, 2}})),
                   "key k] expected a photo of bytes, got a Datum of floats (float_data)"));
  EXPECT_TRUE(
      says(error(datum({3, 6, 8, 0, "short"})), "expected 144 bytes of 3 x 6 x 8, got 5 bytes"));
  EXPECT_TRUE(
      says(error(datum({2, 1, 1, 0, "ab"})), "expected 1 or 3 channels of a photo, got 2 x 1 x 1"));
  EXPECT_TRUE(says(error(datum({3, -1, 1, 0, "ab"})), "got 3 x -1 x 1"));
  EXPECT_TRUE(says(error("\xFF\xFF\xFF"), "a damaged record"));
  EXPECT_TRUE(says(error(datum({3, 1, 1, 0})), "expected a Datum with data, got none"));
  lmdb(folder.path("empty"), {});
  EXPECT_TRUE(says(open_error({folder.path("empty")}), "expected a database with records, got none"));
  folder.write("text/data.mdb", std::string(20000, 'x'));
  EXPECT_TRUE(says(open_error({folder.path("text")}), "expected an LMDB environment"));
  EXPECT_TRUE(says(open_error({folder.path("none"), {}, "lmdb"}), "No such file"));
}

TEST(DataLmdb, ACutOffEnvironmentIsAnError) {
  const Folder folder;
  lmdb(folder.path("db"),
       {{"a", datum({3, 6, 8, 0, planes(1, 8, 6)})}, {"b", datum({3, 60, 80, 0, planes(1, 80, 60)})}});
  std::ifstream file(folder.path("db/data.mdb"), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(file)), {});
  for (std::size_t size = 0; size < whole.size(); size += 509) {
    folder.write("cut/data.mdb", std::string_view(whole).substr(0, size));
    EXPECT_NE(open_error({folder.path("cut")}), "no error") << size;
  }
  folder.write("cut/data.mdb", whole);
  EXPECT_EQ(open_error({folder.path("cut")}), "no error");
}

TEST(DataDatum, EveryPrefixIsAnErrorOrShort) {
  const std::string whole = datum({3, 6, 8, 1, planes(1, 8, 6)});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // The label stands last, and is 0 where there is none.
    const auto parse = [&] {
      return parse_datum(std::as_bytes(std::span(whole.data(), size)), "d").label;
    };
    if (size + 2 == whole.size()) {
      EXPECT_EQ(parse(), 0);
    } else {
      EXPECT_NE(error_of(parse), "no error") << size;
    }
  }
}

}  // namespace
}  // namespace maru::data
