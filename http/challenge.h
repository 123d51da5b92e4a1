// Challenges: what a 401 asks for in WWW-Authenticate (RFC 9110 §11.6.1). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace http {

struct Challenge {
  std::string scheme;                                           // in lower case: "bearer"
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case, unquoted

  // The first parameter of that name.
  std::optional<std::string> parameter(std::string_view name) const;
};

// The challenges in a field's value, or in several joined with ", ". What is malformed ends the
// list: the challenges before it are returned.
std::vector<Challenge> parse_challenges(std::string_view text);

}  // namespace http
