// Attempts: whom one request asks, in which order and how often. A round asks each URL that may be
// asked (health.h) once; between two rounds there is a pause.
#pragma once

#include <optional>
#include <variant>

#include "proxy/outcome.h"
#include "proxy/upstream.h"

namespace proxy {

// Belongs to one coroutine. The Upstream outlives it.
class Attempts {
 public:
  // `digest`, if given, is the blob's that is asked for, so that URLs which gave wrong bytes for it
  // come last.
  Attempts(Upstream& upstream, size_t rounds, const oci::Digest* digest = nullptr);

  struct Next {
    size_t url;
    base::Duration delay;  // to wait before it is asked
  };
  // An Ending when nobody is left: what the last URL said, or that all are throttled. Called again
  // without failed() in between, it begins anew.
  std::variant<Next, Ending> next(base::TimePoint now);

  // The URL given last did not do it; `ending` is about that attempt. If the transfer from it was
  // worth its connection before it broke, the rounds begin again.
  void failed(Ending ending, bool worthwhile = false);

 private:
  std::optional<size_t> choose(base::TimePoint now) const;
  void begin();

  Upstream* upstream_;
  size_t rounds_;
  std::optional<oci::Digest> digest_;
  bool begun_ = false;      // the request is counted
  bool under_way_ = false;  // nothing has been said of the URL given last
  size_t round_ = 0;
  size_t current_ = 0;
  UrlSet asked_ = 0;       // in this round
  bool failures_ = false;  // in this round, other than refusals
  bool is_retry_ = false;  // the next attempt repeats one that failed
  Ending last_;
};

}  // namespace proxy
