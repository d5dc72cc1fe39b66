// Sessions through the public API: memory, threads, batches, photos, and what bad input gets.
#include <gtest/gtest.h>
#include <maru/maru.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <thread>

#include "tests/tiny_model.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest()
      : folder_(fs::temp_directory_path() /
                ("maru_session_" + std::to_string(::getpid()) + "_" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    testing::write_tiny_model(folder_);
  }
  ~SessionTest() override { fs::remove_all(folder_); }

  static std::vector<std::byte> photo(int width, int height, std::array<unsigned char, 3> colour) {
    const std::string file = testing::tiny_photo(width, height, colour[0], colour[1], colour[2]);
    const auto bytes = std::as_bytes(std::span(file));
    return {bytes.begin(), bytes.end()};
  }
  // What the session copied of photos; its plan's own copies change the layout of inner values.
  static std::vector<CopyRecord> photos_moved(const Session& session) {
    std::vector<CopyRecord> moved;
    for (CopyRecord& record : session.copies()) {
      if (record.step == "photo") moved.push_back(std::move(record));
    }
    return moved;
  }
  static constexpr std::array<unsigned char, 3> kRed{250, 10, 10}, kGreen{10, 250, 10},
      kBlue{10, 10, 250};

  fs::path folder_;
};

// Photos become tensors in the first step, which does not work in place: it may be repeated.
TEST_F(SessionTest, StepsOneByOneAreARun) {
  for (const char* device : {"cpu", "board:tk1", "board:pcie"}) {
    for (const MemoryPolicy memory : {MemoryPolicy::copy, MemoryPolicy::automatic}) {
      ModelOptions options;
      options.device = device;
      options.memory = memory;
      const Model model = Model::load(folder_, options);
      Session whole(model), steps(model);
      const std::vector<StepInfo> infos = model.steps();
      ASSERT_FALSE(infos.empty());
      double flops = 0;
      for (const StepInfo& info : infos) {
        flops += info.flops;
        if (info.kind == StepInfo::Kind::kernel) {
          EXPECT_FALSE(info.kernel.empty()) << info.name;
          EXPECT_GT(info.bytes, 0) << info.name;
        }
      }
      EXPECT_GT(flops, 0);
      for (const auto& colour : {kGreen, kRed}) {
        for (Session* session : {&whole, &steps}) session->load_photo(photo(20, 10, colour), "photo");
        whole.run();
        for (std::size_t i = 0; i < infos.size(); ++i) steps.run_step(i, i == 0 ? 3 : 1);
        const auto wanted = whole.top(4), got = steps.top(4);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          EXPECT_EQ(got[i].index, wanted[i].index) << device;
          EXPECT_EQ(got[i].score, wanted[i].score) << device;
        }
      }
      EXPECT_THROW(steps.run_step(infos.size()), Error);
    }
  }
}

TEST_F(SessionTest, NamesAColour) {
  const Model model = Model::load(folder_);
  Session session(model);
  for (const auto& [colour, name] : {std::pair{kRed, "red"}, {kGreen, "green"}, {kBlue, "blue"}}) {
    session.load_photo(photo(20, 10, colour), "photo");
    session.run();
    const auto best = session.top(4);
    ASSERT_EQ(best.size(), 4u);
    EXPECT_EQ(best[0].label, name);
    float sum = 0;
    for (const Score& score : best) sum += score.score;
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_GE(best[0].score, best[1].score);
  }
}

TEST_F(SessionTest, BatchesKeepEveryPhotoThoughALargerOneMakesRoom) {
  ModelOptions options;
  options.batch = 3;
  const Model model = Model::load(folder_, options);
  Session session(model);
  session.load_photo(photo(9, 5, kRed), "red", 0);
  session.load_photo(photo(8, 8, kGreen), "green", 2);
  session.load_photo(photo(2000, 1500, kBlue), "blue", 1);  // 9 MB: more than the first room
  session.run();
  EXPECT_EQ(session.top(1, 0)[0].label, "red");
  EXPECT_EQ(session.top(1, 1)[0].label, "blue");
  EXPECT_EQ(session.top(1, 2)[0].label, "green");
  const auto moved = photos_moved(session);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].bytes, 9u * 5 * 3 + 8 * 8 * 3);  // the two that were there, and nothing else
  EXPECT_EQ(moved[0].times, 2u);
}

TEST_F(SessionTest, ACallersPixelsAreReadWhereTheyStand) {
  const Model model = Model::load(folder_);
  Session session(model);
  const auto pixels = session.photo(7, 3);
  ASSERT_EQ(pixels.size(), 7u * 3 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = kBlue[i % 3];
  session.run();
  EXPECT_EQ(session.top(1)[0].label, "blue");
  EXPECT_TRUE(photos_moved(session).empty());
}

TEST_F(SessionTest, PhotosBeyondWhatAnOffsetCanSayAreAnError) {
  ModelOptions options;
  options.batch = 1024;
  const Model model = Model::load(folder_, options);
  Session session(model);
  try {
    session.photo(4096, 4096);  // of which 1,024 would be 51.5 GB
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "[session] expected photos of 33.6 MB at most, 1024 of them, got 50.3 MB; try a smaller "
              "batch, or smaller photos");
  }
}

