#include "measure/machine.h"

#include <sched.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "base/error.h"
#include "measure/meter.h"
#include "measure/nvml.h"

namespace maru::measure {
namespace {

namespace fs = std::filesystem;

// Of a file of the system; empty where it cannot be read. Trailing white space and the zero byte that
// ends a device tree's strings are no part of it.
std::string text_in(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  text.erase(text.find_last_not_of(std::string_view(" \t\r\n\0", 5)) + 1);
  return text;
}

std::optional<double> number_in(const fs::path& path) {
  const std::string text = text_in(path);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

std::vector<fs::path> entries(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with(prefix)) found.push_back(at->path());
  }
  std::ranges::sort(found);
  return found;
}

// The first "key : value" of a file of such lines.
std::string value_in(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find_first_of(":=");
    if (colon == std::string::npos) continue;
    std::string value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(" \t\""));
    value.erase(value.find_last_not_of(" \t\"") + 1);
    return value;
  }
  return {};
}

// Of this machine the cores that we may use; of a tree elsewhere all.
bool is_ours(int core, const fs::path& root) {
  if (root != "/") return true;
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) != 0 || (core < CPU_SETSIZE && CPU_ISSET(core, &set));
}

int number_of(const std::string& name) {  // "cpu12" -> 12; -1 for "cpufreq" and "cpu"
  const std::string digits = name.substr(std::min<std::size_t>(3, name.size()));
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stoi(digits);
}

std::vector<fs::path> our_cores(const fs::path& root) {
  std::vector<fs::path> cores = entries(root / "sys/devices/system/cpu", "cpu");
  std::erase_if(cores, [&](const fs::path& core) {
    const int number = number_of(core.filename().string());
    return number < 0 || !is_ours(number, root);
  });
  return cores;
}

std::string governor(const fs::path& root) {
  std::set<std::string> names;
  for (const fs::path& core : our_cores(root)) names.insert(text_in(core / "cpufreq/scaling_governor"));
  names.erase("");
  return names.empty() ? "" : names.size() > 1 ? "mixed" : *names.begin();
}

std::optional<double> cpu_hz(const fs::path& root) {
  double sum = 0;
  int count = 0;
  for (const fs::path& core : our_cores(root)) {
    if (const auto khz = number_in(core / "cpufreq/scaling_cur_freq"); khz && *khz > 0) {
      sum += *khz * 1e3;
      ++count;
    }
  }
  if (count == 0) {
    std::ifstream file(root / "proc/cpuinfo");
    int core = -1;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("processor")) ++core;
      const double mhz =
          line.starts_with("cpu MHz") ? std::strtod(value_in(line, "cpu MHz").c_str(), nullptr) : 0;
      if (mhz <= 0 || !is_ours(core, root)) continue;
      sum += mhz * 1e6;
      ++count;
    }
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

std::optional<double> hottest(const fs::path& root) {
  std::optional<double> celsius;
  for (const fs::path& zone : entries(root / "sys/class/thermal", "thermal_zone")) {
    const auto milli = number_in(zone / "temp");
    // Zones that are switched off say 0, -40 or -273.
    if (milli && *milli > 0) celsius = std::max(celsius.value_or(0), *milli * 1e-3);
  }
  return celsius;
}

// Times that x86 was too hot.
std::optional<std::uint64_t> throttle_count(const fs::path& root) {
  std::optional<std::uint64_t> count;
  for (const fs::path& core : our_cores(root))
    if (const auto of_core = number_in(core / "thermal_throttle/core_throttle_count"))
      count = count.value_or(0) + static_cast<std::uint64_t>(*of_core);
  return count;
}

void add_once(std::vector<std::string>& list, const std::string& word) {
  if (std::ranges::find(list, word) == list.end()) list.push_back(word);
}

// What boards say of themselves, now; false where they say nothing.
bool add_throttles(const fs::path& root, std::vector<std::string>& reasons) {
  // Raspberry Pi: bits 0 to 3 are now (documentation of vcgencmd get_throttled), the others history.
  const std::string pi = text_in(root / "sys/devices/platform/soc/soc:firmware/get_throttled");
  bool tells = !pi.empty();
  if (tells) {
    const unsigned long bits = std::strtoul(pi.c_str(), nullptr, 16);
    if ((bits & 1U) != 0) add_once(reasons, "undervoltage");
    if ((bits & 2U) != 0) add_once(reasons, "frequency cap");
    if ((bits & 12U) != 0) add_once(reasons, "thermal");
  }
  // Jetson: the counters of its over-current events; a "throttling alert" of the thermal framework is
  // a cooling device whose state is not 0.
  for (const fs::path& device : entries(root / "sys/class/thermal", "cooling_device")) {
    const std::string type = text_in(device / "type");
    const bool slows = type.find("cpufreq") != std::string::npos ||
                       type.find("devfreq") != std::string::npos ||
                       type.find("throttle") != std::string::npos || type == "Processor";
    const std::optional<double> now = slows ? number_in(device / "cur_state") : std::nullopt;
    tells = tells || now;
    if (now.value_or(0) > 0) add_once(reasons, "thermal");
  }
  return tells;
}

