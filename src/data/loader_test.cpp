#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "data/draws.h"
#include "data/test_archives.h"
#include "tests/shared.h"

namespace maru {
namespace {

using namespace data::testing_files;

// Photos in memory: sample i is photo(i), of a size of its own; some are broken.
class Photos final : public DataSet {
 public:
  explicit Photos(int count, std::set<std::int64_t> broken = {}, std::int64_t classes = 0)
      : broken_(std::move(broken)) {
    classes_ = classes;
    for (int i = 0; i < count; ++i) {
      files_.push_back(photo(i, 8 + i % 5, 6 + i % 3));
      if (broken_.contains(i)) files_.back().resize(20);
    }
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t label(std::int64_t index) const override { return index % 10; }
  std::string name(std::int64_t index) const override { return fmt::format("photo {}", index); }
  StoredPhoto read(std::int64_t index, std::vector<std::byte>& /*scratch*/) const override {
    const std::string& file = files_[static_cast<std::size_t>(index)];
    return {std::as_bytes(std::span(file)), 0, 0, 0, label(index)};
  }

 private:
  std::set<std::int64_t> broken_;
  std::vector<std::string> files_;
};

// A batch as values, so that batches of several loaders compare.
struct Copy {
  std::vector<std::byte> pixels;
  std::vector<Preprocess::Frame> frames;
  std::vector<float> floats, labels;
  std::vector<Drawn> samples;
  std::int64_t count, position;

  explicit Copy(const Batch& batch)
      : pixels(batch.pixels.begin(), batch.pixels.end()),
        frames(batch.frames.begin(), batch.frames.end()),
        floats(batch.floats.begin(), batch.floats.end()),
        labels(batch.labels.begin(), batch.labels.end()),
        samples(batch.samples.begin(), batch.samples.end()),
        count(batch.count),
        position(batch.position) {}

  // Between photos is what padding leaves.
  std::vector<std::byte> photo(std::size_t n) const {
    const Preprocess::Frame& frame = frames[n];
    const auto* first = pixels.data() + std::int64_t{frame.offset_16} * 16;
    return {first, first + std::int64_t{frame.height} * frame.row_bytes};
  }
  bool operator==(const Copy& other) const {
    if (frames != other.frames || floats != other.floats || labels != other.labels ||
        samples != other.samples || count != other.count || position != other.position) {
      return false;
    }
    for (std::size_t n = 0; n < frames.size(); ++n) {
      if (photo(n) != other.photo(n)) return false;
    }
    return true;
  }
};

std::vector<Copy> batches(const std::shared_ptr<const DataSet>& set, const LoaderOptions& options,
                          int most = 1000) {
  Loader loader(set, options);
  std::vector<Copy> all;
  for (int i = 0; i < most; ++i) {
    const Batch batch = loader.next();
    if (batch.end) break;
    all.emplace_back(batch);
  }
  return all;
}

LoaderOptions training(std::int64_t batch = 4) {
  LoaderOptions options;
  options.batch = batch;
  options.augment = {.height = 8,
                     .width = 8,
                     .mirror = true,
                     .area_low = 0.3,
                     .area_high = 1,
                     .brightness = 0.3,
                     .contrast = 0.3,
                     .saturation = 0.3};
  options.shuffle = true;
  options.seed = 5;
  options.threads = 1;
  return options;
}

LoaderOptions testing_pass(std::int64_t batch = 4) {
  LoaderOptions options;
  options.batch = batch;
  options.augment = {.height = 20, .width = 20};
  options.threads = 2;
  options.repeat = false;
  return options;
}

TEST(Loader, GivesPhotosAsTheyAreWhereNothingIsAsked) {
  const auto set = std::make_shared<Photos>(10);
  const auto all = batches(set, testing_pass());
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].count, 4);
  EXPECT_EQ(all[2].count, 2);
  EXPECT_EQ(all[2].position, 8);
  for (int i = 0; i < 10; ++i) {
    const Copy& batch = all[static_cast<std::size_t>(i / 4)];
    const auto n = static_cast<std::size_t>(i % 4);
    EXPECT_EQ(batch.samples[n], (Drawn{i, false}));
    EXPECT_EQ(batch.labels[n], static_cast<float>(i));
    const Preprocess::Frame& frame = batch.frames[n];
    EXPECT_EQ(frame.width, 8 + i % 5);
    EXPECT_EQ(frame.height, 6 + i % 3);
    const auto pixels = batch.photo(n);
    for (int y = 0; y < frame.height; ++y) {
      for (int x = 0; x < frame.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          ASSERT_EQ(
              std::to_integer<int>(pixels[static_cast<std::size_t>((y * frame.width + x) * 3 + c)]),
              level(i, x, y, c));
        }
      }
    }
  }
  // What is no sample is one black pixel.
  for (const std::size_t n : {2U, 3U}) {
    EXPECT_EQ(all[2].samples[n], Drawn{});
    EXPECT_EQ(all[2].labels[n], 0);
    EXPECT_EQ(all[2].photo(n), std::vector<std::byte>(3));
  }
}

