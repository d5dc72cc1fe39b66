#include "measure/result_json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/json_text.h"
#include "base/mapped_file.h"

namespace maru::measure {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBoundaries[] = {"wall", "board", "module", "rail", "chip", "unknown"};
constexpr std::string_view kClasses[] = {"measured", "estimated", "modelled"};
constexpr std::string_view kVerdicts[] = {"passed", "unstable", "failed"};

// Each structure names its fields once, in fields(); Writer and Reader go through them.
class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    json_[key] = made_of(value);
  }
  template <class T, std::size_t N>
  void word(const char* key, const T& value, const std::string_view (&words)[N]) {
    json_[key] = words[static_cast<std::size_t>(value)];
  }
  Json take() { return std::move(json_); }

  template <class T>
  static Json made_of(const T& value) {
    if constexpr (std::is_same_v<T, double>) {
      return std::isfinite(value) ? Json(value) : Json(nullptr);
    } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      return made_of_more(value);
    }
  }

 private:
  template <class T>
  static Json made_of_more(const std::optional<T>& value) {
    return value ? made_of(*value) : Json(nullptr);
  }
  template <class T>
  static Json made_of_more(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) list.push_back(made_of(value));
    return list;
  }
  template <class T>
  static Json made_of_more(const T& value);

  Json json_ = Json::object();
};

class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) fail(where_, "an object", json);
  }

  template <class T>
  void operator()(const char* key, T& value) {
    read(at(key), where_ + "." + key, value);
  }
  template <class T, std::size_t N>
  void word(const char* key, T& value, const std::string_view (&words)[N]) {
    const Json& json = at(key);
    for (std::size_t i = 0; i < N; ++i) {
      if (json.is_string() && json.get_ref<const std::string&>() == words[i]) {
        value = static_cast<T>(i);
        return;
      }
    }
    fail(where_ + "." + key, "one of the words that maru writes", json);
  }

 private:
  [[noreturn]] static void fail(const std::string& where, std::string_view expected, const Json& got) {
    throw Error(where, expected, json_text(got), "the file as `maru bench --json` wrote it");
  }

  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found != json_.end()) return *found;
    throw Error(where_, fmt::format("\"{}\"", key), "none", "the file as `maru bench --json` wrote it");
  }

  template <class T>
  static void read(const Json& json, const std::string& where, T& value) {
    if constexpr (std::is_same_v<T, double>) {
      if (json.is_null()) {  // what JSON cannot say
        value = std::numeric_limits<double>::infinity();
        return;
      }
      if (!json.is_number()) fail(where, "a number", json);
      value = json.get<double>();
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) fail(where, "true or false", json);
      value = json.get<bool>();
    } else if constexpr (std::is_arithmetic_v<T>) {
      if (!json.is_number_integer() || (std::is_unsigned_v<T> && !json.is_number_unsigned()))
        fail(where, "a whole number", json);
      value = json.get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!json.is_string()) fail(where, "a text", json);
      value = json.get<std::string>();
    } else {
      read_more(json, where, value);
    }
  }
  template <class T>
  static void read_more(const Json& json, const std::string& where, std::optional<T>& value) {
    value.reset();
    if (!json.is_null()) read(json, where, value.emplace());
  }
  template <class T>
  static void read_more(const Json& json, const std::string& where, std::vector<T>& values) {
    if (!json.is_array()) fail(where, "a list", json);
    values.clear();
    for (const Json& one : json) {
      const std::string place = fmt::format("{}[{}]", where, values.size());
      read(one, place, values.emplace_back());
    }
  }
  template <class T>
  static void read_more(const Json& json, const std::string& where, T& value);

  const Json& json_;
  std::string where_;
};

template <class Io, class T>
concept Of = std::is_same_v<std::remove_const_t<Io>, T>;

