// Packed models through the public API: they compute what the network computes, their pages are shared,
// and what does not fit is an Error that says for what the file was packed.
#include <gtest/gtest.h>
#include <maru/maru.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

#include "pack/packed_model.h"
#include "pack/reader.h"
#include "pack/writer.h"
#include "tests/devices.h"
#include "tests/shared.h"
#include "tests/tiny_model.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

class PackedTest : public ::testing::Test {
 protected:
  PackedTest()
      : folder_(fs::temp_directory_path() /
                ("maru_packed_" + std::to_string(::getpid()) + "_" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())),
        tiny_(testing::write_tiny_model(folder_ / "tiny")) {}
  ~PackedTest() override { fs::remove_all(folder_); }

  fs::path pack(const fs::path& model, PackOptions options = {}) {
    const fs::path file = folder_ / "packed.maru";
    options.replace = true;
    options.model.threads = 2;
    options.model.device = "cpu";
    pack_model(model, file, options);
    return file;
  }
  static ModelOptions raw(std::int64_t batch = 1) {
    ModelOptions options;
    options.photos = false;
    options.batch = batch;
    options.threads = 2;
    options.device = "cpu";
    return options;
  }
  // The first output for an input drawn with a fixed seed.
  static std::vector<float> scores(const fs::path& path, const ModelOptions& options) {
    Session session(Model::load(path, options));
    std::mt19937 random(7);
    std::uniform_real_distribution<float> level(-120, 140);
    const TensorSpan input = session.input("data");
    std::ranges::generate(input.as<float>(), [&] { return level(random); });
    session.run();
    const auto values = session.output(Model::load(path, options).outputs().at(0).name).as<float>();
    return {values.begin(), values.end()};
  }
  static std::string error_of(const std::function<void()>& act) {
    try {
      act();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }
  static std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  fs::path file_of(const std::string& bytes) const {
    const fs::path path = folder_ / "changed.maru";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path;
  }
  // The same file with another text in one section, and right checksums.
  fs::path with(const fs::path& file, std::string_view section, const std::string& text) const {
    const PackedFile before(file);
    const auto& sections = before.header().sections;
    const fs::path path = folder_ / "changed.maru";
    PackedWriter writer(path, sections.size(), before.header().maru_version);
    for (const PackedSection& one : sections) {
      writer.begin_section(one.name);
      writer.append(one.name == section ? std::string_view(text) : before.text(one.name));
    }
    writer.finish(true);
    return path;
  }
  fs::path with_plan(const fs::path& file, const std::function<void(PackedFor&)>& change) const {
    PackedFor made_for = read_plan(PackedFile(file).text("plan"));
    change(made_for);
    return with(file, "plan", plan_text(made_for));
  }

  fs::path folder_, tiny_;
};

void expect_same_scores(const std::vector<float>& got, const std::vector<float>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  EXPECT_EQ(std::memcmp(got.data(), wanted.data(), got.size() * sizeof(float)), 0);
}

TEST_F(PackedTest, ComputesWhatTheNetworkComputes) {
  const fs::path file = pack(tiny_);
  for (const std::int64_t batch : {1, 2, 3}) {
    expect_same_scores(scores(file, raw(batch)), scores(tiny_, raw(batch)));
  }
  expect_same_scores(scores(file, raw(0)), scores(tiny_, raw(1)));  // 0: as it was packed
}

TEST_F(PackedTest, KeepsItsPrecision) {
  MARU_NEEDS_DEVICE("opencl");
  const auto pack_as = [&](Precision precision, const char* name) {
    PackOptions options;
    options.model.device = "opencl";
    options.model.precision = precision;
    const fs::path file = folder_ / name;
    EXPECT_EQ(pack_model(tiny_, file, options).precision, precision);
    return file;
  };
  const fs::path half = pack_as(Precision::fp16, "half.maru");
  const fs::path single = pack_as(Precision::fp32, "single.maru");
  EXPECT_EQ(packed_info(half).precision, Precision::fp16);
  ModelOptions options = raw(2);
  options.device = "opencl";
  ModelOptions asked = options;
  asked.precision = Precision::fp16;
  expect_same_scores(scores(half, options), scores(tiny_, asked));
  expect_same_scores(scores(half, asked), scores(tiny_, asked));
  const auto weights = [](const fs::path& file) {
    const PackedInfo info = packed_info(file);
    return std::ranges::find(info.sections, "weights.0", &PackedInfo::Section::name)->bytes;
  };
  EXPECT_LT(weights(half), weights(single));

  // Photos are preprocessed to halves at once.
  ModelOptions photos;
  photos.device = "opencl";
  const std::string plan = Model::load(half, photos).plan_text();
  EXPECT_NE(plan.find(", in fp16"), std::string::npos) << plan;
  EXPECT_NE(plan.find("folded cast data.f16 into preprocess"), std::string::npos) << plan;
  EXPECT_EQ(plan.find("by cast.cl"), std::string::npos) << plan;

  asked.precision = Precision::fp32;
  const std::string wrong = error_of([&] { Model::load(half, asked); });
  EXPECT_NE(wrong.find("expected fp16, in which it was packed, got fp32; try"), std::string::npos)
      << wrong;
  asked.precision = Precision::fp16;
  EXPECT_NE(error_of([&] { Model::load(single, asked); }), "none");
}

TEST_F(PackedTest, TakesPhotosWithItsCardAndLabels) {
  const fs::path file = pack(tiny_);
  EXPECT_EQ(card_preprocessing(file), card_preprocessing(tiny_));
  fs::remove_all(tiny_);  // the file stands alone
  const Model model = Model::load(file);
  EXPECT_EQ(model.name(), "tiny");
  EXPECT_EQ(model.labels().size(), 4u);
  Session session(model);
  const std::string photo = testing::tiny_photo(20, 10, 10, 250, 10);
  session.load_photo(std::as_bytes(std::span(photo)), "photo");
  session.run();
  EXPECT_EQ(session.top(1)[0].label, "green");
  for (const CopyRecord& copy : session.copies()) EXPECT_EQ(copy.from, copy.to) << copy.tensor;
  EXPECT_NE(model.plan_text().find("the pages of"), std::string::npos);
  EXPECT_NE(model.plan_text().find("fused relu"), std::string::npos) << "rewrites are remembered";
}

TEST_F(PackedTest, KeepsWhatWasAskedFor) {
  PackOptions options;
  options.model.outputs = {"pool"};
  options.model.batch = 2;
  options.model.preprocessing = Preprocessing{.mean = {1}, .scale = 2};
  const fs::path file = pack(tiny_, options);
  EXPECT_EQ(Model::load(file, raw(0)).batch(), 2);
  EXPECT_EQ(Model::load(file, raw()).outputs().size(), 2u);
  EXPECT_EQ(card_preprocessing(file).mean, std::vector<float>{1});
  EXPECT_NE(error_of([&] { pack_model(tiny_, file); }).find("--force"), std::string::npos);
  EXPECT_NE(error_of([&] { pack_model(file, folder_ / "b.maru"); }).find("a packed model"),
            std::string::npos);
}

TEST_F(PackedTest, InnerValuesThatRewritingLeftAreReadable) {
  const fs::path file = pack(tiny_);
  ModelOptions options = raw();
  options.outputs = {"pool"};
  EXPECT_EQ(Model::load(file, options).outputs().size(), 2u);
  options.outputs = {"poul"};
  EXPECT_NE(error_of([&] { Model::load(file, options); }).find("try pool"), std::string::npos);
}

TEST_F(PackedTest, OptionsThatItCannotFollowAreErrors) {
  const fs::path file = pack(tiny_);
  ModelOptions options = raw();
  options.optimize = false;
  EXPECT_NE(error_of([&] { Model::load(file, options); }).find("--no-optimize"), std::string::npos);
  options = raw();
  options.weights = tiny_ / "tiny.caffemodel";
  EXPECT_NE(error_of([&] { Model::load(file, options); }).find("holds its own"), std::string::npos);
  options = raw();
  options.device = "abacus";
  EXPECT_NE(error_of([&] { Model::load(file, options); }), "none");
  PackOptions plain;
  plain.model.optimize = false;
  options = raw();
  options.optimize = false;
  expect_same_scores(scores(pack(tiny_, plain), options), scores(tiny_, options));
}

TEST_F(PackedTest, WhatDoesNotFitSaysForWhatItWasPacked) {
  const fs::path file = pack(tiny_);
  const struct {
    std::function<void(PackedFor&)> change;
    const char* says;
  } rows[] = {
      {[](PackedFor& f) { f.device = "abacus"; }, "expected the device abacus"},
      {[](PackedFor& f) { f.places.at(0).form = "sideways"; }, "as sideways in"},
      {[](PackedFor& f) { f.places.at(1).offset += 64; }, "in the file"},
      {[](PackedFor& f) { f.places.at(0).bytes += 1; }, "in the file"},
      {[](PackedFor& f) { f.places.at(0).constant = "other"; }, "other as"},
      {[](PackedFor& f) { f.places.at(0).region = 1; }, "weights.1"},
      {[](PackedFor& f) { f.places.pop_back(); }, "constants"},
      {[](PackedFor& f) { f.region_bytes.at(0) += 64; }, "constants"},
      {[](PackedFor& f) { f.region_bytes.push_back(64); }, "constants"},
      {[](PackedFor& f) { f.choices.begin()->second = "magic"; }, "magic"},
  };
  for (const auto& row : rows) {
    const fs::path changed = with_plan(file, row.change);
    const std::string error = error_of([&] { Model::load(changed, raw()); });
    EXPECT_NE(error.find(row.says), std::string::npos) << error;
    EXPECT_NE(error.find("changed.maru"), std::string::npos) << error;
    EXPECT_NE(error.find("pack"), std::string::npos) << error;
  }
}

TEST_F(PackedTest, FlippedBitsAreErrorsOrOtherWeights) {
  const fs::path file = pack(tiny_);
  const std::string whole = content(file);
  const auto sections = PackedFile(file).header().sections;
  const std::size_t weights = sections.back().offset;
  ASSERT_TRUE(sections.back().is_weights());
  std::mt19937 random(3);
  const PackedSection& labels = sections[sections.size() - 2];
  for (int i = 0; i < 120; ++i) {
    const bool in_weights = i % 3 == 0;
    const std::size_t used = in_weights ? sections.back().bytes : labels.offset + labels.bytes;
    std::string flipped = whole;
    const std::size_t at = random() % used + (in_weights ? weights : 0);
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << random() % 8));
    const std::string error = error_of([&] { scores(file_of(flipped), raw()); });
    if (!in_weights && at >= 64) {
      // Between sections is nothing that anybody reads.
      const bool is_used = std::ranges::any_of(sections, [&](const PackedSection& one) {
        return at >= one.offset && at < one.offset + one.bytes;
      });
      EXPECT_EQ(error != "none", is_used || at < 64 + 64 * sections.size()) << at;
    }
    if (in_weights) {
      EXPECT_NE(error_of([&] { packed_info(folder_ / "changed.maru", true); }), "none");
    }
  }
}