TEST(Loader, PhotosLieSideBySideWithinTheirRoom) {
  const auto set = std::make_shared<Photos>(40);
  const LoaderOptions options = training();
  EXPECT_EQ(Loader::photo_bytes(options.augment), 192);
  for (const Copy& batch : batches(set, options, 20)) {
    std::int64_t at = 0;
    for (const Preprocess::Frame& frame : batch.frames) {
      ASSERT_EQ(std::int64_t{frame.offset_16} * 16, at);
      const std::int64_t bytes = std::int64_t{frame.height} * frame.row_bytes;
      ASSERT_LE(bytes, 8 * 8 * 3);
      at += (bytes + 15) / 16 * 16;
    }
    EXPECT_EQ(static_cast<std::int64_t>(batch.pixels.size()), at);
  }
}

TEST(Loader, ThreadsChangeNothing) {
  const auto set = std::make_shared<Photos>(37, std::set<std::int64_t>{3, 20});
  LoaderOptions options = training(5);
  const auto wanted = batches(set, options, 30);
  for (const int threads : {2, 3, 7}) {
    for (const int ahead : {1, 4}) {
      options.threads = threads;
      options.ahead = ahead;
      EXPECT_EQ(batches(set, options, 30), wanted) << threads << " " << ahead;
    }
  }
}

TEST(Loader, GoesOnAtAnyPositionWithTheSameBits) {
  const auto set = std::make_shared<Photos>(11);
  LoaderOptions options = training(4);
  options.threads = 2;
  const auto whole = batches(set, options, 12);
  for (int from = 0; from < 12; ++from) {
    options.first = 4 * from;
    const auto rest = batches(set, options, 12 - from);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + from)) << from;
  }
  // Where batches begin elsewhere, the samples are the same.
  options.first = 3;
  const auto shifted = batches(set, options, 2);
  EXPECT_EQ(shifted[0].photo(1), whole[1].photo(0));
  EXPECT_EQ(shifted[1].photo(0), whole[1].photo(3));
}

