// Instrument: a line to a measuring instrument that is spoken to in lines of text. Owns the line; one
// thread at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace maru::measure {

class Instrument {
 public:
  virtual ~Instrument() = default;
  // Each throws Error when the instrument is gone or says nothing for `seconds`. Lines are without
  // their ends.
  virtual void write(std::string_view line) = 0;
  virtual std::string read() = 0;
};

constexpr double kInstrumentSeconds = 3;  // that it may take for an answer

// /dev/usbtmc0, or any other character device; below `root`.
std::unique_ptr<Instrument> open_device(const std::string& where, const std::filesystem::path& path);
std::unique_ptr<Instrument> open_tcp(const std::string& where, const std::string& host,
                                     const std::string& port);
// VXI-11 through liblxi, which is opened when asked for.
std::unique_ptr<Instrument> open_vxi11(const std::string& where, const std::string& host,
                                       const std::string& library);

}  // namespace maru::measure
