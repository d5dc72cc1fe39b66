#include "apps/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace maru::cli {
namespace {

constexpr const char* kExitCodes =
    "Exit codes:\n"
    "  0  done\n"
    "  1  something failed; standard error says what\n"
    "  2  the command line is wrong";

template <class T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end = 0; end != std::string_view::npos; text.remove_prefix(end + 1)) {
    end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
  }
  return parts;
}

std::string in_quotes(std::string_view text) { return fmt::format("\"{}\"", text); }

// The longest of "-v,--verbose", which is how messages call it.
std::string spoken(std::string_view names) {
  return std::string(std::ranges::max(split(names, ','), {}, &std::string_view::size));
}

float finite(const std::string& name, std::string_view text) {
  const std::optional<float> value = number_in<float>(text);
  if (!value || !std::isfinite(*value)) throw UsageError(name, "a number", in_quotes(text));
  return *value;
}

std::vector<float> finite_numbers(const std::string& name, std::string_view text) {
  std::vector<float> values;
  for (const std::string_view part : split(text, ',')) values.push_back(finite(name, part));
  return values;
}

}  // namespace

struct CommandLine::Parser {
  CLI::App app;
  std::vector<CLI::Option*> required;

  explicit Parser(std::string_view what) : app(fmt::format("{}\n", what)) {}

  // An option whose value, the last one given, goes through `read`.
  CLI::Option* value(const char* names, const char* shown, const char* help,
                     const std::function<void(const std::string&)>& read) {
    return app.add_option_function<std::string>(names, read, help)
        ->option_text(shown)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }

  void need(CLI::Option* option, Need how) {
    if (how == Need::required) required.push_back(option);
  }

  std::string help_command() const { return fmt::format("'{} --help'", app.get_name()); }

  // The library's own words, which begin with the option's name where there is one.
  UsageError explain(std::string_view message) const {
    if (const std::size_t name = message.find(" was given a disallowed flag override");
        name != std::string_view::npos) {
      return UsageError(fmt::format("--{}", message.substr(0, name)), "no value", "one",
                        help_command());
    }
    const std::size_t colon = message.find(": ");
    if (!message.starts_with('-') || colon == std::string_view::npos) {
      return UsageError(app.get_name(), "options as its help shows them", in_quotes(message),
                        help_command());
    }
    const bool missing = message.ends_with(" missing");
    return UsageError(message.substr(0, colon), "a value after it",
                      missing ? "nothing" : in_quotes(message.substr(colon + 2)), help_command());
  }

  void reject_unknown() const {
    std::vector<std::string> rest = app.remaining();
    std::erase(rest, "--");  // ends the options; the library takes it for a left-over
    if (rest.empty()) return;
    const auto option =
        std::ranges::find_if(rest, [](const std::string& s) { return s.starts_with('-'); });
    if (option == rest.end()) {
      throw UsageError(app.get_name(), "no further argument", in_quotes(rest.front()), help_command());
    }
    std::vector<std::string> names;
    for (const CLI::Option* known : app.get_options()) {
      for (const std::string& name : known->get_lnames()) names.push_back("--" + name);
    }
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::string_view word = std::string_view(*option).substr(0, option->find('='));
    throw UsageError(app.get_name(), "an option that it knows", in_quotes(*option),
                     fmt::format("{}, or {}", closest_names(word, views), help_command()));
  }
};

CommandLine::CommandLine(std::string_view verb, std::string_view what,
                         std::initializer_list<std::string_view> examples)
    : parser_(std::make_unique<Parser>(what)) {
  CLI::App& app = parser_->app;
  app.name(fmt::format("maru {}", verb));
  app.set_help_flag("-h,--help", "Print this help.");
  app.get_formatter()->column_width(28);
  // Wrong options are ours to report: the library would complain about what is missing first.
  app.allow_extras();
  std::string footer = "Examples:\n";
  // Where another program starts maru, the example says both.
  for (const std::string_view example : examples)
    footer += fmt::format("  {}{}\n", example.find(" maru ") == example.npos ? "maru " : "", example);
  app.footer(footer + "\n" + kExitCodes);
}