// Texts that somebody changed together with their checksums.
TEST_F(PackedTest, DamageWithRightChecksumsIsAnErrorAtMost) {
  const fs::path file = pack(tiny_);
  std::mt19937 random(4);
  for (int i = 0; i < 300; ++i) {
    const char* section = std::array{"model", "graph", "plan"}[static_cast<std::size_t>(i % 3)];
    std::string text(PackedFile(file).text(section));
    const std::size_t at = random() % text.size();
    const auto printable = static_cast<char>(' ' + random() % 95);
    if (i % 2 == 0) {
      text[at] = printable;
    } else {
      text.replace(at, random() % 6, text.substr(random() % text.size(), random() % 6));
    }
    const fs::path changed = with(file, section, text);
    error_of([&] { scores(changed, raw()); });
  }
}

TEST_F(PackedTest, InfoSaysForWhatItIs) {
  const fs::path file = pack(tiny_);
  const PackedInfo info = packed_info(file, true);
  EXPECT_EQ(info.device, "cpu");
  EXPECT_EQ(info.threads, 2);
  EXPECT_EQ(info.bytes, fs::file_size(file));
  EXPECT_EQ(info.maru_version, version());
  ASSERT_EQ(info.sections.size(), 5u);
  EXPECT_EQ(info.sections[4].name, "weights.0");
  EXPECT_EQ(info.sections[4].offset % 65536, 0u);
  EXPECT_TRUE(is_packed(file));
  EXPECT_FALSE(is_packed(tiny_));
  const NetworkInfo network = inspect(file);
  EXPECT_EQ(network.parameters, inspect(tiny_).parameters);
  EXPECT_EQ(network.inputs.at(0).name, "data");
}