TEST(Loader, EachEpochHasAllSamplesInAnOrderOfItsOwn) {
  const auto set = std::make_shared<Photos>(30);
  LoaderOptions options = training(10);
  const auto all = batches(set, options, 9);
  std::vector<std::vector<std::int64_t>> orders;
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> order;
    for (std::size_t b = 0; b < 3; ++b) {
      for (const Drawn& drawn : all[3 * epoch + b].samples) order.push_back(drawn.index);
    }
    orders.push_back(order);
    std::ranges::sort(order);
    for (std::int64_t i = 0; i < 30; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
  options.seed = 6;
  std::vector<std::int64_t> other;
  for (const Copy& batch : batches(set, options, 3)) {
    for (const Drawn& drawn : batch.samples) other.push_back(drawn.index);
  }
  EXPECT_NE(other, orders[0]);
}

TEST(Loader, RanksShareWhatOneWouldSee) {
  const auto set = std::make_shared<Photos>(29);
  for (const bool repeat : {true, false}) {
    LoaderOptions one = training(12), share = training(4);
    one.repeat = share.repeat = repeat;
    share.ranks = 3;
    const auto whole = batches(set, one, 7);
    for (int rank = 0; rank < 3; ++rank) {
      share.rank = rank;
      const auto mine = batches(set, share, 7);
      ASSERT_EQ(mine.size(), whole.size());
      EXPECT_EQ(Loader(set, share).batches(), repeat ? -1 : 3);
      for (std::size_t b = 0; b < mine.size(); ++b) {
        EXPECT_EQ(mine[b].position, whole[b].position + 4 * rank);
        EXPECT_EQ(mine[b].count, std::clamp<std::int64_t>(whole[b].count - 4 * rank, 0, 4));
        for (std::size_t n = 0; n < 4; ++n) {
          const std::size_t at = n + 4 * static_cast<std::size_t>(rank);
          EXPECT_EQ(mine[b].samples[n], whole[b].samples[at]);
          EXPECT_EQ(mine[b].labels[n], whole[b].labels[at]);
          EXPECT_EQ(mine[b].photo(n), whole[b].photo(at));
        }
      }
    }
  }
}

TEST(Loader, EndsAndKeepsSayingSo) {
  const auto set = std::make_shared<Photos>(5);
  Loader loader(set, testing_pass(5));
  EXPECT_EQ(loader.batches(), 1);
  EXPECT_EQ(loader.next().count, 5);
  for (int i = 0; i < 3; ++i) {
    const Batch none = loader.next();
    EXPECT_TRUE(none.end);
    EXPECT_EQ(none.count, 0);
    EXPECT_TRUE(none.pixels.empty());
  }
}

TEST(Loader, BrokenPhotosAreReportedOnceAndReplaced) {
  const auto set = std::make_shared<Photos>(12, std::set<std::int64_t>{2, 7});
  LoaderOptions options = training(6);
  options.threads = 3;
  std::mutex mutex;
  std::map<std::string, int> reports;
  options.report = [&](const std::string& name, const Error& error) {
    const std::lock_guard lock(mutex);
    ++reports[name];
    EXPECT_TRUE(says(error.what(), name));
  };
  const auto all = batches(set, options, 10);  // five epochs
  EXPECT_EQ(reports, (std::map<std::string, int>{{"photo 2", 1}, {"photo 7", 1}}));
  int stand_ins = 0;
  std::set<std::int64_t> replaced_by;
  for (const Copy& batch : all) {
    EXPECT_EQ(batch.count, 6);
    for (std::size_t n = 0; n < 6; ++n) {
      const Drawn& drawn = batch.samples[n];
      EXPECT_TRUE(drawn.index != 2 && drawn.index != 7);
      EXPECT_EQ(batch.labels[n], static_cast<float>(drawn.index % 10));
      if (!drawn.stand_in) continue;
      ++stand_ins;
      replaced_by.insert(drawn.index);
    }
  }
  EXPECT_EQ(stand_ins, 10);
  EXPECT_GT(replaced_by.size(), 2U);
}

TEST(Loader, WhereNothingCanBeReadItSaysWhy) {
  std::set<std::int64_t> broken;
  for (std::int64_t i = 0; i < 8; ++i) broken.insert(i);
  Loader loader(std::make_shared<Photos>(8, broken), training());
  const std::string error = error_of([&] { loader.next(); });
  EXPECT_TRUE(says(
      error,
      "[loader] expected photos that can be read, got 1000 in a row that cannot, the last: [photo "));
  EXPECT_EQ(error_of([&] { loader.next(); }), error);
}

TEST(Loader, LabelsOutOfRangeEndIt) {
  LoaderOptions options = testing_pass(3);
  Loader loader(std::make_shared<Photos>(12, std::set<std::int64_t>{}, 7), options);
  EXPECT_EQ(loader.next().count, 3);
  EXPECT_EQ(loader.next().count, 3);
  const std::string wanted =
      "[photo 7] expected a label from 0 to 6, one of 7 classes, got 7; try labels that count from 0, "
      "and as "
      "many outputs as there are classes";
  EXPECT_EQ(error_of([&] { loader.next(); }), wanted);
  EXPECT_EQ(error_of([&] { loader.next(); }), wanted);
}

TEST(Loader, WhatAReportThrowsComesOutOfNext) {
  LoaderOptions options = testing_pass(3);
  options.report = [](const std::string&, const Error&) { throw std::runtime_error("enough"); };
  Loader loader(std::make_shared<Photos>(12, std::set<std::int64_t>{4}), options);
  EXPECT_EQ(loader.next().count, 3);
  EXPECT_THROW(loader.next(), std::runtime_error);
}

TEST(Loader, MayEndAtAnyTime) {
  const auto set = std::make_shared<Photos>(100);
  LoaderOptions options = training(16);
  options.threads = 4;
  for (int given = 0; given < 4; ++given) {
    for (int i = 0; i < 5; ++i) {
      Loader loader(set, options);
      for (int n = 0; n < given; ++n) loader.next();
    }
  }
}

// A loader that puts batches into three buffers, one after the other.
struct LoaderIntoMemory : ::testing::Test {
  LoaderIntoMemory() {
    const auto bytes = static_cast<std::size_t>(Loader::batch_bytes(options));
    memory.resize(3 * bytes + 16);
    void* start = memory.data();
    std::size_t space = memory.size();
    std::align(16, 3 * bytes, start, space);
    for (std::size_t i = 0; i < 3; ++i)
      options.memory.emplace_back(static_cast<std::byte*>(start) + i * bytes, bytes);
  }
  // So many batches, each found in its buffer.
  std::vector<Copy> found(int count) const {
    std::vector<Copy> all;
    Loader loader(set, options);
    for (int i = 0; i < count; ++i) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.pixels.data(), options.memory[static_cast<std::size_t>(i) % 3].data());
      all.emplace_back(batch);
    }
    return all;
  }

  const std::shared_ptr<Photos> set = std::make_shared<Photos>(37);
  LoaderOptions options = training(5);
  const std::vector<Copy> packed = batches(set, options, 9);  // in the loader's own memory
  std::vector<std::byte> memory;
};

