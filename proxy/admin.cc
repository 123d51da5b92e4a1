#include "proxy/admin.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "http/credentials.h"
#include "oci/digest.h"
#include "proxy/json_member.h"
#include "proxy/known_names.h"
#include "proxy/status_page.h"

namespace proxy {
namespace {

constexpr size_t kMaxBody = 4 << 20;
// More names of one blob are no help to anybody.
constexpr size_t kMaxNames = 100;

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

// The body of a POST, which says that it is JSON.
base::Task<std::string> read_body(http::Exchange& exchange) {
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
  co_return body;
}

// The same as an object.
base::Task<nlohmann::json> read_object(base::ThreadPool& pool, http::Exchange& exchange) {
  const std::string body = co_await read_body(exchange);
  nlohmann::json json = co_await pool.run_sized(body.size(), [&] {
    base::fault_point("admin.parse");
    return nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  });
  if (!json.is_object()) throw http::StatusError(400, "the body is not a JSON object");
  co_return json;
}

}  // namespace

Admin::Admin(Edge edge, const AdminConfig& config, const std::vector<int>& inherited)
    : edge_(std::move(edge)),
      config_(config),
      events_(edge_.purger, edge_.warm_queue, config.events.warm, edge_.unix_time),
      tls_(config.tls ? std::make_shared<http::TlsContext>(*config.tls) : nullptr),
      server_(edge_.loops, edge_.pool,
              {.handler = [this](http::Exchange& exchange) { return handle(exchange); },
               .on_error = [](const http::Request*,
                              const std::exception_ptr& thrown) { return answer_to(thrown); }},
              {{config.address, tls_, inherited}}) {}

void Admin::start() {
  server_.start();
  LOG(INFO) << "administration on " << server_.address();
}

bool Admin::admits_events(const http::Request& request) const {
  const std::string& token = config_.events.token;
  return !token.empty() && http::shows_secret(request, token);
}

bool Admin::admits(const http::Request& request) const {
  // A certificate may name who shows it in the one place or in the other (RFC 5280 §4.1.2.6).
  if (!request.peer.certificate_subject.empty() || !request.peer.certificate_names.empty()) {
    return true;
  }
  if (config_.token.empty()) return false;
  if (http::shows_secret(request, config_.token)) return true;
  const auto basic = http::basic_credentials(request);
  return basic && http::same_secret(basic->password, config_.token);
}

base::Task<void> Admin::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request;
  const bool read = request.is("GET") || request.is("HEAD");
  const bool events = request.path == "/events" && request.is("POST");
  if (!admits(request) && !(events && admits_events(request))) {
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
  } else if (request.path == "/pin" && request.is("POST")) {
    const nlohmann::json what = co_await read_object(edge_.pool, exchange);
    co_await pin(exchange, what);
  } else if (request.path == "/purge" && request.is("POST")) {
    const nlohmann::json what = co_await read_object(edge_.pool, exchange);
    co_await purge(exchange, what);
  } else if (request.path == "/warm" && request.is("POST")) {
    const nlohmann::json what = co_await read_object(edge_.pool, exchange);
    co_await warm(exchange, what);
  } else if (events) {
    co_await take_events(exchange);
  } else {
    throw http::StatusError(404, "there is nothing at this path");
  }
}

base::Task<void> Admin::inspect(http::Exchange& exchange, std::string digest_text) {
  const oci::Digest digest = parse_digest(digest_text);
  nlohmann::json json{{"digest", digest.str()}};
  if (const auto info = edge_.store.info(digest)) {
    json["state"] = "held";
    json["size"] = info->size;
    json["upstream"] = info->account;
    json["stored_at"] = info->stored_at;
    json["last_used"] = info->last_used;
    json["pinned"] = info->pinned;
  } else if (const auto fill = edge_.fills.find(digest)) {
    json["state"] = "filling";
    json["size"] = fill->progress.size().value_or(0);
    json["stored"] = fill->progress.stored();
    json["upstream"] = fill->name.upstream->name();
  } else if (const auto partial = edge_.store.partial_size(digest)) {
    json["state"] = "partial";
    json["size"] = *partial;
  } else {
    throw http::StatusError(404, digest.str() + " is not held");
  }
  json["names"] = nlohmann::json::array();
  const std::vector<KnownName> names = co_await edge_.pool.run(
      [&] { return names_leading_to(edge_.store.held(), digest, kMaxNames); });
  for (const KnownName& name : names) {
    json["names"].push_back({{"upstream", name.upstream}, {"path", name.target}});
  }
  co_await exchange.response.send(json_response(200, json));
}

