// CurlMulti: curl's multi handle driven by an event loop: curl says which sockets and which timeout
// it waits for, libevent says when. Nothing here resumes a coroutine. Part of Client (client.h).
#pragma once

#include <curl/curl.h>
#include <glog/logging.h>

#include <unordered_set>

#include "base/event_loop.h"
#include "http/client.h"

struct event;

namespace http {

class CurlTransfer;

// Lives on one loop, with its transfers.
class CurlMulti {
 public:
  CurlMulti(base::EventLoop& event_loop, ClientOptions client_options);
  ~CurlMulti();
  CurlMulti(const CurlMulti&) = delete;

  void abort();

  base::EventLoop& loop;
  const ClientOptions options;
  CURLM* handle;
  CURLSH* sessions;  // TLS sessions, so that a new connection resumes an old one's
  std::unordered_set<CurlTransfer*> transfers;
  uint64_t connections_opened = 0;
  bool aborted = false;

 private:
  static int on_interest(CURL*, curl_socket_t socket, int what, void* self, void* socket_event);
  static int on_timeout(CURLM*, long milliseconds, void* self);
  void act(curl_socket_t socket, int what);

  event* timer_;
};

}  // namespace http
