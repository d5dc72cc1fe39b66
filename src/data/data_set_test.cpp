#include "data/data_set.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/kinds.h"
#include "data/test_archives.h"
#include "tests/shared.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;
using namespace testing_files;

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string content(const DataSet& data, std::int64_t index) {
  std::vector<std::byte> scratch;
  return text(data.read(index, scratch).bytes);
}

std::string open_error(const DataSource& source) {
  return error_of([&] { open_data_set(source); });
}

// ---- folders

// Caffe's lists, without a root.
TEST(DataList, PathsMayBeginWhereTheProgramWasStarted) {
  const Folder folder;
  const auto file = folder.write("photos/a.ppm", photo(1));
  const std::string from_here =
      std::filesystem::relative(file, std::filesystem::current_path()).string();
  // So deep that as many ".." do not lead to the root from there, too.
  std::string deep;
  for (const char letter : from_here) deep += letter == '/' ? "/down" : "";
  const auto list = folder.write("lists" + deep + "/here.txt", from_here + " 0\n");
  const auto data = open_data_set({list});
  EXPECT_EQ(data->name(0), from_here);
  EXPECT_EQ(data->check().bad, 0);
  EXPECT_TRUE(data->is_quick_to_check());
  folder.write("lists/none.txt", "nowhere/a.ppm 0\n");
  EXPECT_EQ(open_data_set({folder.path("lists/none.txt")})->name(0),
            folder.path("lists/nowhere/a.ppm").string());
}

TEST(DataFolder, ClassesAreSortedFoldersWithAllPhotosBelow) {
  const Folder folder;
  folder.write("set/zebra/b.ppm", photo(1));
  folder.write("set/zebra/deep/er/a.PPM", photo(2));
  folder.write("set/ape/x.ppm", photo(3));
  folder.write("set/ape/notes.txt", "no photo");
  folder.write("set/ape/._x.ppm", "a Mac's");
  folder.write("set/.cache/y.ppm", photo(4));
  folder.write("set/readme.txt", "no class");
  const auto data = open_data_set({folder.path("set")});
  ASSERT_EQ(data->size(), 3);
  EXPECT_EQ(data->class_names(), (std::vector<std::string>{"ape", "zebra"}));
  EXPECT_EQ(data->classes(), 2);
  EXPECT_EQ(data->label(0), 0);
  EXPECT_EQ(data->label(1), 1);
  EXPECT_EQ(data->label(2), 1);
  EXPECT_EQ(data->name(2), folder.path("set/zebra/deep/er/a.PPM"));
  EXPECT_EQ(content(*data, 0), photo(3));
  EXPECT_EQ(content(*data, 1), photo(1));
  EXPECT_EQ(content(*data, 2), photo(2));
  EXPECT_EQ(data->check().bad, 0);
}

TEST(DataFolder, ErrorsNameTheFolder) {
  const Folder folder;
  folder.write("set/a/x.ppm", photo(1));
  fs::create_directories(folder.path("set/b"));
  EXPECT_EQ(
      open_error({folder.path("set")}),
      "[" + folder.path("set/b").string() +
          "] expected photos of a class (.jpg, .jpeg, .png, .ppm, .pgm), got none; try removing the "
          "folder, if it is no class");
  fs::remove(folder.path("set/b"));
  EXPECT_EQ(open_error({folder.path("set")}), "no error");
  folder.write("set/c/x.ppm", photo(1));
  EXPECT_TRUE(says(open_error({.path = folder.path("set"), .classes = 1}),
                   "expected folders of 1 classes, got 2 folders"));
  folder.write("flat/x.ppm", photo(1));
  EXPECT_TRUE(says(open_error({folder.path("flat")}), "one folder for each class, got no folders"));
  EXPECT_TRUE(says(open_error({folder.path("none")}), "got nothing there"));
  EXPECT_TRUE(
      says(open_error({folder.write("set.tar.gz", "\x1F\x8B\x08 and so on")}), "got gzip; try gunzip"));
  EXPECT_TRUE(says(open_error({folder.write("a.jpg", "\xFF\xD8\xFF and so on")}), "got a photo"));
  EXPECT_TRUE(says(open_error({folder.path("set"), "", "parquet"}), "got parquet"));
  EXPECT_TRUE(says(open_error({""}), "expected a path"));
}

TEST(DataFolder, SaysWhatBecameUnreadable) {
  const Folder folder;
  folder.write("set/a/x.ppm", photo(1));
  folder.write("set/a/y.ppm", photo(2));
  folder.write("set/a/z.ppm", photo(3));
  const auto data = open_data_set({folder.path("set")});
  fs::remove(folder.path("set/a/y.ppm"));
  folder.write("set/a/z.ppm", "");
  EXPECT_TRUE(says(error_of([&] { content(*data, 1); }), "No such file"));
  EXPECT_TRUE(says(error_of([&] { content(*data, 2); }), "got 0 bytes"));
  const DataCheck found = data->check(1);
  EXPECT_EQ(found.samples, 3);
  EXPECT_EQ(found.bad, 2);
  ASSERT_EQ(found.first.size(), 1U);
  EXPECT_TRUE(says(found.first[0], "y.ppm"));
}

// ---- lists

