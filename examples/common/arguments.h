// The command line: CLI11 with the rules of reliability.md §3.9. Every mistake is Error{kUsage} whose field
// is the flag: one that is unknown, given twice or lacks its value, a number that is not whole or out of
// range.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace tessera::programs {

// A flag of several letters behind one dash, as llama.cpp has them, and the long name that CLI11 knows.
struct Alias {
  std::string_view flag;
  std::string_view long_name;
};

struct IntegerRange {
  std::int64_t min, max;
  std::string more{};                   // further values, for messages, such as ", or -1 for no limit"
  std::optional<std::int64_t> extra{};  // one value outside [min, max] that is allowed too
};

// Bounds that are open are just outside the range.
struct NumberRange {
  double min, max;
  bool open_min = false;
  std::string text;  // the range in words
};

// Numbers are read by from_chars: the whole string, no sign but "-", no blanks, whatever the locale.
std::int64_t parse_integer(const std::string& flag, const std::string& text, const IntegerRange& range);
std::uint64_t parse_seed(const std::string& flag, const std::string& text);
float parse_number(const std::string& flag, const std::string& text, const NumberRange& range);

// Adds a flag whose value is a number. `names` as in CLI11: "-n,--n-predict"; messages use the first.
CLI::Option* add_integer(CLI::App& app, const std::string& names, const std::string& description,
                         const IntegerRange& range, const std::function<void(std::int64_t)>& set);
CLI::Option* add_number(CLI::App& app, const std::string& names, const std::string& description,
                        const NumberRange& range, const std::function<void(float)>& set);

// -t, and the number of threads that it leads to: by default, and at most, the processors that this process
// may use, with a warning when more are asked for.
CLI::Option* add_threads(CLI::App& app, std::optional<std::int64_t>& asked);
int usable_threads(const std::optional<std::int64_t>& asked);

// The type of a KV cache by its name.
DType parse_cache_type(const std::string& flag, const std::string& name);

// Parses argv into the app's options. --help and --version print to standard output and throw ExitNow{0}.
// What follows a flag that takes a value is its value, even with a dash in front.
void parse_arguments(CLI::App& app, int argc, const char* const* argv, std::span<const Alias> aliases = {});

}  // namespace tessera::programs
