#include "proxy/edge.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "http/access_log.h"
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

// Those that are there for this address.
std::vector<int> sockets_of(const std::vector<http::ListeningSockets>& all,
                            const std::string& address) {
  std::vector<int> sockets;
  const auto found = std::ranges::find(all, address, &http::ListeningSockets::address);
  if (found == all.end()) return sockets;
  for (const base::UniqueFd& socket : found->sockets) sockets.push_back(socket.get());
  return sockets;
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

Edge::Edge(EdgeConfig config, const std::vector<http::ListeningSockets>& taken_over)
    : config_(std::make_shared<const EdgeConfig>(std::move(config))),
      name_(config_->name),
      loops_(config_->loops, *config_->clock),
      pool_(config_->threads),
      store_(config_->cache),
      routing_(upstreams(*config_)),
      workers_(loops_, name_),
      fills_(workers_, pool_, store_),
      blobs_(pool_, store_, fills_, name_),
      tls_(tls_contexts(*config_)),
      monitor_(name_, loops_, store_, fills_, routing_),
      health_(loops_, config_->health, config_->cache.root) {
  if (!config_->sockets.empty() && config_->sockets.size() != config_->listeners.size()) {
    throw std::runtime_error("the service manager gives " +
                             std::to_string(config_->sockets.size()) +
                             " sockets, the configuration has " +
                             std::to_string(config_->listeners.size()) + " to listen on");
  }
  http::ServerOptions options;
  options.limits = config_->limits;
  options.handler = [this](http::Exchange& exchange) { return handle(exchange); };
  options.on_error = [this](const http::Request* request, const std::exception_ptr& thrown) {
    return answer_to(request, thrown);
  };
  options.on_access = [this](const http::AccessRecord& record) {
    monitor_.activity().record(record);
    if (this->config()->access_log) http::log_access(record);
  };
  server_ = std::make_unique<http::Server>(loops_, pool_, std::move(options), listens(taken_over));
  if (!config_->admin.address.empty()) {
    admin_ =
        std::make_unique<Admin>(Admin::Edge{.loops = loops_,
                                            .pool = pool_,
                                            .store = store_,
                                            .fills = fills_,
                                            .metrics = monitor_.metrics(),
                                            .status = [this] { return monitor_.status(); }},
                                config_->admin, sockets_of(taken_over, config_->admin.address));
  }
}

Edge::~Edge() { stop(); }

std::vector<http::Listen> Edge::listens(
    const std::vector<http::ListeningSockets>& taken_over) const {
  std::vector<http::Listen> listens;
  listens.reserve(config_->listeners.size());
  for (size_t i = 0; i < config_->listeners.size(); ++i) {
    const std::string& address = config_->listeners[i].address;
    std::vector<int> inherited = sockets_of(taken_over, address);
    if (inherited.empty() && !config_->sockets.empty()) inherited = {config_->sockets[i].fd};
    listens.push_back({address, tls_[i], std::move(inherited)});
  }
  return listens;
}

std::vector<http::ListeningSockets> Edge::listening() const {
  std::vector<http::ListeningSockets> all = server_->listening();
  if (admin_) std::ranges::move(admin_->server().listening(), std::back_inserter(all));
  return all;
}

void Edge::release() {
  const std::lock_guard lock(life_mutex_);
  if (stopped_) throw std::runtime_error("the edge is ending");
  server_->pause();
  if (admin_) admin_->server().pause();
  store_.release([this] { fills_.let_go_of_store(); });
  LOG(INFO) << "the cache is closed, for another process to open it";
}

void Edge::resume() {
  const std::lock_guard lock(life_mutex_);
  if (stopped_) return;
  try {
    store_.reopen();
  } catch (const base::IoError& e) {
    LOG(ERROR) << "nothing is kept from now on, the cache cannot be opened again: " << e.what();
  }
  server_->resume();
  if (admin_) admin_->server().resume();
}

void Edge::leave_sockets() {
  const std::lock_guard lock(life_mutex_);
  if (stopped_) return;
  server_->leave_sockets();
  if (admin_) admin_->server().leave_sockets();
}

void Edge::start() {
  server_->start();
  if (admin_) admin_->start();
  monitor_.start(*server_);
  health_.start();
  for (size_t i = 0; i < tls_.size(); ++i) {
    LOG(INFO) << "listening on " << server_->address(i) << (tls_[i] ? " (TLS)" : "");
  }
}

std::chrono::nanoseconds Edge::leave() {
  health_.leave();
  return config()->drain_delay;
}

void Edge::stop() {
  {
    const std::lock_guard lock(life_mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  if (server_) {
    // Readers that wait for a fill see it end at the deadline, and so can be reset.
    server_->drain(config()->drain_timeout, [this] {
      fills_.cancel();
      workers_.cancel();
    });
  }
  // The administration can be asked until the end, also about the drain.
  if (admin_) admin_->drain(kAdminDrain);
  admin_.reset();
  monitor_.stop();
  health_.stop();
  server_.reset();
  fills_.cancel();
  workers_.stop();
}

std::shared_ptr<const EdgeConfig> Edge::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

void Edge::reload(EdgeConfig config) {
  const auto next = std::make_shared<const EdgeConfig>(std::move(config));
  {
    const std::lock_guard lock(mutex_);
    log_fixed_differences(*config_, *next);
    config_ = next;
  }
  server_->set_limits(next->limits);
  LOG(INFO) << "configuration read again";
  reload_certificates(*next);
}

void Edge::reload_certificates(const EdgeConfig& config) {
  for (size_t i = 0; i < std::min(tls_.size(), config.listeners.size()); ++i) {
    if (!tls_[i] || !config.listeners[i].tls) continue;
    try {
      tls_[i]->reload(*config.listeners[i].tls);
      LOG(INFO) << "certificates read again";
    } catch (const std::exception& e) {
      LOG(ERROR) << "certificates kept as they were: " << e.what();
    }
  }
}

base::Task<void> Edge::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request;
  const oci::Route route = oci::parse_route(request.path);
  const Activity::InProgress in_progress(monitor_.activity(), exchange, kind_of(route));
  const bool read = request.is("GET") || request.is("HEAD");
  if (request.path == "/healthz") {
    co_await exchange.response.send(health_.healthz(request));
  } else if (!read) {
    http::Response response =
        error_response(name_, 405, oci::error_json({{oci::ErrorCode::unsupported, ""}}));
    response.headers.set("Allow", "GET, HEAD");
    co_await exchange.response.send(std::move(response));
  } else if (const auto* blob = std::get_if<oci::BlobRoute>(&route)) {
    const Routing::Destination to = destination(request, blob->repository);
    co_await blobs_.serve(exchange, to, blob->digest);
  } else if (std::holds_alternative<oci::BaseRoute>(route)) {
    http::Response response;
    response.headers.set("Content-Type", "application/json");
    response.headers.set("Docker-Distribution-Api-Version", "registry/2.0");
    response.body = "{}";
    co_await exchange.response.send(std::move(response));
  } else if (std::holds_alternative<oci::InvalidNameRoute>(route)) {
    throw oci::Error(oci::ErrorCode::name_invalid);
  } else {
    throw oci::Error(oci::ErrorCode::name_unknown, "this cache serves blobs only");
  }
}

Routing::Destination Edge::destination(const http::Request& request,
                                       const std::string& repository) const {
  std::optional<Routing::Destination> found = routing_.find(request, repository);
  if (!found) throw oci::Error(oci::ErrorCode::name_unknown, "no upstream of this name");
  return std::move(*found);
}

http::Response Edge::answer_to(const http::Request* request,
                               const std::exception_ptr& thrown) const {
  const std::string& name = name_;
  const std::string target = request == nullptr ? "" : base::printable(request->target);
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
