#include "proxy/admin.h"

#include <glog/logging.h>
#include <openssl/crypto.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "http/credentials.h"
#include "oci/digest.h"
#include "proxy/status_page.h"

namespace proxy {
namespace {

constexpr size_t kMaxBody = 4 << 20;

http::Response json_response(int status, const nlohmann::json& json) {
  http::Response response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.headers.set("Cache-Control", "no-store");
  response.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

http::Response error(int status, const std::string& why) {
  return json_response(status, {{"error", why}});
}

http::Response answer_to(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const http::StatusError& e) {
    http::Response response = error(e.status(), e.what());
    // A browser asks its user; any name will do.
    if (e.status() == 401) {
      response.headers.set("WWW-Authenticate", "Basic realm=\"entrepot-edge\"");
    }
    return response;
  } catch (const std::exception& e) {
    LOG(ERROR) << "administration: " << e.what();
    return error(500, e.what());
  }
}

oci::Digest parse_digest(const std::string& text) {
  const std::optional<oci::Digest> digest = oci::Digest::parse(text);
  if (!digest) throw http::StatusError(400, "not a sha256 or sha512 digest");
  return *digest;
}

// What follows the prefix, if the path begins with it.
std::optional<std::string> below(const std::string& path, std::string_view prefix) {
  if (!path.starts_with(prefix) || path.size() == prefix.size()) return std::nullopt;
  return path.substr(prefix.size());
}

// The body of a POST: an object.
base::Task<nlohmann::json> read_json(http::Exchange& exchange) {
  const std::string_view type = exchange.request.headers.get("Content-Type").value_or("");
  if (!type.starts_with("application/") || !type.contains("json")) {
    throw http::StatusError(415, "the body must be JSON, and say so");
  }
  std::string body;
  while (true) {
    const std::string_view block = co_await exchange.body.read();
    if (block.empty()) break;
    body += block;
    if (body.size() > kMaxBody) throw http::StatusError(413, "a body of more than 4 MiB");
  }
  nlohmann::json json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw http::StatusError(400, "the body is not a JSON object");
  co_return json;
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), b.size()) == 0;
}

}  // namespace

Admin::Admin(Edge edge, const AdminConfig& config)
    : edge_(std::move(edge)),
      config_(config),
      server_(edge_.loops, edge_.pool,
              {.handler = [this](http::Exchange& exchange) { return handle(exchange); },
               .on_error = [](const http::Request*,
                              const std::exception_ptr& thrown) { return answer_to(thrown); }},
              {{config.address,
                config.tls ? std::make_shared<http::TlsContext>(*config.tls) : nullptr}}) {}

void Admin::start() {
  server_.start();
  LOG(INFO) << "administration on " << server_.address();
}

bool Admin::admits(const http::Request& request) const {
  if (!request.peer.certificate_subject.empty()) return true;
  if (config_.token.empty()) return false;
  if (http::shows_secret(request, config_.token)) return true;
  const auto basic = http::basic_credentials(request);
  return basic && same(basic->password, config_.token);
}

base::Task<void> Admin::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request;
  const bool read = request.is("GET") || request.is("HEAD");
  if (!admits(request)) {
    throw http::StatusError(401, "the administration's token or a client certificate is needed");
  }
  if (read && request.path == "/") {
    http::Response page;
    page.headers.set("Content-Type", "text/html; charset=utf-8");
    page.headers.set("Cache-Control", "no-store");
    page.headers.set("Content-Security-Policy",
                     "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    page.body = co_await edge_.pool.run([this] { return status_page(edge_.status()); });
    co_await exchange.response.send(std::move(page));
  } else if (read && request.path == "/stats") {
    const nlohmann::json json = co_await edge_.pool.run([this] { return to_json(edge_.status()); });
    co_await exchange.response.send(json_response(200, json));
  } else if (read && request.path == "/metrics") {
    http::Response metrics;
    metrics.headers.set("Content-Type", base::kMetricsType);
    metrics.body = co_await edge_.pool.run([this] { return edge_.metrics.text(); });
    co_await exchange.response.send(std::move(metrics));
  } else if (const auto digest = below(request.path, "/blobs/"); digest && read) {
    co_await inspect(exchange, *digest);
  } else if (request.path == "/purge" && request.is("POST")) {
    co_await purge(exchange);
  } else {
    throw http::StatusError(404, "there is nothing at this path");
  }
}

base::Task<void> Admin::inspect(http::Exchange& exchange, std::string digest_text) {
  const oci::Digest digest = parse_digest(digest_text);
  nlohmann::json json{{"digest", digest.str()}};
  if (const auto size = edge_.store.size_of(digest)) {
    json["state"] = "held";
    json["size"] = *size;
  } else if (const auto fill = edge_.fills.find(digest)) {
    json["state"] = "filling";
    json["size"] = fill->progress.size().value_or(0);
    json["stored"] = fill->progress.stored();
  } else if (const auto partial = edge_.store.partial_size(digest)) {
    json["state"] = "partial";
    json["size"] = *partial;
  } else {
    throw http::StatusError(404, digest.str() + " is not held");
  }
  co_await exchange.response.send(json_response(200, json));
}

base::Task<void> Admin::purge(http::Exchange& exchange) {
  const nlohmann::json what = co_await read_json(exchange);
  const auto digest = what.find("digest");
  if (digest == what.end() || !digest->is_string()) {
    throw http::StatusError(400, "what to purge is missing: {\"digest\": …}");
  }
  co_await purge_blob(exchange, parse_digest(digest->get<std::string>()));
}

base::Task<void> Admin::purge_blob(http::Exchange& exchange, oci::Digest digest) {
  const uint64_t size = edge_.store.size_of(digest).value_or(0);
  const bool removed = co_await edge_.pool.run([&] { return edge_.store.remove(digest); });
  if (!removed) throw http::StatusError(404, digest.str() + " is not held");
  LOG(INFO) << "purged " << digest.str() << " as " << exchange.request.peer.address << " asked";
  co_await exchange.response.send(json_response(200, {{"purged", 1}, {"bytes", size}}));
}

}  // namespace proxy
