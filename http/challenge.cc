#include "http/challenge.h"

#include <algorithm>

#include "base/ascii.h"
#include "http/message.h"

namespace http {
namespace {

// Far more than any server sends.
constexpr size_t kMostChallenges = 16;
constexpr size_t kMostParameters = 32;

bool is_token68(char c) {
  return base::is_alphanumeric(c) || std::string_view("-._~+/").contains(c);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  void skip_spaces() {
    take_while([](char c) { return c == ' ' || c == '\t'; });
  }
  // Between two elements of a list, of which some may be empty.
  void skip_commas() {
    take_while([](char c) { return c == ' ' || c == '\t' || c == ','; });
  }
  bool at_end() const { return rest_.empty(); }
  bool at_element_end() const { return rest_.empty() || rest_.front() == ','; }
  std::string_view token() { return take_while(is_token_char); }

  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Credentials-like text instead of parameters, as in "Negotiate dGV4dA==".
  bool take_token68() {
    const std::string_view before = rest_;
    const bool some = !take_while(is_token68).empty();
    take_while([](char c) { return c == '='; });
    skip_spaces();
    if (some && at_element_end()) return true;
    rest_ = before;
    return false;
  }

  // name "=" ( token / quoted-string ); leaves the text as it was if it is not that.
  std::optional<std::pair<std::string, std::string>> parameter() {
    const std::string_view before = rest_;
    const std::string_view name = token();
    skip_spaces();
    if (!name.empty() && take('=')) {
      skip_spaces();
      std::optional<std::string> value;
      if (take('"')) {
        value = quoted();
      } else if (const std::string_view plain = token(); !plain.empty()) {
        value = std::string(plain);
      }
      skip_spaces();
      if (value && at_element_end()) return std::pair(base::to_lower(name), std::move(*value));
    }
    rest_ = before;
    return std::nullopt;
  }

 private:
  template <typename Wanted>
  std::string_view take_while(Wanted wanted) {
    const auto end = std::ranges::find_if_not(rest_, wanted);
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(end - rest_.begin()));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  // Behind the first quote.
  std::optional<std::string> quoted() {
    std::string value;
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return value;
      if (c == '\\') {
        if (rest_.empty()) return std::nullopt;
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t') || byte == 0x7f) return std::nullopt;
      value += c;
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::string> Challenge::parameter(std::string_view name) const {
  const auto found = std::ranges::find(parameters, name, [](const auto& p) { return p.first; });
  if (found == parameters.end()) return std::nullopt;
  return found->second;
}

std::vector<Challenge> parse_challenges(std::string_view text) {
  std::vector<Challenge> challenges;
  Parser parser(text);
  parser.skip_commas();
  while (!parser.at_end() && challenges.size() < kMostChallenges) {
    Challenge challenge{base::to_lower(parser.token()), {}};
    if (challenge.scheme.empty()) return challenges;
    parser.skip_spaces();
    if (!parser.at_element_end() && !parser.take_token68()) {
      while (auto parameter = parser.parameter()) {
        if (challenge.parameters.size() == kMostParameters) return challenges;
        challenge.parameters.push_back(std::move(*parameter));
        parser.skip_commas();
      }
      if (challenge.parameters.empty()) return challenges;
    }
    parser.skip_commas();
    challenges.push_back(std::move(challenge));
  }
  return challenges;
}

}  // namespace http
