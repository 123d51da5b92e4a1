#include "origin/registry.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <string_view>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/log.h"
#include "base/process_metrics.h"
#include "base/uuid.h"
#include "http/forwarded.h"
#include "http/healthz.h"
#include "http/server_metrics.h"
#include "oci/name.h"
#include "origin/api/blobs.h"
#include "origin/api/catalog.h"
#include "origin/api/manifests.h"
#include "origin/api/referrers.h"
#include "origin/api/tags.h"
#include "origin/api/uploads.h"
#include "origin/secret.h"
#include "origin/storage/action.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

std::string token_secret(const Config& config, const Layout& layout) {
  return config.secret.empty() ? shared_secret(layout.secret()) : config.secret;
}

std::unique_ptr<Events> open_events(const Config& config, base::LoopGroup& loops,
                                    base::ThreadPool& pool) {
  if (config.notifications.endpoints.empty()) return nullptr;
  return std::make_unique<Events>(config.notifications, config.address, loops, pool);
}

// All routes are below the prefix.
oci::Route route_of(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return oci::NoRoute{};
  return oci::parse_route(path.substr(prefix.size()));
}

// The methods of a route, as Allow has them and sorted as Distribution sorts them; none where any
// is answered alike. A handler is asked for no other.
struct Methods {
  static constexpr std::string_view kReads = "GET, HEAD";

  std::string_view operator()(const oci::BlobRoute&) const { return "DELETE, GET, HEAD"; }
  std::string_view operator()(const oci::ManifestRoute&) const { return "DELETE, GET, HEAD, PUT"; }
  std::string_view operator()(const oci::UploadRoute&) const {
    return "DELETE, GET, HEAD, PATCH, PUT";
  }
  // Most of them are answered as of an upload without an id.
  std::string_view operator()(const oci::UploadsRoute&) const {
    return "DELETE, GET, HEAD, PATCH, POST, PUT";
  }
  std::string_view operator()(const oci::TagsRoute&) const { return kReads; }
  std::string_view operator()(const oci::ReferrersRoute&) const { return kReads; }
  std::string_view operator()(const oci::CatalogRoute&) const { return kReads; }
  std::string_view operator()(const auto&) const { return ""; }
};

bool lists(std::string_view methods, std::string_view method) {
  return std::ranges::any_of(std::views::split(methods, std::string_view(", ")),
                             [&](auto listed) { return std::string_view(listed) == method; });
}

// The answer to a method that the route has not, or not while the registry is read-only: for
// OPTIONS, what it has. nullopt if the route's handler is to answer.
std::optional<http::Response> answer_without_method(const api::Context& context,
                                                    const http::Request& request,
                                                    const oci::Route& route, bool read_only) {
  const std::string_view methods = std::visit(Methods(), route);
  const std::string_view allowed = read_only ? Methods::kReads : methods;
  if (methods.empty() || lists(allowed, request.method)) return std::nullopt;
  const std::string_view why = lists(methods, request.method) ? "the registry is read-only" : "";
  http::Response answer = request.is("OPTIONS")
                              ? context.response(200)
                              : context.error(oci::Error(oci::ErrorCode::unsupported, why));
  answer.headers.set("Allow", allowed);
  return answer;
}

constexpr std::string_view kDebugSocket = "debug";

// Where to listen: on the sockets of the service manager if it has any for us, else on the address.
std::vector<http::Listen> listens(const Config& config,
                                  const std::shared_ptr<http::TlsContext>& tls) {
  std::vector<http::Listen> all;
  for (const base::InheritedSocket& socket : config.sockets) {
    if (socket.name != kDebugSocket) all.push_back({socket.name, tls, {socket.fd}});
  }
  if (all.empty()) all.push_back({config.address, tls});
  return all;
}

// The debug server's socket from the service manager, or -1.
int debug_socket(const Config& config) {
  const auto found = std::ranges::find(config.sockets, kDebugSocket, &base::InheritedSocket::name);
  return found == config.sockets.end() ? -1 : found->fd;
}

}  // namespace

Registry::InForce::InForce(Config of, base::ThreadPool& pool, auth::Passwords& passwords)
    : config(std::move(of)),
      authorizer(config.auth, config.redirect.bearer, config.limits.trusted_proxies, pool,
                 passwords) {}

