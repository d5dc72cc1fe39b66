// Both real networks against what the real Caffe computed: scores, and for GoogLeNet inner values.
#include "tests/golden.h"

#include <gtest/gtest.h>
#include <maru/maru.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "tensor/tensor_desc.h"
#include "tests/devices.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

using testing::golden;
using testing::kGoogLeNet;
using testing::kPhotos;
using testing::kSqueezeNet;
using testing::largest_difference;
using testing::Network;
using testing::numbered;

struct Way {
  std::int64_t batch;
  bool optimize;
  int threads;
  const char* device = "cpu";
  MemoryPolicy memory = MemoryPolicy::automatic;
  Precision precision = Precision::fp32;

  // Of scores, from Caffe's: what --precision promises (docs/devices.md).
  double tolerance() const { return precision == Precision::fp32 ? 1e-5 : 5e-3; }
};

std::ptrdiff_t best_of(std::span<const float> scores) {
  return std::ranges::max_element(scores) - scores.begin();
}

std::string_view policy_name(MemoryPolicy policy) {
  return policy == MemoryPolicy::copy        ? "copy"
         : policy == MemoryPolicy::zero_copy ? "zero_copy"
                                             : "auto";
}

class Golden : public ::testing::TestWithParam<std::tuple<Network, Way>> {};

TEST_P(Golden, ScoresAreCaffes) {
  const auto& [network, way] = GetParam();
  MARU_NEEDS_SHARED(network.golden);
  MARU_NEEDS_DEVICE(way.device);
  if (way.memory == MemoryPolicy::zero_copy) MARU_NEEDS_SHARED_HEAP(way.device);
  ModelOptions options;
  options.photos = false;
  options.batch = way.batch;
  options.optimize = way.optimize;
  options.threads = way.threads;
  options.device = way.device;
  options.memory = way.memory;
  options.precision = way.precision;
  const Model model = Model::load(testing::shared_folder() / network.model, options);
  Session session(model);
  double worst = 0;
  for (int first = 0; first < kPhotos; first += static_cast<int>(way.batch)) {
    const std::span<float> input = session.input("data").as<float>();
    const std::size_t image = input.size() / static_cast<std::size_t>(way.batch);
    for (int slot = 0; slot < way.batch; ++slot) {
      const auto values = golden(network, numbered("inputs", first + slot));
      std::ranges::copy(values, input.begin() + static_cast<std::ptrdiff_t>(image) * slot);
    }
    session.run();
    const std::span<const float> scores = session.output("prob").as<float>();
    for (int slot = 0; slot < way.batch; ++slot) {
      const auto expected = golden(network, numbered("outputs", first + slot));
      const auto mine =
          scores.subspan(static_cast<std::size_t>(slot) * expected.size(), expected.size());
      worst = std::max(worst, largest_difference(mine, expected));
      EXPECT_LE(worst, way.tolerance()) << "photo " << first + slot;
      EXPECT_EQ(best_of(mine), best_of(expected)) << "photo " << first + slot;
    }
  }
  RecordProperty("largest_difference", std::to_string(worst * 1e6) + "e-6");
}

std::string way_name(const ::testing::TestParamInfo<std::tuple<Network, Way>>& info) {
  const auto& [network, way] = info.param;
  return std::string(network.golden == kGoogLeNet.golden ? "googlenet" : "squeezenet") + "_batch" +
         std::to_string(way.batch) + (way.optimize ? "" : "_as_written") + "_threads" +
         std::to_string(way.threads) +
         (way.device == std::string_view("cpu")
              ? ""
              : fmt::format("_{}_{}", way.device, policy_name(way.memory))) +
         (way.precision == Precision::fp32 ? "" : "_" + std::string(to_string(way.precision)));
}

INSTANTIATE_TEST_SUITE_P(Networks, Golden,
                         ::testing::Combine(::testing::Values(kGoogLeNet, kSqueezeNet),
                                            ::testing::Values(Way{1, true, 2}, Way{1, true, 1},
                                                              Way{1, false, 2}, Way{4, true, 2},
                                                              Way{4, false, 2})),
                         way_name);

constexpr Way opencl(std::int64_t batch, bool optimize, MemoryPolicy memory) {
  return {batch, optimize, 2, "opencl", memory};
}

INSTANTIATE_TEST_SUITE_P(OnOpenCL, Golden,
                         ::testing::Combine(::testing::Values(kGoogLeNet, kSqueezeNet),
                                            ::testing::Values(opencl(1, true, MemoryPolicy::automatic),
                                                              opencl(1, true, MemoryPolicy::copy),
                                                              opencl(1, true, MemoryPolicy::zero_copy),
                                                              opencl(1, false, MemoryPolicy::automatic),
                                                              opencl(4, true, MemoryPolicy::copy),
                                                              opencl(4, false,
                                                                     MemoryPolicy::zero_copy))),
                         way_name);

constexpr Way opencl_fp16(std::int64_t batch, bool optimize, MemoryPolicy memory) {
  return {batch, optimize, 2, "opencl", memory, Precision::fp16};
}