TEST_F(LoaderIntoMemory, GivesTheSameBatches) { EXPECT_EQ(found(9), packed); }

TEST_F(LoaderIntoMemory, LeavesPhotosWhereTheyAreMadeWhenAsked) {
  options.packed = false;
  std::vector<Copy> all = found(9);
  int moved = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Copy& batch = all[i];
    for (std::size_t n = 0; n < batch.frames.size(); ++n) {
      EXPECT_EQ(std::int64_t{batch.frames[n].offset_16} * 16,
                static_cast<std::int64_t>(n) * Loader::photo_bytes(options.augment));
      EXPECT_EQ(batch.photo(n), packed[i].photo(n));
      moved += batch.frames[n].offset_16 != packed[i].frames[n].offset_16;
    }
    batch.frames = packed[i].frames;
    batch.pixels = packed[i].pixels;
    EXPECT_EQ(batch, packed[i]) << "beside the photos";
  }
  EXPECT_GT(moved, 0) << "none is smaller than its place: nothing was to be moved together";
}

TEST(Loader, OptionsOutOfRangeAreNamed) {
  const auto set = std::make_shared<Photos>(3);
  const auto error = [&](auto&& change) {
    LoaderOptions options = testing_pass();
    change(options);
    return error_of([&] { Loader(set, options); });
  };
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.batch = 0; }), "[loader: batch] expected 1 to"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.first = -1; }), "[loader: first]"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.rank = 1; }), "[loader: rank]"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.threads = -1; }), "[loader: threads]"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.ahead = 0; }), "[loader: ahead]"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) { o.augment.height = 0; }), "[augmentation: height]"));
  EXPECT_TRUE(says(error([](LoaderOptions& o) {
                     o.batch = 1 << 20;
                     o.augment.height = o.augment.width = 224;
                   }),
                   "[loader: batch] expected at most 34359738352 bytes of photos"));
  std::vector<std::byte> small(16);
  EXPECT_TRUE(says(error([&](LoaderOptions& o) { o.memory = {small, small}; }), "[loader: memory]"));
}

TEST(Loader, RawPlanesBecomePhotos) {
  const Folder folder;
  lmdb(folder.path("db"), {{"0", datum({3, 6, 8, 2, planes(4, 8, 6)})},
                           {"1", datum({1, 6, 8, 1, planes(5, 8, 6, 1)})},
                           {"2", datum({.label = 3, .data = photo(6), .encoded = true})}});
  const auto all = batches(open_data_set({folder.path("db")}), testing_pass(3));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].labels, (std::vector<float>{2, 1, 3}));
  for (std::size_t n = 0; n < 3; ++n) {
    const auto pixels = all[0].photo(n);
    ASSERT_EQ(pixels.size(), 144U);
    for (int i = 0; i < 144; ++i) {
      const int c = n == 1 ? 0 : i % 3;
      ASSERT_EQ(std::to_integer<int>(pixels[static_cast<std::size_t>(i)]),
                level(4 + static_cast<int>(n), i / 3 % 8, i / 24, c));
    }
  }
}

// ---- floats

std::shared_ptr<const MeanImage> mean_image(int width, int height) {
  auto mean = std::make_shared<MeanImage>();
  mean->width = width;
  mean->height = height;
  for (int i = 0; i < 3 * width * height; ++i)
    mean->values.push_back(static_cast<float>(i % 97) + 0.3F);
  return mean;
}

