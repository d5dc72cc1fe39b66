// Batches of a loader reach a plan's inputs: in memory that the plan reads, or copied there, with the
// same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "data/mean.h"
#include "data/test_files.h"
#include "device/registry.h"
#include "tests/boards.h"
#include "tests/devices.h"
#include "tests/split_device.h"
#include "train/fed_network.h"

namespace maru {
namespace {

using namespace data::testing_files;

constexpr std::int64_t kBatch = 3, kBatches = 7;
constexpr int kPhotos = 8;

std::span<const std::byte> photos_of(const Batch& batch) {
  return batch.floats.empty() ? batch.pixels : std::as_bytes(batch.floats);
}

// A network whose result is what its data layer gives, of photos of several sizes.
struct FedPlans : ::testing::Test {
  FedPlans() {
    std::string list;
    for (int i = 0; i < kPhotos; ++i) {
      const std::string name = fmt::format("{}.ppm", i);
      folder.write(name, photo(i, 5 + i, 12 - i));
      list += fmt::format("{} {}\n", name, i % 2);
    }
    folder.write("list.txt", list);
  }

  FedNetwork network(const std::string& transform, bool is_resized = false) const {
    CaffeNet net;
    const std::string size = is_resized ? "new_height: 9 new_width: 9 " : "";
    net.file = folder.write(
        "net.prototxt",
        fmt::format(
            "layer {{ name: \"d\" type: \"ImageData\" top: \"data\" top: \"label\" image_data_param {{ "
            "source: \"{}\" batch_size: {} {}}} transform_param {{ {} }} }}\nlayer {{ name: \"p\" "
            "type: "
            "\"Power\" bottom: \"data\" top: \"p\" power_param {{ shift: 0.5 }} }}\n",
            folder.path("list.txt").string(), kBatch, size, transform));
    net.phase = "TRAIN";
    FeedOptions options;
    options.augment = [is_resized](Augment& augment) {
      if (is_resized) return;
      // Each photo as large as it is; the device makes them one size.
      augment.new_height = augment.new_width = augment.crop = 0;
      augment.height = augment.width = 13;
    };
    return load_fed_network(net, {}, options);
  }
  FedNetwork of_any_size() const { return network("mirror: true mean_value: 3 crop_size: 13"); }
  FedNetwork with_mean_image() const {
    MeanOptions options;
    options.height = options.width = 9;
    DataSource source;
    source.path = folder.path("list.txt").string();
    write_binaryproto(folder.path("mean.binaryproto"), compute_mean(open_data_set(source), options));
    return network("mirror: true crop_size: 7 mean_file: \"mean.binaryproto\"", true);
  }

  // What each batch gives, and how many of them stood where the plan reads.
  struct Given {
    std::vector<std::vector<float>> results;
    int in_place = 0;
  };
  static Given run(const FedNetwork& network, const Device& device, MemoryPolicy policy, bool into) {
    const Device* const devices[] = {&device};
    StateMemory states(device);
    PlanOptions options;
    options.policy = policy;
    if (policy != MemoryPolicy::zero_copy) {
      for (const std::string& name : network.copied()) options.heaps[name] = PlanOptions::kApart;
    }
    PlannedRun plan(network.imported.graph, devices, options, states);
    LoaderOptions how = into ? loader_into(plan, network) : network.loader;
    how.seed = 5;
    Loader loader(network.data, how);
    Given given;
    std::vector<std::byte> last;
    for (std::int64_t i = 0; i < kBatches; ++i) {
      const Batch batch = loader.next();
      given.in_place += std::ranges::any_of(how.memory, [&](std::span<const std::byte> memory) {
        return memory.data() == photos_of(batch).data();
      });
      last.assign(photos_of(batch).begin(), photos_of(batch).end());
      feed(network, batch, batch.count, plan);
      plan.run();
      const auto result = plan.output("p");
      given.results.emplace_back(result.begin(), result.end());
    }
    // As when training looks for what is not finite, while the loader goes on.
    plan.settle();
    for (const Port& port : plan.plan().inputs) {
      if (port.name == network.floats) {
        EXPECT_TRUE(std::ranges::equal(plan.settled_input(port).bytes(), last));
      }
    }
    PlannedRun again(network.imported.graph, devices, options, states);
    again.copy_inputs(plan);
    again.run();
    const auto result = again.output("p");
    EXPECT_EQ(std::vector<float>(result.begin(), result.end()), given.results.back());
    return given;
  }

