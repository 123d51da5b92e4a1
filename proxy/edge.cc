#include "proxy/edge.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "http/cdn_loop.h"
#include "http/healthz.h"
#include "http/server_metrics.h"
#include "oci/error.h"
#include "oci/name.h"
#include "proxy/answer.h"

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

// Those of `before` that are configured the same, with what is known of them; the others anew.
std::vector<std::shared_ptr<Upstream>> upstreams(
    const EdgeConfig& config, const std::vector<std::shared_ptr<Upstream>>& before) {
  std::vector<std::shared_ptr<Upstream>> upstreams;
  upstreams.reserve(config.upstreams.size());
  for (const UpstreamConfig& each : config.upstreams) {
    const auto same = std::ranges::find_if(
        before, [&](const std::shared_ptr<Upstream>& known) { return known->config() == each; });
    upstreams.push_back(same == before.end() ? std::make_shared<Upstream>(each) : *same);
  }
  return upstreams;
}

std::optional<SignatureCheck> signature_check(const EdgeConfig& config) {
  if (!config.signature) {
    LOG(INFO) << "no signature is asked for: who knows a digest gets the blob";
    return std::nullopt;
  }
  std::string ids;
  for (const http::SigningKey& key : config.signature->keys) ids += ' ' + key.id;
  LOG(INFO) << "signed URLs are " << (config.signature->required ? "required" : "checked")
            << "; keys:" << ids;
  return SignatureCheck(*config.signature);
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

// Where the request goes; oci::Error (NAME_UNKNOWN) if no upstream is meant.
Routing::Destination destination(const Routing& routing, const http::Request& request,
                                 const std::string& repository) {
  std::optional<Routing::Destination> found = routing.find(request, repository);
  if (!found) throw oci::Error(oci::ErrorCode::name_unknown, "no upstream of this name");
  return std::move(*found);
}

// The same for what only a mirror of whole images has.
Routing::Destination image_destination(const Routing& routing, const http::Request& request,
                                       const std::string& repository,
                                       oci::ErrorCode unknown = oci::ErrorCode::name_unknown) {
  std::optional<Routing::Destination> found = routing.find(request, repository);
  if (!found) throw oci::Error(unknown, "no upstream of this name");
  if (!found->upstream->config().images) {
    throw oci::Error(unknown, "this cache serves blobs only, of this name");
  }
  return std::move(*found);
}

}  // namespace

Edge::Edge(EdgeConfig config, const std::vector<http::ListeningSockets>& taken_over)
    : started_with_(std::move(config)),
      in_force_(make(started_with_, nullptr)),
      name_(in_force_->config.name),
      loops_(in_force_->config.loops, *in_force_->config.clock),
      pool_(in_force_->config.threads),
      store_(in_force_->config.cache),
      workers_(loops_, name_),
      fills_(workers_, pool_, store_),
      blobs_(pool_, store_, fills_, name_),
      documents_(workers_, pool_, store_, fills_, in_force_->config.unix_time),
      warmer_(workers_, pool_, store_, documents_, fills_),
      manifests_(documents_, warmer_, name_),
      purger_(pool_, store_, fills_, documents_),
      warm_queue_(workers_, warmer_),
      tls_(tls_contexts(in_force_->config)),
      monitor_(name_, loops_, store_, fills_, [this] { return routing(); }),
      health_(loops_, in_force_->config.health, in_force_->config.cache.root) {
  const EdgeConfig& first = in_force_->config;
  if (!first.sockets.empty() && first.sockets.size() != first.listeners.size()) {
    throw std::runtime_error("the service manager gives " + std::to_string(first.sockets.size()) +
                             " sockets, the configuration has " +
                             std::to_string(first.listeners.size()) + " to listen on");
  }
  http::ServerOptions options;
  options.limits = first.limits;
  options.handler = [this](http::Exchange& exchange) { return handle(exchange); };
  options.on_error = [this](const http::Request* request, const std::exception_ptr& thrown) {
    return answer_to(request, thrown);
  };
  options.on_access = [this](const http::AccessRecord& record) {
    monitor_.activity().record(record);
    const std::shared_ptr<const InForce> in_force = this->in_force();
    if (in_force->config.access_log) access_log_.add(record, in_force->config.access_format);
  };
  server_ =
      std::make_unique<http::Server>(loops_, pool_, std::move(options), listens(first, taken_over));
  http::add_access_log_metrics(monitor_.metrics(), access_log_);
  monitor_.metrics().watch(base::Metrics::Kind::gauge, "entrepot_health_failing_checks",
                           "Health checks that fail.",
                           [this] { return health_.failing() ? 1.0 : 0.0; });
  if (!first.admin.address.empty()) {
    admin_ = std::make_unique<Admin>(Admin::Edge{.loops = loops_,
                                                 .pool = pool_,
                                                 .store = store_,
                                                 .fills = fills_,
                                                 .documents = documents_,
                                                 .warmer = warmer_,
                                                 .warm_queue = warm_queue_,
                                                 .purger = purger_,
                                                 .metrics = monitor_.metrics(),
                                                 .routing = [this] { return routing(); },
                                                 .status = [this] { return monitor_.status(); },
                                                 .unix_time = first.unix_time},
                                     first.admin, sockets_of(taken_over, first.admin.address));
  }
}