CommandLine::~CommandLine() = default;

void CommandLine::positional(const char* name, const char* help, std::string& variable) {
  parser_->need(parser_->app.add_option(name, variable, help)->option_text(" "), Need::required);
}

void CommandLine::positionals(const char* name, const char* help, std::vector<std::string>& variable) {
  parser_->need(parser_->app.add_option(name, variable, help)->option_text("..."), Need::required);
}

void CommandLine::flag(const char* names, const char* help, bool& variable) {
  parser_->app.add_flag(names, variable, help)->disable_flag_override();
}

void CommandLine::text(const char* names, const char* value, const char* help, std::string& variable,
                       Need need) {
  parser_->need(parser_->value(names, value, help, [&variable](const std::string& s) { variable = s; }),
                need);
}

void CommandLine::texts(const char* names, const char* value, const char* help,
                        std::vector<std::string>& variable, bool greedy, Need need) {
  CLI::Option* option = parser_->app.add_option(names, variable, help);
  option->option_text(value)->allow_extra_args(greedy);
  parser_->need(option, need);
}

void CommandLine::integer(const char* names, const char* help, std::int64_t& variable, std::int64_t min,
                          std::int64_t max) {
  parser_->value(names, "N", help, [=, &variable, name = spoken(names)](const std::string& s) {
    const std::optional<std::int64_t> value = number_in<std::int64_t>(s);
    if (!value || *value < min || *value > max) {
      throw UsageError(name, fmt::format("a whole number from {} to {}", min, max), in_quotes(s));
    }
    variable = *value;
  });
}

void CommandLine::numbers(const char* names, const char* value, const char* help,
                          std::optional<std::vector<float>>& variable) {
  parser_->value(names, value, help, [&variable, name = spoken(names)](const std::string& s) {
    variable = finite_numbers(name, s);
  });
}

void CommandLine::numbers_or_file(const char* names, const char* value, const char* help,
                                  const char* extension, std::optional<std::vector<float>>& numbers,
                                  std::string& file) {
  parser_->value(names, value, help,
                 [&numbers, &file, extension, name = spoken(names)](const std::string& s) {
                   const bool is_file = s.ends_with(extension);
                   file = is_file ? s : std::string();
                   numbers.reset();
                   if (is_file) return;
                   try {
                     numbers = finite_numbers(name, s);
                   } catch (const UsageError& error) {
                     throw UsageError(name, fmt::format("{}, or FILE{}", error.expected(), extension),
                                      error.got());
                   }
                 });
}

void CommandLine::number(const char* names, const char* help, std::optional<float>& variable) {
  parser_->value(names, "X", help, [&variable, name = spoken(names)](const std::string& s) {
    variable = finite(name, s);
  });
}

void CommandLine::add_choice(const char* names, const char* help, std::vector<std::string_view> words,
                             std::function<void(std::size_t)> take) {
  const std::string shown = fmt::format("{}", fmt::join(words, "|"));
  auto read = [words = std::move(words), take = std::move(take),
               name = spoken(names)](const std::string& s) {
    const auto word = std::ranges::find(words, s);
    if (word == words.end()) {
      throw UsageError(name, fmt::format("one of {}", fmt::join(words, ", ")), in_quotes(s));
    }
    take(static_cast<std::size_t>(word - words.begin()));
  };
  parser_->value(names, shown.c_str(), help, read);
}

bool CommandLine::parse(std::span<const std::string> arguments) {
  try {
    parser_->app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return false;
  } catch (const CLI::ParseError& e) {
    throw parser_->explain(e.what());
  }
  parser_->reject_unknown();
  for (const CLI::Option* option : parser_->required) {
    if (option->count() != 0) continue;
    throw UsageError(parser_->app.get_name(), option->get_name(), "none", parser_->help_command());
  }
  return true;
}

std::string CommandLine::help() const { return parser_->app.help(); }

}  // namespace maru::cli
