#include "examples/common/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <vector>

#include "examples/common/program.h"
#include "models/qwen3vl/session.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::programs {
namespace {

template <typename T>
std::optional<T> read_whole(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty() ? std::optional(value) : std::nullopt;
}

[[noreturn]] void refuse(const std::string& flag, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", flag, reason);
}

[[noreturn]] void refuse_value(const std::string& flag, const std::string& kind, const std::string& text,
                               const std::string& expected) {
  refuse(flag, "not " + kind + " in range (got \"" + escape(text, 60) + "\", expected " + expected + ")");
}

std::string first_name(const std::string& names) { return names.substr(0, names.find(',')); }

// The arguments as CLI11 is to see them, checked for what CLI11 reports less well.
class Reader {
 public:
  Reader(const CLI::App& app, std::span<const Alias> aliases) : app_(app), aliases_(aliases) {}

  std::vector<std::string> read(std::span<const char* const> args) {
    for (std::size_t i = 0; i < args.size(); ++i) {
      const std::string given = args[i];
      if (given == "--") {
        out_.insert(out_.end(), args.begin() + static_cast<std::ptrdiff_t>(i), args.end());
        break;
      }
      const std::string arg = without_alias(given);
      out_.push_back(arg);
      if (given.size() < 2 || given[0] != '-') continue;
      const std::size_t equals = arg.find('=');
      const bool is_long = arg.rfind("--", 0) == 0;
      const std::string name = is_long ? arg.substr(0, equals) : arg.substr(0, 2);
      const CLI::Option* option = app_.get_option_no_throw(name);
      // A short flag may have its value glued on ("-n5"); behind one that takes none, or none that we know,
      // there is just another name.
      if (option == nullptr || (!is_long && arg.size() > 2 && option->get_expected_min() == 0))
        refuse(escape(given.substr(0, is_long ? equals : std::string::npos)), unknown());
      count(option, given.substr(0, is_long ? equals : std::string::npos));
      const bool has_value = is_long ? equals != std::string::npos : arg.size() > 2;
      if (option->get_expected_min() == 0 || has_value) continue;
      if (i + 1 == args.size()) refuse(given, "needs a value; see --help");
      out_.push_back(args[++i]);
    }
    return std::move(out_);
  }

 private:
  static std::string unknown() { return "unknown flag; see --help"; }

  std::string without_alias(const std::string& arg) const {
    for (const Alias& alias : aliases_) {
      if (arg == alias.flag) return std::string(alias.long_name);
    }
    return arg;
  }

  void count(const CLI::Option* option, const std::string& flag) {
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll) return;
    if (++seen_[option] > 1) refuse(flag, "given twice; see --help");
  }

  const CLI::App& app_;
  std::span<const Alias> aliases_;
  std::vector<std::string> out_;
  std::map<const CLI::Option*, int> seen_;
};

}  // namespace

std::int64_t parse_integer(const std::string& flag, const std::string& text, const IntegerRange& range) {
  const auto value = read_whole<std::int64_t>(text);
  if (value && ((*value >= range.min && *value <= range.max) || value == range.extra)) return *value;
  refuse_value(flag, "a whole number", text,
               std::to_string(range.min) + " to " + std::to_string(range.max) + range.more);
}

std::uint64_t parse_seed(const std::string& flag, const std::string& text) {
  if (const auto value = read_whole<std::uint64_t>(text)) return *value;
  refuse_value(flag, "a whole number", text, "0 to 18446744073709551615");
}

float parse_number(const std::string& flag, const std::string& text, const NumberRange& range) {
  const auto value = read_whole<double>(text);
  if (value && std::isfinite(*value) && *value <= range.max &&
      (range.open_min ? *value > range.min : *value >= range.min))
    return static_cast<float>(*value);
  refuse_value(flag, "a number", text, range.text);
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, const std::string& description,
                         const IntegerRange& range, const std::function<void(std::int64_t)>& set) {
  const std::string flag = first_name(names);
  return app
      .add_option_function<std::string>(
          names, [=](const std::string& text) { set(parse_integer(flag, text, range)); }, description)
      ->type_name("N");
}

CLI::Option* add_number(CLI::App& app, const std::string& names, const std::string& description,
                        const NumberRange& range, const std::function<void(float)>& set) {
  const std::string flag = first_name(names);
  return app
      .add_option_function<std::string>(
          names, [=](const std::string& text) { set(parse_number(flag, text, range)); }, description)
      ->type_name("F");
}

CLI::Option* add_threads(CLI::App& app, std::optional<std::int64_t>& asked) {
  constexpr std::int64_t kMaxThreads = 1024;
  return add_integer(app, "-t,--threads", "threads [processors that this process may use]", {1, kMaxThreads},
                     [&asked](std::int64_t n) { asked = n; });
}

int usable_threads(const std::optional<std::int64_t>& asked) {
  const int available = available_threads();
  if (asked > available) {
    warn("-t: " + std::to_string(*asked) + " threads are more than the " + std::to_string(available) +
         " processors that this process may use; running " + std::to_string(available));
  }
  return static_cast<int>(std::min<std::int64_t>(asked.value_or(available), available));
}

DType parse_cache_type(const std::string& flag, const std::string& name) {
  if (const auto dtype = qwen3vl::cache_dtype_from_name(name)) return *dtype;
  refuse(flag, "unknown type (got \"" + escape(name, 60) + "\", expected " + qwen3vl::kCacheDTypes + ")");
}

void parse_arguments(CLI::App& app, int argc, const char* const* argv, std::span<const Alias> aliases) {
  const std::span<const char* const> all(argv, static_cast<std::size_t>(std::max(argc, 1)));
  std::vector<std::string> args = Reader(app, aliases).read(all.subspan(1));
  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    throw ExitNow{0};
  } catch (const CLI::CallForVersion& version) {
    print(std::string(version.what()) + "\n");
    throw ExitNow{0};
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kUsage, "", "command line", escape(error.what()) + "; see --help");
  }
}

}  // namespace tessera::programs
