// Authorizer: who sent a request and whether it may do what it asks, before its body is read and
// before "100 Continue".
//
// Credentials, in this order: the edge's secret (redirect.except.bearer), which may pull everything
// and nothing else; Authorization, which must then be good, also where nobody needs any; the client
// certificate. Belongs to one configuration; what outlives it is in Passwords. Thread-safe.
#pragma once

#include <string>

#include "base/task.h"
#include "base/thread_pool.h"
#include "http/forwarded.h"
#include "http/message.h"
#include "oci/error.h"
#include "oci/name.h"
#include "origin/auth/config.h"
#include "origin/auth/demand.h"
#include "origin/auth/identity.h"
#include "origin/auth/passwords.h"

namespace origin::auth {

// A refusal that comes with a field: WWW-Authenticate of a 401, Retry-After of a 429.
class Refusal : public oci::Error {
 public:
  Refusal(oci::ErrorCode code, const Demand& demand) : Error({{code, detail_of(demand)}}) {}
  Refusal(oci::ErrorCode code, const Demand& demand, std::string name, std::string value)
      : Refusal(code, demand) {
    field_ = {std::move(name), std::move(value)};
  }
  // Its name is empty if there is none.
  const http::Headers::Field& field() const { return field_; }

 private:
  http::Headers::Field field_;
};

class Authorizer {
 public:
  // The pool and the passwords must outlive it.
  Authorizer(AuthConfig config, std::string edge_secret, http::TrustedProxies proxies,
             base::ThreadPool& pool, Passwords& passwords);

  // Who sent the request, if it may go on; its user's name is noted in the request for the access
  // log. `client` is the client's address. Refusal.
  base::Task<Identity> authorize(http::Request& request, const oci::Route& route,
                                 const std::string& client) const;

 private:
  base::Task<Identity> identify(const http::Request& request, const Demand& demand,
                                const std::string& client) const;
  base::Task<Identity> by_password(const http::Request& request, const Demand& demand,
                                   const std::string& client) const;
  base::Task<Identity> by_token(const http::Request& request, const Demand& demand,
                                const std::string& client) const;
  Identity by_certificate(const http::Peer& peer) const;

  bool allowed(const Identity& identity, const Demand& demand) const;
  Refusal unauthorized(const http::Request& request, const Demand& demand,
                       std::string_view error = "") const;
  // Says, of a peer once in ten minutes only, that it may be a proxy whose clients count as one.
  void warn_of_proxy(const http::Request& request) const;
  // Says the same of a client once in ten minutes only; `detail` may differ each time.
  void log_once(const std::string& client, const std::string& what,
                const std::string& detail = "") const;

  const AuthConfig config_;
  const std::string edge_secret_;
  const http::TrustedProxies proxies_;
  base::ThreadPool& pool_;
  Passwords& passwords_;
};

}  // namespace origin::auth
