#include "backends/board/profile.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace maru::board {
namespace {

using Json = nlohmann::json;

// A figure with what nobody knows of it. Where there is no value, the middle of the range in the
// measure of which such figures differ: factors.
struct Figure {
  double expected = 0, low = 0, high = 0;
};

Figure figure(const Json& json) {
  Figure figure;
  const bool known = !json.at("value").is_null();
  if (const auto range = json.find("range"); range != json.end()) {
    figure.low = range->at(0);
    figure.high = range->at(1);
  } else {
    figure.low = figure.high = json.at("value");
  }
  const double middle =
      figure.low > 0 ? std::sqrt(figure.low * figure.high) : (figure.low + figure.high) / 2;
  figure.expected = known ? json.at("value").get<double>() : middle;
  if (!(figure.low <= figure.expected && figure.expected <= figure.high && figure.low >= 0))
    throw Error("range", "a value within its range",
                fmt::format("{} to {}, {}", figure.low, figure.high, figure.expected));
  return figure;
}

// Sets one figure in all three views of a model; `of` finds its place in one of them.
enum class Better { more, less };
template <class F>
void set(DeviceModel& model, const Json& json, double unit, Better better, F&& of) {
  const Figure value = figure(json);
  of(model.expected) = value.expected * unit;
  of(model.best) = (better == Better::more ? value.high : value.low) * unit;
  of(model.worst) = (better == Better::more ? value.low : value.high) * unit;
}

constexpr double kGiga = 1e9, kMicro = 1e-6;

CpuMay cpu_may(const std::string& word) {
  if (word == "never") return CpuMay::never;
  if (word == "always") return CpuMay::always;
  if (word == "while mapped") return CpuMay::when_mapped;
  if (word == "while the device is idle") return CpuMay::when_idle;
  if (word == "only it") return CpuMay::alone;
  throw Error("cpu_may_touch", "never, always, while mapped, while the device is idle or only it",
              word);
}

HeapProfile heap_profile(const Json& json) {
  HeapProfile heap;
  heap.name = json.at("name");
  const std::string host = json.at("host"), device = json.at("device");
  heap.cpu_may = cpu_may(json.at("cpu_may_touch"));
  heap.moves = json.value("moves", false);
  MemoryTraits& traits = heap.traits;
  traits.host_visible = host != "none";
  traits.host_cached = host == "cached";
  traits.device_visible = device != "none";
  traits.device_cached = device == "cached";
  traits.coherent = json.at("coherent");
  traits.concurrent = heap.cpu_may == CpuMay::always || heap.cpu_may == CpuMay::alone;
  traits.imports = traits.imports_read_only = json.value("imports", false);
  traits.alignment = json.value("alignment", 64);
  return heap;
}

void add_heap(Profile& profile, const Json& json) {
  const std::size_t index = profile.heaps.size();
  profile.heaps.push_back(heap_profile(json));
  DeviceModel& model = profile.model;
  for (MachineSpeed* speed : {&model.expected, &model.best, &model.worst})
    speed->memory.heaps.emplace_back();
  const auto rate = [&](const char* field, double HeapSpeed::*member) {
    if (!json.contains(field)) return;
    set(model, json.at(field), kGiga, Better::more,
        [&](MachineSpeed& s) -> double& { return s.memory.heaps[index].*member; });
  };
  rate("host_read", &HeapSpeed::host_read);
  rate("host_write", &HeapSpeed::host_write);
  rate("device_read", &HeapSpeed::device_read);
  rate("device_write", &HeapSpeed::device_write);
  if (json.contains("map")) {
    set(model, json.at("map"), kMicro, Better::less,
        [&](MachineSpeed& s) -> double& { return s.memory.heaps[index].map_seconds; });
  }
}

}  // namespace

Profile parse_profile(std::string_view text) {
  Profile profile;
  try {
    const Json json = Json::parse(text);
    profile.name = json.at("name");
    profile.title = json.at("title");
    profile.gpu = json.at("gpu");
    const Json& cost = json.at("cost");
    const auto memory = [&](const char* field, double unit, Better better,
                            double DeviceSpeed::*member) {
      set(profile.model, cost.at(field), unit, better,
          [&](MachineSpeed& s) -> double& { return s.memory.*member; });
    };
    memory("launch", kMicro, Better::less, &DeviceSpeed::launch_seconds);
    memory("wait", kMicro, Better::less, &DeviceSpeed::wait_seconds);
    memory("transfer", kMicro, Better::less, &DeviceSpeed::transfer_seconds);
    memory("upload", kGiga, Better::more, &DeviceSpeed::upload);
    memory("download", kGiga, Better::more, &DeviceSpeed::download);
    const auto machine = [&](const char* field, double unit, Better better,
                             double MachineSpeed::*member) {
      set(profile.model, cost.at(field), unit, better,
          [&](MachineSpeed& s) -> double& { return s.*member; });
    };
    machine("device_flops", kGiga, Better::more, &MachineSpeed::device_flops);
    machine("host_flops", kGiga, Better::more, &MachineSpeed::host_flops);
    machine("rereads", 1, Better::less, &MachineSpeed::rereads);
    for (const Json& heap : json.at("heaps")) add_heap(profile, heap);
    for (const Json& one : json.value("published", Json::array())) {
      profile.model.published.push_back({one.at("network"), one.at("memory"), one.at("seconds"),
                                         json.at("sources").at(one.at("source")).at("title")});
    }
  } catch (const std::exception& error) {
    throw Error("board " + profile.name, "a profile as docs/boards.md tells", error.what());
  }
  return profile;
}

}  // namespace maru::board
