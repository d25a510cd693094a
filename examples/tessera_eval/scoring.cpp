#include "examples/tessera_eval/scoring.h"

#include <algorithm>
#include <array>
#include <optional>

#include "examples/common/json_text.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 8;
constexpr double kHitOverlap = 0.5;

// What Python's str.strip and \s take for white space.
constexpr std::array<std::string_view, 29> kSpaces = {
    " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",   "\x1e",   "\x1f",
    "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
    "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

std::string_view without_leading_space(std::string_view text) {
  auto leads = [&](std::string_view space) { return text.starts_with(space); };
  for (auto space = std::ranges::find_if(kSpaces, leads); space != kSpaces.end();
       space = std::ranges::find_if(kSpaces, leads)) {
    text.remove_prefix(space->size());
  }
  return text;
}

std::string_view without_trailing_space(std::string_view text) {
  auto ends = [&](std::string_view space) { return text.ends_with(space); };
  for (auto space = std::ranges::find_if(kSpaces, ends); space != kSpaces.end();
       space = std::ranges::find_if(kSpaces, ends)) {
    text.remove_suffix(space->size());
  }
  return text;
}

std::string_view stripped(std::string_view text) {
  return without_trailing_space(without_leading_space(text));
}

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_word(char c) {
  return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Reads one phrase from the start of a text.
class PhraseReader {
 public:
  explicit PhraseReader(std::string_view text) : text_(text) {}

  // Its length, 0 when the text does not begin with one.
  std::size_t length() {
    const bool begins =
        (take("big ") || take("small ")) && run(is_word) && take(" ") && run(is_word) && take(" ");
    return begins && place() ? at_ : 0;
  }

 private:
  bool take(std::string_view part) {
    if (!text_.substr(at_).starts_with(part)) return false;
    at_ += part.size();
    return true;
  }
  // One or more characters of a class.
  bool run(bool (*is_in)(char)) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_in(text_[at_])) ++at_;
    return at_ > begin;
  }
  bool place() {
    if (take("in the center")) return true;
    if (take("on the ")) return run(is_word);
    if (!take("at the ") || !run(is_lower)) return false;
    if (!take(" left")) take(" right");
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::map<std::string, std::size_t> phrases(std::string_view text) {
  std::map<std::string, std::size_t> counts;
  while (!text.empty()) {
    const std::size_t length = PhraseReader(text).length();
    if (length > 0) ++counts[std::string(text.substr(0, length))];
    text.remove_prefix(std::max<std::size_t>(1, length));
  }
  return counts;
}

double description_score(std::string_view wanted, std::string_view given) {
  const auto want = phrases(wanted), got = phrases(given);
  std::size_t both = 0, wanted_count = 0, given_count = 0;
  for (const auto& [phrase, count] : want) {
    const auto same = got.find(phrase);
    both += same == got.end() ? 0 : std::min(count, same->second);
    wanted_count += count;
  }
  for (const auto& [phrase, count] : got) given_count += count;
  return static_cast<double>(both) /
         static_cast<double>(std::max({wanted_count, given_count, std::size_t{1}}));
}

struct LabelledBox {
  json label;
  std::vector<double> corner;  // x0, y0, x1, y1; with fewer numbers it overlaps nothing
};

// From the first "[{" to the last "}]", white space between allowed; empty when they are not there.
std::string_view list_text(std::string_view text) {
  std::size_t begin = text.find('[');
  while (begin != std::string_view::npos && !without_leading_space(text.substr(begin + 1)).starts_with('{'))
    begin = text.find('[', begin + 1);
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin);
  const std::size_t first_brace = text.find('{');
  for (std::size_t end = text.rfind(']'); end != std::string_view::npos && end > 0;
       end = text.rfind(']', end - 1)) {
    const std::string_view inside = without_trailing_space(text.substr(0, end));
    if (inside.ends_with('}') && inside.size() - 1 > first_brace) return text.substr(0, end + 1);
  }
  return {};
}

std::optional<LabelledBox> read_box(const json& object) {
  if (!object.is_object() || !object.contains("label") || !object.contains("bbox_2d")) return std::nullopt;
  const json& corner = object["bbox_2d"];
  if (!corner.is_array()) return std::nullopt;
  LabelledBox box{object["label"], {}};
  for (const json& value : corner) {
    if (!value.is_number()) return std::nullopt;
    box.corner.push_back(value.get<double>());
  }
  return box;
}

std::vector<LabelledBox> boxes(std::string_view text) {
  const auto list = parse_json_text(list_text(text), kMaxDepth);
  if (!list || !list->is_array()) return {};
  std::vector<LabelledBox> all;
  for (const json& object : *list) {
    auto box = read_box(object);
    if (!box) return {};
    all.push_back(std::move(*box));
  }
  return all;
}

double overlap(const LabelledBox& a, const LabelledBox& b) {
  const auto &p = a.corner, &q = b.corner;
  if (p.size() < 4 || q.size() < 4) return 0;
  const double w = std::min(p[2], q[2]) - std::max(p[0], q[0]);
  const double h = std::min(p[3], q[3]) - std::max(p[1], q[1]);
  if (w <= 0 || h <= 0) return 0;
  auto area = [](const std::vector<double>& r) { return (r[2] - r[0]) * (r[3] - r[1]); };
  return w * h / (area(p) + area(q) - w * h);
}

double boxes_score(std::string_view wanted, std::string_view given) {
  std::vector<LabelledBox> left = boxes(wanted);
  const std::vector<LabelledBox> got = boxes(given);
  const std::size_t total = left.size() + got.size();
  std::size_t hits = 0;
  for (const LabelledBox& box : got) {
    auto best = left.end();
    double best_overlap = -1;
    for (auto candidate = left.begin(); candidate != left.end(); ++candidate) {
      if (candidate->label != box.label || overlap(*candidate, box) <= best_overlap) continue;
      best = candidate;
      best_overlap = overlap(*candidate, box);
    }
    if (best_overlap < kHitOverlap) continue;
    left.erase(best);
    ++hits;
  }
  return 2 * static_cast<double>(hits) / static_cast<double>(std::max<std::size_t>(1, total));
}

}  // namespace

double answer_score(std::string_view kind, std::string_view wanted, std::string_view given) {
  if (kind == "describe") return description_score(wanted, given);
  if (kind == "boxes" || kind == "box_one") return boxes_score(wanted, given);
  return stripped(wanted) == stripped(given) ? 1 : 0;
}

TaskScores score_answers(std::span<const Example> tasks, std::span<const std::string> answers) {
  TESSERA_CHECK(tasks.size() == answers.size());
  TaskScores scores;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const double score = answer_score(tasks[i].kind, tasks[i].answer.value(), answers[i]);
    for (TaskScores::Mean* mean : {&scores.kinds[tasks[i].kind], &scores.all}) {
      ++mean->count;
      mean->sum += score;
    }
  }
  return scores;
}

}  // namespace tessera::programs
