// maru devices: what this build finds on this machine, and what its memory does.
#include <maru/model.h>

#include "apps/cli/json.h"
#include "apps/cli/verb.h"

namespace maru::cli {
namespace {

std::string rate(double bytes_per_second) {
  return bytes_per_second > 0 ? fmt::format("{:.1f}", bytes_per_second / 1e9) : "-";
}

std::string microseconds(double seconds) {
  return seconds > 0 ? fmt::format("{:.1f}", seconds * 1e6) : "-";
}

class Devices final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "devices",
        "Lists what this machine can run networks on, best first, with the kinds of memory of each "
        "and\n"
        "what they were measured to do: GB/s that the CPU (one thread) and the device read and write,\n"
        "microseconds to show a range to the CPU and take it back. The first column is what --device\n"
        "takes. Measured once for each machine, and kept in the cache folder ($MARU_CACHE_DIR, else\n"
        "$XDG_CACHE_HOME/maru, else ~/.cache/maru).",
        std::initializer_list<std::string_view>{"devices", "devices --refresh --json"});
    line->flag("--refresh", "Measure again.", refresh_);
    line->flag("--boards",
               "List the virtual boards instead: machines that are not here, whose memory is\n"
               "imitated and whose times are modelled.",
               boards_);
    line->flag("--json",
               "Print [{\"name\", \"description\", \"launch_seconds\", \"wait_seconds\", \"upload\",\n"
               "\"download\", \"heaps\": [{\"name\", \"traits\", \"host_read\", \"host_write\", "
               "\"device_read\",\n"
               "\"device_write\", \"map_seconds\"}]}]; bytes a second, 0 where that side cannot.",
               json_);
    return line;
  }

  int run(Output& out) override {
    if (boards_) {
      print_boards(out);
      return 0;
    }
    const std::vector<DeviceInfo> found = devices(refresh_);
    if (json_) {
      Json list = Json::array();
      for (const DeviceInfo& device : found) list.push_back(describe(device));
      print_json(out, list);
      return 0;
    }
    for (const DeviceInfo& device : found) print(out, device);
    return 0;
  }

 private:
  void print_boards(Output& out) const {
    Json list = Json::array();
    std::vector<std::vector<std::string>> rows;
    for (const BoardInfo& board : boards()) {
      list.push_back({{"name", board.name}, {"description", board.description}});
      rows.push_back({board.name, board.description});
    }
    if (json_) {
      print_json(out, list);
    } else {
      out.write(table("<<", rows));
    }
  }

  static Json describe(const DeviceInfo& device) {
    Json heaps = Json::array();
    for (const DeviceInfo::HeapInfo& heap : device.heaps) {
      heaps.push_back({{"name", heap.name},
                       {"traits", heap.traits},
                       {"host_read", heap.host_read},
                       {"host_write", heap.host_write},
                       {"device_read", heap.device_read},
                       {"device_write", heap.device_write},
                       {"map_seconds", heap.map_seconds}});
    }
    return {{"name", device.name},
            {"description", device.description},
            {"launch_seconds", device.launch_seconds},
            {"wait_seconds", device.wait_seconds},
            {"upload", device.upload},
            {"download", device.download},
            {"heaps", std::move(heaps)}};
  }

  static void print(Output& out, const DeviceInfo& device) {
    const bool colour = out.colour();
    out.print("{}{}{}  {}\n", colour ? "\x1b[1m" : "", device.name, colour ? "\x1b[0m" : "",
              device.description);
    std::vector<std::vector<std::string>> rows{
        {"  memory", "CPU reads", "writes", "device reads", "writes GB/s", "map us", "traits"}};
    for (const DeviceInfo::HeapInfo& heap : device.heaps) {
      rows.push_back({"  " + heap.name, rate(heap.host_read), rate(heap.host_write),
                      rate(heap.device_read), rate(heap.device_write), microseconds(heap.map_seconds),
                      heap.traits});
    }
    out.write(table("<>>>>><", rows));
    if (device.upload > 0) {
      out.print("  copies: {} GB/s to the device, {} back\n", rate(device.upload),
                rate(device.download));
    }
    if (device.wait_seconds > 0) {
      out.print("  kernels: {} us to launch one more, {} us until one alone is seen done\n",
                microseconds(device.launch_seconds), microseconds(device.wait_seconds));
    }
  }

  bool json_ = false, refresh_ = false, boards_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_devices() { return std::make_unique<Devices>(); }

}  // namespace maru::cli
