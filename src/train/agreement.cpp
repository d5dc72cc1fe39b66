#include "train/agreement.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"

namespace maru {
namespace {

std::uint32_t checksum(std::span<const float> values) {
  const std::span<const std::byte> bytes = std::as_bytes(values);
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string text_of_rank_0(Communicator& ranks, std::string_view own) {
  std::uint64_t size = own.size();
  ranks.share(std::as_writable_bytes(std::span(&size, 1)));
  std::string text(own);
  text.resize(size);
  ranks.share(std::as_writable_bytes(std::span(text)));
  return text;
}

std::string_view line_at(std::string_view text, std::size_t at) {
  const std::size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
  const std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
  const std::size_t first = line.find_first_not_of(' ');
  return first == std::string_view::npos ? "nothing" : line.substr(first);
}

}  // namespace

void require_same(Communicator& ranks, std::string_view what, std::string_view text,
                  std::string_view hint) {
  const std::string wanted = text_of_rank_0(ranks, text);
  std::vector<double> differs(static_cast<std::size_t>(ranks.ranks()));
  differs[static_cast<std::size_t>(ranks.rank())] = wanted == text ? 0 : 1;
  ranks.sum(std::span(differs));
  std::string others;
  for (std::size_t rank = 0; rank < differs.size(); ++rank) {
    if (differs[rank] != 0) others += fmt::format("{}{}", others.empty() ? "" : ", ", rank);
  }
  if (others.empty()) return;
  if (wanted == text)
    throw Error("ranks", fmt::format("the same {} on all {} ranks", what, ranks.ranks()),
                fmt::format("another on rank {}", others), hint);
  const auto [here, there] = std::mismatch(text.begin(), text.end(), wanted.begin(), wanted.end());
  const auto at = static_cast<std::size_t>(here - text.begin());
  throw Error("ranks", fmt::format("the {} of rank 0, with \"{}\"", what, line_at(wanted, at)),
              fmt::format("\"{}\" on rank {}", line_at(text, at), ranks.rank()), hint);
}

std::string checksums(const Graph& graph) {
  std::string text;
  for (const Value& value : graph.values()) {
    if (!value.constant) continue;
    text += fmt::format("  constant {}: {}, {:08x}\n", value.name, value.desc.shape.str(),
                        checksum(value.constant->floats()));
  }
  return text;
}

std::string checksums(const StateMemory& states, const std::vector<std::string>& names) {
  std::string text;
  std::vector<float> values;
  for (const std::string& name : names) {
    values.resize(static_cast<std::size_t>(states.shape_of(name).count()));
    states.read(name, values);
    text += fmt::format("{}: {:08x}\n", name, checksum(values));
  }
  return text;
}

void share_states(Communicator& ranks, const StateMemory& states,
                  const std::vector<std::string>& names) {
  std::vector<float> values;
  for (const std::string& name : names) {
    values.resize(static_cast<std::size_t>(states.shape_of(name).count()));
    states.read(name, values);
    ranks.share(std::as_writable_bytes(std::span(values)));
    if (ranks.rank() != 0) states.write(name, values);
  }
}

}  // namespace maru
