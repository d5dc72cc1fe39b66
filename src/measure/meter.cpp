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
  // Beside the CPU: an NVIDIA GPU that CUDA works on; a GPU on the CPU's chip. None sees other cards.
  bool sees_cuda, sees_integrated;
  std::unique_ptr<Meter> (*open)(const MeterOptions& options);
};

constexpr Candidate kCandidates[] = {
    {"nvml", true, false, open_nvml},
    {"jetson", true, true, open_jetson},
    {"pi5", false, true, open_pi5},
    {"rapl", false, true, [](const MeterOptions& options) { return open_rapl(options); }},
};

// Why a meter is not even looked for; nothing where it sees what works.
std::optional<MeterAbsence> blindness(const Candidate& candidate, const MeterOptions& options) {
  const std::string name(candidate.name);
  if (options.gpu) {
    if (candidate.sees_cuda) return std::nullopt;
    return MeterAbsence{name, "it does not see the GPU that does the work", ""};
  }
  if (candidate.name == "nvml") {
    if (options.worker == Worker::host || options.worker == Worker::integrated_gpu)
      return MeterAbsence{name, "it measures NVIDIA GPUs on cards, and none does the work", ""};
    return MeterAbsence{name, "only of --device cuda is it known which NVIDIA GPU does the work",
                        "--meter nvml, which reads GPU 0, if that is the one"};
  }
  if (options.worker == Worker::host) return std::nullopt;
  if (options.worker == Worker::integrated_gpu && candidate.sees_integrated) return std::nullopt;
  if (options.worker == Worker::unknown)
    return MeterAbsence{name, "it cannot be told whether it sees the chip that does the work",
                        fmt::format("--meter {}, if it does", name)};
  return MeterAbsence{name, "it does not see the card that does the work", ""};
}

std::unique_ptr<Meter> open_any(const MeterOptions& options, std::vector<MeterAbsence>& absences) {
  for (const Candidate& candidate : kCandidates) {
    if (auto blind = blindness(candidate, options)) {
      absences.push_back(std::move(*blind));
      continue;
    }
    const std::string name(candidate.name);
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
