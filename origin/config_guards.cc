#include "origin/config_guards.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/ascii.h"

namespace origin {
namespace {

constexpr auto kGuards = std::to_array<std::string_view>({"access", "auth", "redirect", "tls"});
// What is below them, and would take them along into the wrong place.
constexpr auto kPartsOfGuards =
    std::to_array<std::string_view>({"htpasswd", "token", "rules", "certificates", "clientcas",
                                     "clientauth", "except", "signature"});

// How many letters are wrong, missing, too many or swapped with their neighbour.
size_t typing_errors(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> errors(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        errors[i][j] = i + j;
        continue;
      }
      const size_t wrong = a[i - 1] == b[j - 1] ? 0 : 1;
      errors[i][j] =
          std::min({errors[i - 1][j] + 1, errors[i][j - 1] + 1, errors[i - 1][j - 1] + wrong});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        errors[i][j] = std::min(errors[i][j], errors[i - 2][j - 2] + 1);
      }
    }
  }
  return errors[a.size()][b.size()];
}

bool like(std::string_view word, std::string_view name) {
  const size_t most = name.size() > 5 ? 2 : 1;
  return word.size() <= name.size() + most && typing_errors(base::to_lower(word), name) <= most;
}

bool like_one_of(std::string_view word, const auto& names) {
  return std::ranges::any_of(names, [word](std::string_view name) { return like(word, name); });
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t end = text.find(separator);
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end + 1);
  }
}

// REGISTRY_PORT_5000_TCP_ADDR, REGISTRY_AUTH_SERVICE_HOST; of Docker's links also
// REGISTRY_AUTH_NAME and REGISTRY_AUTH_ENV_PATH
bool is_service_link(std::string_view name) {
  constexpr std::string_view kPort = "_PORT_";
  const size_t port = name.find(kPort);
  return name.ends_with("_SERVICE_HOST") || name.find("_SERVICE_PORT") != std::string_view::npos ||
         name.ends_with("_PORT") || name.ends_with("_NAME") ||
         name.find("_ENV_") != std::string_view::npos ||
         (port < name.size() - kPort.size() && base::is_digit(name[port + kPort.size()]));
}

}  // namespace

bool guards(std::string_view path) {
  if (path.starts_with('.')) return false;  // ".auth: &auth", what is to be used elsewhere
  const std::vector<std::string_view> keys = split(path, '.');
  // Of http only the section tls guards, but all of it is lost with the name.
  if (keys.front() != "http" && like(keys.front(), "http")) return true;
  return like_one_of(keys.back(), kPartsOfGuards) ||
         std::ranges::any_of(keys, [](std::string_view key) { return like_one_of(key, kGuards); });
}

bool variable_guards(std::string_view name) {
  if (is_service_link(name)) return false;
  const std::vector<std::string_view> words = split(name, '_');  // the first is REGISTRY
  if (words.size() < 2) return false;
  if (like(words[1], "http")) return words.size() > 2 && like(words[2], "tls");
  return like_one_of(words[1], kGuards);
}

}  // namespace origin
