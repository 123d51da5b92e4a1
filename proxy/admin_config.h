// The section `admin` of the edge's configuration: where it can be administered, and by whom.
#pragma once

#include <optional>
#include <string>

#include "base/yaml_config.h"
#include "http/tls.h"

namespace proxy {

// What follows from the events that registries send to the administration.
struct EventsConfig {
  std::string token;     // good for events alone; may be empty
  bool warm = false;     // a manifest that is pushed is fetched, with its blobs
  std::string upstream;  // whose events they are if their URL does not say; empty: the only one's
  bool operator==(const EventsConfig&) const = default;
};

struct AdminConfig {
  std::string address;  // empty: no such server
  // With client authorities, whoever shows a certificate of theirs may administer.
  std::optional<http::TlsOptions> tls;
  std::string token;  // shown as a Bearer token, or as the password of any user in a browser
  EventsConfig events;
};

// base::ConfigError, also for a server that anybody could use.
AdminConfig read_admin(const base::Section& admin);

}  // namespace proxy
