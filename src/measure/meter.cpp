#include "measure/meter.h"

#include <chrono>

#include "base/error.h"
#include "measure/meters/meters.h"

namespace maru::measure {
namespace {

constexpr std::string_view kSpecs =
    "auto, none, nvml, rapl, jetson, pi5, wt310e:ADDRESS or command:PROGRAM";

// What auto looks for, in order.
struct Candidate {
  std::string_view name;
  bool sees_gpu;  // an NVIDIA GPU that does the work
  std::unique_ptr<Meter> (*open)(const MeterOptions& options);
};

constexpr Candidate kCandidates[] = {
    {"nvml", true, open_nvml},
    {"jetson", true, open_jetson},
    {"pi5", false, open_pi5},
    {"rapl", false, [](const MeterOptions& options) { return open_rapl(options); }},
};

std::unique_ptr<Meter> open_any(const MeterOptions& options, std::vector<MeterAbsence>& absences) {
  for (const Candidate& candidate : kCandidates) {
    const std::string name(candidate.name);
    if (candidate.name == "nvml" && !options.gpu) {
      absences.push_back({name, "it measures NVIDIA GPUs, and none does the work", ""});
      continue;
    }
    if (!candidate.sees_gpu && options.gpu) {
      absences.push_back({name, "it does not see the GPU that does the work", ""});
      continue;
    }
    try {
      return candidate.open(options);
    } catch (const Error& error) {
      absences.push_back(
          {name, fmt::format("expected {}, got {}", error.expected(), error.got()), error.hint()});
    }
  }
  absences.push_back({"wt310e", "meters outside of the machine are used when they are named",
                      "--meter wt310e:ADDRESS with a Yokogawa WT310E at the wall, or --meter "
                      "command:PROGRAM with a program that prints joules"});
  return nullptr;
}

}  // namespace

std::string_view to_string(MeterFacts::Boundary boundary) {
  switch (boundary) {
    case MeterFacts::Boundary::wall:
      return "wall";
    case MeterFacts::Boundary::board:
      return "board";
    case MeterFacts::Boundary::module:
      return "module";
    case MeterFacts::Boundary::rail:
      return "rail";
    case MeterFacts::Boundary::chip:
      return "chip";
    case MeterFacts::Boundary::unknown:
      break;
  }
  return "unknown";
}

std::string_view to_string(MeterFacts::Class grade) {
  switch (grade) {
    case MeterFacts::Class::measured:
      return "measured";
    case MeterFacts::Class::estimated:
      return "estimated";
    case MeterFacts::Class::modelled:
      break;
  }
  return "modelled";
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<Meter> open_meter(std::string_view spec, const MeterOptions& options,
                                  std::vector<MeterAbsence>& absences) {
  const std::size_t colon = spec.find(':');
  const std::string_view kind = spec.substr(0, colon);
  const std::string_view rest =
      colon == std::string_view::npos ? std::string_view{} : spec.substr(colon + 1);
  if (kind == "wt310e") return open_wt310e(rest, options);
  if (kind == "command") return open_command(rest);
  if (colon == std::string_view::npos) {
    if (kind == "none") return nullptr;
    if (kind == "auto") return open_any(options, absences);
    for (const Candidate& candidate : kCandidates)
      if (kind == candidate.name) return candidate.open(options);
  }
  throw Error("--meter", kSpecs, fmt::format("'{}'", spec), "--meter auto");
}

}  // namespace maru::measure
