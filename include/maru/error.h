// Error: the one exception that maru throws for what a caller, a file or a machine did wrong.
// Its text always reads "[where] expected ..., got ...; try ...".
#pragma once

#include <maru/export.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace maru {

class MARU_API Error : public std::runtime_error {
 public:
  // where: file, layer or option. expected / got: noun phrases. hint: what to do, may be empty.
  Error(std::string_view where, std::string_view expected, std::string_view got,
        std::string_view hint = {});

  const std::string& where() const noexcept { return where_; }
  const std::string& expected() const noexcept { return expected_; }
  const std::string& got() const noexcept { return got_; }
  const std::string& hint() const noexcept { return hint_; }

  // The same error seen from further out: "[outer: where] ...".
  Error within(std::string_view outer) const;

 private:
  std::string where_, expected_, got_, hint_;
};

}  // namespace maru