INSTANTIATE_TEST_SUITE_P(
    InHalfPrecision, Golden,
    ::testing::Combine(::testing::Values(kGoogLeNet, kSqueezeNet),
                       ::testing::Values(opencl_fp16(1, true, MemoryPolicy::automatic),
                                         opencl_fp16(1, true, MemoryPolicy::copy),
                                         opencl_fp16(1, true, MemoryPolicy::zero_copy),
                                         opencl_fp16(4, false, MemoryPolicy::automatic))),
    way_name);

constexpr Way cuda(std::int64_t batch, bool optimize, MemoryPolicy memory, Precision precision) {
  return {batch, optimize, 2, "cuda", memory, precision};
}

INSTANTIATE_TEST_SUITE_P(
    OnCuda, Golden,
    ::testing::Combine(::testing::Values(kGoogLeNet, kSqueezeNet),
                       ::testing::Values(cuda(1, true, MemoryPolicy::automatic, Precision::fp32),
                                         cuda(1, true, MemoryPolicy::copy, Precision::fp32),
                                         cuda(1, true, MemoryPolicy::zero_copy, Precision::fp32),
                                         cuda(1, false, MemoryPolicy::automatic, Precision::fp32),
                                         cuda(4, true, MemoryPolicy::automatic, Precision::fp32),
                                         cuda(4, false, MemoryPolicy::zero_copy, Precision::fp32),
                                         cuda(1, true, MemoryPolicy::automatic, Precision::tf32),
                                         cuda(4, false, MemoryPolicy::copy, Precision::tf32),
                                         cuda(1, true, MemoryPolicy::automatic, Precision::fp16),
                                         cuda(1, true, MemoryPolicy::copy, Precision::fp16),
                                         cuda(1, true, MemoryPolicy::zero_copy, Precision::fp16),
                                         cuda(4, true, MemoryPolicy::automatic, Precision::fp16),
                                         cuda(4, false, MemoryPolicy::zero_copy, Precision::fp16))),
    way_name);

class InnerValues : public ::testing::TestWithParam<std::tuple<bool, const char*>> {};

TEST_P(InnerValues, AreCaffes) {
  MARU_NEEDS_SHARED("golden/googlenet/blobs");
  const auto& [optimize, device] = GetParam();
  MARU_NEEDS_DEVICE(device);
  const std::vector<std::string> names{"conv1/7x7_s2",        "pool1/norm1",         "conv2/norm2",
                                       "inception_3a/output", "inception_4e/output", "pool5/7x7_s1",
                                       "loss3/classifier"};
  ModelOptions options;
  options.photos = false;
  options.outputs = names;
  options.optimize = optimize;
  options.device = device;
  const Model model = Model::load(testing::shared_folder() / kGoogLeNet.model, options);
  Session session(model);
  std::ranges::copy(golden(kGoogLeNet, numbered("inputs", 0)),
                    session.input("data").as<float>().begin());
  session.run();
  for (const std::string& name : names) {
    std::string file = name;
    std::ranges::replace(file, '/', '_');
    const auto expected = golden(kGoogLeNet, "blobs/00__" + file + ".npy");
    const double magnitude = std::fabs(
        *std::ranges::max_element(expected, {}, [](float value) { return std::fabs(value); }));
    EXPECT_LE(largest_difference(session.output(name).as<float>(), expected) / magnitude, 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(GoogLeNet, InnerValues,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values("cpu", "opencl", "cuda")),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param) ? "rewritten_"
                                                                        : "as_written_") +
                                  std::get<1>(tested.param);
                         });

// From the photo on: decoding, resizing and normalising are OpenCV's to the level.
struct PhotoWay {
  const char* device;
  Precision precision = Precision::fp32;
};

class Photos : public ::testing::TestWithParam<PhotoWay> {};

TEST_P(Photos, AreNamedAsByCaffe) {
  MARU_NEEDS_SHARED("photos");
  MARU_NEEDS_DEVICE(GetParam().device);
  const double tolerance = GetParam().precision == Precision::fp16 ? 5e-3 : 1e-4;
  for (const Network& network : {kGoogLeNet, kSqueezeNet}) {
    ModelOptions options;
    options.device = GetParam().device;
    options.precision = GetParam().precision;
    const Model model = Model::load(testing::shared_folder() / network.model, options);
    Session session(model);
    std::ifstream list(testing::shared_folder() / network.golden / "photos.txt");
    std::string number, photo, label;
    while (list >> number >> photo >> label) {
      session.load_photo(testing::shared_folder() / "photos" / photo);
      session.run();
      const auto expected = golden(network, "outputs/" + number + ".npy");
      const std::span<const float> scores = session.output("prob").as<float>();
      EXPECT_LE(largest_difference(scores, expected), tolerance) << photo;
      EXPECT_EQ(best_of(scores), best_of(expected)) << photo;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Photos,
                         ::testing::Values(PhotoWay{"cpu"}, PhotoWay{"opencl"},
                                           PhotoWay{"opencl", Precision::fp16}),
                         [](const auto& tested) {
                           return fmt::format("{}_{}", tested.param.device,
                                              to_string(tested.param.precision));
                         });

}  // namespace
}  // namespace maru
