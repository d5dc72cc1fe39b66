// NVIDIA's Jetson boards: INA3221 and INA238 power monitors on the module or its carrier.
//
// Which rails make the total, and who says so:
//   TX1, TX2, TX2 NX, Xavier NX, Orin NX and Nano: VDD_IN, all that goes into the module
//     (forums.developer.nvidia.com/t/200883 "VDD_IN is the total power of module";
//     github.com/energymon/energymon, jetson/JetsonPowerRails.md, from NVIDIA's device trees)
//   Nano: POM_5V_IN (forums.developer.nvidia.com/t/73608 "the overall 5V input"); the 2 GB one has no
//     sensor
//   AGX Xavier: its six rails, none within another (forums .../t/81016; its Product Design Guide, 5.2)
//   AGX Orin: VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0. VDDQ_VDD2_1V8AO is within VIN_SYS_5V0
//     (docs.nvidia.com/jetson/archives/r36.4.3, "Jetson AGX Orin Series", as quoted by others)
//   AGX Thor: the INA238 before all of it, carrier included (forums.developer.nvidia.com/t/366461;
//     github.com/rbonghi/jetson_stats/pull/900)
// Modules are known by NVIDIA's part numbers in the device tree. Not verified on any board.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "measure/meters/meters.h"

namespace maru::measure {
namespace {

using Path = std::filesystem::path;
using Boundary = MeterFacts::Boundary;

struct Board {
  std::vector<std::string_view> parts;  // in /proc/device-tree/compatible
  std::string_view model;               // else in /proc/device-tree/model, first one wins
  std::string_view name;
  std::vector<std::string_view> total;
  Boundary boundary = Boundary::module;
};

const std::vector<Board>& boards() {
  static const std::vector<Board> all{
      {{"p2180", "p2371-2180"}, "Jetson TX1", "Jetson TX1", {"VDD_IN"}},
      {{"p3636"}, "Jetson TX2 NX", "Jetson TX2 NX", {"VDD_IN"}},
      {{"p3310"}, "Jetson TX2", "Jetson TX2", {"VDD_IN"}},
      {{"p3489"}, "Jetson TX2i", "Jetson TX2i", {"VDD_IN"}},
      {{"p3448"}, "Jetson Nano", "Jetson Nano", {"POM_5V_IN"}},
      {{"p2888", "p2972"},
       "AGX Xavier",
       "Jetson AGX Xavier",
       {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}},
      {{"p3668"}, "Xavier NX", "Jetson Xavier NX", {"VDD_IN"}},
      {{"p3701"}, "AGX Orin", "Jetson AGX Orin", {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}},
      {{"p3767"}, "Orin N", "Jetson Orin NX or Nano", {"VDD_IN"}},
      {{"p3834"}, "Thor", "Jetson AGX Thor", {"VIN"}, Boundary::board},
  };
  return all;
}

// One channel of a monitor. Power is read as such, in its unit, or else is mV times mA.
struct Rail {
  std::string label;
  Path watts{}, volts{}, amperes{};
  double watts_unit = 0;
  double watts_step = 0;
  double seconds = 0;  // between two conversions; 0: not told
};

std::optional<double> number_in(const Path& path) { return parse_number(read_text(path).value_or("")); }

// The kernel's own driver: kernel.org/doc/html/latest/hwmon/ina3221.html and ina238.html.
void add_hwmon_rails(const Path& folder, std::vector<Rail>& rails) {
  const std::string chip = read_text(folder / "name").value_or("");
  const double seconds = number_in(folder / "update_interval").value_or(0) * 1e-3;
  if (chip == "ina238") {
    // It has no label of its own; on Thor it is the input's.
    const std::string label = read_text(folder / "label").value_or("VIN");
    rails.push_back({.label = label,
                     .watts = folder / "power1_input",
                     .watts_unit = 1e-6,
                     .watts_step = 1e-3,
                     .seconds = seconds});
  }
  if (chip != "ina3221") return;
  for (int channel = 1; channel <= 3; ++channel) {  // the fourth is the sum of them
    const auto label = read_text(folder / fmt::format("in{}_label", channel));
    if (!label || label->empty() || *label == "NC") continue;
    Rail rail{.label = *label,
              .volts = folder / fmt::format("in{}_input", channel),
              .amperes = folder / fmt::format("curr{}_input", channel),
              .seconds = seconds};
    // Steps of 40 uV at the shunt (TI, INA3221, "Electrical Characteristics").
    const double ohms =
        number_in(folder / fmt::format("shunt{}_resistor", channel)).value_or(5000) * 1e-6;
    if (ohms > 0) rail.watts_step = 40e-6 / ohms * number_in(rail.volts).value_or(5000) * 1e-3;
    rails.push_back(std::move(rail));
  }
}

// NVIDIA's driver of Jetson Linux 32 and before.
void add_iio_rails(const Path& folder, std::vector<Rail>& rails) {
  for (int channel = 0; channel < 3; ++channel) {
    const auto label = read_text(folder / fmt::format("rail_name_{}", channel));
    if (!label || label->empty() || *label == "NC") continue;
    Rail rail{.label = *label,
              .volts = folder / fmt::format("in_voltage{}_input", channel),
              .amperes = folder / fmt::format("in_current{}_input", channel),
              .watts_step = 0.04};
    const Path power = folder / fmt::format("in_power{}_input", channel);
    if (std::filesystem::exists(power)) {
      rail.watts = power;
      rail.watts_unit = 1e-3;
    }
    rails.push_back(std::move(rail));
  }
}

std::vector<Path> folders_in(const Path& folder, std::string_view beginning) {
  std::vector<Path> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().filename().string().starts_with(beginning)) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

std::vector<Rail> find_rails(const Path& root) {
  std::vector<Rail> rails;
  for (const Path& folder : folders_in(root / "sys/class/hwmon", "hwmon"))
    add_hwmon_rails(folder, rails);
  if (!rails.empty()) return rails;
  for (const Path& chip : folders_in(root / "sys/bus/i2c/drivers/ina3221x", ""))
    for (const Path& folder : folders_in(chip, "iio:device")) add_iio_rails(folder, rails);
  return rails;
}

const Board* find_board(const std::string& compatible, const std::string& model) {
  for (const Board& board : boards())
    for (const std::string_view part : board.parts)
      if (compatible.find(part) != std::string::npos) return &board;
  for (const Board& board : boards())
    if (model.find(board.model) != std::string::npos) return &board;
  return nullptr;
}

class JetsonMeter : public Meter {
 public:
  JetsonMeter(const Board& board, std::vector<Rail> rails) : rails_(std::move(rails)) {
    double period = 0, squares = 0;
    bool is_told = true;
    std::vector<std::string> labels;
    for (const Rail& rail : rails_) {
      period = std::max(period, rail.seconds);
      is_told = is_told && rail.seconds > 0;
      squares += rail.watts_step * rail.watts_step;
      labels.push_back(rail.label);
    }
    facts_.name = "jetson";
    facts_.source = fmt::format("{} of {}", fmt::join(labels, " + "), board.name);
    if (!is_told) facts_.source += "; its period is assumed";
    facts_.boundary = board.boundary;
    // A sum of rails leaves out what is lost before them and the rails without a sensor.
    facts_.grade = rails_.size() == 1 ? MeterFacts::Class::measured : MeterFacts::Class::estimated;
    // Faster would keep the I2C bus busy, and the processor with it.
    facts_.period_seconds = std::max(period, 0.05);
    facts_.resolution_watts = std::sqrt(squares);  // the rails round independently
    facts_.blind = board.boundary == Boundary::module
                       ? "the carrier board, what hangs on it, the power supply"
                       : "the power supply";
    if (rails_.size() > 1) facts_.blind += ", rails of the module without a sensor";
    read();
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    double watts = 0;
    for (const Rail& rail : rails_)
      watts += rail.watts.empty() ? value(rail, rail.volts) * 1e-3 * value(rail, rail.amperes) * 1e-3
                                  : value(rail, rail.watts) * rail.watts_unit;
    return {.seconds = (before + now_seconds()) / 2, .watts = watts};
  }