  Folder folder;
};

TEST_F(FedPlans, OfTheCpuReadPhotosWhereTheyAreDecoded) {
  const FedNetwork network = of_any_size();
  const auto device = open_device("cpu", {});
  const Given copied = run(network, *device, MemoryPolicy::automatic, false);
  const Given in_place = run(network, *device, MemoryPolicy::automatic, true);
  EXPECT_EQ(in_place.in_place, kBatches);
  EXPECT_EQ(in_place.results, copied.results);
  EXPECT_NE(copied.results[0], copied.results[1]) << "all batches are the same: nothing is compared";
}

TEST_F(FedPlans, ThatCopyMoveOfASlotWhatIsInUse) {
  const FedNetwork network = of_any_size();
  const testing::SplitDevice one, other;
  const Given copied = run(network, one, MemoryPolicy::copy, false);
  const Given in_place = run(network, other, MemoryPolicy::copy, true);
  EXPECT_EQ(in_place.in_place, kBatches);
  EXPECT_EQ(in_place.results, copied.results);
  EXPECT_EQ(other.transferred, one.transferred) << "more than the photos of a batch";
  EXPECT_EQ(other.given_while_mapped, 0);
}

TEST_F(FedPlans, OfMemoryThatOneSideHasAtATimeAreCopiedInto) {
  const FedNetwork network = of_any_size();
  const testing::SplitDevice one, other;
  const Given copied = run(network, one, MemoryPolicy::zero_copy, false);
  const Given into = run(network, other, MemoryPolicy::zero_copy, true);
  EXPECT_EQ(into.in_place, 0);
  EXPECT_EQ(into.results, copied.results);
  EXPECT_EQ(other.given_while_mapped, 0);
}

TEST_F(FedPlans, WithoutRoomForSlotsAreCopiedInto) {
  const FedNetwork network = of_any_size();
  using testing::SplitDevice;
  MemoryTraits scarce = SplitDevice::traits(true, false, true);
  scarce.limit = kBatch * 3 * 13 * 13 * sizeof(float);  // the result, but not four batches
  const SplitDevice one, other({{"own", SplitDevice::traits(false, true, false)}, {"pinned", scarce}});
  const Given wanted = run(network, one, MemoryPolicy::copy, true);
  const Given got = run(network, other, MemoryPolicy::copy, true);
  EXPECT_EQ(wanted.in_place, kBatches);
  EXPECT_EQ(got.in_place, 0);
  EXPECT_EQ(got.results, wanted.results);
}

TEST_F(FedPlans, OfFloatsTakeThemWhereTheyAreCopiedFrom) {
  const FedNetwork network = with_mean_image();
  const auto cpu = open_device("cpu", {});
  const Given here = run(network, *cpu, MemoryPolicy::automatic, true);
  EXPECT_EQ(here.in_place, 0) << "nothing says to kernels where the floats are";
  for (const MemoryPolicy policy : {MemoryPolicy::copy, MemoryPolicy::automatic}) {
    const testing::SplitDevice device;
    const Given in_place = run(network, device, policy, true);
    EXPECT_EQ(in_place.in_place, kBatches);
    EXPECT_EQ(in_place.results, here.results);
  }
}

struct FedPlansOf : FedPlans, ::testing::WithParamInterface<std::tuple<const char*, MemoryPolicy>> {};

TEST_P(FedPlansOf, ADeviceGiveWhatTheCpuGives) {
  const auto& [name, policy] = GetParam();
  MARU_NEEDS_DEVICE(name);
  const auto device = open_device(name, {}), cpu = open_device("cpu", {});
  for (const bool is_framed : {true, false}) {
    SCOPED_TRACE(is_framed ? "photos" : "floats");
    const FedNetwork network = is_framed ? of_any_size() : with_mean_image();
    const Given wanted = run(network, *cpu, MemoryPolicy::automatic, false);
    const Given got = run(network, *device, policy, true);
    const bool has_memory_for_both =
        std::ranges::any_of(device->heaps(), [&, policy = policy](const Heap* heap) {
          const MemoryTraits& traits = heap->traits();
          return traits.concurrent && traits.host_cached &&
                 (policy == MemoryPolicy::copy || traits.device_visible);
        });
    if (has_memory_for_both && (is_framed || policy != MemoryPolicy::zero_copy)) {
      EXPECT_EQ(got.in_place, kBatches);
    }
    ASSERT_EQ(got.results.size(), wanted.results.size());
    for (std::size_t i = 0; i < got.results.size(); ++i) {
      ASSERT_EQ(got.results[i].size(), wanted.results[i].size());
      for (std::size_t k = 0; k < got.results[i].size(); ++k)
        ASSERT_NEAR(got.results[i][k], wanted.results[i][k], 1e-3F) << i << ' ' << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, FedPlansOf,
                         ::testing::Combine(::testing::Values("cuda", "opencl"),
                                            ::testing::Values(MemoryPolicy::copy,
                                                              MemoryPolicy::zero_copy,
                                                              MemoryPolicy::automatic)),
                         [](const auto& test) {
                           return fmt::format("{}_{}", std::get<0>(test.param),
                                              testing::policy_word(std::get<1>(test.param)));
                         });

}  // namespace
}  // namespace maru
