// The configuration of one upstream: where it is, who is meant by it, and how it is asked.
// A value, constant once read.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/yaml_config.h"
#include "http/client.h"
#include "oci/manifest.h"
#include "proxy/redirect_rules.h"

namespace proxy {

inline constexpr size_t kMaxUrls = 64;  // of one upstream

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

  bool operator==(const ImagesConfig&) const = default;
};

struct UpstreamConfig {
  std::string name;               // in logs and metrics; by default the first URL's host
  std::vector<std::string> urls;  // "https://registry.example", no trailing slash; in this order

  // Which requests are meant (routing.h). All empty: those that are meant for no other upstream.
  std::vector<std::string> namespaces;  // values of containerd's `ns` parameter
  std::vector<std::string> hosts;       // values of Host, without port
  std::string prefix;                   // "/v2/<prefix>/<repository>/…"
  bool takes_the_rest() const { return namespaces.empty() && hosts.empty() && prefix.empty(); }

  // Sent along as the parameter `ns`, for an upstream that chooses by it whose registry is meant,
  // as an edge does; empty: not sent.
  std::string ns;

  // True: manifests, tags and referrers are served too, not only blobs.
  bool images = false;
  ImagesConfig image;

  // How we show who we are; all may be empty. They go to these URLs and nowhere else, but for the
  // user name and password, which also go where tokens are made (token_request.h).
  std::string bearer;  // a shared secret that shows the origin this is the edge
  std::string username;
  std::string password;
  std::vector<std::string> realm_hosts;  // more hosts whose tokens are asked for with the password
  RedirectRules redirects;

  // Attempts without progress on every URL before a fill is given up, and the pause between two
  // rounds over the URLs, doubled each round.
  size_t rounds = 3;
  base::Duration round_delay = std::chrono::milliseconds(200);
  // Retries of all requests together, in any ten seconds: a share of the requests, and so many
  // beside (retry_budget.h).
  size_t retry_percent = 20;
  size_t retry_floor = 10;

  // Failures in a row after which a URL is left out, and for how long at first and at most
  // (health.h).
  size_t eject_after = 5;
  base::Duration eject_time = std::chrono::seconds(10);
  base::Duration eject_time_max = std::chrono::minutes(5);
  // Which URLs are asked for /v2/ at this interval, to see whether they are well.
  enum class HealthCheck { off, ejected, always };
  HealthCheck health_check = HealthCheck::ejected;
  base::Duration health_interval = std::chrono::seconds(10);

  // Requests in flight from all loops, who may wait for one of them to end, and how long
  // (request_slots.h).
  size_t max_requests = 256;
  size_t max_queue = 1024;
  base::Duration queue_timeout = std::chrono::seconds(10);

  base::Duration absent_lifetime = std::chrono::seconds(10);  // of a no (is_no() in progress.h)
  base::Duration retry_after_max = std::chrono::minutes(5);   // of a 429's Retry-After, believed
  http::ClientOptions client;

  bool operator==(const UpstreamConfig&) const = default;
};

// One element of the list `upstreams`. base::ConfigError.
UpstreamConfig read_upstream(const base::Section& section);

}  // namespace proxy
