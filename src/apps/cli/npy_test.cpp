#include "apps/cli/npy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "tensor/tensor_desc.h"

namespace maru::npy {
namespace {

namespace fs = std::filesystem;

struct Tensor {
  std::vector<std::byte> bytes;
  TensorSpan span;

  Tensor(DType dtype, std::vector<std::int64_t> shape) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    bytes.resize(count * size_of(dtype));
    span = {dtype, std::move(shape), bytes};
  }
  template <class T>
  T at(std::size_t i) const {
    return span.as<T>()[i];
  }
};

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.begin(), bytes.size());
  return bytes;
}

class Npy : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("maru_npy_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path put(const std::string& content) const {
    fs::path file = folder_ / "in.npy";
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    return file;
  }
  static std::string with_header(int version, const std::string& dictionary, const std::string& data) {
    std::string file = "\x93NUMPY";
    file += {static_cast<char>(version), '\0', static_cast<char>(dictionary.size() & 0xFF),
             static_cast<char>(dictionary.size() >> 8)};
    if (version > 1) file += std::string(2, '\0');
    return file + dictionary + data;
  }
  fs::path put(const std::string& descr, const std::string& shape, const std::string& data,
               int version = 1) const {
    return put(with_header(
        version, "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }   \n",
        data));
  }
  static std::string get(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  // The message of the Error that opening the file (and reading it into `tensor`) throws.
  static std::string error(const fs::path& file, const Tensor* tensor = nullptr) {
    try {
      const File opened(file);
      if (tensor != nullptr) opened.read(tensor->span);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  fs::path folder_;
};

bool says(const std::string& message, const char* part) {
  return message.find(part) != std::string::npos;
}

TEST_F(Npy, reads_all_versions_of_the_header) {
  for (const int version : {1, 2, 3}) {
    const File file(put("<f4", "2, 3", raw<float>({1, 2, 3, 4, 5, 6}), version));
    EXPECT_EQ(file.dtype(), DType::f32);
    EXPECT_EQ(file.shape(), (std::vector<std::int64_t>{2, 3}));
    const Tensor tensor(DType::f32, {2, 3});
    file.read(tensor.span);
    EXPECT_EQ(tensor.at<float>(5), 6) << version;
  }
}

TEST_F(Npy, reads_scalars_empty_tensors_and_foreign_spellings) {
  const Tensor scalar(DType::f32, {});
  File(put("<f4", "", raw<float>({7}))).read(scalar.span);
  EXPECT_EQ(scalar.at<float>(0), 7);
  EXPECT_EQ(File(put("<f4", "0, 4", "")).shape(), (std::vector<std::int64_t>{0, 4}));
  // Another order, other quotes, Python 2's long integers, no last comma.
  const std::string header = R"({"shape":(1L,2L),"fortran_order":False,"descr":"<f4"})";
  EXPECT_EQ(File(put(with_header(1, header, raw<float>({1, 2})))).shape(),
            (std::vector<std::int64_t>{1, 2}));
  // With one axis, Fortran's order is C's.
  const std::string one = "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }";
  EXPECT_EQ(File(put(with_header(1, one, raw<float>({1, 2})))).shape(), (std::vector<std::int64_t>{2}));
}

TEST_F(Npy, converts_to_f32_and_to_nothing_else) {
  const Tensor tensor(DType::f32, {3});
  File(put("<f8", "3,", raw<double>({-0.5, 1e10, 3}))).read(tensor.span);
  EXPECT_EQ(tensor.at<float>(0), -0.5F);
  EXPECT_EQ(tensor.at<float>(1), 1e10F);
  File(put("|u1", "3,", raw<std::uint8_t>({0, 128, 255}))).read(tensor.span);
  EXPECT_EQ(tensor.at<float>(2), 255);
  File(put("<i4", "3,", raw<std::int32_t>({-7, 0, 1 << 30}))).read(tensor.span);
  EXPECT_EQ(tensor.at<float>(0), -7);
  const Tensor integers(DType::i32, {3});
  File(put("<i4", "3,", raw<std::int32_t>({-7, 0, 9}))).read(integers.span);
  EXPECT_EQ(integers.at<std::int32_t>(2), 9);
  const fs::path floats = put("<f4", "3,", raw<float>({1, 2, 3}));
  EXPECT_TRUE(says(error(floats, &integers), "i32")) << error(floats, &integers);
}

TEST_F(Npy, says_what_does_not_fit) {
  const Tensor tensor(DType::f32, {1, 3});
  EXPECT_TRUE(says(error(put("<f4", "3, 1", raw<float>({1, 2, 3})), &tensor), "(1, 3), got (3, 1)"));
  EXPECT_TRUE(says(error(put(">f4", "1,", "abcd")), ">f4"));
  EXPECT_TRUE(says(error(put("<i8", "1,", "abcdefgh")), "<i8"));
  EXPECT_TRUE(says(error(put("|O", "1,", "abcdefgh")), "|O"));
  const std::string fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }";
  EXPECT_TRUE(says(error(put(with_header(1, fortran, "abcd"))), "Fortran"));
  const std::string structured = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
  EXPECT_TRUE(says(error(put(with_header(1, structured, "abcd"))), "structured"));
}

TEST_F(Npy, checks_every_bound) {
  const std::string good = get(put("<f4", "2, 3", std::string(24, 'x')));
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_NE(error(put(good.substr(0, length))), "no error") << length;
  }
  EXPECT_NE(error(put(good + "x")), "no error");
  EXPECT_NE(error(put("<f4", "-1, 3", "")), "no error");
  EXPECT_NE(error(put("<f4", "4294967296, 4294967296", "")), "no error");
  EXPECT_NE(error(put("<f4", "99999999999999999999", "")), "no error");
  EXPECT_NE(error(put("<f4", "1, 1, 1, 1, 1, 1, 1, 1, 1", "abcd")), "no error");
  EXPECT_NE(error(put(with_header(4, "{}", ""))), "no error");
  for (const char* broken :
       {"", "{", "}", "{}", "{'descr'}", "{'descr': '<f4'}", "{'descr: '<f4'}", "{'shape': (1}",
        "{'shape': 3}", "{'fortran_order': Maybe}", "{'colour': 'red'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } more",
        "{'descr': '<f4' 'fortran_order': False 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }"}) {
    EXPECT_NE(error(put(with_header(1, broken, "abcd"))), "no error") << broken;
  }
  // Any single byte of the header changed: read or refused, never a crash.
  for (std::size_t at = 6; at < good.size() - 24; ++at) {
    for (const char c : {'\0', '\xFF', '9', '('}) {
      std::string damaged = good;
      damaged[at] = c;
      error(put(damaged));
    }
  }
}

