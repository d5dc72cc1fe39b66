// Raspberry Pi 5: the power management chip's converters, through the firmware. It tells current and
// voltage of the rails that it makes; the 5 V input has a voltage alone, so that what goes past the
// chip is not in the sum (github.com/ml-energy/zeus/issues/273). One rail is named twice by some
// firmware (gist.github.com/ThomasKaiser/f98c6f97a2f82d85791cbaf6cebf10b8), so they are paired in
// order.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "base/error.h"
#include "measure/meters/meters.h"
#include "measure/meters/program.h"

namespace maru::measure {
namespace {

constexpr std::string_view kWhere = "meter pi5";

struct Rails {
  double watts = 0;
  int count = 0;
};

// Lines such as "   VDD_CORE_A current(7)=1.54489000A" and "   VDD_CORE_V volt(15)=0.88725180V".
Rails sum_of(const std::string& text) {
  std::map<std::string, std::vector<double>> amperes, volts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    char name[40] = "", unit = 0, rest = 0;
    double value = 0;
    const int parts =
        std::sscanf(line.c_str(), " %39[^ ] %*[a-z](%*d)=%lf%c %c", name, &value, &unit, &rest);
    const std::string_view whole(name);
    if (parts != 3 || (unit != 'A' && unit != 'V') || whole.size() < 3 ||
        whole[whole.size() - 2] != '_' || whole.back() != unit)
      throw Error(kWhere, "lines such as 'VDD_CORE_A current(7)=1.5A'", fmt::format("'{}'", line),
                  "vcgencmd pmic_read_adc by hand, and tell us what it prints");
    (unit == 'A' ? amperes : volts)[std::string(whole.substr(0, whole.size() - 2))].push_back(value);
  }
  Rails rails;
  for (const auto& [name, currents] : amperes) {
    const auto& voltages = volts[name];
    for (std::size_t i = 0; i < std::min(currents.size(), voltages.size()); ++i, ++rails.count)
      rails.watts += currents[i] * voltages[i];
  }
  return rails;
}

Rails read_rails() {
  const ProgramOutput output = run_program(std::string(kWhere), {"vcgencmd", "pmic_read_adc"}, 5);
  if (output.status == 127)
    throw Error(kWhere, "the program vcgencmd", "none", "sudo apt-get install raspi-utils-core");
  if (output.status != 0)
    throw Error(
        kWhere, "vcgencmd pmic_read_adc to succeed",
        fmt::format("status {}: {}", output.status, output.err.empty() ? output.out : output.err),
        "sudo usermod -aG video $USER, and log in anew: it needs /dev/vcio");
  const Rails rails = sum_of(output.out);
  if (rails.count == 0)
    throw Error(kWhere, "rails with current and voltage", fmt::format("'{}'", output.out),
                "sudo rpi-eeprom-update -a, since old firmware does not tell them");
  return rails;
}

class Pi5Meter : public Meter {
 public:
  Pi5Meter() {
    const Rails rails = read_rails();
    facts_.name = "pi5";
    facts_.source = fmt::format("sum of {} rails of the power management chip", rails.count);
    facts_.boundary = MeterFacts::Boundary::board;
    facts_.grade = MeterFacts::Class::estimated;
    // Each reading is a conversion, made when asked for; more often, running the program would itself
    // be a load.
    facts_.period_seconds = 0.3;
    facts_.resolution_watts = 0.01;  // 12 bits of some amperes; not documented
    facts_.blind =
        "USB ports, fan and boards on top (all that is fed with 5 V), losses of the converters, "
        "the power supply";
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    const double watts = read_rails().watts;
    return {.seconds = (before + now_seconds()) / 2, .watts = watts};
  }

 private:
  MeterFacts facts_;
};

}  // namespace

std::unique_ptr<Meter> open_pi5(const MeterOptions& options) {
  const std::string model = board_model(options.root);
  bool known = false;
  for (const std::string_view name : {"Raspberry Pi 5", "Compute Module 5", "Raspberry Pi 500"})
    known |= model.find(name) != std::string::npos;
  if (!known)
    throw Error(kWhere, "a Raspberry Pi 5", model.empty() ? "a machine without device tree" : model);
  return std::make_unique<Pi5Meter>();
}

}  // namespace maru::measure