 private:
  static double value(const Rail& rail, const Path& path) {
    const auto text = read_text(path);
    const auto number = parse_number(text.value_or(""));
    if (!number)
      throw Error("meter jetson", fmt::format("a number in {} ({})", path.string(), rail.label),
                  text ? fmt::format("'{}'", *text) : std::strerror(errno),
                  text ? "tegrastats, which shows whether the board tells its power at all"
                       : fmt::format("sudo chmod a+r {}", path.string()));
    return *number;
  }

  std::vector<Rail> rails_;
  MeterFacts facts_;
};

}  // namespace

std::unique_ptr<Meter> open_jetson(const MeterOptions& options) {
  const std::string model = board_model(options.root);
  std::string compatible = read_text(options.root / "proc/device-tree/compatible").value_or("");
  std::ranges::replace(compatible, '\0', ' ');
  if (compatible.find("nvidia,tegra") == std::string::npos && model.find("Jetson") == std::string::npos)
    throw Error("meter jetson", "an NVIDIA Jetson board",
                model.empty() ? "a machine without device tree" : model);

  const std::vector<Rail> rails = find_rails(options.root);
  std::vector<std::string> labels;
  for (const Rail& rail : rails) labels.push_back(rail.label);
  const std::string found =
      labels.empty() ? "no rail that is measured" : fmt::format("rails {}", fmt::join(labels, ", "));
  const Board* board = find_board(compatible, model);
  if (board == nullptr)
    throw Error(
        "meter jetson", "a board of which the rails that make its total are known",
        fmt::format("'{}' with {}", model, found),
        "command:PROGRAM with a program that sums those that do not contain one another, and tell us");
  std::vector<Rail> total;
  for (const std::string_view wanted : board->total) {
    const auto rail = std::ranges::find(rails, wanted, &Rail::label);
    if (rail == rails.end())
      throw Error("meter jetson", fmt::format("rail {} of {}", wanted, board->name), found,
                  "sudo modprobe ina3221 (ina238 on Thor), and Jetson Linux as NVIDIA ships it");
    total.push_back(*rail);
  }
  return std::make_unique<JetsonMeter>(*board, std::move(total));
}

}  // namespace maru::measure
