#include "apps/cli/packed.h"

#include "apps/cli/tensors.h"
#include "base/text.h"

namespace maru::cli {

std::string text_of(const PackedInfo& info) {
  const std::string threads =
      info.threads == 0 ? "one thread a core" : fmt::format("--threads {}", info.threads);
  const std::string precision = info.precision == Precision::fp32
                                    ? ""
                                    : fmt::format(", --precision {}", to_string(info.precision));
  std::string text = table(
      "<<", {{"packed",
              fmt::format("{}, {}", info.file.string(), human_bytes(static_cast<double>(info.bytes)))},
             {"for", fmt::format("{}: {}", info.device, info.description)},
             {"options", fmt::format("--batch {}, {}{}{}", info.batch, threads,
                                     info.optimized ? "" : ", --no-optimize", precision)},
             {"by", "maru " + info.maru_version}});
  std::vector<std::vector<std::string>> rows{{"section", "offset", "bytes", "crc32"}};
  for (const PackedInfo::Section& section : info.sections) {
    rows.push_back({section.name, grouped(static_cast<std::int64_t>(section.offset)),
                    grouped(static_cast<std::int64_t>(section.bytes)),
                    fmt::format("{:08x}", section.checksum)});
  }
  return text + '\n' + table("<>><", rows);
}

Json to_json(const PackedInfo& info) {
  Json sections = Json::array();
  for (const PackedInfo::Section& section : info.sections) {
    sections.push_back({{"name", section.name},
                        {"offset", section.offset},
                        {"bytes", section.bytes},
                        {"crc32", fmt::format("{:08x}", section.checksum)}});
  }
  Json document{{"file", info.file.string()},      {"bytes", info.bytes},
                {"maru", info.maru_version},       {"device", info.device},
                {"description", info.description}, {"batch", info.batch},
                {"threads", info.threads},         {"optimized", info.optimized},
                {"sections", std::move(sections)}};
  add_precision(document, info.precision);
  return document;
}

}  // namespace maru::cli