// Caffe's DataTransformer::Transform of a Datum, element by element.
TEST(Loader, FloatsAreThoseOfCaffesTransformer) {
  const auto set = std::make_shared<Photos>(20);
  LoaderOptions options = testing_pass(20);
  options.augment = {.height = 7,
                     .width = 7,
                     .new_height = 11,
                     .new_width = 12,
                     .crop = 7,
                     .random = true,
                     .mirror = true};
  options.floats = FloatInput{.mean = mean_image(12, 11), .scale = 0.25F};
  const auto all = batches(set, options);
  ASSERT_EQ(all.size(), 1U);
  ASSERT_EQ(all[0].floats.size(), 20U * 3 * 49);
  std::set<bool> mirrored;
  for (int i = 0; i < 20; ++i) {
    std::vector<std::uint8_t> photo, resized(11 * 12 * 3);
    const int width = 8 + i % 5, height = 6 + i % 3;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) photo.push_back(level(i, x, y, c));
      }
    }
    resize_bilinear({photo.data(), width, height, static_cast<std::size_t>(width) * 3},
                    {resized.data(), 12, 11, 36});
    const Augmented how =
        draw_augmented(options.augment, height, width, options.seed, static_cast<std::uint64_t>(i));
    mirrored.insert(how.mirror);
    for (int c = 0; c < 3; ++c) {
      for (int h = 0; h < 7; ++h) {
        for (int w = 0; w < 7; ++w) {
          const int y = how.part.y + h, x = how.part.x + w;
          const auto element =
              static_cast<float>(resized[static_cast<std::size_t>((y * 12 + x) * 3 + 2 - c)]);
          const float wanted = (element - options.floats->mean->at(c, y, x)) * 0.25F;
          const int top = how.mirror ? 6 - w : w;
          ASSERT_EQ(all[0].floats[static_cast<std::size_t>(((i * 3 + c) * 7 + h) * 7 + top)], wanted);
        }
      }
    }
  }
  EXPECT_EQ(mirrored.size(), 2U);
}

TEST(Loader, FloatsWithMeanValuesInEitherOrder) {
  LoaderOptions options = testing_pass(1);
  options.augment = {.height = 6, .width = 8};
  for (const bool bgr : {true, false}) {
    options.floats = FloatInput{.mean_values = {1, 2, 3}, .scale = 2, .bgr = bgr};
    const auto all = batches(std::make_shared<Photos>(1), options);
    for (int c = 0; c < 3; ++c) {
      EXPECT_EQ(all[0].floats[static_cast<std::size_t>(c * 48 + 9)],
                2 * (static_cast<float>(level(0, 1, 1, bgr ? 2 - c : c)) - static_cast<float>(c + 1)));
    }
  }
}

TEST(Loader, FloatsNeedTheMeansSize) {
  LoaderOptions options = testing_pass(1);
  options.augment = {.height = 6, .width = 8};
  options.floats = FloatInput{.mean = mean_image(9, 9)};
  Loader other(std::make_shared<Photos>(1), options);
  EXPECT_TRUE(says(error_of([&] { other.next(); }),
                   "[photo 0] expected 9 x 9 pixels, as the mean image, got 8 x 6"));
  options.augment = {.height = 6, .width = 9};
  Loader wide(std::make_shared<Photos>(1), options);
  EXPECT_TRUE(says(error_of([&] { wide.next(); }), "[photo 0] expected 9 x 6 pixels, got 8 x 6"));
}

TEST(Loader, BlanksAmongFloatsAreZero) {
  LoaderOptions options = testing_pass(4);
  options.augment = {.height = 4, .width = 4, .new_height = 4, .new_width = 4};
  options.floats = FloatInput{.mean_values = {9, 9, 9}};
  const auto all = batches(std::make_shared<Photos>(5), options);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].count, 1);
  for (std::size_t i = 48; i < 4 * 48; ++i) EXPECT_EQ(all[1].floats[i], 0);
}

TEST(Loader, TinyImageNetTrains) {
  MARU_NEEDS_SHARED("data/tiny-imagenet/val.txt");
  const auto set =
      open_data_set({.path = (maru::testing::shared_folder() / "data/tiny-imagenet/val.txt").string(),
                     .classes = 200});
  LoaderOptions options = training(32);
  options.augment.height = options.augment.width = 224;
  options.report = [](const std::string& name, const Error&) { ADD_FAILURE() << name; };
  const auto wanted = batches(set, options, 8);
  options.threads = 3;
  EXPECT_EQ(batches(set, options, 8), wanted);
}

}  // namespace
}  // namespace maru
