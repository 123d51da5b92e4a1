#include "proxy/admin_config.h"

#include "http/server_config.h"

namespace proxy {

AdminConfig read_admin(const base::Section& admin) {
  AdminConfig config;
  config.address = admin.string("addr", "127.0.0.1:5002");
  config.token = http::read_secret(admin, "token");
  if (admin.has("tls")) config.tls = http::read_tls_options(admin.section("tls"));
  if (config.token.empty() && !(config.tls && !config.tls->client_cas.empty())) {
    admin.fail("token", "a secret, or one in token_file, or tls with clientcas");
  }
  const base::Section events = admin.section("events");
  config.events.token = http::read_secret(events, "token");
  config.events.warm = events.boolean("warm", false);
  config.events.upstream = events.string("upstream");
  return config;
}

}  // namespace proxy
