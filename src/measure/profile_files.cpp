#include "measure/profile_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace maru::measure {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Interval& interval) {
  return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}};
}

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json known(double value) { return value > 0 ? Json(value) : Json(nullptr); }

Json json_of(const ProfiledStep& step) {
  return {{"name", step.name},
          {"kind", step.kind},
          {"op", step.op},
          {"kernel", step.kernel},
          {"device", step.device},
          {"seconds", json_of(step.seconds)},
          {"times", step.times},
          {"share", step.share},
          {"flops", step.flops},
          {"bytes", step.bytes},
          {"roof_share", json_of(step.roof_share)},
          {"joules", json_of(step.joules)},
          {"uncertainty_joules", json_of(step.uncertainty_joules)},
          {"energy_times", step.energy_times}};
}

Json json_of(const MachineFacts& machine) {
  return {{"board", machine.board},   {"cpu", machine.cpu},
          {"cores", machine.cores},   {"memory_bytes", machine.memory_bytes},
          {"gpu", machine.gpu},       {"driver", machine.driver},
          {"system", machine.system}, {"governor", machine.governor}};
}

Json json_of(const MeterFacts& meter) {
  return {{"name", meter.name},
          {"source", meter.source},
          {"boundary", to_string(meter.boundary)},
          {"class", to_string(meter.grade)},
          {"period_seconds", meter.period_seconds},
          {"resolution_joules", meter.resolution_joules},
          {"resolution_watts", meter.resolution_watts},
          {"blind", meter.blind}};
}

// A file name need not be UTF-8, JSON must be.
std::string dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string json_of(const ProfileResult& result) {
  Json json{{"format", "maru profile 1"},
            {"maru", result.maru_version},
            {"command", result.command},
            {"when", result.when},
            {"device", result.device},
            {"description", result.device_description},
            {"memory", result.memory},
            {"threads", result.threads},
            {"photo", result.photo},
            {"model",
             {{"name", result.model.name},
              {"path", result.model.path},
              {"crc32", result.model.crc32},
              {"input", result.model.input},
              {"precision", result.model.precision},
              {"batch", result.model.batch}}},
            {"machine", json_of(result.machine)},
            {"others_load", json_of(result.state.load)},
            {"cpu_hz", json_of(result.state.cpu_hz)},
            {"gpu_hz", json_of(result.state.gpu_hz)},
            {"celsius", json_of(result.state.celsius)},
            {"throttled_by", result.state.throttled_by},
            {"meter", result.meter ? json_of(*result.meter) : Json(nullptr)},
            {"meter_absences", Json::array()},
            {"runs", result.runs},
            {"run_seconds", json_of(result.run)},
            {"sum_seconds", result.sum_seconds()},
            {"sum_joules", json_of(result.sum_joules())},
            {"overhead_seconds", result.overhead_seconds},
            {"notes", result.notes},
            {"roofs", Json::array()},
            {"steps", Json::array()}};
  for (const MeterAbsence& absence : result.meter_absences) {
    json["meter_absences"].push_back(
        {{"name", absence.name}, {"why", absence.why}, {"remedy", absence.remedy}});
  }
  for (const Roof& roof : result.roofs) {
    json["roofs"].push_back({{"device", roof.device},
                             {"flops", known(roof.flops)},
                             {"bytes", known(roof.bytes)},
                             {"flops_of", roof.flops_of},
                             {"bytes_of", roof.bytes_of}});
  }
  for (const ProfiledStep& step : result.steps) json["steps"].push_back(json_of(step));
  return dump(json);
}

std::string trace_of(const ProfileResult& result) {
  Json events = Json::array();
  const auto meta = [&](const char* what, std::size_t row, const std::string& name) {
    events.push_back(
        {{"name", what}, {"ph", "M"}, {"pid", 1}, {"tid", row}, {"args", {{"name", name}}}});
  };
  std::vector<std::string> rows;
  for (const ProfiledStep& step : result.steps) {
    if (std::ranges::find(rows, step.device) == rows.end()) rows.push_back(step.device);
  }
  meta("process_name", 0, result.model.name + " by maru profile");
  for (std::size_t row = 0; row < rows.size(); ++row) meta("thread_name", row + 1, rows[row]);
  double begin = 0;
  for (const ProfiledStep& step : result.steps) {
    const auto row = std::ranges::find(rows, step.device) - rows.begin() + 1;
    Json args{{"op", step.op},
              {"kernel", step.kernel},
              {"share", step.share},
              {"flops", step.flops},
              {"bytes", step.bytes},
              {"low_us", step.seconds.low * 1e6},
              {"high_us", step.seconds.high * 1e6}};
    if (step.joules) args["joules"] = *step.joules;
    events.push_back({{"name", step.name},
                      {"cat", step.kind},
                      {"ph", "X"},
                      {"ts", begin * 1e6},
                      {"dur", step.seconds.value * 1e6},
                      {"pid", 1},
                      {"tid", row},
                      {"args", std::move(args)}});
    begin += step.seconds.value;
  }
  return dump({{"traceEvents", std::move(events)},
               {"displayTimeUnit", "ms"},
               {"otherData",
                {{"what", "medians of steps timed alone, one after another"},
                 {"device", result.device_description},
                 {"command", result.command},
                 {"maru", result.maru_version},
                 {"when", result.when}}}});
}

}  // namespace maru::measure
