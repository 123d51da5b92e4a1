#include "origin/url_rules.h"

#include <re2/re2.h>

#include <algorithm>
#include <string_view>

#include "http/message.h"

namespace origin {
namespace {

bool begins_with(std::string_view url, std::string_view scheme) {
  return url.size() > scheme.size() && http::iequals(url.substr(0, scheme.size()), scheme);
}

// Of http or https, without a fragment and without what no URL may hold (RFC 3986 §2).
bool is_web_address(std::string_view url) {
  return (begins_with(url, "https://") || begins_with(url, "http://")) &&
         std::ranges::all_of(url, [](char c) { return c > ' ' && c <= '~' && c != '#'; });
}

}  // namespace

UrlRules::UrlRules(const base::Section& urls)
    : allow_(read(urls, "allow")), deny_(read(urls, "deny")) {}

UrlRules::Expressions UrlRules::read(const base::Section& urls, const std::string& key) {
  Expressions expressions;
  for (const std::string& text : urls.strings(key)) {
    const auto expression = std::make_shared<const re2::RE2>(text, re2::RE2::Quiet);
    if (!expression->ok()) {
      urls.fail(key, "regular expressions in RE2's syntax (" + expression->error() + ")");
    }
    expressions.push_back(expression);
  }
  return expressions;
}

bool UrlRules::allows(const std::string& url) const {
  const auto matched_by = [&url](const Expressions& expressions) {
    return std::ranges::any_of(expressions, [&](const auto& expression) {
      return re2::RE2::PartialMatch(url, *expression);
    });
  };
  if (allow_.empty() && deny_.empty()) return false;
  return is_web_address(url) && (allow_.empty() || matched_by(allow_)) && !matched_by(deny_);
}

}  // namespace origin
