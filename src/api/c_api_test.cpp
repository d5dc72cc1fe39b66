#include <gtest/gtest.h>
#include <maru/c.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "tests/tiny_model.h"

namespace {

namespace fs = std::filesystem;
using ::testing::Test;

struct Free {
  void operator()(maru_options* p) const { maru_options_free(p); }
  void operator()(maru_model* p) const { maru_model_free(p); }
  void operator()(maru_session* p) const { maru_session_free(p); }
};
using Options = std::unique_ptr<maru_options, Free>;
using Model = std::unique_ptr<maru_model, Free>;
using Session = std::unique_ptr<maru_session, Free>;

class CApi : public Test {
 protected:
  static void SetUpTestSuite() {
    folder = fs::temp_directory_path() / ("maru_c_api_" + std::to_string(::getpid()));
    maru::testing::write_tiny_model(folder);
  }
  static void TearDownTestSuite() { fs::remove_all(folder); }

  static Options options() {
    maru_options* made = nullptr;
    EXPECT_EQ(maru_options_new(&made), MARU_OK);
    return Options(made);
  }
  static Model load(const maru_options* with = nullptr) {
    maru_model* made = nullptr;
    EXPECT_EQ(maru_model_load(folder.c_str(), with, &made), MARU_OK) << maru_last_error();
    return Model(made);
  }
  static Session session(const maru_model* model) {
    maru_session* made = nullptr;
    EXPECT_EQ(maru_session_new(model, &made), MARU_OK) << maru_last_error();
    return Session(made);
  }
  static std::string best(const maru_session* session, int64_t slot = 0) {
    maru_score score{};
    size_t count = 0;
    EXPECT_EQ(maru_session_top(session, slot, &score, 1, &count), MARU_OK) << maru_last_error();
    EXPECT_EQ(count, 1u);
    return score.label == nullptr ? "" : score.label;
  }
  static bool said(const char* part) {
    return std::string(maru_last_error()).find(part) != std::string::npos;
  }

  static fs::path folder;
};

fs::path CApi::folder;

TEST_F(CApi, describes_the_model) {
  const Model model = load();
  EXPECT_STREQ(maru_model_name(model.get()), "tiny");
  EXPECT_EQ(maru_model_batch(model.get()), 1);
  ASSERT_EQ(maru_model_label_count(model.get()), 4u);
  EXPECT_STREQ(maru_model_label(model.get(), 2), "blue");
  EXPECT_EQ(maru_model_label(model.get(), 4), nullptr);
  ASSERT_EQ(maru_model_output_count(model.get()), 1u);
  EXPECT_STREQ(maru_model_output_name(model.get(), 0), "prob");
  EXPECT_EQ(maru_model_output_name(model.get(), 1), nullptr);
  const char *plan = nullptr, *again = nullptr, *json = nullptr;
  ASSERT_EQ(maru_model_plan_text(model.get(), &plan), MARU_OK);
  ASSERT_EQ(maru_model_plan_text(model.get(), &again), MARU_OK);
  EXPECT_EQ(plan, again);
  EXPECT_NE(std::string(plan).find("conv"), std::string::npos);
  ASSERT_EQ(maru_model_plan_json(model.get(), &json), MARU_OK);
  EXPECT_EQ(json[0], '{');
  EXPECT_STRNE(maru_version(), "");
}

TEST_F(CApi, classifies_photos_from_memory_file_and_pixels) {
  const Model model = load();
  const Session run = session(model.get());
  const std::string blue = maru::testing::tiny_photo(9, 7, 0, 0, 255);
  ASSERT_EQ(maru_session_load_photo(run.get(), blue.data(), blue.size(), nullptr, 0), MARU_OK)
      << maru_last_error();
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK) << maru_last_error();
  EXPECT_EQ(best(run.get()), "blue");

  const fs::path file = folder / "red.ppm";
  std::ofstream(file, std::ios::binary) << maru::testing::tiny_photo(20, 30, 255, 0, 0);
  ASSERT_EQ(maru_session_load_photo_file(run.get(), file.c_str(), 0), MARU_OK) << maru_last_error();
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK);
  EXPECT_EQ(best(run.get()), "red");

  uint8_t* pixels = nullptr;
  ASSERT_EQ(maru_session_photo(run.get(), 5, 4, 0, &pixels), MARU_OK) << maru_last_error();
  for (int i = 0; i < 5 * 4 * 3; ++i) pixels[i] = i % 3 == 1 ? 255 : 0;
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK);
  EXPECT_EQ(best(run.get()), "green");
  EXPECT_GT(maru_session_arena_bytes(run.get()), 0u);
}

