// Outcome: how a fill, or a question to an upstream, ended: a closed list. Each has its answer to
// the client in error_answer.cc. Pure.
#pragma once

#include <string>

namespace proxy {

enum class Outcome {
  filling,
  verified,         // every byte is there and the digest is right
  absent,           // the upstreams say there is no such blob
  refused,          // the upstreams refuse this edge or its request (401, 403, 400 …)
  too_large,        // an answer that is longer than any manifest or list of ours
  throttled,        // 429
  busy,             // too many of our own requests to the upstreams wait already
  unreachable,      // no upstream gave the bytes: connection, server error, cut too often
  digest_mismatch,  // the upstream's bytes are not the blob
  no_space,         // the cache cannot take it beside what is in use
  storage_failed,   // the cache's disk failed
  overtaken,        // another upstream's fill of the same blob is the one that goes on
  cancelled,        // shutdown
};

// That is the upstream's answer, and would be again: nothing is wrong with the upstream, and it is
// not asked for a while.
constexpr bool is_no(Outcome outcome) {
  return outcome == Outcome::absent || outcome == Outcome::refused || outcome == Outcome::too_large;
}

// The store is what failed: readers who know the size can have the bytes without it.
constexpr bool passes_through(Outcome outcome) {
  return outcome == Outcome::no_space || outcome == Outcome::storage_failed;
}

struct Ending {
  Outcome outcome = Outcome::filling;
  std::string why;          // for the log and the client
  std::string retry_after;  // of a 429 or 503, if the upstream gave one
};

}  // namespace proxy