base::Task<void> Admin::pin(http::Exchange& exchange, const nlohmann::json& what) {
  const oci::Digest digest = parse_digest(text_member(what, "digest"));
  const auto pinned = what.find("pinned");
  if (pinned == what.end() || !pinned->is_boolean()) {
    throw http::StatusError(400, "\"pinned\" must be true or false");
  }
  const bool to = pinned->get<bool>();
  const bool held = co_await edge_.pool.run([&] { return edge_.store.pin(digest, to); });
  if (!held) throw http::StatusError(404, digest.str() + " is not held");
  LOG(INFO) << (to ? "pinned " : "unpinned ") << digest.str() << " as "
            << exchange.request.peer.address << " asked";
  co_await exchange.response.send(json_response(200, {{"digest", digest.str()}, {"pinned", to}}));
}

base::Task<void> Admin::purge(http::Exchange& exchange, const nlohmann::json& what) {
  const std::string digest = text_member(what, "digest");
  const std::string repository = text_member(what, "repository");
  const std::string upstream = text_member(what, "upstream");
  Purged purged;
  std::string named;
  if (!digest.empty()) {
    named = parse_digest(digest).str();
    purged = co_await edge_.purger.blob(parse_digest(digest));
  } else if (!repository.empty()) {
    const Routing::Destination to = find_repository(*edge_.routing(), repository, upstream);
    named = "the repository " + to.repository + " of " + to.upstream->name();
    if (!to.upstream->config().images) {
      throw http::StatusError(
          409, to.upstream->name() +
                   " is an upstream of blobs alone (images: false): its manifests are not here, so "
                   "which blobs are the repository's is not known. Purge digests, or the upstream");
    }
    purged = co_await edge_.purger.repository(to.upstream->name(), to.repository);
  } else if (!upstream.empty()) {
    named = "the upstream " + upstream;
    purged = co_await edge_.purger.upstream(upstream);
  } else {
    throw http::StatusError(400,
                            "what to purge is missing: \"digest\", \"repository\" or \"upstream\"");
  }
  if (purged.none()) throw http::StatusError(404, "nothing is held of " + named);
  LOG(INFO) << "purged " << base::printable(named) << ": " << purged.blobs << " blobs of "
            << purged.bytes << " bytes, " << purged.references << " references, as "
            << exchange.request.peer.address << " asked";
  co_await exchange.response.send(json_response(
      200, {{"purged", purged.blobs}, {"bytes", purged.bytes}, {"references", purged.references}}));
}

base::Task<void> Admin::warm(http::Exchange& exchange, const nlohmann::json& what) {
  WarmRequest request = parse_warm_request(what, *edge_.routing());
  const WarmParts parts{.pool = edge_.pool,
                        .documents = edge_.documents,
                        .warmer = edge_.warmer,
                        .purger = edge_.purger};
  co_await serve_warm(parts, exchange, std::move(request), edge_.unix_time());
}

base::Task<void> Admin::take_events(http::Exchange& exchange) {
  const std::string sender =
      exchange.request.query_value("upstream").value_or(config_.events.upstream);
  const std::shared_ptr<Upstream> upstream = upstream_named(*edge_.routing(), sender);
  const std::string body = co_await read_body(exchange);
  std::expected<RegistryEvents, std::string> events =
      co_await edge_.pool.run_sized(body.size(), [&] { return parse_registry_events(body); });
  if (!events) throw http::StatusError(400, events.error());
  const size_t accepted = events->events.size();
  const size_t ignored = events->ignored;
  const EventReceiver::Effects effects = co_await events_.receive(upstream, std::move(*events));
  co_await exchange.response.send(json_response(200, {{"accepted", accepted},
                                                      {"ignored", ignored},
                                                      {"purged", effects.purged.blobs},
                                                      {"warming", effects.warming}}));
}

}  // namespace proxy
