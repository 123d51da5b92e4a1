#include "http/curl_multi.h"

#include <event2/event.h>

#include "http/curl_transfer.h"

namespace http {
namespace {

template <typename T>
void set(CURLM* multi, CURLMoption option, T value) {
  CHECK_EQ(curl_multi_setopt(multi, option, value), CURLM_OK) << "curl option " << option;
}

}  // namespace

CurlMulti::CurlMulti(base::EventLoop& event_loop, ClientOptions client_options)
    : loop(event_loop), options(std::move(client_options)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK_EQ(initialised, CURLE_OK);
  handle = curl_multi_init();
  sessions = curl_share_init();
  CHECK(handle != nullptr && sessions != nullptr);
  CHECK_EQ(curl_share_setopt(sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION), CURLSHE_OK);
  timer_ = evtimer_new(
      loop.base(),
      [](int, short, void* self) { static_cast<CurlMulti*>(self)->act(CURL_SOCKET_TIMEOUT, 0); },
      this);
  CHECK(timer_ != nullptr);
  const auto connections = static_cast<long>(options.max_connections);
  set(handle, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
  set(handle, CURLMOPT_MAXCONNECTS, connections);
  set(handle, CURLMOPT_SOCKETFUNCTION, &CurlMulti::on_interest);
  set(handle, CURLMOPT_SOCKETDATA, this);
  set(handle, CURLMOPT_TIMERFUNCTION, &CurlMulti::on_timeout);
  set(handle, CURLMOPT_TIMERDATA, this);
}

CurlMulti::~CurlMulti() {
  CHECK(transfers.empty()) << "http::Client destroyed while transfers are open";
  curl_multi_cleanup(handle);
  curl_share_cleanup(sessions);
  event_free(timer_);
}

int CurlMulti::on_interest(CURL*, curl_socket_t socket, int what, void* self, void* socket_event) {
  auto* multi = static_cast<CurlMulti*>(self);
  if (socket_event != nullptr) event_free(static_cast<event*>(socket_event));
  event* wanted = nullptr;
  if (what != CURL_POLL_REMOVE) {
    const int events = ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
                       ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0) | EV_PERSIST;
    wanted = event_new(
        multi->loop.base(), socket, static_cast<short>(events),
        [](int fd, short ready, void* arg) {
          static_cast<CurlMulti*>(arg)->act(fd,
                                            ((ready & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
                                                ((ready & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
        },
        multi);
    CHECK(wanted != nullptr);
    CHECK_EQ(event_add(wanted, nullptr), 0);
  }
  curl_multi_assign(multi->handle, socket, wanted);
  return 0;
}

int CurlMulti::on_timeout(CURLM*, long milliseconds, void* self) {
  auto* multi = static_cast<CurlMulti*>(self);
  if (milliseconds < 0) {
    event_del(multi->timer_);
  } else {
    const timeval delay = {milliseconds / 1000, milliseconds % 1000 * 1000};
    CHECK_EQ(event_add(multi->timer_, &delay), 0);
  }
  return 0;
}

void CurlMulti::act(curl_socket_t socket, int what) {
  int running = 0;
  CHECK_EQ(curl_multi_socket_action(handle, socket, what, &running), CURLM_OK);
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(handle, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    void* transfer = nullptr;
    CHECK_EQ(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer), CURLE_OK);
    static_cast<CurlTransfer*>(transfer)->ended(code);
  }
}

void CurlMulti::abort() {
  aborted = true;
  const auto open = transfers;
  for (CurlTransfer* transfer : open) transfer->abort();
}

}  // namespace http
