#include "origin/auth/authorizer.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/log.h"
#include "http/credentials.h"
#include "origin/auth/challenge.h"

namespace origin::auth {
namespace {

std::shared_ptr<const AccessList> pull_everything() {
  static const auto rules = std::make_shared<const AccessList>(
      std::vector<Rule>{{{"**"}, {}, false, true, {Action::pull}}});
  return rules;
}

std::string whole_seconds(base::Duration duration) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(duration).count());
}

}  // namespace

Authorizer::Authorizer(AuthConfig config, std::string edge_secret, http::TrustedProxies proxies,
                       base::ThreadPool& pool, Passwords& passwords)
    : config_(std::move(config)),
      edge_secret_(std::move(edge_secret)),
      proxies_(std::move(proxies)),
      pool_(pool),
      passwords_(passwords) {}

base::Task<Identity> Authorizer::authorize(http::Request& request, const oci::Route& route,
                                           const std::string& client) const {
  const Demand demand = demand_of(request, route);
  if (demand.kind == Demand::Kind::nothing) co_return Identity();
  Identity identity = co_await identify(request, demand, client);
  request.user = identity.user();
  if (!allowed(identity, demand)) {
    if (!identity.authenticated()) throw unauthorized(request, demand);
    if (identity.token_lacks(demand)) throw unauthorized(request, demand, "insufficient_scope");
    throw Refusal(oci::ErrorCode::denied, demand);
  }
  co_return identity;
}

base::Task<Identity> Authorizer::identify(const http::Request& request, const Demand& demand,
                                          const std::string& client) const {
  if (http::shows_secret(request, edge_secret_)) {
    co_return Identity({.authenticated = true, .user = "edge"}, pull_everything());
  }
  if (http::has_authorization(request) && config_.htpasswd) {
    co_return co_await by_password(request, demand, client);
  }
  if (http::has_authorization(request) && config_.token) {
    co_return co_await by_token(request, demand, client);
  }
  co_return by_certificate(request.peer);
}

base::Task<Identity> Authorizer::by_password(const http::Request& request, const Demand& demand,
                                             const std::string& client) const {
  const auto given = http::basic_credentials(request);
  if (!given) {
    log_once(client, "its Authorization is not Basic");
    throw unauthorized(request, demand);
  }
  // So skopeo answers the challenge when it has no password for it.
  if (given->user.empty()) co_return by_certificate(request.peer);
  if (http::is_for_another(request, proxies_)) warn_of_proxy(request);
  const PasswordVerdict verdict =
      co_await passwords_.check(*config_.htpasswd->file, *given, client);
  switch (verdict.result) {
    case PasswordResult::right:
      break;
    case PasswordResult::wrong:
      log_once(client, "wrong password", " for user \"" + base::printable(given->user) + '"');
      throw unauthorized(request, demand);
    case PasswordResult::later:
      log_once(client,
               "too many wrong passwords, its own or others' at once: it has to come later");
      throw Refusal(oci::ErrorCode::too_many_requests, demand, "Retry-After",
                    whole_seconds(verdict.retry_after));
  }
  co_return Identity({.authenticated = true, .user = given->user}, config_.rules);
}

base::Task<Identity> Authorizer::by_token(const http::Request& request, const Demand& demand,
                                          const std::string& client) const {
  const auto token = http::bearer_token(request);
  if (!token) {
    log_once(client, "its Authorization is not Bearer");
    throw unauthorized(request, demand);
  }
  auto verified = co_await pool_.run(
      [&] { return verify_token(*config_.token, *token, std::chrono::system_clock::now()); });
  if (!verified) {
    log_once(client, "its token is not good: " + verified.error());
    throw unauthorized(request, demand, "invalid_token");
  }
  co_return Identity({.authenticated = true, .user = verified->subject}, config_.rules,
                     std::move(verified->access));
}

Identity Authorizer::by_certificate(const http::Peer& peer) const {
  for (const CertificateUser& entry : config_.certificates) {
    if (http::subject_matches(peer, entry.subject) ||
        http::alternative_name_matches(peer, entry.alternative_name)) {
      return {{.authenticated = true, .user = entry.user}, config_.rules};
    }
  }
  return {{}, config_.rules};
}

bool Authorizer::allowed(const Identity& identity, const Demand& demand) const {
  switch (demand.kind) {
    case Demand::Kind::nothing:
      break;
    case Demand::Kind::base:
      return identity.authenticated() ||
             (!config_.base_authenticated && config_.rules->allows_something({}));
    case Demand::Kind::catalog:
      return identity.may_list();
    case Demand::Kind::repository:
      return std::ranges::all_of(
          demand.actions, [&](Action action) { return identity.may(demand.repository, action); });
  }
  return true;
}

// Where there is no scheme to answer a challenge with, it is a plain no: a 401 must have one.
Refusal Authorizer::unauthorized(const http::Request& request, const Demand& demand,
                                 std::string_view error) const {
  const auto challenged = [&](std::string challenge) {
    return Refusal(oci::ErrorCode::unauthorized, demand, "WWW-Authenticate", std::move(challenge));
  };
  if (config_.htpasswd) return challenged(basic_challenge(config_.htpasswd->realm));
  if (config_.token) return challenged(token_challenge(*config_.token, request, demand, error));
  return {oci::ErrorCode::denied, demand};
}

void Authorizer::warn_of_proxy(const http::Request& request) const {
  if (!passwords_.first_time(request.peer.address, "a proxy")) return;
  LOG(WARNING) << request.peer.address
               << " sends X-Forwarded-For or Forwarded and is not believed: server.trusted_proxies "
                  "does not have it. If it is a proxy of yours, all its clients are one to "
                  "auth.htpasswd, and the wrong passwords of one make the others wait "
                  "(not said again of it for ten minutes).";
}

void Authorizer::log_once(const std::string& client, const std::string& what,
                          const std::string& detail) const {
  if (!passwords_.first_time(client, what)) return;
  LOG(WARNING) << "refused " << base::printable(client) << ": " << what << detail
               << " (not said again of it for ten minutes)";
}

}  // namespace origin::auth
