#include "data/mean.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/test_archives.h"

namespace maru {
namespace {

using namespace data::testing_files;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

MeanImage small_mean() { return {3, 2, 2, {0, 1, 2, 3, 4.5F, 5, 6, 7, 8, 9, 10, 11.25F}}; }

// compute_image_mean.cpp of Caffe: sums in single precision, in the order of the database.
TEST(Mean, IsThatOfCaffesTool) {
  const Folder folder;
  std::vector<std::pair<std::string, std::string>> records;
  std::vector<float> sum(3 * 6 * 8);
  constexpr int kPhotos = 150;
  for (int i = 0; i < kPhotos; ++i) {
    const std::string data = planes(i, 8, 6);
    records.emplace_back(fmt::format("{:08}", i), datum({3, 6, 8, i, data}));
    for (std::size_t k = 0; k < sum.size(); ++k)
      sum[k] += static_cast<float>(static_cast<std::uint8_t>(data[k]));
  }
  for (float& value : sum) value = value / kPhotos;
  lmdb(folder.path("db"), records);
  const auto data = open_data_set({folder.path("db")});
  std::int64_t done = 0;
  MeanOptions options;
  options.threads = 3;
  options.progress = [&](std::int64_t so_far, std::int64_t of) {
    EXPECT_GT(so_far, done);
    EXPECT_EQ(of, kPhotos);
    done = so_far;
  };
  const MeanImage mean = compute_mean(data, options);
  EXPECT_EQ(done, kPhotos);
  EXPECT_EQ(mean.height, 6);
  EXPECT_EQ(mean.width, 8);
  EXPECT_EQ(mean.values, sum);
  double blue = 0;
  for (std::size_t i = 0; i < 48; ++i) blue += static_cast<double>(sum[i]) / 48;
  ASSERT_EQ(channel_means(mean).size(), 3U);
  EXPECT_NEAR(channel_means(mean)[0], blue, 1e-9);
}

TEST(Mean, ASizeHasRowsAndColumns) {
  const Folder folder;
  folder.write("list.txt", "a.ppm 0\n");
  folder.write("a.ppm", photo(1));
  MeanOptions options;
  options.width = 5;
  EXPECT_TRUE(says(error_of([&] { compute_mean(open_data_set({folder.path("list.txt")}), options); }),
                   "[augmentation: height]"));
}

TEST(Mean, LeavesOutWhatCannotBeRead) {
  const Folder folder;
  folder.write("a.ppm", photo(1));
  folder.write("b.ppm", "no photo");
  folder.write("c.ppm", photo(3));
  const auto data = open_data_set({folder.write("l.txt", "b.ppm 0\na.ppm 0\nnone.ppm 0\nc.ppm 0\n")});
  MeanOptions options;
  int reports = 0;
  options.report = [&](const std::string&, const Error&) { ++reports; };
  const MeanImage mean = compute_mean(data, options);
  EXPECT_EQ(reports, 2);
  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(mean.at(c, 2, 3), static_cast<float>(level(1, 3, 2, 2 - c) + level(3, 3, 2, 2 - c)) / 2);
  }
}

TEST(Mean, OfPhotosOfSeveralSizesOnlyWhereOneIsGiven) {
  const Folder folder;
  folder.write("s/a/1.ppm", photo(1, 8, 6));
  folder.write("s/a/2.ppm", photo(2, 9, 6));
  const auto data = open_data_set({folder.path("s")});
  EXPECT_TRUE(
      says(error_of([&] { compute_mean(data, {}); }), "2.ppm] expected 8 x 6 pixels, got 9 x 6"));
  const MeanImage mean = compute_mean(data, {.height = 4, .width = 5});
  EXPECT_EQ(mean.height, 4);
  EXPECT_EQ(mean.width, 5);
  EXPECT_EQ(mean.values.size(), 60U);
  folder.write("t/a/1.ppm", "none");
  EXPECT_TRUE(says(error_of([&] { compute_mean(open_data_set({folder.path("t")}), {}); }),
                   "expected photos that can be read, got none"));
}

TEST(BinaryProto, IsWrittenAsCaffeWritesIt) {
  const Folder folder;
  const std::string path = folder.path("mean.binaryproto");
  write_binaryproto(path, small_mean());
  // By hand: num, channels, height, width as varints; data, packed: 48 bytes.
  std::string wanted("\x08\x01\x10\x03\x18\x02\x20\x02\x2A\x30", 10);
  for (const float value : small_mean().values) {
    wanted.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  EXPECT_EQ(bytes_of(path), wanted);
  EXPECT_EQ(read_binaryproto(path), small_mean());
  write_binaryproto(path, small_mean());  // over what is there
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_TRUE(
      says(error_of([&] { write_binaryproto(folder.path("none/m"), small_mean()); }), "No such file"));
}

TEST(BinaryProto, OtherSpellingsOfTheSame) {
  const Folder folder;
  const MeanImage mean = small_mean();
  std::string bytes, shape;
  protozero::pbf_writer writer(bytes);
  const std::vector<std::int64_t> extents{3, 2, 2};
  const std::vector<double> doubles(mean.values.begin(), mean.values.end());
  protozero::pbf_writer(shape).add_packed_int64(1, extents.begin(), extents.end());
  writer.add_message(7, shape);
  writer.add_packed_double(8, doubles.begin(), doubles.end());
  EXPECT_EQ(read_binaryproto(folder.write("a", bytes)), mean);
  bytes.clear();
  for (std::uint32_t tag = 1; tag <= 4; ++tag) writer.add_int32(tag, tag == 1 ? 1 : tag == 2 ? 3 : 2);
  for (const float value : mean.values) writer.add_float(5, value);
  EXPECT_EQ(read_binaryproto(folder.write("b", bytes)), mean);
}

TEST(BinaryProto, WhatIsNoneIsAnError) {
  const Folder folder;
  write_binaryproto(folder.path("whole"), small_mean());
  const std::string whole = bytes_of(folder.path("whole"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of([&] { read_binaryproto(folder.write("cut", whole.substr(0, size))); }),
              "no error")
        << size;
  }
  EXPECT_TRUE(
      says(error_of([&] { read_binaryproto(folder.write("x", "name: \"net\"\nlayer {}\n")); }), "x]"));
  std::string more = whole;
  more[5] = 3;
  EXPECT_TRUE(says(error_of([&] { read_binaryproto(folder.write("x", more)); }),
                   "expected 18 values of 3 x 3 x 2, got 12"));
  EXPECT_TRUE(says(error_of([&] { read_binaryproto(folder.path("none")); }), "No such file"));
}

}  // namespace
}  // namespace maru