Registry::Registry(Config config)
    : loops_(config.loops),
      pool_(config.threads),
      list_pool_(std::max<size_t>(1, config.threads / 4)),
      // One that reads for long holds up no other.
      blob_pool_(std::max<size_t>(2, config.threads / 4)),
      storage_(config.root),
      writes_(config.read_only),
      health_(loops_, config.health, config.root),
      tokens_(token_secret(config, storage_.layout)),
      passwords_(pool_),
      in_force_(std::make_shared<const InForce>(std::move(config), pool_, passwords_)),
      events_(open_events(in_force_->config, loops_, pool_)) {
  const Config& first = in_force_->config;
  if (first.tls) tls_ = std::make_shared<http::TlsContext>(*first.tls);
  http::ServerOptions options;
  options.limits = first.limits;
  options.handler = [this](http::Exchange& exchange) { return handle(exchange); };
  options.on_error = [this](const http::Request* request, const std::exception_ptr& thrown) {
    return answer_to(request, thrown);
  };
  options.on_access = [this](const http::AccessRecord& record) {
    request_metrics_.record(record);
    const std::shared_ptr<const InForce> now = in_force();
    if (now->config.access_log) access_log_.add(record, now->config.access_format);
  };
  server_ = std::make_unique<http::Server>(loops_, pool_, std::move(options), listens(first, tls_));
  const int debug = debug_socket(first);
  if (!first.debug.address.empty() || debug >= 0) {
    debug_ = std::make_unique<DebugServer>(loops_, health_, metrics_, first.debug, debug);
  }
  add_metrics();
}

Registry::~Registry() { stop(); }

void Registry::start() {
  if (events_) events_->start();
  health_.start();
  server_->start();
  purger_ = std::make_unique<UploadPurger>(in_force()->config.upload_purging, storage_, writes_,
                                           loops_, pool_);
  LOG(INFO) << "listening on " << server_->address() << (tls_ ? " (TLS)" : "");
  if (debug_) debug_->start();
}

std::chrono::nanoseconds Registry::leave() {
  health_.leave();
  return in_force()->config.drain_delay;
}

void Registry::stop() {
  if (std::exchange(stopped_, true) || !server_) return;
  purger_.reset();
  waits_for_ = "the requests under way";
  server_->drain(in_force()->config.drain_timeout);
  health_.stop();
  debug_.reset();
  server_.reset();
  waits_for_ = "the events to be written";
  if (events_) events_->stop();
}

std::shared_ptr<const Registry::InForce> Registry::in_force() const {
  const std::lock_guard lock(mutex_);
  return in_force_;
}

void Registry::reload(Config config) {
  std::shared_ptr<const InForce> next;
  {
    const std::lock_guard lock(mutex_);
    keep_fixed(in_force_->config, config);
    next = std::make_shared<const InForce>(std::move(config), pool_, passwords_);
    in_force_ = next;
    writes_.set_read_only(next->config.read_only);
  }
  server_->set_limits(next->config.limits);
  LOG(INFO) << "configuration read again";
  if (!tls_) return;
  try {
    tls_->reload(*next->config.tls);
    LOG(INFO) << "certificates read again";
  } catch (const std::exception& e) {
    LOG(ERROR) << "certificates kept as they were: " << e.what();
  }
}

void Registry::add_metrics() {
  using Kind = base::Metrics::Kind;
  base::add_process_metrics(metrics_);
  metrics_.include(action_times());
  if (events_) {
    event_metrics_ = std::make_unique<EventMetrics>(*events_);
    metrics_.include(*event_metrics_);
  }
  metrics_.gauge("entrepot_build_info", "The version that runs.", {{"version", ENTREPOT_VERSION}})
      .Set(1);
  http::add_server_metrics(metrics_, [this] { return server_.get(); });
  http::add_access_log_metrics(metrics_, access_log_);
  metrics_.watch(Kind::counter, "entrepot_link_repairs_total",
                 "Links that nobody could read, replaced by a push.",
                 [] { return static_cast<double>(link_repairs()); });
  metrics_.watch(Kind::gauge, "entrepot_writes_in_flight",
                 "Requests that may change the storage, and removals of uploads.",
                 [this] { return static_cast<double>(writes_.in_flight()); });
  metrics_.watch(Kind::gauge, "entrepot_read_only",
                 "1 if the registry is read-only and the last write has ended.",
                 [this] { return writes_.at_rest() ? 1.0 : 0.0; });
  metrics_.watch(Kind::gauge, "entrepot_health_failing_checks", "Health checks that fail.",
                 [this] { return static_cast<double>(health_.errors().size()); });
}

