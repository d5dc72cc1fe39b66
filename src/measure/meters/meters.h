// The meters, one a file, and what they share. Each function opens its kind or throws an Error whose
// hint says what would enable it; an empty hint: nothing would, this is another machine. Meters own
// what they open; one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "measure/meter.h"

namespace maru::measure {

// A small file's text, as sysfs has them, without the line's end; nothing, and errno, where it cannot
// be read.
using TextReader = std::function<std::optional<std::string>(const std::filesystem::path&)>;
std::optional<std::string> read_text(const std::filesystem::path& path);

// The whole text as a number; nothing when it is none. "NAN" and "INF" are numbers.
std::optional<double> parse_number(std::string_view text);

// The smallest step of a number as it is written: 0.01 for "12.34", 10 for "1.23E+03".
double step_of(std::string_view number);

// Board by its device tree: "NVIDIA Jetson Nano Developer Kit"; empty where there is none.
std::string board_model(const std::filesystem::path& root);

std::unique_ptr<Meter> open_nvml(const MeterOptions& options);
std::unique_ptr<Meter> open_rapl(const MeterOptions& options, const TextReader& read = read_text);
std::unique_ptr<Meter> open_jetson(const MeterOptions& options);
std::unique_ptr<Meter> open_pi5(const MeterOptions& options);
// `address`: /dev/usbtmc0, a host (VXI-11), or tcp://host:port.
std::unique_ptr<Meter> open_wt310e(std::string_view address, const MeterOptions& options);
std::unique_ptr<Meter> open_command(std::string_view command);

}  // namespace maru::measure
