#include "proxy/edge.h"

#include <glog/logging.h>

#include <iostream>

#include "base/error.h"
#include "cache/layout.h"
#include "http/access_log.h"
#include "http/cdn_loop.h"
#include "http/forwarded.h"
#include "oci/error.h"
#include "oci/name.h"

namespace proxy {
namespace {

std::vector<std::shared_ptr<http::TlsContext>> tls_contexts(const EdgeConfig& config) {
  std::vector<std::shared_ptr<http::TlsContext>> contexts;
  contexts.reserve(config.listeners.size());
  for (const EdgeListener& listener : config.listeners) {
    contexts.push_back(listener.tls ? std::make_shared<http::TlsContext>(*listener.tls) : nullptr);
  }
  return contexts;
}

std::vector<std::shared_ptr<Upstream>> upstreams(const EdgeConfig& config) {
  std::vector<std::shared_ptr<Upstream>> upstreams;
  upstreams.reserve(config.upstreams.size());
  for (const UpstreamConfig& each : config.upstreams) {
    upstreams.push_back(std::make_shared<Upstream>(each));
  }
  return upstreams;
}

std::shared_ptr<const SignatureCheck> signature_check(const EdgeConfig& config) {
  if (!config.signature) {
    LOG(INFO) << "no signature is asked for: who knows a digest gets the blob";
    return nullptr;
  }
  std::string ids;
  for (const http::SigningKey& key : config.signature->keys) ids += ' ' + key.id;
  LOG(INFO) << "signed URLs are " << (config.signature->required ? "required" : "checked")
            << "; keys:" << ids;
  return std::make_shared<const SignatureCheck>(*config.signature);
}

// Administrators' requests are short.
constexpr auto kAdminDrain = std::chrono::seconds(1);

// What a route asks for, for the metrics.
std::string_view kind_of(const oci::Route& route) {
  if (std::holds_alternative<oci::BaseRoute>(route)) return "base";
  if (std::holds_alternative<oci::BlobRoute>(route)) return "blob";
  if (std::holds_alternative<oci::ManifestRoute>(route)) return "manifest";
  if (std::holds_alternative<oci::TagsRoute>(route)) return "tags";
  if (std::holds_alternative<oci::ReferrersRoute>(route)) return "referrers";
  return "other";
}

}  // namespace

http::Response error_response(const std::string& name, int status, std::string json) {
  http::Response response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.headers.set("Cache-Control", "no-store");
  response.headers.set("Via", "1.1 " + name);
  response.body = std::move(json);
  return response;
}

Edge::Edge(EdgeConfig config)
    : config_(std::move(config)),
      loops_(config_.loops, *config_.clock),
      pool_(config_.threads),
      store_(config_.cache),
      routing_(upstreams(config_)),
      workers_(loops_, config_.name),
      fills_(workers_, pool_, store_),
      blobs_(pool_, store_, fills_, config_.name),
      signature_(signature_check(config_)),
      references_(cache::Layout(config_.cache.root).references()),
      documents_(workers_, pool_, store_, references_, fills_, config_.unix_time),
      warmer_(workers_, store_, documents_, fills_),
      manifests_(documents_, warmer_, config_.name),
      purger_(pool_, store_, references_),
      warm_queue_(workers_, warmer_),
      tls_(tls_contexts(config_)),
      monitor_(config_.name, loops_, store_, fills_, routing_) {
  if (!config_.sockets.empty() && config_.sockets.size() != config_.listeners.size()) {
    throw std::runtime_error("the service manager gives " + std::to_string(config_.sockets.size()) +
                             " sockets, the configuration has " +
                             std::to_string(config_.listeners.size()) + " to listen on");
  }
  std::vector<http::Listen> listens;
  listens.reserve(config_.listeners.size());
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    const int inherited = config_.sockets.empty() ? -1 : config_.sockets[i].fd;
    listens.push_back({config_.listeners[i].address, tls_[i], inherited});
  }
  http::ServerOptions options;
  options.limits = config_.limits;
  options.handler = [this](http::Exchange& exchange) { return handle(exchange); };
  options.on_error = [this](const http::Request* request, const std::exception_ptr& thrown) {
    return answer_to(request, thrown);
  };
  options.on_access = [this](const http::AccessRecord& record) {
    monitor_.activity().record(record);
    if (config_.access_log) http::log_access(record);
  };
  server_ = std::make_unique<http::Server>(loops_, pool_, std::move(options), listens);
  if (!config_.admin.address.empty()) {
    admin_ = std::make_unique<Admin>(Admin::Edge{.loops = loops_,
                                                 .pool = pool_,
                                                 .workers = workers_,
                                                 .store = store_,
                                                 .references = references_,
                                                 .routing = routing_,
                                                 .fills = fills_,
                                                 .documents = documents_,
                                                 .warmer = warmer_,
                                                 .warm_queue = warm_queue_,
                                                 .purger = purger_,
                                                 .metrics = monitor_.metrics(),
                                                 .status = [this] { return monitor_.status(); },
                                                 .unix_time = config_.unix_time},
                                     config_.admin);
  }
}

Edge::~Edge() { stop(); }

void Edge::start() {
  workers_.use(routing_.upstreams());
  server_->start();
  if (admin_) admin_->start();
  monitor_.start(*server_);
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    LOG(INFO) << "listening on " << server_->address(i) << (tls_[i] ? " (TLS)" : "");
  }
}

