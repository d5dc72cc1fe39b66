// What the real Caffe computed for both real networks, and how far ours may be from it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "tests/shared.h"

namespace maru::testing {

struct Network {
  const char* golden;
  const char* model;
};
inline constexpr Network kGoogLeNet{"golden/googlenet", "models/bvlc_googlenet"};
inline constexpr Network kSqueezeNet{"golden/squeezenet_v1.1", "models/squeezenet_v1.1"};
inline constexpr int kPhotos = 8;

inline std::vector<float> golden(const Network& network, const std::string& file) {
  const std::filesystem::path path = shared_folder() / network.golden / file;
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
  // Version 1.0: magic, version, length of the header, header, then the values.
  const std::size_t header = 10 + static_cast<unsigned char>(bytes.at(8)) +
                             256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes.at(9)));
  std::vector<float> values((bytes.size() - header) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + header, values.size() * sizeof(float));
  return values;
}

inline std::string numbered(const char* folder, int photo) {
  return std::string(folder) + "/0" + std::to_string(photo) + ".npy";
}

inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

}  // namespace maru::testing
