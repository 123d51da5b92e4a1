// The configuration of one upstream: where it is, who is meant by it, and how it is asked.
// A value, constant once read.
#pragma once

#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/yaml_config.h"
#include "http/client.h"
#include "oci/manifest.h"

namespace proxy {

// How manifests, tags and referrers are kept (documents.h).
struct ImagesConfig {
  // How long a tag, a list of tags or of referrers is answered without asking the upstream.
  base::Duration tag_lifetime = std::chrono::seconds(60);
  // How long a client waits for the upstream's word if there is an older answer to give instead.
  base::Duration stale_after = std::chrono::seconds(5);
  // For how long after its lifetime an older answer is given while the upstream has no word.
  base::Duration stale_if_error = std::chrono::hours(168);
  // True: what the upstream says is gone or refuses is gone here too. False: the older answer is
  // given for as long as if the upstream were down.
  bool follow_deletions = true;
  // After a manifest is served, its config and layers are fetched; of an index, those of these
  // platforms, or of all if none is listed.
  bool prefetch = false;
  std::vector<oci::Platform> platforms;
};

struct UpstreamConfig {
  std::string name;               // in logs and metrics; by default the first URL's host
  std::vector<std::string> urls;  // "https://registry.example", no trailing slash; in this order

  // Which requests are meant (routing.h). All empty: those that are meant for no other upstream.
  std::vector<std::string> namespaces;  // values of containerd's `ns` parameter
  std::vector<std::string> hosts;       // values of Host, without port
  std::string prefix;                   // "/v2/<prefix>/<repository>/…"

  // True: manifests, tags and referrers are served too, not only blobs.
  bool images = false;
  ImagesConfig image;

  std::string bearer;  // shared secret that shows the origin this is the edge; may be empty
  // Attempts without progress on every URL before a fill is given up, and the pause between two
  // rounds over the URLs, doubled each round.
  size_t rounds = 3;
  base::Duration round_delay = std::chrono::milliseconds(200);
  http::ClientOptions client;
};

// One element of the list `upstreams`. base::ConfigError.
UpstreamConfig read_upstream(const base::Section& section);

}  // namespace proxy
