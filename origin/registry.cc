#include "origin/registry.h"

#include <glog/logging.h>

#include <utility>
#include <variant>

#include "base/error.h"
#include "base/log.h"
#include "base/uuid.h"
#include "http/access_log.h"
#include "oci/name.h"
#include "origin/api/blobs.h"
#include "origin/api/catalog.h"
#include "origin/api/manifests.h"
#include "origin/api/referrers.h"
#include "origin/api/tags.h"
#include "origin/api/uploads.h"
#include "origin/forwarded.h"
#include "origin/secret.h"

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

bool is_read(const http::Request& request) { return request.is("GET") || request.is("HEAD"); }

}  // namespace

Registry::Registry(Config config)
    : config_(std::make_shared<const Config>(std::move(config))),
      loops_(config_->loops),
      pool_(config_->threads),
      storage_(config_->root),
      tokens_(token_secret(*config_, storage_.layout)),
      events_(open_events(*config_, loops_, pool_)),
      tls_(config_->tls ? std::make_shared<http::TlsContext>(*config_->tls) : nullptr) {
  http::ServerOptions options;
  options.limits = config_->limits;
  options.handler = [this](http::Exchange& exchange) { return handle(exchange); };
  options.on_error = [this](const http::Request* request, const std::exception_ptr& thrown) {
    return answer_to(request, thrown);
  };
  if (config_->access_log) {
    options.on_access = [format = config_->access_format](const http::AccessRecord& record) {
      http::log_access(record, format);
    };
  }
  const std::vector<http::Listen> listens = {{config_->address, tls_}};
  server_ = std::make_unique<http::Server>(loops_, pool_, std::move(options), listens);
}

Registry::~Registry() { stop(); }

void Registry::start() {
  if (events_) events_->start();
  server_->start();
  const std::string address = config()->address;
  LOG(INFO) << "listening on " << address.substr(0, address.rfind(':')) << ":" << port()
            << (tls_ ? " (TLS)" : "");
}

void Registry::stop() {
  if (std::exchange(stopped_, true) || !server_) return;
  server_->drain(config()->drain_timeout);
  server_.reset();
  if (events_) events_->stop();
}

std::shared_ptr<const Config> Registry::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

void Registry::reload(Config config) {
  const auto next = std::make_shared<const Config>(std::move(config));
  {
    const std::lock_guard lock(mutex_);
    log_fixed_differences(*config_, *next);
    config_ = next;
  }
  LOG(INFO) << "configuration read again";
  if (!tls_ || !next->tls) return;
  try {
    tls_->reload(*next->tls);
    LOG(INFO) << "certificates read again";
  } catch (const std::exception& e) {
    LOG(ERROR) << "certificates kept as they were: " << e.what();
  }
}

base::Task<void> Registry::handle(http::Exchange& exchange) {
  const std::shared_ptr<const Config> config = this->config();
  const api::Context context = this->context(*config);
  if (exchange.request.id.empty()) exchange.request.id = base::random_uuid();
  exchange.request.client = client_address(exchange.request, config->trusted_proxies);
  const oci::Route route = oci::parse_route(exchange.request.path);
  if (config->read_only && !is_read(exchange.request) &&
      !std::holds_alternative<oci::BaseRoute>(route)) {
    co_return co_await api::refuse_method(context, exchange, "GET, HEAD",
                                          "the registry is read-only");
  }
  if (const auto* blob = std::get_if<oci::BlobRoute>(&route)) {
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
  const std::shared_ptr<const Config> config = this->config();
  const api::Context context = this->context(*config);
  // The path names the repository and the digest or tag that the error is about.
  const std::string target =
      request == nullptr ? "" : request->method + " " + base::printable(request->path) + ": ";
  try {
    std::rethrow_exception(thrown);
  } catch (const oci::Error& e) {
    return context.error(e);
  } catch (const http::StatusError& e) {
    return context.error(e.status(), oci::Error(oci::code_for_status(e.status()), e.what()));
  } catch (const std::exception& e) {
    LOG(ERROR) << target << e.what();
    return context.error(oci::Error(oci::ErrorCode::unknown));
  }
}

}  // namespace origin
