#include "http/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <array>
#include <charconv>
#include <memory>

#include "base/ascii.h"

namespace http {
namespace {

struct HandleDeleter {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
using Handle = std::unique_ptr<CURLU, HandleDeleter>;

constexpr unsigned kFlags = CURLU_PATH_AS_IS | CURLU_DISALLOW_USER;

std::string part(CURLU* handle, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, which, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

bool set(CURLU* handle, std::string_view url) {
  return url.find('\0') == url.npos &&
         curl_url_set(handle, CURLUPART_URL, std::string(url).c_str(), kFlags) == CURLUE_OK;
}

std::optional<Url> take_apart(CURLU* handle) {
  curl_url_set(handle, CURLUPART_FRAGMENT, nullptr, 0);
  Url url;
  url.scheme = part(handle, CURLUPART_SCHEME);
  if (url.scheme != "http" && url.scheme != "https") return std::nullopt;
  if (!part(handle, CURLUPART_USER).empty()) return std::nullopt;
  url.host = base::to_lower(part(handle, CURLUPART_HOST));
  if (url.host.ends_with('.')) url.host.pop_back();  // the root of names: the same host
  if (url.host.empty()) return std::nullopt;
  const std::string port = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), url.port);
  url.text = part(handle, CURLUPART_URL);
  return url;
}

}  // namespace

std::string Url::address() const {
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

bool Url::is_address() const {
  std::array<unsigned char, 16> bytes{};
  return host.starts_with('[') || ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1;
}

std::optional<Url> parse_url(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return std::nullopt;
  const Handle handle(curl_url());
  if (!handle || !set(handle.get(), text)) return std::nullopt;
  return take_apart(handle.get());
}

std::optional<Url> resolve_url(const Url& base, std::string_view location) {
  const Handle handle(curl_url());
  if (!handle || !set(handle.get(), base.text) || !set(handle.get(), location)) return std::nullopt;
  return take_apart(handle.get());
}

}  // namespace http