Edge::~Edge() { stop(); }

std::vector<http::Listen> Edge::listens(
    const EdgeConfig& config, const std::vector<http::ListeningSockets>& taken_over) const {
  std::vector<http::Listen> listens;
  listens.reserve(config.listeners.size());
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    const std::string& address = config.listeners[i].address;
    std::vector<int> inherited = sockets_of(taken_over, address);
    if (inherited.empty() && !config.sockets.empty()) inherited = {config.sockets[i].fd};
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
  // What may take long comes first, so that nobody waits to be accepted but for the moment in which
  // the cache changes hands.
  fills_.let_go_of_store();
  server_->pause();
  if (admin_) admin_->server().pause();
  store_.release();
  LOG(INFO) << "the cache is closed, for another process to open it";
}

void Edge::resume() {
  const std::lock_guard lock(life_mutex_);
  if (stopped_) return;
  try {
    store_.reopen();
    fills_.use_store();
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
  workers_.use(in_force()->routing.upstreams());
  server_->start();
  if (admin_) admin_->start();
  monitor_.start(*server_);
  health_.start();
  for (size_t i = 0; i < tls_.size(); ++i) {
    LOG(INFO) << "listening on " << server_->address(i) << (tls_[i] ? " (TLS)" : "");
  }
}

std::shared_ptr<const Routing> Edge::routing() const {
  const std::shared_ptr<const InForce> in_force = this->in_force();
  return {in_force, &in_force->routing};
}

std::chrono::nanoseconds Edge::leave() {
  health_.leave();
  return in_force()->config.drain_delay;
}

void Edge::stop() {
  {
    const std::lock_guard lock(life_mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  waits_for_ = "the requests under way";
  warm_queue_.stop();
  // Readers that wait for a fill see it end at the deadline, and so can be reset.
  const auto cancel = [this] {
    fills_.cancel();
    workers_.cancel();
  };
  if (server_) server_->drain(in_force()->config.drain_timeout, cancel);
  // The administration can be asked until the end, also about the drain.
  waits_for_ = "the administration's requests";
  if (admin_) admin_->drain(kAdminDrain, cancel);
  admin_.reset();
  monitor_.stop();
  health_.stop();
  server_.reset();
  waits_for_ = "the fills under way";
  fills_.cancel();
  workers_.stop();
}

std::shared_ptr<const Edge::InForce> Edge::in_force() const {
  const std::lock_guard lock(mutex_);
  return in_force_;
}

std::shared_ptr<const Edge::InForce> Edge::make(EdgeConfig config, const InForce* before) {
  std::vector<std::shared_ptr<Upstream>> known;
  if (before != nullptr) known = before->routing.upstreams();
  Routing routing(upstreams(config, known));
  std::optional<SignatureCheck> signature = signature_check(config);
  return std::make_shared<const InForce>(std::move(config), std::move(routing),
                                         std::move(signature));
}

void Edge::reload(EdgeConfig config) {
  std::shared_ptr<const InForce> next;
  std::vector<std::shared_ptr<Upstream>> fresh;
  {
    const std::lock_guard lock(mutex_);
    log_fixed_differences(started_with_, config);
    next = make(std::move(config), in_force_.get());
    fresh = next->routing.upstreams();
    std::erase_if(fresh, [&](const std::shared_ptr<Upstream>& each) {
      const auto& known = in_force_->routing.upstreams();
      return std::ranges::find(known, each) != known.end();
    });
    in_force_ = next;
  }
  workers_.use(fresh);
  server_->set_limits(next->config.limits);
  store_.set_limits(next->config.cache.limits());
  LOG(INFO) << "configuration read again";
  reload_certificates(next->config);
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
  if (!admin_) return;
  try {
    admin_->reload_certificates(config.admin);
  } catch (const std::exception& e) {
    LOG(ERROR) << "the administration's certificates kept as they were: " << e.what();
  }
}

base::Task<void> Edge::handle(http::Exchange& exchange) {
  http::Request& request = exchange.request;
  const std::string passed = request.headers.joined("CDN-Loop");
  if (http::has_passed(passed, name_)) {
    throw http::StatusError(508, "the request has passed this edge before");
  }
  // It goes on to the upstreams, who must not take a client's mistake for ours. Another edge, to
  // which this may be a client's, takes 508 for a refusal of this request alone.
  if (!http::can_go_on(passed)) {
    throw http::StatusError(508, "CDN-Loop names more nodes than any chain has, or is no text");
  }
  const std::shared_ptr<const InForce> now = in_force();
  const oci::Route route = oci::parse_route(request.path);
  const Activity::InProgress in_progress(monitor_.activity(), exchange, kind_of(route));
  const bool read = request.is("GET") || request.is("HEAD");
  if (request.path == http::kHealthzPath) {
    co_await exchange.response.send(health_.healthz(request));
    co_return;
  }
  // Nothing that comes from an upstream is looked at before.
  if (now->signature && read && !std::holds_alternative<oci::BaseRoute>(route)) {
    now->signature->check(request, now->config.unix_time());
  }
  if (!read) {
    http::Response response =
        error_response(name_, 405, oci::error_json({{oci::ErrorCode::unsupported, ""}}));
    response.headers.set("Allow", "GET, HEAD");
    co_await exchange.response.send(std::move(response));
  } else if (const auto* blob = std::get_if<oci::BlobRoute>(&route)) {
    const Routing::Destination to = destination(now->routing, request, blob->repository);
    co_await blobs_.serve(exchange, to, blob->digest, now->config.limits.max_requests_in_flight);
  } else if (const auto* manifest = std::get_if<oci::ManifestRoute>(&route)) {
    const Routing::Destination to = image_destination(now->routing, request, manifest->repository);
    co_await manifests_.serve(exchange, to, manifest->reference);
  } else if (const auto* tags = std::get_if<oci::TagsRoute>(&route)) {
    const Routing::Destination to = image_destination(now->routing, request, tags->repository);
    co_await manifests_.serve_tags(exchange, to, tags->repository);
  } else if (const auto* referrers = std::get_if<oci::ReferrersRoute>(&route)) {
    // Clients that are told NAME_UNKNOWN here do not look under the referrers' tag (oras-go).
    const Routing::Destination to = image_destination(now->routing, request, referrers->repository,
                                                      oci::ErrorCode::manifest_unknown);
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

http::Response Edge::answer_to(const http::Request* request,
                               const std::exception_ptr& thrown) const {
  const std::string target =
      request == nullptr ? "" : base::printable(http::hide_signature(request->target));
  try {
    std::rethrow_exception(thrown);
  } catch (const oci::Error& e) {
    return error_response(name_, e.status(), e.json());
  } catch (const http::StatusError& e) {
    return error_response(
        name_, e.status(),
        oci::error_json({{oci::code_for_status(e.status()), oci::detail_string(e.what())}}));
  } catch (const base::IoError& e) {
    LOG(ERROR) << target << ": " << e.what();
    return error_response(name_, 503, oci::error_json({{oci::ErrorCode::unavailable, ""}}));
  } catch (const std::exception& e) {
    LOG(ERROR) << target << ": " << e.what();
    return error_response(name_, 500, oci::error_json({{oci::ErrorCode::unknown, ""}}));
  }
}

}  // namespace proxy
