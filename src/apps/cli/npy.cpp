#include "apps/cli/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "apps/cli/new_file.h"
#include "base/error.h"
#include "tensor/shape.h"
#include "tensor/tensor_desc.h"

namespace maru::npy {
namespace {

namespace fs = std::filesystem;
using namespace std::string_view_literals;

constexpr std::string_view kMagic = "\x93NUMPY"sv;

struct Spelling {
  std::string_view descr;
  DType dtype;
};

// What numpy writes; '|' means that byte order does not matter.
constexpr Spelling kSpellings[] = {{"<f4", DType::f32},
                                   {"<f2", DType::f16},
                                   {"<f8", DType::f64},
                                   {"|u1", DType::u8},
                                   {"<i4", DType::i32}};

struct Header {
  std::string_view descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

// Reads the dictionary that a header is: a Python literal with strings, booleans and tuples of
// integers.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& where) : rest_(text), where_(where) {}

  Header read() {
    Header header;
    bool seen[3] = {};
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr") {
        // A list here describes a structure.
        if (peek() == '[')
          throw Error(where_, "one number an element", "a structured array", kSaveHint);
        header.descr = string();
        seen[0] = true;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        seen[1] = true;
      } else if (key == "shape") {
        header.shape = tuple();
        seen[2] = true;
      } else {
        fail(fmt::format("the key '{}'", key));
      }
      if (!accept(',') && peek() != '}') fail("no comma after a value");
    }
    if (peek() != '\0') fail("more after its end");
    if (!std::ranges::all_of(seen, [](bool s) { return s; }))
      fail("one of descr, fortran_order, shape missing");
    return header;
  }

  static constexpr std::string_view kSaveHint =
      "numpy.save(file, numpy.ascontiguousarray(array, 'float32'))";

 private:
  [[noreturn]] void fail(std::string_view got) const {
    throw Error(where_, "a .npy header as numpy writes it", got, kSaveHint);
  }

  char peek() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t"), rest_.size()));
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool accept(char c) {
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(rest_.empty() ? "its end" : fmt::format("no '{}' where one belongs", c));
  }

  std::string_view string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail("something else where a string belongs");
    rest_.remove_prefix(1);
    const std::size_t end = rest_.find(quote);
    if (end == std::string_view::npos) fail("a string without end");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    peek();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    fail("something else where True or False belongs");
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
      if (error != std::errc()) fail("something else where an extent belongs");
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      accept('L');  // Python 2
      values.push_back(value);
      if (!accept(',') && peek() != ')') fail("no comma after an extent");
    }
    return values;
  }

  std::string_view rest_;
  const std::string& where_;
};

DType dtype_of(std::string_view descr, const std::string& where) {
  const auto known = std::ranges::find(kSpellings, descr, &Spelling::descr);
  if (known != std::end(kSpellings)) return known->dtype;
  throw Error(where, "elements of type <f4, <f8, <f2, |u1 or <i4", descr, HeaderReader::kSaveHint);
}

template <class From>
void convert(std::span<const std::byte> src, std::span<float> dst) {
  for (std::size_t i = 0; i < dst.size(); ++i) {
    From value;  // the data need not be aligned in the file
    std::memcpy(&value, src.data() + i * sizeof(From), sizeof(From));
    dst[i] = static_cast<float>(value);
  }
}

std::string header_text(const TensorSpan& tensor) {
  const auto spelling = std::ranges::find(kSpellings, tensor.dtype, &Spelling::dtype);
  MARU_ASSERT(spelling != std::end(kSpellings));
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", spelling->descr,
                  fmt::join(tensor.shape, ", "), tensor.shape.size() == 1 ? "," : "");
  constexpr std::size_t kPreamble = 10, kAlignment = 64;
  const std::size_t used = kPreamble + text.size() + 1;
  text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header +=
      {'\x01', '\x00', static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
  return header + text;
}

}  // namespace

File::File(const fs::path& path) : path_(path), file_(path) {
  const std::string where = path.string();
  const std::string_view text = file_.text();
  if (!text.starts_with(kMagic)) {
    throw Error(where, "a .npy file", "another kind of file", HeaderReader::kSaveHint);
  }
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<std::size_t>(static_cast<unsigned char>(text[at])) : 0;
  };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3) {
    throw Error(where, "version 1, 2 or 3 of .npy", fmt::format("version {}", version));
  }
  const std::size_t preamble = version == 1 ? 10 : 12;
  const std::size_t length =
      version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (text.size() < preamble || text.size() - preamble < length) {
    throw Error(where, fmt::format("a header of {} bytes", length), "the file's end before");
  }
  const Header header = HeaderReader(text.substr(preamble, length), where).read();
  data_offset_ = preamble + length;
  dtype_ = dtype_of(header.descr, where);
  shape_ = header.shape;
  std::int64_t count = 0;
  try {
    count = Shape(std::span<const std::int64_t>(shape_)).count();
  } catch (const Error& e) {
    throw e.within(where);
  }
  // With one axis or none both orders are the same.
  if (header.fortran_order && shape_.size() > 1) {
    throw Error(where, "elements in C order", "Fortran order", HeaderReader::kSaveHint);
  }
  const std::size_t wanted = static_cast<std::size_t>(count) * size_of(dtype_);
  if (text.size() - data_offset_ != wanted) {
    throw Error(where, fmt::format("{} bytes of data for its shape", wanted),
                fmt::format("{} bytes", text.size() - data_offset_), "writing the file again");
  }
}

void File::read(const TensorSpan& dst) const {
  if (shape_ != dst.shape) {
    throw Error(path_.string(), fmt::format("the shape ({})", fmt::join(dst.shape, ", ")),
                fmt::format("({})", fmt::join(shape_, ", ")));
  }
  const std::span<const std::byte> data = file_.bytes().subspan(data_offset_);
  if (dtype_ == dst.dtype) {
    MARU_ASSERT(data.size() == dst.bytes.size());
    if (!data.empty()) std::memcpy(dst.bytes.data(), data.data(), data.size());
    return;
  }
  if (dst.dtype == DType::f32 && dtype_ == DType::f64) return convert<double>(data, dst.as<float>());
  if (dst.dtype == DType::f32 && dtype_ == DType::u8)
    return convert<std::uint8_t>(data, dst.as<float>());
  if (dst.dtype == DType::f32 && dtype_ == DType::i32)
    return convert<std::int32_t>(data, dst.as<float>());
  throw Error(path_.string(), fmt::format("elements of type {}", to_string(dst.dtype)),
              to_string(dtype_), "converting the array with astype()");
}

void write(const fs::path& path, const TensorSpan& tensor) {
  cli::NewFile file(path);
  const std::string header = header_text(tensor);
  file.write(header.data(), header.size());
  file.write(tensor.bytes.data(), tensor.bytes.size());
  file.finish();
}

}  // namespace maru::npy
