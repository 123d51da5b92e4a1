// Routing: which upstream a request is meant for, of a closed list. Pure; constant once made.
//
// In this order: containerd's `ns` parameter (distribution-spec "Registry proxying"), the Host, the
// first components of the repository's name, the one upstream that takes what is left. A `ns` that
// no upstream lists is nobody's: its tags must not be answered from another registry. Where no tags
// are served and no `ns` is listed it does not count: it is a redirected client's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "proxy/upstream.h"

namespace proxy {

class Routing {
 public:
  explicit Routing(std::vector<std::shared_ptr<Upstream>> upstreams)
      : upstreams_(std::move(upstreams)) {}

  struct Destination {
    std::shared_ptr<Upstream> upstream;
    std::string repository;  // its name there
  };
  // nullopt: no upstream is meant, which a client is told as 404.
  std::optional<Destination> find(const http::Request& request,
                                  const std::string& repository) const;

  const std::vector<std::shared_ptr<Upstream>>& upstreams() const { return upstreams_; }

 private:
  std::vector<std::shared_ptr<Upstream>> upstreams_;
};

// Gives the one that is in force now: a reload of the configuration puts another in its place.
using CurrentRouting = std::function<std::shared_ptr<const Routing>()>;

}  // namespace proxy
