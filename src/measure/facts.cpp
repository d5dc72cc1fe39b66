#include "measure/facts.h"

#include <fmt/format.h>

#include "measure/figures.h"
#include "measure/markup.h"

namespace maru::measure {

std::string list_of(const Facts& facts) {
  std::string html = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : facts) {
    if (value.empty()) continue;
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
  }
  return html + "</dl>\n";
}

void add_machine(Facts& facts, const MachineFacts& machine) {
  facts.emplace_back("board", machine.board);
  facts.emplace_back("processor", machine.cpu.empty() ? ""
                                  : machine.cores > 0
                                      ? fmt::format("{}; {} core{} used", machine.cpu, machine.cores,
                                                    machine.cores == 1 ? "" : "s")
                                      : machine.cpu);
  facts.emplace_back("GPU", machine.gpu.empty() || machine.driver.empty()
                                ? machine.gpu
                                : fmt::format("{}, driver {}", machine.gpu, machine.driver));
  facts.emplace_back(
      "memory", machine.memory_bytes > 0 ? bytes_text(static_cast<double>(machine.memory_bytes)) : "");
  facts.emplace_back("clock governor", machine.governor);
  facts.emplace_back("system", machine.system);
}

void add_meter(Facts& facts, const std::optional<MeterFacts>& meter,
               const std::vector<MeterAbsence>& absences) {
  if (!meter) {
    std::string why;
    for (const std::string& line : why_no_energy(absences)) why += (why.empty() ? "" : ". ") + line;
    facts.emplace_back("energy", "n/a. " + why);
    return;
  }
  facts.emplace_back("meter", fmt::format("{}: {}", meter->name, meter->source));
  std::string text = worth_of(*meter);
  if (meter->period_seconds > 0)
    text += fmt::format(", told anew each {}",
                        seconds_unit(meter->period_seconds)(meter->period_seconds, 3));
  if (meter->resolution_joules > 0)
    text += fmt::format(", in steps of {}",
                        joules_unit(meter->resolution_joules)(meter->resolution_joules, 3));
  if (meter->resolution_watts > 0)
    text += fmt::format(", power in steps of {}",
                        watts_unit(meter->resolution_watts)(meter->resolution_watts, 3));
  facts.emplace_back("energy is", text);
  facts.emplace_back("it cannot see", meter->blind);
}

void add_model(Facts& facts, const BenchResult::Model& model) {
  std::string text = model.name;
  if (!model.input.empty()) text += ", input " + shape_text(model.input);
  text += fmt::format(", batch {}", model.batch);
  if (!model.precision.empty()) text += ", " + model.precision;
  facts.emplace_back("network", text);
  facts.emplace_back("file", model.path);
  if (!model.crc32.empty()) {
    facts.emplace_back(
        "weights",
        fmt::format("{}, crc32 {}", bytes_text(static_cast<double>(model.weights_bytes)), model.crc32));
  }
}

std::string worth_of(const MeterFacts& meter) {
  if (meter.boundary == MeterFacts::Boundary::unknown)
    return fmt::format("{}, where is not known", to_string(meter.grade));
  return fmt::format("{} at the {}", to_string(meter.grade), to_string(meter.boundary));
}

std::string percent_text(double share, int decimals) {
  return fmt::format("{:.{}f} %", 100 * share, decimals);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

}  // namespace maru::measure
