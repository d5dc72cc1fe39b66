// The processor's own energy counters (Intel's RAPL; AMD's since Zen), through the kernel's powercap.
// Facts: kernel.org/doc/html/latest/power/powercap/powercap.html for the files; Intel's SDM, volume 3,
// "Platform Specific Power Management Support": counters are updated each millisecond or so, and on
// servers the DRAM's domain stands beside the package's, not in it. "psys" is the platform with the
// packages in it, so it is told of and not added.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "measure/meters/meters.h"

namespace maru::measure {
namespace {

struct Domain {
  std::string name;
  std::filesystem::path counter;
  double range = 0;  // microjoules at which the counter starts anew
  double last = 0, total = 0;
};

class RaplMeter : public Meter {
 public:
  RaplMeter(std::vector<Domain> domains, bool has_platform, TextReader read)
      : domains_(std::move(domains)), read_(std::move(read)) {
    std::vector<std::string> names;
    bool sees_memory = false;
    for (Domain& domain : domains_) {
      domain.last = value(domain);
      names.push_back(domain.name);
      sees_memory |= domain.name.ends_with("dram");
    }
    facts_.name = "rapl";
    facts_.source = fmt::format("RAPL counters of {}{}", fmt::join(names, " + "),
                                has_platform ? "; psys is there too and not added" : "");
    facts_.boundary = MeterFacts::Boundary::chip;
    facts_.grade = MeterFacts::Class::estimated;
    facts_.period_seconds = 1e-3;
    facts_.resolution_joules =
        61e-6 * static_cast<double>(domains_.size());  // the usual unit is 2^-14 J
    facts_.blind = fmt::format("{}GPUs on cards, the board and its voltage regulators, drives, fans",
                               sees_memory ? "" : "memory, ");
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    double microjoules = 0;
    for (Domain& domain : domains_) {
      const double now = value(domain);
      double step = now - domain.last;
      if (step < 0) step += domain.range;
      domain.total += step;
      domain.last = now;
      microjoules += domain.total;
    }
    return {.seconds = (before + now_seconds()) / 2, .joules = microjoules * 1e-6};
  }

 private:
  double value(const Domain& domain) const {
    const auto text = read_(domain.counter);
    const bool forbidden = !text && (errno == EACCES || errno == EPERM);
    if (!text)
      throw Error(
          "meter rapl", fmt::format("to read {}", domain.counter.string()), std::strerror(errno),
          forbidden ? "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj, until the next "
                      "start; for good: "
                      "echo 'SUBSYSTEM==\"powercap\", ACTION==\"add\", RUN+=\"/bin/chmod a+r "
                      "/sys%p/energy_uj\"' | sudo tee /etc/udev/rules.d/70-maru-rapl.rules. Only root "
                      "may read it else, since power gives away secrets (CVE-2020-8694)"
                    : "another meter");
    const auto number = parse_number(*text);
    if (!number || *number < 0)
      throw Error("meter rapl", fmt::format("microjoules in {}", domain.counter.string()),
                  fmt::format("'{}'", *text), "another meter");
    return *number;
  }

  std::vector<Domain> domains_;
  TextReader read_;
  MeterFacts facts_;
};

}  // namespace

std::unique_ptr<Meter> open_rapl(const MeterOptions& options, const TextReader& read) {
  const std::filesystem::path folder = options.root / "sys/class/powercap";
  std::vector<Domain> domains;
  bool has_platform = false;
  std::vector<std::filesystem::path> zones;
  std::error_code none;
  // intel-rapl:0 is a package, intel-rapl:0:1 a part of it; intel-rapl-mmio:0 counts a package again.
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().filename().string().starts_with("intel-rapl:")) zones.push_back(entry.path());
  std::ranges::sort(zones);
  for (const auto& zone : zones) {
    const std::string name = read(zone / "name").value_or("");
    const std::string file = zone.filename().string();
    const bool is_part = std::ranges::count(file, ':') > 1;
    has_platform |= name == "psys";
    if (!(is_part ? name == "dram" : name.starts_with("package"))) continue;
    Domain domain{.name = name, .counter = zone / "energy_uj"};
    if (is_part) domain.name = fmt::format("{} dram", file.substr(0, file.rfind(':')));
    const auto range = parse_number(read(zone / "max_energy_range_uj").value_or(""));
    if (!range || *range <= 0)
      throw Error("meter rapl", fmt::format("microjoules in {}/max_energy_range_uj", zone.string()),
                  "none", "another meter");
    domain.range = *range;
    domains.push_back(std::move(domain));
  }
  if (domains.empty())
    throw Error("meter rapl", fmt::format("a package in {}/intel-rapl:*", folder.string()), "none",
                "sudo modprobe intel_rapl_msr, on an Intel processor or AMD's since Zen; virtual "
                "machines seldom "
                "have it");
  return std::make_unique<RaplMeter>(std::move(domains), has_platform, read);
}

}  // namespace maru::measure
