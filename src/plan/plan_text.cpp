#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "plan/plan.h"

namespace maru {
namespace {

std::string_view to_string(Step::Kind kind) { return kind == Step::Kind::copy ? "copy" : "kernel"; }

std::string_view to_string(Region::Kind kind) {
  switch (kind) {
    case Region::Kind::weights:
      return "weights";
    case Region::Kind::arena:
      return "arena";
    case Region::Kind::input:
      return "input";
    case Region::Kind::output:
      return "output";
  }
  return "?";
}

std::string place(const Operand& operand) {
  return fmt::format("{}+{}", operand.region, operand.offset);
}

std::string describe(const Operand& operand) {
  return fmt::format("{} {} @{}", operand.name, operand.desc.str(), place(operand));
}

nlohmann::json to_json(const Operand& operand) {
  return {{"name", operand.name},
          {"dtype", to_string(operand.desc.dtype)},
          {"shape", operand.desc.shape.extents()},
          {"layout", operand.desc.layout.str()},
          {"region", operand.region},
          {"offset", operand.offset}};
}

}  // namespace

std::size_t Plan::copied_bytes() const {
  std::size_t bytes = 0;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::copy) bytes += step.dst[0].desc.bytes();
  }
  return bytes;
}

std::string Plan::text() const {
  std::string text = fmt::format("plan of {} on {}, memory {}: {} steps, {} bytes copied a run\n\n",
                                 network, device, policy, steps.size(), copied_bytes());
  text += "regions (a place below is region+offset in bytes)\n";
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const Region& region = regions[i];
    const std::string name = region.kind == Region::Kind::weights || region.kind == Region::Kind::arena
                                 ? std::string(to_string(region.kind))
                                 : fmt::format("{} {}", to_string(region.kind), region.name);
    text += fmt::format("  {:<3} {:<24} {:>10} bytes in {}: {}\n", i, name, region.bytes,
                        region.heap->name(), region.why);
  }
  text += "\nsteps\n";
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    text += fmt::format("  {:<3} {} {}\n", i, step.name, step.kind == Step::Kind::copy ? "(copy)" : "");
    while (text.size() > 1 && text[text.size() - 2] == ' ') text.erase(text.size() - 2, 1);
    text += fmt::format("      {}\n", step.op);
    text += fmt::format("      by {}: {}\n", step.kernel->name(), step.why);
    for (const Operand& operand : step.src) text += fmt::format("      <- {}\n", describe(operand));
    for (const Operand& operand : step.dst) text += fmt::format("      -> {}\n", describe(operand));
    if (const std::size_t bytes = step.kernel->workspace_bytes(); bytes > 0) {
      text += fmt::format("      workspace {} bytes @{}+{}\n", bytes, kArena, step.workspace);
    }
  }
  if (!rewrites.empty()) {
    text += "\nrewrites\n";
    for (const std::string& rewrite : rewrites) text += fmt::format("  {}\n", rewrite);
  }
  return text;
}

std::string Plan::json() const {
  nlohmann::json json{{"network", network},
                      {"device", device},
                      {"memory", policy},
                      {"copied_bytes", copied_bytes()},
                      {"rewrites", rewrites},
                      {"regions", nlohmann::json::array()},
                      {"steps", nlohmann::json::array()}};
  for (const Region& region : regions) {
    json["regions"].push_back({{"kind", to_string(region.kind)},
                               {"name", region.name},
                               {"heap", region.heap->name()},
                               {"why", region.why},
                               {"bytes", region.bytes}});
  }
  for (const Step& step : steps) {
    nlohmann::json entry{{"kind", to_string(step.kind)},
                         {"name", step.name},
                         {"op", step.op},
                         {"kernel", step.kernel->name()},
                         {"why", step.why},
                         {"workspace_bytes", step.kernel->workspace_bytes()},
                         {"src", nlohmann::json::array()},
                         {"dst", nlohmann::json::array()}};
    for (const Operand& operand : step.src) entry["src"].push_back(to_json(operand));
    for (const Operand& operand : step.dst) entry["dst"].push_back(to_json(operand));
    json["steps"].push_back(std::move(entry));
  }
  return json.dump(2);
}

}  // namespace maru
