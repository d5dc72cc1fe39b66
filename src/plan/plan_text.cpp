#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "plan/plan.h"

namespace maru {
namespace {

std::string_view to_string(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::kernel:
      return "kernel";
    case Step::Kind::copy:
      return "copy";
    case Step::Kind::wait:
      return "wait";
    case Step::Kind::release:
      return "release";
  }
  return "?";
}

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
    case Region::Kind::mirror:
      return "mirror";
    case Region::Kind::state:
      return "state";
  }
  return "?";
}

std::string place(const Operand& operand) {
  return fmt::format("{}+{}", operand.region, operand.offset);
}

std::string describe(const Operand& operand) {
  return fmt::format("{} {} @{}", operand.name, operand.desc.str(), place(operand));
}

std::string kernel_name(const Step& step) { return step.kernel ? step.kernel->name() : "transfer"; }
std::size_t workspace_bytes(const Step& step) {
  return step.kernel ? step.kernel->workspace_bytes() : 0;
}

nlohmann::json to_json(const Operand& operand) {
  return {{"name", operand.name},
          {"dtype", to_string(operand.desc.dtype)},
          {"shape", operand.desc.shape.extents()},
          {"layout", operand.desc.layout.str()},
          {"region", operand.region},
          {"offset", operand.offset}};
}

// What a step follows where that is not simply the one before it.
std::string order_line(const Step& step, std::size_t index, std::size_t row) {
  if (index == row || step.after == std::vector{index - 1}) return "";
  if (step.after.empty()) return fmt::format("      after none since {}\n", row);
  return fmt::format("      after {}\n", fmt::join(step.after, ", "));
}

}  // namespace

std::vector<std::size_t> rows_of(const std::vector<bool>& may_be_in_one) {
  std::vector<std::size_t> rows(may_be_in_one.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool goes_on = i > 0 && may_be_in_one[i] && may_be_in_one[i - 1];
    rows[i] = goes_on && i - rows[i - 1] < kLongestRow ? rows[i - 1] : i;
  }
  return rows;
}

std::vector<std::size_t> Plan::rows() const {
  std::vector<bool> is_kernel;
  for (const Step& step : steps) is_kernel.push_back(step.kernel != nullptr && step.device == 0);
  return rows_of(is_kernel);
}

std::size_t Plan::copied_bytes() const {
  std::size_t bytes = 0;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::copy) bytes += step.dst[0].desc.bytes();
  }
  return bytes;
}

std::size_t Plan::crossing_bytes() const {
  std::size_t bytes = 0;
  for (const Step& step : steps) {
    if (step.crosses()) bytes += step.dst[0].desc.bytes();
  }
  return bytes;
}

std::size_t Plan::arena_bytes() const {
  std::size_t bytes = 0;
  for (const Region& region : regions) {
    if (region.kind == Region::Kind::arena) bytes += region.bytes;
  }
  return bytes;
}

std::string Plan::text() const {
  std::string text =
      fmt::format("plan of {} on {}, memory {}: {} steps, {} bytes copied a run", network,
                  fmt::join(devices, " and "), policy, steps.size(), copied_bytes());
  if (devices.size() > 1) text += fmt::format(", {} of them between memories", crossing_bytes());
  if (precision != Precision::fp32) text += fmt::format(", in {}", to_string(precision));
  text += "\n\n";
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
  const std::vector<std::size_t> row = rows();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const bool is_order = step.kind == Step::Kind::wait || step.kind == Step::Kind::release;
    text += fmt::format("  {:<3} {}{}\n", i, step.name, step.kind == Step::Kind::copy ? " (copy)" : "");
    if (is_order) {
      text += fmt::format("      {} {}: {}\n", to_string(step.kind), devices[step.device], step.why);
    } else {
      const std::string on = step.device == 0 ? "" : " on " + devices[step.device];
      text += fmt::format("      {}\n", step.op);
      text += fmt::format("      by {}{}: {}\n", kernel_name(step), on, step.why);
    }
    if (combines) text += order_line(step, i, row[i]);
    for (const Operand& operand : step.src) text += fmt::format("      <- {}\n", describe(operand));
    for (const Operand& operand : step.dst) text += fmt::format("      -> {}\n", describe(operand));
    if (const std::size_t bytes = workspace_bytes(step); bytes > 0) {
      text += fmt::format("      workspace {} bytes @{}+{}\n", bytes, step.workspace_region,
                          step.workspace_offset);
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
                      {"devices", devices},
                      {"memory", policy},
                      {"copied_bytes", copied_bytes()},
                      {"crossing_bytes", crossing_bytes()},
                      {"rewrites", rewrites},
                      {"regions", nlohmann::json::array()},
                      {"steps", nlohmann::json::array()}};
  if (precision != Precision::fp32) json["precision"] = to_string(precision);
  for (const Region& region : regions) {
    json["regions"].push_back({{"kind", to_string(region.kind)},
                               {"name", region.name},
                               {"heap", region.heap->name()},
                               {"why", region.why},
                               {"bytes", region.bytes}});
  }
  for (const Step& step : steps) {
    nlohmann::json entry{
        {"kind", to_string(step.kind)},   {"name", step.name}, {"op", step.op},
        {"device", devices[step.device]}, {"why", step.why},   {"src", nlohmann::json::array()},
        {"dst", nlohmann::json::array()}};
    if (step.kind == Step::Kind::kernel || step.kind == Step::Kind::copy) {
      entry["kernel"] = kernel_name(step);
      entry["workspace_bytes"] = workspace_bytes(step);
    }
    if (combines && step.kernel != nullptr && step.device == 0) entry["after"] = step.after;
    for (const Operand& operand : step.src) entry["src"].push_back(to_json(operand));
    for (const Operand& operand : step.dst) entry["dst"].push_back(to_json(operand));
    json["steps"].push_back(std::move(entry));
  }
  return json.dump(2);
}

}  // namespace maru