TEST_F(CApi, gives_all_scores_when_there_is_room_and_no_more) {
  const Model model = load();
  const Session run = session(model.get());
  const std::string dark = maru::testing::tiny_photo(8, 8, 0, 0, 0);
  ASSERT_EQ(maru_session_load_photo(run.get(), dark.data(), dark.size(), "dark", 0), MARU_OK);
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK);
  std::array<maru_score, 10> scores{};
  size_t count = 0;
  ASSERT_EQ(maru_session_top(run.get(), 0, scores.data(), scores.size(), &count), MARU_OK);
  ASSERT_EQ(count, 4u);
  EXPECT_STREQ(scores[0].label, "dark");
  EXPECT_EQ(scores[0].index, 3);
  float sum = 0;
  for (size_t i = 0; i < count; ++i) sum += scores[i].score;
  EXPECT_NEAR(sum, 1, 1e-5);
  ASSERT_EQ(maru_session_top(run.get(), 0, nullptr, 0, &count), MARU_OK);
  EXPECT_EQ(count, 0u);
}

TEST_F(CApi, options_reach_the_model) {
  const Options with = options();
  const float mean[] = {128};
  ASSERT_EQ(maru_options_set_batch(with.get(), 3), MARU_OK);
  ASSERT_EQ(maru_options_set_threads(with.get(), 1), MARU_OK);
  ASSERT_EQ(maru_options_set_memory(with.get(), MARU_MEMORY_COPY), MARU_OK);
  ASSERT_EQ(maru_options_set_device(with.get(), "auto"), MARU_OK);
  // Channels the wrong way round: red is taken for blue.
  ASSERT_EQ(maru_options_set_preprocessing(with.get(), MARU_CHANNELS_RGB, MARU_RESIZE_CROP, mean, 1,
                                           1 / 128.0F),
            MARU_OK);
  const Model model = load(with.get());
  EXPECT_EQ(maru_model_batch(model.get()), 3);
  const Session run = session(model.get());
  const std::string photos[] = {maru::testing::tiny_photo(8, 8, 255, 0, 0),
                                maru::testing::tiny_photo(8, 8, 0, 255, 0),
                                maru::testing::tiny_photo(8, 8, 0, 0, 255)};
  for (int64_t slot = 0; slot < 2; ++slot) {
    ASSERT_EQ(
        maru_session_load_photo(run.get(), photos[slot].data(), photos[slot].size(), "photo", slot),
        MARU_OK);
  }
  EXPECT_EQ(maru_session_run(run.get()), MARU_ERROR) << "slot 2 was never filled";
  ASSERT_EQ(maru_session_load_photo(run.get(), photos[2].data(), photos[2].size(), "photo", 2),
            MARU_OK);
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK) << maru_last_error();
  EXPECT_EQ(best(run.get(), 0), "blue");
  EXPECT_EQ(best(run.get(), 1), "green");
  EXPECT_EQ(best(run.get(), 2), "red");
}

TEST_F(CApi, precision_and_tuning_reach_the_model) {
  const Options with = options();
  EXPECT_EQ(maru_options_set_precision(with.get(), 3), MARU_ERROR);
  EXPECT_EQ(maru_options_set_precision(nullptr, MARU_PRECISION_FP16), MARU_ERROR);
  EXPECT_EQ(maru_options_set_tune(nullptr, 1), MARU_ERROR);
  ASSERT_EQ(maru_options_set_tune(with.get(), 1), MARU_OK);
  ASSERT_EQ(maru_options_set_device(with.get(), "cpu"), MARU_OK);
  ASSERT_EQ(maru_options_set_precision(with.get(), MARU_PRECISION_FP32), MARU_OK);
  const Model model = load(with.get());
  for (const int precision : {MARU_PRECISION_TF32, MARU_PRECISION_FP16}) {
    ASSERT_EQ(maru_options_set_precision(with.get(), precision), MARU_OK);
    maru_model* none = nullptr;
    EXPECT_EQ(maru_model_load(folder.c_str(), with.get(), &none), MARU_ERROR);
    EXPECT_EQ(none, nullptr);
    const std::string error = maru_last_error();
    EXPECT_EQ(error.find("[precision] expected fp32, which the device cpu computes in, got "), 0u)
        << error;
  }
}