TEST(DataList, LinesAreAPathAndALabel) {
  const Folder folder;
  folder.write("a.ppm", photo(1));
  folder.write("with space 7/b c.ppm", photo(2));
  folder.write("elsewhere.ppm", photo(3));
  const std::string list = folder.write("list.txt",
                                        "\xEF\xBB\xBF"
                                        "a.ppm 4\r\nwith space 7/b c.ppm   0 \n\n" +
                                            folder.path("elsewhere.ppm").string() + "\t12");
  const auto data = open_data_set({list});
  ASSERT_EQ(data->size(), 3);
  EXPECT_EQ(data->label(0), 4);
  EXPECT_EQ(data->label(1), 0);
  EXPECT_EQ(data->label(2), 12);
  EXPECT_EQ(content(*data, 0), photo(1));
  EXPECT_EQ(content(*data, 1), photo(2));
  EXPECT_EQ(content(*data, 2), photo(3));
  EXPECT_EQ(data->classes(), 0);
  EXPECT_TRUE(data->class_names().empty());
}

TEST(DataList, RootIsPutBeforeEveryPath) {
  const Folder folder;
  folder.write("photos/a.ppm", photo(1));
  const std::string list = folder.write("lists/list.txt", "a.ppm 0\n/a.ppm 1\n");
  const auto data = open_data_set({list, folder.path("photos")});
  EXPECT_EQ(content(*data, 0), photo(1));
  EXPECT_EQ(content(*data, 1), photo(1));
  EXPECT_EQ(data->name(1), folder.path("photos").string() + "/a.ppm");
  EXPECT_EQ(open_data_set({list})->check().bad, 2);
}

TEST(DataList, BadLinesAreNamed) {
  const Folder folder;
  const auto error = [&](std::string_view lines, std::int64_t classes = 0) {
    const std::string list = folder.write("l.txt", lines);
    std::string message = open_error({.path = list, .classes = classes});
    const std::size_t at = message.find(list);
    return at == std::string::npos ? message : message.replace(at, list.size(), "l.txt");
  };
  EXPECT_EQ(error("a 0\nb.jpg\n"),
            "[l.txt:2] expected \"path label\", the label a whole number, got \"b.jpg\"; try a list as "
            "Caffe's ImageData layer reads it");
  EXPECT_TRUE(says(error("a 1.5\n"), "[l.txt:1] expected \"path label\""));
  EXPECT_TRUE(says(error("a 99999999999999999999\n"), "[l.txt:1]"));
  EXPECT_TRUE(says(error("17\n"), "[l.txt:1]"));
  EXPECT_TRUE(says(error("a -1\n"), "[l.txt:1] expected a label of 0 or more, got -1"));
  EXPECT_EQ(
      error("a 9\nb 10\n", 10),
      "[l.txt:2] expected a label from 0 to 9, one of 10 classes, got 10; try labels that count from "
      "0, and as many outputs as there are classes");
  EXPECT_TRUE(says(error("\n \n"), "expected lines of \"path label\", got none"));
  EXPECT_TRUE(says(error(""), "0 bytes"));
  EXPECT_TRUE(says(error(std::string_view("a\0b 1\n", 6)), "bytes that are none"));
}

TEST(DataList, ChecksForMissingFilesUpFront) {
  const Folder folder;
  folder.write("a.ppm", photo(1));
  const auto data = open_data_set({folder.write("l.txt", "a.ppm 0\nb.ppm 0\nc.ppm 0\nd.ppm 1\n")});
  EXPECT_EQ(data->size(), 4);
  const DataCheck found = data->check(2);
  EXPECT_EQ(found.samples, 4);
  EXPECT_EQ(found.bad, 3);
  ASSERT_EQ(found.first.size(), 2U);
  EXPECT_TRUE(says(found.first[0], "b.ppm"));
  EXPECT_TRUE(says(found.first[1], "c.ppm"));
}

TEST(DataList, LooksIntoArchivesBesideIt) {
  const Folder folder;
  folder.write("a.zip", zip({{"t/1.ppm", photo(1)}, {"./t/2.ppm", photo(2)}}));
  folder.write("b.zip", zip({{"t/", ""}, {"t/3.ppm", photo(3)}}, {.deflate = true}));
  folder.write("t/4.ppm", photo(4));
  const auto data = open_data_set(
      {folder.write("l.txt", "t/1.ppm 0\nt/2.ppm 1\n./t/3.ppm 2\nt/4.ppm 3\nt/5.ppm 4\n")});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(content(*data, i), photo(i + 1)) << i;
  EXPECT_EQ(data->name(2), folder.path("b.zip").string() + ": t/3.ppm");
  EXPECT_TRUE(says(error_of([&] { content(*data, 4); }), "t/5.ppm"));
  EXPECT_EQ(data->check().bad, 1);
}

TEST(DataList, TinyImageNetIsWhole) {
  MARU_NEEDS_SHARED("data/tiny-imagenet/val.txt");
  const fs::path at = maru::testing::shared_folder() / "data/tiny-imagenet";
  const auto data = open_data_set({.path = (at / "val.txt").string(), .classes = 200});
  EXPECT_EQ(data->size(), 3550);
  EXPECT_EQ(data->check().bad, 0);
  EXPECT_EQ(open_data_set({(at / "train.txt").string()})->size(), 90026);
}

TEST(DataLabel, IsParsedWhole) {
  EXPECT_EQ(parse_label(" 12\n"), 12);
  EXPECT_EQ(parse_label("-3"), -3);
  for (const char* bad : {"", " ", "a", "1a", "1 2", "0x1", "1.0"})
    EXPECT_FALSE(parse_label(bad)) << bad;
}

}  // namespace
}  // namespace maru::data
