#include "http/request_target.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/ascii.h"
#include "http/body.h"

namespace http {
namespace {

bool is_host_char(char c) {
  return base::is_alphanumeric(c) || std::string_view("-._~:[]%").find(c) != std::string_view::npos;
}

bool is_hex(char c) {
  return base::is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Percent-decodes a path. "%2F" stays, or it would become a separator, and so does "%00".
std::string decode_path(std::string_view raw) {
  if (raw.find('%') == std::string_view::npos) return std::string(raw);
  std::string decoded;
  decoded.reserve(raw.size());
  while (!raw.empty()) {
    if (raw[0] != '%') {
      decoded += raw[0];
      raw.remove_prefix(1);
      continue;
    }
    if (raw.size() < 3 || !is_hex(raw[1]) || !is_hex(raw[2])) {
      throw StatusError(400, "bad percent-escape in the request target");
    }
    const std::string_view escape = raw.substr(0, 3);
    if (escape == "%00" || iequals(escape, "%2f")) {
      decoded += escape;
    } else {
      decoded += percent_decode(escape);
    }
    raw.remove_prefix(3);
  }
  return decoded;
}

}  // namespace

bool is_valid_host(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), is_host_char);
}

std::string_view without_port(std::string_view host) {
  const size_t colon = host.rfind(':');
  const bool in_brackets = colon != host.npos && host.find(']', colon) != host.npos;
  return in_brackets ? host : host.substr(0, colon);
}

void set_target(std::string_view target, Request& request) {
  // No tunnels and no echo of credentials (RFC 9110 §9.3.6, §9.3.8).
  if (request.is("CONNECT") || request.is("TRACE")) {
    throw StatusError(405, "CONNECT and TRACE are not served");
  }
  for (const char c : target) {
    if (c <= 0x20 || c >= 0x7f || c == '#')
      throw StatusError(400, "bad byte in the request target");
  }
  if (target != "*" && target[0] != '/') {
    // absolute-form: this server is nobody's proxy, so it must name the host that Host names.
    const size_t scheme_end = target.find("://");
    const std::string_view scheme = target.substr(0, std::min(scheme_end, target.size()));
    if (scheme_end == std::string_view::npos ||
        (!iequals(scheme, "http") && !iequals(scheme, "https"))) {
      throw StatusError(400, "the request target is neither a path nor a URL");
    }
    const std::string_view rest = target.substr(scheme_end + 3);
    const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
    const std::optional<std::string_view> host = request.headers.get("Host");
    if (!host || !iequals(rest.substr(0, authority_end), *host)) {
      throw StatusError(421, "the request target and Host name different servers");
    }
    request.target = rest.substr(authority_end);
    if (request.target.empty() || request.target[0] == '?') request.target.insert(0, "/");
  } else {
    if (target == "*" && request.method != "OPTIONS") {
      throw StatusError(400, "the request target * is only for OPTIONS");
    }
    request.target = target;
  }
  const size_t question = std::min(request.target.find('?'), request.target.size());
  request.path = decode_path(std::string_view(request.target).substr(0, question));
  if (question < request.target.size()) {
    request.query = request.target.substr(question + 1);
  } else {
    request.query.clear();
  }
}

}  // namespace http
