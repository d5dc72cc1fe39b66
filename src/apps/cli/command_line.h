// CommandLine: the options of one verb, each declared once with the variable that it fills and the
// words that explain it. Reads arguments, prints --help. The only place that knows the parsing library.
// A declared variable must outlive parse(); what it holds before stays when the option is not given.
#pragma once

#include <maru/error.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace maru::cli {

// The command line itself is wrong: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

enum class Need : std::uint8_t { optional, required };

class CommandLine {
 public:
  // what: a paragraph or two; examples: one a line, without "maru " in front.
  CommandLine(std::string_view verb, std::string_view what,
              std::initializer_list<std::string_view> examples);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // `names` as in "--top" or "-v,--verbose"; `value` stands for the value in the help; `help` may have
  // several lines.
  void positional(const char* name, const char* help, std::string& variable);
  void positionals(const char* name, const char* help, std::vector<std::string>& variable);
  void flag(const char* names, const char* help, bool& variable);
  void text(const char* names, const char* value, const char* help, std::string& variable,
            Need need = Need::optional);
  // May be given several times, and takes several values each time when `greedy`.
  void texts(const char* names, const char* value, const char* help, std::vector<std::string>& variable,
             bool greedy, Need need = Need::optional);
  void integer(const char* names, const char* help, std::int64_t& variable, std::int64_t min,
               std::int64_t max);
  // Numbers with commas between.
  void numbers(const char* names, const char* value, const char* help,
               std::optional<std::vector<float>>& variable);
  // The same, or the path of a file that has this extension, which clears the other.
  void numbers_or_file(const char* names, const char* value, const char* help, const char* extension,
                       std::optional<std::vector<float>>& numbers, std::string& file);
  void number(const char* names, const char* help, std::optional<float>& variable);

  template <class T>
  using Choices = std::initializer_list<std::pair<std::string_view, T>>;
  template <class T, class Variable>
  void choice(const char* names, const char* help, Choices<T> choices, Variable& variable) {
    std::vector<std::string_view> words;
    std::vector<T> values;
    for (const auto& [word, value] : choices) {
      words.push_back(word);
      values.push_back(value);
    }
    add_choice(
        names, help, std::move(words),
        [values = std::move(values), &variable](std::size_t which) { variable = values[which]; });
  }

  // False when help was asked for. Throws UsageError.
  bool parse(std::span<const std::string> arguments);
  std::string help() const;

 private:
  void add_choice(const char* names, const char* help, std::vector<std::string_view> words,
                  std::function<void(std::size_t)> take);

  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace maru::cli