void fields(auto& io, Of<Interval> auto& it) {
  io("value", it.value);
  io("low", it.low);
  io("high", it.high);
}
void fields(auto& io, Of<MachineFacts> auto& it) {
  io("cpu", it.cpu);
  io("cores", it.cores);
  io("system", it.system);
  io("board", it.board);
  io("governor", it.governor);
  io("gpu", it.gpu);
  io("driver", it.driver);
  io("memory_bytes", it.memory_bytes);
}
void fields(auto& io, Of<MachineState> auto& it) {
  io("cpu_hz", it.cpu_hz);
  io("gpu_hz", it.gpu_hz);
  io("celsius", it.celsius);
  io("throttled_by", it.throttled_by);
  io("load", it.load);
  io("tells_throttling", it.tells_throttling);
  io("gpu_tells_throttling", it.gpu_tells_throttling);
}
void fields(auto& io, Of<MeterFacts> auto& it) {
  io("name", it.name);
  io("source", it.source);
  io.word("boundary", it.boundary, kBoundaries);
  io.word("class", it.grade, kClasses);
  io("period_seconds", it.period_seconds);
  io("resolution_joules", it.resolution_joules);
  io("resolution_watts", it.resolution_watts);
  io("blind", it.blind);
}
void fields(auto& io, Of<MeterAbsence> auto& it) {
  io("name", it.name);
  io("why", it.why);
  io("remedy", it.remedy);
}
void fields(auto& io, Of<Reading> auto& it) {
  io("seconds", it.seconds);
  io("joules", it.joules);
  io("watts", it.watts);
}
void fields(auto& io, Of<Block> auto& it) {
  io("way", it.way);
  io("begin", it.begin);
  io("end", it.end);
  io("runs", it.runs);
  io("sum", it.sum);
  io("min", it.min);
  io("max", it.max);
  io("joules", it.joules);
  io("uncertainty_joules", it.uncertainty_joules);
  io("power_joules", it.power_joules);
  io("state", it.state);
  io("seconds", it.seconds);
}
void fields(auto& io, Of<Stages> auto& it) {
  io("decode", it.decode);
  io("preprocess", it.preprocess);
  io("copy_in", it.copy_in);
  io("infer", it.infer);
  io("copy_out", it.copy_out);
}
void fields(auto& io, Of<WayResult> auto& it) {
  io("name", it.name);
  io("median", it.median);
  io("mean", it.mean);
  io("p90", it.p90);
  io("p99", it.p99);
  io("min", it.min);
  io("max", it.max);
  io("joules", it.joules);
  io("joules_net", it.joules_net);
  io("cold_start", it.cold_start);
  io("peak_host_bytes", it.peak_host_bytes);
  io("peak_device_bytes", it.peak_device_bytes);
  io("copied_bytes", it.copied_bytes);
  io("crossing_bytes", it.crossing_bytes);
  io("stages", it.stages);
  io("label", it.label);
  io("score", it.score);
}
void fields(auto& io, Of<WayRatio> auto& it) {
  io("way", it.way);
  io("seconds", it.seconds);
  io("joules", it.joules);
}
void fields(auto& io, Of<Check> auto& it) {
  io("name", it.name);
  io.word("verdict", it.verdict, kVerdicts);
  io("text", it.text);
}
void fields(auto& io, Of<BenchResult::Model> auto& it) {
  io("name", it.name);
  io("path", it.path);
  io("crc32", it.crc32);
  io("weights_bytes", it.weights_bytes);
  io("input", it.input);
  io("precision", it.precision);
  io("batch", it.batch);
}
void fields(auto& io, Of<BenchResult::Method> auto& it) {
  io("images", it.images);
  io("blocks", it.blocks);
  io("warmup", it.warmup);
  io("seed", it.seed);
  io("block_seconds", it.block_seconds);
  io("photo", it.photo);
  io("threads", it.threads);
  io("order", it.order);
}
void fields(auto& io, Of<BenchResult> auto& it) {
  io("maru_version", it.maru_version);
  io("command", it.command);
  io("when", it.when);
  io("device", it.device);
  io("device_description", it.device_description);
  io("machine", it.machine);
  io("model", it.model);
  io("method", it.method);
  io("meter", it.meter);
  io("meter_absences", it.meter_absences);
  io("idle_watts", it.idle_watts);
  io("notes", it.notes);
  io("ways", it.ways);
  io("ratios", it.ratios);
  io("checks", it.checks);
  io("blocks", it.blocks);
  io("power", it.power);
}

template <class T>
Json Writer::made_of_more(const T& value) {
  Writer writer;
  fields(writer, value);
  return writer.take();
}

template <class T>
void Reader::read_more(const Json& json, const std::string& where, T& value) {
  Reader reader(json, where);
  fields(reader, value);
}

// What the fields say is possible alone; whether it is together.
void check(const BenchResult& result, const std::string& name) {
  const auto known = [&](std::size_t way, const char* what) {
    if (way < result.ways.size()) return;
    throw Error(name, fmt::format("{} of one of {} ways", what, result.ways.size()),
                fmt::format("way {}", way), "the file as `maru bench --json` wrote it");
  };
  for (const Block& block : result.blocks) {
    known(block.way, "a block");
    if (block.seconds.empty() || block.runs < block.seconds.size())
      throw Error(name, "blocks with runs",
                  fmt::format("{} times of {} runs", block.seconds.size(), block.runs),
                  "the file as `maru bench --json` wrote it");
  }
  for (const WayRatio& ratio : result.ratios) known(ratio.way, "a ratio");
  if (result.ways.empty() || result.model.batch < 1)
    throw Error(name, "at least one way, and one image a run", "none",
                "the file as `maru bench --json` wrote it");
}

}  // namespace

std::string to_json(const BenchResult& result) {
  Json all{{"format", kResultFormat}};
  all.update(Writer::made_of(result));
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

BenchResult result_from_json(std::string_view text, const std::string& name) {
  const std::string wanted =
      fmt::format("a result of `maru bench --json` (\"format\": \"{}\")", kResultFormat);
  Json json;
  try {
    json = Json::parse(text.begin(), text.end());
  } catch (const Json::exception& error) {
    throw Error(name, wanted, error.what(), "writing it again");
  }
  if (!json.is_object() || !json.contains("format")) throw Error(name, wanted, "other JSON");
  if (json["format"] != kResultFormat)
    throw Error(name, wanted, fmt::format("\"format\": {}", json_text(json["format"])),
                "the maru that wrote it");
  BenchResult result;
  Reader reader(json, name);
  fields(reader, result);
  check(result, name);
  return result;
}

BenchResult read_result(const std::filesystem::path& file) {
  return result_from_json(MappedFile(file).text(), file.string());
}

}  // namespace maru::measure
