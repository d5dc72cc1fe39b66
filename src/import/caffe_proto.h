// What readers and writers of Caffe's binary files share: protobuf wire data with the place of what is
// wrong with it, blobs in all forms that Caffe has had, and messages written in pieces. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "import/caffemodel.h"

namespace maru {

// Reads over bytes that `owner` keeps alive; blobs are spans of them.
class CaffeProtoReader {
 public:
  using View = protozero::data_view;
  using Pbf = protozero::pbf_reader;
  using Wire = protozero::pbf_wire_type;

  CaffeProtoReader(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                   std::string_view file, Constant::Storage storage);

  View all() const { return {begin_, size_}; }
  // Throws Error naming a file of another kind. kind: ".caffemodel"; hint: for a text file.
  void check_kind(std::string_view kind, std::string_view text_hint);
  // Runs a part; what protozero throws comes out as an Error with its place.
  template <class F>
  void guarded(F&& part) const {
    try {
      part();
    } catch (const protozero::exception& error) {
      fail_wire(error);
    }
  }

  bool next(Pbf& message);
  void want(const Pbf& message, Wire wire, std::string_view what) const;
  View view(Pbf& message, std::string_view what) const;
  std::string text(Pbf& message, std::string_view what) const;
  CaffeBlob blob(View bytes);
  [[noreturn]] void fail(std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const;

 private:
  [[noreturn]] void fail_wire(const protozero::exception& error) const;
  std::size_t position(const char* data) const { return static_cast<std::size_t>(data - begin_); }
  std::int64_t extent(std::int64_t value) const;
  void shape(View bytes, std::vector<std::int64_t>& dims);
  View whole(View run, std::size_t element) const;

  const char* begin_;
  std::size_t size_;
  std::shared_ptr<const void> owner_;
  Constant::Storage storage_;
  std::string file_, kind_;  // ".caffemodel"
  std::size_t at_ = 0;       // where the field that is being read begins
};

// A message as it will be written: small runs of bytes, and values that stay where they are.
class CaffeProtoPieces {
 public:
  std::size_t bytes() const { return bytes_; }
  void add_string(std::uint32_t tag, std::string_view text);
  void add_int(std::uint32_t tag, std::int64_t value);
  void add_message(std::uint32_t tag, const CaffeProtoPieces& message);
  // As V2 has it. Throws Error (at `name`) where shape and number of values differ.
  void add_blob(std::uint32_t tag, std::span<const std::int64_t> shape, std::span<const float> values,
                std::string_view name);
  // Throws Error for more than a reader of protocol buffers takes.
  void write(AtomicFile& file) const;

 private:
  void add_head(std::string head);

  struct Piece {
    std::string head;
    std::span<const float> values;  // behind it
  };
  std::vector<Piece> pieces_;
  std::size_t bytes_ = 0;
};

}  // namespace maru