TEST_F(Npy, what_is_written_can_be_read) {
  Tensor tensor(DType::f32, {2, 2});
  for (std::size_t i = 0; i < 4; ++i) tensor.span.as<float>()[i] = static_cast<float>(i) + 0.5F;
  const fs::path file = folder_ / "out.npy";
  write(file, tensor.span);
  EXPECT_EQ((get(file).size() - 16) % 64, 0u) << "data begins at a multiple of 64";
  const Tensor back(DType::f32, {2, 2});
  File(file).read(back.span);
  EXPECT_EQ(back.bytes, tensor.bytes);
  for (const auto& [dtype, shape] : std::vector<std::pair<DType, std::vector<std::int64_t>>>{
           {DType::f16, {3}},
           {DType::f64, {}},
           {DType::u8, {0, 5}},
           {DType::i32, {1, 2, 3, 4, 5, 6, 7, 8}}}) {
    const Tensor any(dtype, shape);
    write(file, any.span);
    EXPECT_EQ(File(file).dtype(), dtype);
    EXPECT_EQ(File(file).shape(), shape);
  }
}

TEST_F(Npy, writing_replaces_whole_files_and_leaves_nothing_behind) {
  const Tensor tensor(DType::f32, {4});
  const fs::path file = folder_ / "out.npy", link = folder_ / "link.npy";
  std::ofstream(file) << "old";
  fs::create_symlink(file, link);
  write(link, tensor.span);  // writes what the link stands for
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(File(file).shape(), (std::vector<std::int64_t>{4}));
  EXPECT_THROW(write(folder_ / "missing" / "out.npy", tensor.span), Error);
  EXPECT_THROW(write(folder_, tensor.span), Error);
  write("/dev/null", tensor.span);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  if (fs::exists("/dev/full")) {
    EXPECT_THROW(write("/dev/full", tensor.span), Error);
  }
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) files += entry.exists() ? 1 : 0;
  EXPECT_EQ(files, 2u);
}

TEST_F(Npy, rejects_what_is_no_npy_file) {
  EXPECT_TRUE(says(error(put("PK\x03\x04 an archive of arrays")), ".npy"));
  EXPECT_NE(error(folder_ / "missing.npy"), "no error");
  EXPECT_NE(error(folder_), "no error");
  EXPECT_NE(error(put("")), "no error");
}

}  // namespace
}  // namespace maru::npy