TEST_F(CApi, takes_raw_tensors_and_shows_inner_values) {
  const Options with = options();
  ASSERT_EQ(maru_options_set_photos(with.get(), 0), MARU_OK);
  ASSERT_EQ(maru_options_set_optimize(with.get(), 0), MARU_OK);
  ASSERT_EQ(maru_options_set_batch(with.get(), 0), MARU_OK);  // the file says 2
  ASSERT_EQ(maru_options_add_output(with.get(), "pool"), MARU_OK);
  const Model model = load(with.get());
  ASSERT_EQ(maru_model_input_count(model.get()), 1u);
  EXPECT_STREQ(maru_model_input_name(model.get(), 0), "data");
  const Session run = session(model.get());
  maru_tensor input{}, pool{};
  ASSERT_EQ(maru_session_input(run.get(), "data", &input), MARU_OK) << maru_last_error();
  EXPECT_EQ(input.dtype, MARU_F32);
  ASSERT_EQ(input.rank, 4);
  const int64_t shape[MARU_MAX_RANK] = {2, 3, 8, 8};
  EXPECT_EQ(std::memcmp(input.shape, shape, sizeof(shape)), 0);
  ASSERT_EQ(input.bytes, sizeof(float) * 2 * 3 * 8 * 8);
  auto* levels = static_cast<float*>(input.data);
  for (int i = 0; i < 2 * 3 * 8 * 8; ++i) levels[i] = i < 3 * 8 * 8 ? 0.5F : 0;
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK) << maru_last_error();
  ASSERT_EQ(maru_session_output(run.get(), "pool", &pool), MARU_OK) << maru_last_error();
  ASSERT_EQ(pool.bytes, sizeof(float) * 2 * 4 * 4 * 4);
  const auto* values = static_cast<const float*>(pool.data);
  EXPECT_NEAR(values[5], 0.5, 1e-6);    // an inner pixel of the first image's blue
  EXPECT_EQ(values[3 * 16 + 5], 0);     // darkness is negative, cut by the ReLU
  EXPECT_EQ(values[4 * 4 * 4 + 5], 0);  // the second image
}

TEST_F(CApi, counts_copies_as_the_cpp_api_does) {
  const Model model = load();
  const Session run = session(model.get());
  const std::string photo = maru::testing::tiny_photo(8, 8, 1, 2, 3);
  ASSERT_EQ(maru_session_load_photo(run.get(), photo.data(), photo.size(), "photo", 0), MARU_OK);
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK);
  const maru_copy* copies = nullptr;
  size_t count = 99;
  ASSERT_EQ(maru_session_copies(run.get(), &copies, &count), MARU_OK);
  ASSERT_LT(count, 99u);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_STRNE(copies[i].cause, "");
    EXPECT_GT(copies[i].bytes, 0u);
  }
}