void Edge::stop() {
  if (std::exchange(stopped_, true)) return;
  warm_queue_.stop();
  // Readers that wait for a fill see it end at the deadline, and so can be reset.
  const auto cancel = [this] {
    fills_.cancel();
    workers_.cancel();
  };
  if (server_) server_->drain(config_.drain_timeout, cancel);
  // The administration can be asked until the end, also about the drain.
  if (admin_) admin_->drain(kAdminDrain, cancel);
  admin_.reset();
  monitor_.stop();
  server_.reset();
  fills_.cancel();
  workers_.stop();
}

void Edge::reload(const EdgeConfig& fresh) {
  std::shared_ptr<const SignatureCheck> check = signature_check(fresh);
  {
    const std::lock_guard lock(mutex_);
    signature_ = std::move(check);
  }
  for (const auto& context : tls_) {
    if (!context) continue;
    try {
      context->reload();
      LOG(INFO) << "certificates read again";
    } catch (const std::exception& e) {
      LOG(ERROR) << "certificates kept as they were: " << e.what();
    }
  }
}

std::shared_ptr<const SignatureCheck> Edge::signature() const {
  const std::lock_guard lock(mutex_);
  return signature_;
}

base::Task<void> Edge::handle(http::Exchange& exchange) {
  http::Request& request = exchange.request;
  if (http::has_passed(request.headers.joined("CDN-Loop"), config_.name)) {
    throw http::StatusError(508, "the request has passed this edge before");
  }
  request.client = http::client_address(request, config_.trusted_proxies);
  const oci::Route route = oci::parse_route(request.path);
  const Activity::InProgress in_progress(monitor_.activity(), exchange, kind_of(route));
  const bool read = request.is("GET") || request.is("HEAD");
  // Nothing that comes from an upstream is looked at before.
  const std::shared_ptr<const SignatureCheck> check = signature();
  if (check && read && !std::holds_alternative<oci::BaseRoute>(route)) {
    check->check(request, config_.unix_time());
  }
  if (!read) {
    http::Response response =
        error_response(config_.name, 405, oci::error_json({{oci::ErrorCode::unsupported, ""}}));
    response.headers.set("Allow", "GET, HEAD");
    co_await exchange.response.send(std::move(response));
  } else if (const auto* blob = std::get_if<oci::BlobRoute>(&route)) {
    const Routing::Destination to = destination(request, blob->repository);
    co_await blobs_.serve(exchange, to, blob->digest);
  } else if (const auto* manifest = std::get_if<oci::ManifestRoute>(&route)) {
    const Routing::Destination to = image_destination(request, manifest->repository);
    co_await manifests_.serve(exchange, to, manifest->reference);
  } else if (const auto* tags = std::get_if<oci::TagsRoute>(&route)) {
    const Routing::Destination to = image_destination(request, tags->repository);
    co_await manifests_.serve_tags(exchange, to, tags->repository);
  } else if (const auto* referrers = std::get_if<oci::ReferrersRoute>(&route)) {
    // Clients that are told NAME_UNKNOWN here do not look under the referrers' tag (oras-go).
    const Routing::Destination to =
        image_destination(request, referrers->repository, oci::ErrorCode::manifest_unknown);
    co_await manifests_.serve_referrers(exchange, to, *referrers);
  } else if (std::holds_alternative<oci::BaseRoute>(route)) {
    http::Response response;
    response.headers.set("Content-Type", "application/json");
    response.headers.set("Docker-Distribution-Api-Version", "registry/2.0");
    response.body = "{}";
    co_await exchange.response.send(std::move(response));
  } else if (std::holds_alternative<oci::InvalidNameRoute>(route)) {
    throw oci::Error(oci::ErrorCode::name_invalid);
  } else {
    throw oci::Error(oci::ErrorCode::name_unknown, "this cache serves images only");
  }
}

Routing::Destination Edge::destination(const http::Request& request,
                                       const std::string& repository) const {
  std::optional<Routing::Destination> found = routing_.find(request, repository);
  if (!found) throw oci::Error(oci::ErrorCode::name_unknown, "no upstream of this name");
  return std::move(*found);
}

Routing::Destination Edge::image_destination(const http::Request& request,
                                             const std::string& repository,
                                             oci::ErrorCode unknown) const {
  std::optional<Routing::Destination> found = routing_.find(request, repository);
  if (!found) throw oci::Error(unknown, "no upstream of this name");
  if (!found->upstream->config().images) {
    throw oci::Error(unknown, "this cache serves blobs only, of this name");
  }
  return std::move(*found);
}

http::Response Edge::answer_to(const http::Request* request,
                               const std::exception_ptr& thrown) const {
  const std::string& name = config_.name;
  const std::string target =
      request == nullptr ? "" : base::printable(http::hide_signature(request->target));
  try {
    std::rethrow_exception(thrown);
  } catch (const oci::Error& e) {
    return error_response(name, e.status(), e.json());
  } catch (const http::StatusError& e) {
    return error_response(
        name, e.status(),
        oci::error_json({{oci::code_for_status(e.status()), oci::detail_string(e.what())}}));
  } catch (const base::IoError& e) {
    LOG(ERROR) << target << ": " << e.what();
    return error_response(name, 503, oci::error_json({{oci::ErrorCode::unavailable, ""}}));
  } catch (const std::exception& e) {
    LOG(ERROR) << target << ": " << e.what();
    return error_response(name, 500, oci::error_json({{oci::ErrorCode::unknown, ""}}));
  }
}

}  // namespace proxy
