// maru devices: what this build finds on this machine.
#include <maru/model.h>

#include "apps/cli/json.h"
#include "apps/cli/verb.h"

namespace maru::cli {
namespace {

class Devices final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "devices",
        "Lists what this machine can run networks on, best first, with the kinds of memory of each.\n"
        "The first column is what --device takes.",
        std::initializer_list<std::string_view>{"devices", "devices --json"});
    line->flag("--json", "Print [{\"name\", \"description\", \"heaps\": [{\"name\", \"traits\"}]}].",
               json_);
    return line;
  }

  int run(Output& out) override {
    const std::vector<DeviceInfo> found = devices();
    if (json_) {
      Json list = Json::array();
      for (const DeviceInfo& device : found) {
        Json heaps = Json::array();
        for (const DeviceInfo::HeapInfo& heap : device.heaps) {
          heaps.push_back({{"name", heap.name}, {"traits", heap.traits}});
        }
        list.push_back(
            {{"name", device.name}, {"description", device.description}, {"heaps", std::move(heaps)}});
      }
      print_json(out, list);
      return 0;
    }
    std::vector<std::vector<std::string>> rows{{"device", "description", "memory", "traits"}};
    for (const DeviceInfo& device : found) {
      rows.push_back({device.name, device.description, "", ""});
      for (std::size_t i = 0; i < device.heaps.size(); ++i) {
        if (i > 0) rows.push_back({"", "", "", ""});
        rows.back()[2] = device.heaps[i].name;
        rows.back()[3] = device.heaps[i].traits;
      }
    }
    out.write(table("<<<<", rows));
    return 0;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_devices() { return std::make_unique<Devices>(); }

}  // namespace maru::cli