TEST_F(CApi, errors_are_statuses_with_a_text_and_leave_results_alone) {
  maru_model* model = nullptr;
  EXPECT_EQ(maru_model_load("/nowhere/at/all", nullptr, &model), MARU_ERROR);
  EXPECT_EQ(model, nullptr);
  EXPECT_TRUE(said("/nowhere/at/all")) << maru_last_error();

  const Model loaded = load();
  const Session run = session(loaded.get());
  EXPECT_EQ(maru_session_run(run.get()), MARU_ERROR) << "no photo yet";
  EXPECT_EQ(maru_session_load_photo(run.get(), "no photo", 8, "note.txt", 0), MARU_ERROR);
  EXPECT_TRUE(said("note.txt")) << maru_last_error();
  EXPECT_EQ(maru_session_load_photo_file(run.get(), (folder / "labels.txt").c_str(), 0), MARU_ERROR);
  maru_tensor tensor{};
  tensor.rank = 77;
  EXPECT_EQ(maru_session_output(run.get(), "prod", &tensor), MARU_ERROR);
  EXPECT_TRUE(said("prob")) << maru_last_error();
  EXPECT_EQ(tensor.rank, 77);
  uint8_t* pixels = nullptr;
  EXPECT_EQ(maru_session_photo(run.get(), 0, 4, 0, &pixels), MARU_ERROR);
  EXPECT_EQ(maru_session_photo(run.get(), 4, 4, 1, &pixels), MARU_ERROR) << "slot 1 of a batch of 1";

  const Options with = options();
  ASSERT_EQ(maru_options_set_device(with.get(), "abacus"), MARU_OK);
  EXPECT_EQ(maru_model_load(folder.c_str(), with.get(), &model), MARU_ERROR);
  EXPECT_TRUE(said("abacus")) << maru_last_error();
  EXPECT_EQ(maru_options_set_memory(with.get(), 3), MARU_ERROR);
  EXPECT_EQ(maru_options_set_memory(with.get(), -1), MARU_ERROR);
  const float mean[] = {1, 2};
  EXPECT_EQ(maru_options_set_preprocessing(with.get(), 0, 0, mean, 2, 1), MARU_ERROR);
}

TEST_F(CApi, null_is_an_error_and_never_a_crash) {
  EXPECT_EQ(maru_options_new(nullptr), MARU_ERROR);
  EXPECT_TRUE(said("maru_options_new")) << maru_last_error();
  EXPECT_EQ(maru_options_set_batch(nullptr, 1), MARU_ERROR);
  EXPECT_EQ(maru_options_set_device(options().get(), nullptr), MARU_ERROR);
  EXPECT_EQ(maru_options_set_preprocessing(options().get(), 0, 0, nullptr, 3, 1), MARU_ERROR);
  EXPECT_EQ(maru_model_load(nullptr, nullptr, nullptr), MARU_ERROR);
  maru_model* model = nullptr;
  EXPECT_EQ(maru_model_load(nullptr, nullptr, &model), MARU_ERROR);
  EXPECT_EQ(maru_model_name(nullptr), nullptr);
  EXPECT_EQ(maru_model_label(nullptr, 0), nullptr);
  EXPECT_EQ(maru_model_batch(nullptr), 0);
  EXPECT_EQ(maru_model_input_count(nullptr), 0u);
  EXPECT_EQ(maru_model_plan_text(nullptr, nullptr), MARU_ERROR);
  maru_session* made = nullptr;
  EXPECT_EQ(maru_session_new(nullptr, &made), MARU_ERROR);
  EXPECT_EQ(maru_session_run(nullptr), MARU_ERROR);
  EXPECT_EQ(maru_session_load_photo(nullptr, nullptr, 3, nullptr, 0), MARU_ERROR);
  size_t count = 0;
  maru_score score{};
  EXPECT_EQ(maru_session_top(nullptr, 0, &score, 1, &count), MARU_ERROR);
  const Model loaded = load();
  const Session run = session(loaded.get());
  EXPECT_EQ(maru_session_top(run.get(), 0, nullptr, 1, &count), MARU_ERROR);
  EXPECT_EQ(maru_session_input(run.get(), nullptr, nullptr), MARU_ERROR);
  EXPECT_EQ(maru_session_arena_bytes(nullptr), 0u);
  maru_options_free(nullptr);
  maru_model_free(nullptr);
  maru_session_free(nullptr);
}

TEST_F(CApi, last_error_is_of_the_thread) {
  EXPECT_EQ(maru_session_run(nullptr), MARU_ERROR);
  const std::string mine = maru_last_error();
  std::string others = "unset";
  std::thread([&] { others = maru_last_error(); }).join();
  EXPECT_EQ(others, "");
  EXPECT_EQ(maru_last_error(), mine);
}

TEST_F(CApi, a_session_outlives_its_model) {
  Model model = load();
  const Session run = session(model.get());
  model.reset();
  const std::string red = maru::testing::tiny_photo(8, 8, 255, 0, 0);
  ASSERT_EQ(maru_session_load_photo(run.get(), red.data(), red.size(), "red", 0), MARU_OK);
  ASSERT_EQ(maru_session_run(run.get()), MARU_OK);
  EXPECT_EQ(best(run.get()), "red");
}

}  // namespace