TEST_F(SessionTest, AMissingOrBrokenPhotoIsNeverClassified) {
  const Model model = Model::load(folder_);
  Session session(model);
  EXPECT_THROW(session.run(), Error);
  session.load_photo(photo(4, 4, kRed), "red");
  const std::string text = "this is no photo";
  EXPECT_THROW(session.load_photo(std::as_bytes(std::span(text)), "text"), Error);
  EXPECT_THROW(session.run(), Error) << "the photo before the broken one must not be taken for it";
  EXPECT_THROW(session.load_photo(photo(4, 4, kRed), "red", 1), Error);
  EXPECT_THROW(session.photo(0, 5), Error);
  EXPECT_THROW(session.load_photo(folder_ / "missing.jpg"), Error);
}

TEST_F(SessionTest, RawTensorsGoInAndInnerValuesComeOut) {
  ModelOptions options;
  options.photos = false;
  options.batch = 2;
  options.outputs = {"conv", "data"};
  const Model model = Model::load(folder_, options);
  ASSERT_EQ(model.inputs().size(), 1u);
  EXPECT_EQ(model.inputs()[0].shape, (std::vector<std::int64_t>{2, 3, 8, 8}));
  Session session(model);
  const TensorSpan input = session.input("data");
  for (float& value : input.as<float>()) value = -2;
  session.run();
  const TensorSpan conv = session.output("conv");
  EXPECT_EQ(conv.shape, (std::vector<std::int64_t>{2, 4, 8, 8}));
  // Inside, the fourth channel is minus the mean, the others are cut off at zero.
  EXPECT_NEAR(conv.as<float>()[3 * 64 + 9], 2, 1e-6);
  EXPECT_EQ(conv.as<float>()[9], 0);
  EXPECT_EQ(session.output("data").as<float>()[0], -2);
  EXPECT_THROW(session.input("prob"), Error);
  EXPECT_THROW(session.output("relu"), Error);
  EXPECT_THROW(session.load_photo(photo(2, 2, kRed), "photo"), Error);
}

TEST_F(SessionTest, ManySessionsInManyThreadsAgreeWithOne) {
  const Model model = Model::load(folder_);
  const std::array colours{kRed, kGreen, kBlue};
  std::array<std::vector<float>, 3> expected;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    Session session(model);
    session.load_photo(photo(33, 21, colours[i]), "photo");
    session.run();
    const auto scores = session.output("prob").as<float>();
    expected[i].assign(scores.begin(), scores.end());
  }
  std::atomic<int> wrong{0}, runs{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      Session session(model);
      for (std::size_t round = 0; round < 20; ++round) {
        const std::size_t which = (t + round) % colours.size();
        session.load_photo(photo(33, 21, colours[which]), "photo");
        session.run();
        const auto scores = session.output("prob").as<float>();
        wrong += !std::equal(scores.begin(), scores.end(), expected[which].begin());
        ++runs;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(runs, 120);
}

TEST_F(SessionTest, TheCallersOpenMPIsLeftAlone) {
  omp_set_num_threads(3);
  ModelOptions options;
  options.threads = 1;
  Session session(Model::load(folder_, options));
  session.load_photo(photo(4, 4, kGreen), "green");
  session.run();
  EXPECT_EQ(omp_get_max_threads(), 3);
}

TEST_F(SessionTest, ASessionOutlivesTheModelsItsCallerHolds) {
  auto model = std::make_unique<Model>(Model::load(folder_));
  Session session(*model);
  model.reset();
  session.load_photo(photo(4, 4, kGreen), "green");
  session.run();
  EXPECT_EQ(session.top(1)[0].label, "green");
}

TEST_F(SessionTest, BadModelsAreExplained) {
  const auto load = [&](const ModelOptions& options) { return Model::load(folder_, options); };
  const auto message = [&](auto change) {
    ModelOptions options;
    change(options);
    try {
      load(options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  // There may be more devices than the CPU.
  const std::string unknown = message([](ModelOptions& o) { o.device = "abacus"; });
  EXPECT_TRUE(unknown.starts_with("[device] expected one of auto, cpu")) << unknown;
  EXPECT_TRUE(unknown.ends_with(", got \"abacus\"; try `maru devices` to see what this machine offers"))
      << unknown;
  EXPECT_NE(message([](ModelOptions& o) { o.expected_runs = 0; }).find("above 0"), std::string::npos);
  EXPECT_NE(message([](ModelOptions& o) { o.batch = -1; }).find("expected 1 or more"),
            std::string::npos);
  EXPECT_NE(message([](ModelOptions& o) { o.outputs = {"cnv"}; }).find("conv"), std::string::npos);
  EXPECT_NE(message([](ModelOptions& o) { o.weights = "/missing"; }).find("no such file"),
            std::string::npos);
  std::ofstream(folder_ / "labels.txt") << "red\ngreen\n";
  EXPECT_NE(message([](ModelOptions&) {}).find("expected 4 labels, one for each score, got 2"),
            std::string::npos);
  std::ofstream(folder_ / "model.json") << "{\"preprocessing\": {\"mean\": \"high\"}}";
  EXPECT_NE(message([](ModelOptions&) {}).find("mean] expected 1 or 3 numbers, got \"high\""),
            std::string::npos);
  std::ofstream(folder_ / "model.json") << "{";
  EXPECT_NE(message([](ModelOptions&) {}).find("expected a card in JSON"), std::string::npos);
}

// An absurd batch is an error that says so, and the process lives on.
TEST_F(SessionTest, TooLittleMemoryIsAnErrorThatNamesTheTensor) {
  ModelOptions options;
  options.batch = 1'000'000'000;
  options.photos = false;
  options.optimize = false;
  try {
    Session session(Model::load(folder_, options));
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("bytes for"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(Session(Model::load(folder_)));
}

}  // namespace
}  // namespace maru
