// Yokogawa WT310E, the power meter of the experiment: between the socket and the machine, updated ten
// times a second, with an integrator of its own. Commands: IM WT310E-17EN, "Communication Interface
// User's Manual"; docs/meters.md says which of them were seen in use and which were not.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "measure/meters/instrument.h"
#include "measure/meters/meters.h"

namespace maru::measure {
namespace {

constexpr std::string_view kWhere = "meter wt310e";
constexpr double kPeriod = 0.1;  // of :RATE 100MS, the fastest
constexpr double kJoulesPerWattHour = 3600;

// Bits of the condition register (also at github.com/intel/yoko-tool): element 1 out of range.
constexpr int kOverflow = 1 << 3, kOverRange = 1 << 6, kPeakVoltage = 1 << 7, kPeakCurrent = 1 << 8;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  for (const char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

class Wt310eMeter : public Meter {
 public:
  explicit Wt310eMeter(std::unique_ptr<Instrument> line) : line_(std::move(line)) {
    const std::string identity = query("*IDN?");
    const std::vector<std::string> parts = split(identity, ',');
    if (parts.size() < 3 || parts[0].find("YOKOGAWA") == std::string::npos ||
        !parts[1].starts_with("WT3"))
      throw Error(kWhere, "a Yokogawa WT310E at the address", fmt::format("'{}'", identity),
                  "another address");
    line_->write("*CLS");  // errors from before
    command(":COMMunicate:HEADer OFF");
    const std::string state = query_checked(":INTEGrate:STATe?");
    if (state.starts_with("STAR")) command(":INTEGrate:STOP");  // ranges cannot be set while it runs
    command(":INTEGrate:RESet");
    // A range that changes costs readings; the one it has is kept.
    command(":INPut:VOLTage:AUTO OFF");
    command(":INPut:CURRent:AUTO OFF");
    command(":RATE 100MS");
    command(":INTEGrate:MODE NORMal");
    command(":INTEGrate:TIMer 0,0,0");  // until it is stopped
    command(":NUMeric:FORMat ASCii");
    command(":NUMeric:NORMal:NUMber 3");
    command(":NUMeric:NORMal:ITEM1 P,1");
    command(":NUMeric:NORMal:ITEM2 WH,1");
    command(":NUMeric:NORMal:ITEM3 TIME,1");
    const std::string volts = query_checked(":INPut:VOLTage:RANGe?");
    const std::string amperes = query_checked(":INPut:CURRent:RANGe?");

    facts_.name = "wt310e";
    facts_.source = fmt::format("{} {}, number {}, ranges {:g} V, {:g} A", parts[0], parts[1], parts[2],
                                parse_number(volts).value_or(NAN), parse_number(amperes).value_or(NAN));
    facts_.boundary = MeterFacts::Boundary::wall;
    facts_.grade = MeterFacts::Class::measured;
    facts_.period_seconds = kPeriod;
    facts_.resolution_joules = 1e-5 * kJoulesPerWattHour;  // five digits of a watt hour
    facts_.blind = "what is not fed through it";
    values(facts_.resolution_watts);
  }

  ~Wt310eMeter() override {
    try {
      if (runs_) line_->write(":INTEGrate:STOP");
    } catch (const std::exception&) {  // it is gone
    }
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    double step = 0;
    const std::vector<double> items = values(step);
    const double seconds = (before + now_seconds()) / 2;
    check_range();
    return {.seconds = seconds, .watts = data(items[0], "power")};
  }

  bool integrates() const override { return true; }

  void start() override {
    command(":INTEGrate:RESet");
    command(":INTEGrate:STARt");
    started_ = now_seconds();
    runs_ = true;
  }

  double stop() override {
    command(":INTEGrate:STOP");
    const double elapsed = now_seconds() - started_;
    runs_ = false;
    // The values that are told are those of the last update.
    std::this_thread::sleep_for(std::chrono::duration<double>(2.5 * kPeriod));
    double step = 0;
    const std::vector<double> items = values(step);
    check_range();
    const double watt_hours = data(items[1], "watt hours"), ran = data(items[2], "integration time");
    // It counts whole seconds. Less: it was stopped by hand, or the value is an older one.
    if (std::abs(ran - elapsed) > 1.5 + kPeriod)
      throw Error(kWhere, fmt::format("{:.1f} s of integration", elapsed), fmt::format("{:g} s", ran),
                  "not to touch the instrument while it measures");
    return watt_hours * kJoulesPerWattHour;
  }

 private:
  std::string query(const std::string& text) {
    line_->write(text);
    return line_->read();
  }

  // Every command is followed by a look at the error queue, since it says nothing by itself.
  void check_errors(const std::string& after) {
    const std::string answer = query(":STATus:ERRor?");
    const auto code = parse_number(split(answer, ',')[0]);
    if (code && *code == 0) return;
    if (!code)
      throw Error(kWhere, fmt::format("a number of an error after '{}'", after),
                  fmt::format("'{}'", answer), "to switch it off and on");
    throw Error(
        kWhere, fmt::format("'{}' to be taken", after), fmt::format("error {}", answer),
        *code == 813 ? "to reset its integration (keys STOP, RESET)" : "its manual, IM WT310E-17EN");
  }

  void command(const std::string& text) {
    line_->write(text);
    check_errors(text);
  }

  std::string query_checked(const std::string& text) {
    std::string answer = query(text);
    check_errors(text);
    return answer;
  }

  // Power, watt hours, seconds; and the step in which power is told.
  std::vector<double> values(double& step) {
    const std::string answer = query_checked(":NUMeric:NORMal:VALue?");
    const std::vector<std::string> parts = split(answer, ',');
    std::vector<double> items;
    for (const std::string& part : parts)
      if (const auto number = parse_number(part)) items.push_back(*number);
    if (items.size() != 3 || parts.size() != 3)
      throw Error(kWhere, "power, watt hours and seconds", fmt::format("'{}'", answer),
                  "whether another program talks to it");
    if (std::isfinite(items[0])) step = step_of(parts[0]);
    return items;
  }

  // It says INF for what is too large for its range, NAN for what it does not have.
  static double data(double value, std::string_view what) {
    if (std::isinf(value))
      throw Error(kWhere, what, "an overrange (INF)",
                  "a higher range of voltage or current, on its keys");
    if (std::isnan(value))
      throw Error(kWhere, what, "no data (NAN)", "whether its display shows numbers, and hold is off");
    return value;
  }

  void check_range() {
    const std::string answer = query_checked(":STATus:CONDition?");
    const auto bits = parse_number(answer);
    if (!bits || *bits < 0 || *bits > 65535)
      throw Error(kWhere, "its condition", fmt::format("'{}'", answer), "to switch it off and on");
    const int set = static_cast<int>(*bits) & (kOverflow | kOverRange | kPeakVoltage | kPeakCurrent);
    if (set != 0)
      throw Error(kWhere, "voltage and current within its ranges",
                  fmt::format("an overrange (condition {})", static_cast<int>(*bits)),
                  fmt::format("a higher range of {}, on its keys",
                              set == kPeakVoltage ? "voltage" : "current"));
  }

  std::unique_ptr<Instrument> line_;
  MeterFacts facts_;
  double started_ = 0;
  bool runs_ = false;
};

}  // namespace

std::unique_ptr<Meter> open_wt310e(std::string_view address, const MeterOptions& options) {
  const std::string where(kWhere);
  if (address.empty())
    throw Error("--meter", "wt310e:ADDRESS", "no address",
                "wt310e:/dev/usbtmc0 for its USB cable, wt310e:HOST for its network");
  if (address.front() == '/')
    return std::make_unique<Wt310eMeter>(
        open_device(where, options.root / std::filesystem::path(address).relative_path()));
  constexpr std::string_view kTcp = "tcp://";
  if (!address.starts_with(kTcp))
    return std::make_unique<Wt310eMeter>(open_vxi11(where, std::string(address), options.lxi));
  const std::string_view rest = address.substr(kTcp.size());
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == rest.size())
    throw Error("--meter", "wt310e:tcp://HOST:PORT", fmt::format("wt310e:{}", address), "both of them");
  return std::make_unique<Wt310eMeter>(
      open_tcp(where, std::string(rest.substr(0, colon)), std::string(rest.substr(colon + 1))));
}

}  // namespace maru::measure
