// Requests: how a request goes to one URL of an upstream, up to the head of the answer: in a slot,
// with our credentials, along redirects, and what came of it told to the upstream's health.
//
// Credentials go to the scheme, host and port of the URL only, the client certificate included.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/task.h"
#include "http/client.h"
#include "http/url.h"
#include "proxy/outcome.h"
#include "proxy/token_request.h"
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

  // Sends it to this URL; `target` begins with "/v2/". What `resumes` an answer that clients are
  // being served from goes before all who wait for a slot. An Ending (unreachable, throttled, busy)
  // if there is no answer that the caller can use.
  base::Task<std::variant<Reply, Ending>> send(size_t url, std::string method, std::string target,
                                               http::Headers headers, bool resumes = false);

  // Asks for /v2/: 200 and 401 say that the URL is well.
  base::Task<void> check(size_t url);

  // What a transfer from this URL that broke, or an answer that is none, comes to.
  Ending failed(size_t url, Failure failure, const std::string& why);

  base::EventLoop& loop() { return loop_; }
  void abort();

 private:
  using Response = std::unique_ptr<http::ClientResponse>;
  using Fetched = std::variant<Response, Ending>;
  // What is asked, of whomever.
  struct Question {
    std::string method;
    std::string target;
    http::Headers headers;
  };

  http::ClientRequest request(const Question& question, std::string where) const;
  // One exchange. The Ending of a failure, a server error or a 429.
  base::Task<Fetched> fetch(size_t url, http::ClientRequest request);
  // Follows redirects, each server asked as it may be.
  base::Task<Fetched> ask(size_t url, const Question& question);
  // An exchange with the URL's own server, with what it wants to see of us.
  base::Task<Fetched> ask_with_credentials(size_t url, http::ClientRequest request,
                                           std::string scope);

  // The value of Authorization, empty for none.
  std::string authorization(size_t url, const std::string& scope) const;
  // The same, for a request that was refused with `shown`.
  base::Task<std::variant<std::string, Ending>> obtain(size_t url, std::string scope,
                                                       std::string challenges, std::string shown);
  base::Task<std::variant<Token, Ending>> request_token(size_t url, TokenRequest asked);
  std::string basic() const;
  const std::string& base(size_t url) const { return upstream_.config().urls[url]; }

  base::EventLoop& loop_;
  Upstream& upstream_;
  http::Client client_;
  const std::string edge_;
  std::vector<http::Url> bases_;
};

Failure failure_of(const http::TransferError& error);

}  // namespace proxy
