// Networks of one channel take photos: what of them they see, on every device.
#include <gtest/gtest.h>
#include <maru/maru.h>

#include <algorithm>

#include "tests/devices.h"
#include "tests/files.h"

namespace maru {
namespace {

constexpr int kSide = 4;

std::uint8_t level(int pixel, int channel) {
  return static_cast<std::uint8_t>((pixel * 53 + channel * 97 + 11) % 256);
}

class GreyNetworks : public ::testing::TestWithParam<const char*> {
 protected:
  // A network that gives its input, doubled.
  Model model(Preprocessing how) {
    ModelOptions options;
    options.device = GetParam();
    options.preprocessing = how;
    return Model::load(
        folder_.write(
            "net.prototxt",
            "layer { name: \"d\" type: \"Input\" top: \"data\" input_param { shape { dim: 1 "
            "dim: 1 dim: 4 dim: 4 } } }\nlayer { name: \"p\" type: \"Power\" bottom: \"data\" "
            "top: \"p\" power_param { scale: 2 } }\n"),
        options);
  }

  testing::Folder folder_;
};

TEST_P(GreyNetworks, SeeTheGreyOfColours) {
  MARU_NEEDS_DEVICE(GetParam());
  for (const auto order : {Preprocessing::Channels::bgr, Preprocessing::Channels::rgb}) {
    Preprocessing how;
    how.channels = order;
    how.mean = {20};
    how.scale = 0.5F;
    const Model one = model(how);
    Session session(one);
    const auto pixels = session.photo(kSide, kSide);
    for (int i = 0; i < 3 * kSide * kSide; ++i)
      pixels[static_cast<std::size_t>(i)] = level(i / 3, i % 3);
    session.run();
    const auto got = session.output("p").as<const float>();
    ASSERT_EQ(got.size(), 16U);
    for (int i = 0; i < 16; ++i) {
      const double grey = 0.299 * level(i, 0) + 0.587 * level(i, 1) + 0.114 * level(i, 2);
      EXPECT_NEAR(static_cast<double>(got[static_cast<std::size_t>(i)]), grey - 20, 1e-3) << i;
    }
  }
}

std::string name_of(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, ':', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Devices, GreyNetworks,
                         ::testing::Values("cpu", "opencl", "cuda", "board:tk1", "board:pcie"),
                         name_of);

}  // namespace
}  // namespace maru