std::uint64_t memory_bytes(const fs::path& root) {
  return static_cast<std::uint64_t>(
             std::strtod(value_in(text_in(root / "proc/meminfo"), "MemTotal").c_str(), nullptr)) *
         1024;
}

std::string cpu_name(const fs::path& root) {
  const std::string info = text_in(root / "proc/cpuinfo");
  // arm64 has no model name there; the device tree names the chip, or its maker's core is all there is.
  for (const char* key : {"model name", "Model", "Hardware", "CPU part"}) {
    if (std::string name = value_in(info, key); !name.empty())
      return key == std::string_view("CPU part") ? "CPU part " + name : name;
  }
  utsname names{};
  return ::uname(&names) == 0 ? names.machine : "";
}

std::string board_name(const fs::path& root) {
  if (std::string tree = text_in(root / "proc/device-tree/model"); !tree.empty()) return tree;
  const fs::path dmi = root / "sys/class/dmi/id";
  const std::string maker = text_in(dmi / "sys_vendor"), product = text_in(dmi / "product_name");
  return maker.empty() || product.empty() ? maker + product : maker + " " + product;
}

std::string system_name(const fs::path& root) {
  std::string name = value_in(text_in(root / "etc/os-release"), "PRETTY_NAME");
  std::string kernel = text_in(root / "proc/sys/kernel/osrelease");
  if (!kernel.empty()) name += (name.empty() ? "Linux " : ", Linux ") + kernel;
  return name;
}

// Threads that run now, less ours.
std::optional<double> running_of_others(const fs::path& root) {
  std::istringstream words(text_in(root / "proc/loadavg"));
  std::string skipped, threads;
  if (!(words >> skipped >> skipped >> skipped >> threads)) return std::nullopt;
  int ours = 0;
  for (const fs::path& task : entries(root / "proc/self/task", "")) {
    const std::string stat = text_in(task / "stat");
    const std::size_t name_end = stat.rfind(')');
    ours += name_end != std::string::npos && stat.compare(name_end, 3, ") R") == 0;
  }
  return std::max(0, std::atoi(threads.c_str()) - ours);
}

// Seconds that our cores were not idle, for whomever.
std::optional<double> busy_seconds(const fs::path& root) {
  std::ifstream file(root / "proc/stat");
  double ticks = 0;
  bool found = false;
  for (std::string line; std::getline(file, line) && line.starts_with("cpu");) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (number_of(name) < 0 || !is_ours(number_of(name), root)) continue;
    // user nice system idle iowait irq softirq (proc(5)); what a hypervisor takes is not counted.
    double of[7]{};
    for (double& field : of) words >> field;
    ticks += of[0] + of[1] + of[2] + of[5] + of[6];
    found = true;
  }
  if (!found) return std::nullopt;
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

MachineFacts machine_facts(const Nvml* nvml, const fs::path& root) {
  MachineFacts facts;
  facts.cpu = cpu_name(root);
  facts.cores = static_cast<int>(our_cores(root).size());
  facts.system = system_name(root);
  facts.board = board_name(root);
  facts.governor = governor(root);
  facts.memory_bytes = memory_bytes(root);
  if (nvml != nullptr) {
    facts.gpu = nvml->name();
    facts.driver = nvml->driver();
  }
  return facts;
}

MachineState machine_state(const Nvml* nvml, const fs::path& root) {
  MachineState state;
  state.cpu_hz = cpu_hz(root);
  state.celsius = hottest(root);
  state.tells_throttling = add_throttles(root, state.throttled_by);
  if (throttle_count(root)) state.tells_throttling = true;
  state.load = running_of_others(root);
  if (nvml != nullptr) {
    state.gpu_hz = nvml->clock_hz();
    state.gpu_tells_throttling = nvml->tells_throttling();
    if (const auto celsius = nvml->celsius()) state.celsius = celsius;
    for (const std::string& reason : nvml->throttled_by()) add_once(state.throttled_by, reason);
  }
  return state;
}

MachineWatch::MachineWatch(const Nvml* nvml, fs::path root) : nvml_(nvml), root_(std::move(root)) {
  start();
}

MachineWatch::Counts MachineWatch::count() const {
  return {now_seconds(), busy_seconds(root_), own_seconds(), throttle_count(root_).value_or(0)};
}

void MachineWatch::start() { start_ = count(); }

MachineState MachineWatch::look() {
  const Counts now = count();
  MachineState state = machine_state(nvml_, root_);
  const double seconds = now.seconds - start_.seconds;
  // Ticks are of 10 ms: over less than a few of them they say nothing.
  constexpr double kShortest = 0.1;
  if (seconds < kShortest) {
    state.load.reset();
  } else if (now.busy && start_.busy) {
    const double others = (*now.busy - *start_.busy) - (now.own - start_.own);
    state.load = std::max(0.0, others / seconds);
  }
  if (now.throttles > start_.throttles) add_once(state.throttled_by, "thermal");
  return state;
}

}  // namespace maru::measure