base::Task<void> Registry::handle(http::Exchange& exchange) {
  const std::shared_ptr<const InForce> now = in_force();
  api::Context context = this->context(now->config);
  if (exchange.request.id.empty()) exchange.request.id = base::random_uuid();
  const oci::Route route = route_of(exchange.request.path, now->config.prefix);
  const RequestMetrics::InFlight in_flight(request_metrics_, exchange.request, route);
  if (exchange.request.path == http::kHealthzPath) {
    co_return co_await exchange.response.send(health_.healthz(exchange.request));
  }
  if (health_.failing()) {
    throw oci::Error(oci::ErrorCode::unavailable, "health check failed: please see /debug/health");
  }
  context.identity =
      co_await now->authorizer.authorize(exchange.request, route, exchange.request.client);
  const bool reads = lists(Methods::kReads, exchange.request.method);
  const std::optional<Writes::Write> write = reads ? std::nullopt : writes_.begin();
  if (auto instead = answer_without_method(context, exchange.request, route, !reads && !write)) {
    // Distribution looks for the upload before it looks at the method.
    if (const auto* upload = std::get_if<oci::UploadRoute>(&route)) {
      co_await api::require_upload(context, exchange.request, *upload);
    }
    co_await exchange.response.send(std::move(*instead));
  } else if (const auto* blob = std::get_if<oci::BlobRoute>(&route)) {
    co_await api::blobs(context, exchange, *blob);
  } else if (const auto* manifest = std::get_if<oci::ManifestRoute>(&route)) {
    co_await api::manifests(context, exchange, *manifest);
  } else if (const auto* upload = std::get_if<oci::UploadRoute>(&route)) {
    co_await api::uploads(context, exchange, *upload);
  } else if (const auto* uploads = std::get_if<oci::UploadsRoute>(&route)) {
    co_await api::start_upload(context, exchange, *uploads);
  } else if (const auto* tags = std::get_if<oci::TagsRoute>(&route)) {
    co_await api::tags(context, exchange, *tags);
  } else if (const auto* referrers = std::get_if<oci::ReferrersRoute>(&route)) {
    co_await api::referrers(context, exchange, *referrers);
  } else if (std::holds_alternative<oci::CatalogRoute>(route)) {
    co_await api::catalog(context, exchange);
  } else if (std::holds_alternative<oci::BaseRoute>(route)) {
    co_await exchange.response.send(context.json("{}"));
  } else if (exchange.request.path == "/") {
    // For the health checks of load balancers, as in Distribution.
    http::Response answer = context.response(200);
    answer.headers.set("Cache-Control", "no-cache");
    co_await exchange.response.send(std::move(answer));
  } else if (const auto* invalid = std::get_if<oci::InvalidNameRoute>(&route)) {
    throw oci::Error(oci::ErrorCode::name_invalid, invalid->repository);
  } else {
    throw http::StatusError(404, "there is nothing at this path");
  }
}

http::Response Registry::answer_to(const http::Request* request, const std::exception_ptr& thrown) {
  const std::shared_ptr<const InForce> now = in_force();
  const api::Context context = this->context(now->config);
  // The path names the repository and the digest or tag that the error is about.
  const std::string target =
      request == nullptr ? "" : request->method + " " + base::printable(request->path) + ": ";
  try {
    std::rethrow_exception(thrown);
  } catch (const auth::Refusal& e) {
    http::Response answer = context.error(e);
    if (!e.field().name.empty()) answer.headers.set(e.field().name, e.field().value);
    return answer;
  } catch (const oci::Error& e) {
    return context.error(e);
  } catch (const http::StatusError& e) {
    return context.error(e.status(), oci::Error(oci::code_for_status(e.status()), e.what()));
  } catch (const base::IoError& e) {
    LOG(ERROR) << target << e.what();
    // What two requests wanted at once is free again when one of them tries again.
    return context.error(
        oci::Error(e.number() == EBUSY ? oci::ErrorCode::unavailable : oci::ErrorCode::unknown));
  } catch (const std::exception& e) {
    LOG(ERROR) << target << e.what();
    return context.error(oci::Error(oci::ErrorCode::unknown));
  }
}

}  // namespace origin
