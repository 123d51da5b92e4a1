// The parts of a configuration file that every HTTP server has. Errors are base::ConfigError.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/access_log.h"
#include "http/network.h"
#include "http/server.h"
#include "http/signed_url.h"
#include "http/tls.h"

namespace http {

// max_connections, max_requests, max_header, header_timeout, idle_timeout, body_timeout,
// min_body_rate, send_timeout, min_send_rate, trusted_proxies, per_address, bandwidth.
ServerLimits read_server_limits(const base::Section& server);

// certificate, key, clientcas, minimumtls, ciphersuites, as in Distribution's http.tls. TLS 1.0 and
// 1.1 are not spoken: a file that allows them is served with 1.2, which is logged. Ours is
// `certificates`, a list of more of {certificate, key}: clients get the one of the name they ask
// for.
TlsOptions read_tls_options(const base::Section& tls);
// clientauth, likewise: without it, every client must show a certificate where there are clientcas.
void read_client_auth(const base::Section& tls, TlsOptions& options);

// http2.disabled: a section beside `tls`, as in Distribution's `http`. False: only HTTP/1.1 is
// offered.
bool read_http2(const base::Section& http);

// A secret given as `<key>` or, to keep it out of the file, as `<key>_file`; empty if neither is.
std::string read_secret(const base::Section& section, const std::string& key);

// Fails unless the secret that was read with this key, without saying it, is long enough not to be
// guessed.
void require_strong(const base::Section& section, const std::string& key,
                    const std::string& secret);

// A list of networks in CIDR notation, or single addresses.
std::vector<Network> read_networks(const base::Section& section, std::string_view key);

// keys: a list of {id, secret or secret_file}, at least one.
std::vector<SigningKey> read_signing_keys(const base::Section& signature);

// log.accesslog.format: combined, or json.
AccessFormat read_access_format(const base::Section& accesslog);

// log.level: error, warn, info or debug, as in Distribution's file.
base::LogLevel read_log_level(const base::Section& log, std::string_view key = "level");

}  // namespace http
