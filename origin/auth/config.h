// The sections "auth" (Distribution's) and "access" (ours) of the configuration file.
//
// Without "access", as in Distribution: without "auth" everybody may do everything; with htpasswd
// every user may; a token's bearer what the token grants. With access.rules, they decide; of a
// token both must allow.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/yaml_config.h"
#include "origin/auth/access_list.h"
#include "origin/auth/htpasswd.h"
#include "origin/auth/token.h"

namespace origin::auth {

struct HtpasswdConfig {
  std::string realm;
  std::shared_ptr<HtpasswdFile> file;
};

// A client certificate's user: by subject (whole, or one attribute) or by subjectAltName (see
// http::alternative_name).
struct CertificateUser {
  std::string subject;  // one of these two is empty
  std::string alternative_name;
  std::string user;
};

struct AuthConfig {
  std::optional<HtpasswdConfig> htpasswd;  // at most one of these two
  std::optional<TokenConfig> token;
  std::vector<CertificateUser> certificates;
  std::shared_ptr<const AccessList> rules = AccessList::open();
  // access.base: /v2/ asks for credentials even where without them something may be done.
  bool base_authenticated = false;
};

// Reads the files too. base::ConfigError. Refuses every scheme it does not know: ignoring one would
// open a registry that is meant to be closed.
AuthConfig read_auth(const base::Section& root);

}  // namespace origin::auth
