// For tests of data sets: archives and databases, made byte by byte.
#pragma once

#include <gtest/gtest.h>
#include <lmdb.h>
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/test_files.h"

namespace maru::data::testing_files {

struct ZipOptions {
  bool deflate = false, zip64 = false;
  int flags = 0;
};

// Names and contents as a .zip.
inline std::string zip(const std::vector<std::pair<std::string, std::string>>& files,
                       const ZipOptions& options = {}) {
  std::string out, directory;
  const auto number = [](std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xFF);
  };
  for (const auto& file : files) {
    const std::string &name = file.first, &content = file.second;
    std::string stored = content;
    if (options.deflate) {
      z_stream stream{};
      deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      stored.resize(deflateBound(&stream, content.size()));
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
      stream.avail_in = static_cast<uInt>(content.size());
      stream.next_out = reinterpret_cast<Bytef*>(stored.data());
      stream.avail_out = static_cast<uInt>(stored.size());
      deflate(&stream, Z_FINISH);
      stored.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const std::uint64_t crc =
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    const std::uint64_t header = out.size();
    const auto common = [&](std::string& to, bool wide) {
      number(to, static_cast<std::uint64_t>(options.flags), 2);
      number(to, options.deflate ? 8 : 0, 2);
      number(to, 0, 4);  // time
      number(to, crc, 4);
      number(to, wide ? 0xFFFFFFFF : stored.size(), 4);
      number(to, wide ? 0xFFFFFFFF : content.size(), 4);
      number(to, name.size(), 2);
    };
    out += "PK\3\4";
    number(out, 20, 2);
    common(out, false);
    number(out, 3, 2);  // an extra field that is only here
    out += name + "abc" + stored;
    directory += "PK\1\2";
    number(directory, 20, 2);
    number(directory, 20, 2);
    common(directory, options.zip64);
    number(directory, options.zip64 ? 28 : 0, 2);
    number(directory, 0, 2);
    number(directory, 0, 8);  // disk, attributes
    number(directory, options.zip64 ? 0xFFFFFFFF : header, 4);
    directory += name;
    if (options.zip64) {
      number(directory, 1, 2);
      number(directory, 24, 2);
      number(directory, content.size(), 8);
      number(directory, stored.size(), 8);
      number(directory, header, 8);
    }
  }
  const std::uint64_t at = out.size();
  out += directory;
  if (options.zip64) {
    const std::uint64_t record = out.size();
    out += "PK\6\6";
    number(out, 44, 8);
    number(out, 45, 4);
    number(out, 0, 8);
    number(out, files.size(), 8);
    number(out, files.size(), 8);
    number(out, directory.size(), 8);
    number(out, at, 8);
    out += "PK\6\7";
    number(out, 0, 4);
    number(out, record, 8);
    number(out, 1, 4);
  }
  out += "PK\5\6";
  number(out, 0, 4);
  number(out, options.zip64 ? 0xFFFF : files.size(), 2);
  number(out, options.zip64 ? 0xFFFF : files.size(), 2);
  number(out, options.zip64 ? 0xFFFFFFFF : directory.size(), 4);
  number(out, options.zip64 ? 0xFFFFFFFF : at, 4);
  number(out, 0, 2);
  return out;
}

// One entry of a .tar, ustar: header and padded content.
inline std::string tar_entry(std::string_view name, std::string_view content, char type = '0',
                             std::string_view prefix = {}) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "00000000000");
  header[156] = type;
  put(257, std::string_view("ustar\00000", 8));
  put(345, prefix);
  put(148, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  std::string padded(content);
  padded.resize((content.size() + 511) / 512 * 512);
  return header + padded;
}

inline std::string tar(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out;
  for (const auto& [name, content] : files) out += tar_entry(name, content);
  return out + std::string(1024, '\0');
}

struct DatumFields {
  int channels = 0, height = 0, width = 0, label = 0;
  std::string data = {};
  bool encoded = false;
  std::vector<float> floats = {};
};

inline std::string datum(const DatumFields& fields) {
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  writer.add_int32(1, fields.channels);
  writer.add_int32(2, fields.height);
  writer.add_int32(3, fields.width);
  if (!fields.data.empty()) writer.add_bytes(4, fields.data);
  writer.add_int32(5, fields.label);
  for (const float value : fields.floats) writer.add_float(6, value);
  if (fields.encoded) writer.add_bool(7, true);
  return bytes;
}

// Photo `id` as planes of blue, green and red.
inline std::string planes(int id, int width, int height, int channels = 3) {
  std::string bytes;
  for (int c = channels - 1; c >= 0; --c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) bytes += static_cast<char>(level(id, x, y, c));
    }
  }
  return bytes;
}

inline void lmdb(const std::string& folder,
                 const std::vector<std::pair<std::string, std::string>>& records) {
  std::filesystem::create_directories(folder);
  MDB_env* environment = nullptr;
  MDB_txn* transaction = nullptr;
  MDB_dbi table = 0;
  ASSERT_EQ(mdb_env_create(&environment), 0);
  ASSERT_EQ(mdb_env_set_mapsize(environment, std::size_t{1} << 24), 0);
  ASSERT_EQ(mdb_env_open(environment, folder.c_str(), 0, 0644), 0);
  ASSERT_EQ(mdb_txn_begin(environment, nullptr, 0, &transaction), 0);
  ASSERT_EQ(mdb_dbi_open(transaction, nullptr, 0, &table), 0);
  for (const auto& [key, value] : records) {
    MDB_val k{key.size(), const_cast<char*>(key.data())};
    MDB_val v{value.size(), const_cast<char*>(value.data())};
    ASSERT_EQ(mdb_put(transaction, table, &k, &v, 0), 0);
  }
  ASSERT_EQ(mdb_txn_commit(transaction), 0);
  mdb_env_close(environment);
}

}  // namespace maru::data::testing_files