// Kilobytes of the mappings of `file` in this process, by the kernel's account: "Rss", "Pss", ...
std::map<std::string, int> pages_of(const fs::path& file) {
  std::ifstream smaps("/proc/self/smaps");
  std::map<std::string, int> sums;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    const bool is_field = line.find(": ") != std::string::npos && line.find(':') == line.find(' ') - 1;
    if (!is_field) inside = line.ends_with(file.string());
    std::string name;
    int kilobytes = 0;
    if (inside && is_field && std::istringstream(line) >> name >> kilobytes) sums[name] += kilobytes;
  }
  return sums;
}

TEST_F(PackedTest, ProcessesShareThePages) {
  const fs::path googlenet = testing::shared_folder() / "models" / "bvlc_googlenet";
  const fs::path file = pack(fs::exists(googlenet) ? googlenet : tiny_);
  std::array<int, 2> to_parent{}, to_child{};
  ASSERT_EQ(::pipe(to_parent.data()) + ::pipe(to_child.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const PackedFile mapped(file);
    mapped.verify_weights();  // touches every page
    char byte = 0;
    bool done = ::write(to_parent[1], &byte, 1) == 1;
    ::close(to_child[1]);
    done = ::read(to_child[0], &byte, 1) == 0 && done;
    ::_exit(done ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  Session session(Model::load(file, raw()));
  session.run();
  auto pages = pages_of(file);
  ::close(to_child[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const auto weights = PackedFile(file).header().sections.back().bytes;
  EXPECT_GE(pages["Rss:"], static_cast<int>(weights / 1024)) << "the kernels read the file's pages";
  EXPECT_LE(pages["Pss:"], pages["Rss:"] * 55 / 100) << "half of each page is the other's";
  EXPECT_EQ(pages["Private_Dirty:"], 0);
}

class RealNetworks : public PackedTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(RealNetworks, ComputeTheSameBits) {
  MARU_NEEDS_SHARED(std::string("models/") + GetParam());
  const fs::path model = testing::shared_folder() / "models" / GetParam();
  PackOptions options;
  const fs::path file = pack(model, options);
  expect_same_scores(scores(file, raw()), scores(model, raw()));
}

INSTANTIATE_TEST_SUITE_P(, RealNetworks, ::testing::Values("bvlc_googlenet", "squeezenet_v1.1"));

}  // namespace
}  // namespace maru
