// The configuration of one upstream: where it is, who is meant by it, and how it is asked.
// A value, constant once read.
#pragma once

#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/yaml_config.h"
#include "http/client.h"

namespace proxy {

struct UpstreamConfig {
  std::string name;               // in logs and metrics; by default the first URL's host
  std::vector<std::string> urls;  // "https://registry.example", no trailing slash; in this order

  // Which requests are meant (routing.h). All empty: those that are meant for no other upstream.
  std::vector<std::string> namespaces;  // values of containerd's `ns` parameter
  std::vector<std::string> hosts;       // values of Host, without port
  std::string prefix;                   // "/v2/<prefix>/<repository>/…"

  // True: manifests, tags and referrers are served too, not only blobs.
  bool images = false;

  std::string bearer;  // shared secret that shows the origin this is the edge; may be empty
  // Attempts without progress on every URL before a fill is given up, and the pause between two
  // rounds over the URLs, doubled each round.
  size_t rounds = 3;
  base::Duration round_delay = std::chrono::milliseconds(200);
  http::ClientOptions client;

  bool operator==(const UpstreamConfig&) const = default;
};

// One element of the list `upstreams`. base::ConfigError.
UpstreamConfig read_upstream(const base::Section& section);

}  // namespace proxy
