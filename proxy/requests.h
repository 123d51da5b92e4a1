// Requests: how a request goes to one URL of an upstream, up to the head of the answer: in a slot,
// with our credentials, and what came of it told to the upstream's health.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "base/task.h"
#include "http/client.h"
#include "proxy/progress.h"
#include "proxy/upstream.h"

namespace proxy {

// An answer whose head is there. It is neither a server error nor 429.
struct Reply {
  std::unique_ptr<http::ClientResponse> response;
  Slot slot;
};

// Lives on one loop. The caller of each function holds the Upstream while it waits.
class Requests {
 public:
  // `edge` is our name, in Via and CDN-Loop.
  Requests(base::EventLoop& loop, Upstream& upstream, std::string edge);

  // Sends it to this URL; `target` begins with "/v2/". An Ending (unreachable, throttled, busy) if
  // there is no answer that the caller can use.
  base::Task<std::variant<Reply, Ending>> send(size_t url, std::string method, std::string target,
                                               http::Headers headers);

  // Asks for /v2/: 200 and 401 say that the URL is well.
  base::Task<void> check(size_t url);

  // What a transfer from this URL that broke, or an answer that is none, comes to.
  Ending failed(size_t url, Failure failure, const std::string& why);

  base::EventLoop& loop() { return loop_; }
  void abort();

 private:
  http::ClientRequest request(size_t url, std::string method, const std::string& target,
                              http::Headers headers) const;
  const std::string& base(size_t url) const { return upstream_.config().urls[url]; }

  base::EventLoop& loop_;
  Upstream& upstream_;
  http::Client client_;
  const std::string edge_;
};

Failure failure_of(const http::TransferError& error);

}  // namespace proxy
