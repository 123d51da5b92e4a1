#include "http/client.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <glog/logging.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "http/response_head.h"

namespace http {
namespace {

constexpr long kReceiveBytes = 256 << 10;  // what curl asks the socket for at once
constexpr long kKeepAliveIdleSeconds = 30;
constexpr long kKeepAliveIntervalSeconds = 10;

using Kind = TransferError::Kind;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// Options are set with constants and memory that is there: a refusal is a mistake in this file.
template <typename T>
void set(CURL* easy, CURLoption option, T value) {
  CHECK_EQ(curl_easy_setopt(easy, option, value), CURLE_OK) << "curl option " << option;
}
template <typename T>
void set(CURLM* multi, CURLMoption option, T value) {
  CHECK_EQ(curl_multi_setopt(multi, option, value), CURLM_OK) << "curl option " << option;
}

Kind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return Kind::unreachable;
    case CURLE_OPERATION_TIMEDOUT:
      return Kind::timed_out;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED:
      return Kind::tls;
    default:
      return Kind::broken;
  }
}

bool sendable(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

class Transfer;

// curl's multi handle driven by an event loop: curl says which sockets and which timeout it waits
// for, libevent says when. Nothing here resumes a coroutine.
class Multi {
 public:
  Multi(base::EventLoop& event_loop, ClientOptions client_options);
  ~Multi();
  Multi(const Multi&) = delete;

  void abort();

  base::EventLoop& loop;
  const ClientOptions options;
  CURLM* handle;
  CURLSH* sessions;  // TLS sessions, so that a new connection resumes an old one's
  std::unordered_set<Transfer*> transfers;
  uint64_t connections_opened = 0;
  bool aborted = false;

 private:
  static int on_interest(CURL*, curl_socket_t socket, int what, void* self, void* socket_event);
  static int on_timeout(CURLM*, long milliseconds, void* self);
  void act(curl_socket_t socket, int what);

  event* timer_;
};

// One exchange, and the response that fetch() returns. While curl has it, `easy_` is in the multi
// handle; what curl's callbacks bring is stored, and the waiting coroutine is resumed by a posted
// callback.
class Transfer final : public ClientResponse {
 public:
  Transfer(Multi& multi, const ClientRequest& request);
  ~Transfer() override { detach(); }

  // Resumes when the head is there.
  base::Task<void> head();

  int status() const override { return head_.status(); }
  const Headers& headers() const override { return head_.headers(); }
  std::optional<uint64_t> content_length() const override { return head_.content_length(); }
  base::Task<std::string_view> read() override;

  // curl is done with it.
  void ended(CURLcode code);
  void abort();

 private:
  auto change() {
    struct Awaiter {
      Transfer& self;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        CHECK(!self.waiter_) << "two coroutines wait for one transfer";
        self.waiter_ = waiter;
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  static int on_resolve(void*, void*, void* self);
  static int on_socket(void* self, curl_socket_t, curlsocktype);
  static int on_connected(void* self, char*, char*, int, int);
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);

  void add_header(const std::string& line);
  void configure(const ClientRequest& request);
  void connecting();
  bool take_head_line(std::string_view line);
  void expect(base::Duration within, const char* what);
  void arm();
  void unpause();
  void finish(std::optional<TransferError> error);
  void detach();
  void wake();

  Multi& multi_;
  const size_t half_;  // of the buffer: one waits to be read while the other is read
  const bool is_head_;
  std::unique_ptr<CURL, EasyDeleter> easy_;
  std::unique_ptr<curl_slist, ListDeleter> request_headers_;
  char curl_error_[CURL_ERROR_SIZE] = {};

  ResponseHead head_;
  bool head_done_ = false;

  std::string arriving_;
  std::string reading_;
  uint64_t received_ = 0;
  bool paused_ = false;

  bool done_ = false;
  std::optional<TransferError> error_;

  bool connecting_ = false;
  base::TimePoint deadline_ = base::kForever;
  const char* expected_ = "";  // what the deadline is about
  std::optional<base::EventLoop::Timer> timer_;
  std::coroutine_handle<> waiter_;
};

Multi::Multi(base::EventLoop& event_loop, ClientOptions client_options)
    : loop(event_loop), options(std::move(client_options)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK_EQ(initialised, CURLE_OK);
  handle = curl_multi_init();
  sessions = curl_share_init();
  CHECK(handle != nullptr && sessions != nullptr);
  CHECK_EQ(curl_share_setopt(sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION), CURLSHE_OK);
  timer_ = evtimer_new(
      loop.base(),
      [](int, short, void* self) { static_cast<Multi*>(self)->act(CURL_SOCKET_TIMEOUT, 0); }, this);
  CHECK(timer_ != nullptr);
  const auto connections = static_cast<long>(options.max_connections);
  set(handle, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
  set(handle, CURLMOPT_MAXCONNECTS, connections);
  set(handle, CURLMOPT_SOCKETFUNCTION, &Multi::on_interest);
  set(handle, CURLMOPT_SOCKETDATA, this);
  set(handle, CURLMOPT_TIMERFUNCTION, &Multi::on_timeout);
  set(handle, CURLMOPT_TIMERDATA, this);
}

Multi::~Multi() {
  CHECK(transfers.empty()) << "http::Client destroyed while transfers are open";
  curl_multi_cleanup(handle);
  curl_share_cleanup(sessions);
  event_free(timer_);
}

int Multi::on_interest(CURL*, curl_socket_t socket, int what, void* self, void* socket_event) {
  auto* multi = static_cast<Multi*>(self);
  if (socket_event != nullptr) event_free(static_cast<event*>(socket_event));
  event* wanted = nullptr;
  if (what != CURL_POLL_REMOVE) {
    const int events = ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
                       ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0) | EV_PERSIST;
    wanted = event_new(
        multi->loop.base(), socket, static_cast<short>(events),
        [](int fd, short ready, void* arg) {
          static_cast<Multi*>(arg)->act(fd, ((ready & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
                                                ((ready & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
        },
        multi);
    CHECK(wanted != nullptr);
    CHECK_EQ(event_add(wanted, nullptr), 0);
  }
  curl_multi_assign(multi->handle, socket, wanted);
  return 0;
}

int Multi::on_timeout(CURLM*, long milliseconds, void* self) {
  auto* multi = static_cast<Multi*>(self);
  if (milliseconds < 0) {
    event_del(multi->timer_);
  } else {
    const timeval delay = {milliseconds / 1000, milliseconds % 1000 * 1000};
    CHECK_EQ(event_add(multi->timer_, &delay), 0);
  }
  return 0;
}

void Multi::act(curl_socket_t socket, int what) {
  int running = 0;
  CHECK_EQ(curl_multi_socket_action(handle, socket, what, &running), CURLM_OK);
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(handle, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    void* transfer = nullptr;
    CHECK_EQ(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer), CURLE_OK);
    static_cast<Transfer*>(transfer)->ended(code);
  }
}

void Multi::abort() {
  aborted = true;
  const auto open = transfers;
  for (Transfer* transfer : open) transfer->abort();
}

Transfer::Transfer(Multi& multi, const ClientRequest& request)
    : multi_(multi),
      half_(std::max<size_t>(multi.options.buffer_bytes / 2, 1)),
      is_head_(request.method == "HEAD"),
      easy_(curl_easy_init()) {
  CHECK(easy_ != nullptr);
  CHECK(is_head_ || request.method == "GET" || request.method == "POST") << request.method;
  if (multi_.aborted) throw TransferError(Kind::broken, "the client has been shut down");
  if (!sendable(request.url)) throw TransferError(Kind::unreachable, "malformed URL");
  configure(request);
  multi_.transfers.insert(this);
  CHECK_EQ(curl_multi_add_handle(multi_.handle, easy_.get()), CURLM_OK);
}

void Transfer::add_header(const std::string& line) {
  curl_slist* list = curl_slist_append(request_headers_.get(), line.c_str());
  CHECK(list != nullptr);
  std::ignore = request_headers_.release();
  request_headers_.reset(list);
}

void Transfer::configure(const ClientRequest& request) {
  CURL* easy = easy_.get();
  const ClientOptions& options = multi_.options;
  for (const Headers::Field& field : request.headers) {
    if (!sendable(field.name) || !sendable(field.value)) {
      throw TransferError(Kind::broken, "malformed request header");
    }
    // curl's notation: "Name;" is a field with an empty value, "Name:" would leave the field out.
    const std::string line =
        field.value.empty() ? field.name + ";" : field.name + ": " + field.value;
    add_header(line);
  }
  // Else curl sends "Expect: 100-continue" with a large body, and waits.
  if (request.method == "POST") add_header("Expect:");

  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_HTTPHEADER, request_headers_.get());
  if (request.method == "POST") {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_COPYPOSTFIELDS, request.body.data());
  } else {
    set(easy, is_head_ ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1L);
  }
  if (!options.user_agent.empty()) set(easy, CURLOPT_USERAGENT, options.user_agent.c_str());

  // Exactly this request, to exactly this place.
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_NETRC, long{CURL_NETRC_IGNORED});
  set(easy, CURLOPT_PATH_AS_IS, 1L);

  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  set(easy, CURLOPT_SHARE, multi_.sessions);
  if (!options.ca_file.empty()) {
    set(easy, CURLOPT_CAINFO, options.ca_file.c_str());
    set(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));  // not the system's as well
  }
  if (!options.certificate.empty()) {
    set(easy, CURLOPT_SSLCERT, options.certificate.c_str());
    set(easy, CURLOPT_SSLKEY, options.key.c_str());
  }

  const auto connect = std::chrono::ceil<std::chrono::milliseconds>(options.connect_timeout);
  // Our own timer rules; curl needs to know the limit to share it out among a host's addresses.
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, std::max<long>(connect.count(), 1));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // A transfer that is given up while its name is being resolved must not wait for the resolver.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_TCP_NODELAY, 1L);
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_TCP_KEEPIDLE, kKeepAliveIdleSeconds);
  set(easy, CURLOPT_TCP_KEEPINTVL, kKeepAliveIntervalSeconds);
  set(easy, CURLOPT_BUFFERSIZE, kReceiveBytes);

  set(easy, CURLOPT_PRIVATE, static_cast<void*>(this));
  set(easy, CURLOPT_ERRORBUFFER, &curl_error_[0]);
  set(easy, CURLOPT_RESOLVER_START_FUNCTION, &Transfer::on_resolve);
  set(easy, CURLOPT_RESOLVER_START_DATA, this);
  set(easy, CURLOPT_SOCKOPTFUNCTION, &Transfer::on_socket);
  set(easy, CURLOPT_SOCKOPTDATA, this);
  set(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  set(easy, CURLOPT_PREREQDATA, this);
  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_WRITEDATA, this);
}

base::Task<void> Transfer::head() {
  while (!head_done_ && !done_) co_await change();
  if (!head_done_) throw TransferError(*error_);
}

base::Task<std::string_view> Transfer::read() {
  reading_.clear();
  while (arriving_.empty() && !done_) co_await change();
  // What arrived before a failure is still good.
  if (arriving_.empty() && error_) throw TransferError(*error_);
  std::swap(reading_, arriving_);
  if (paused_) unpause();
  co_return std::string_view(reading_);
}

void Transfer::unpause() {
  paused_ = false;
  expect(multi_.options.stall_timeout, "no data from the upstream");
  // Runs on_body with what curl holds, which may pause again.
  const CURLcode code = curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
  if (code != CURLE_OK) ended(code);
}

// A transfer beyond the limit of connections waits without a deadline; the clock starts when curl
// begins to connect, and starts again should it replace a kept connection that turns out dead.
void Transfer::connecting() {
  if (connecting_) return;
  connecting_ = true;
  expect(multi_.options.connect_timeout, "connecting takes too long");
}

int Transfer::on_resolve(void*, void*, void* self) {
  static_cast<Transfer*>(self)->connecting();
  return 0;
}

int Transfer::on_socket(void* self, curl_socket_t, curlsocktype) {
  static_cast<Transfer*>(self)->connecting();
  return CURL_SOCKOPT_OK;
}

int Transfer::on_connected(void* arg, char*, char*, int, int) {
  auto* self = static_cast<Transfer*>(arg);
  if (self->connecting_) ++self->multi_.connections_opened;
  self->connecting_ = false;
  self->expect(self->multi_.options.first_byte_timeout, "no response from the upstream");
  return CURL_PREREQFUNC_OK;
}

size_t Transfer::on_header(char* data, size_t size, size_t count, void* self) {
  return static_cast<Transfer*>(self)->take_head_line({data, size * count}) ? size * count : 0;
}

bool Transfer::take_head_line(std::string_view line) {
  if (head_done_) return true;  // trailers mean nothing here
  switch (head_.take(line)) {
    case ResponseHead::Progress::more:
      return true;
    case ResponseHead::Progress::malformed:
      return false;
    case ResponseHead::Progress::complete:
      head_done_ = true;
      expect(multi_.options.stall_timeout, "no data from the upstream");
      wake();
      return true;
  }
  return false;
}

size_t Transfer::on_body(char* data, size_t size, size_t count, void* arg) {
  auto* self = static_cast<Transfer*>(arg);
  const size_t bytes = size * count;
  std::string& arriving = self->arriving_;
  if (!arriving.empty() && arriving.size() + bytes > self->half_) {
    self->paused_ = true;
    self->deadline_ = base::kForever;
    return CURL_WRITEFUNC_PAUSE;
  }
  const uint64_t expected = self->head_.content_length().value_or(self->half_);
  arriving.reserve(std::min<uint64_t>(expected, self->half_));
  arriving.append(data, bytes);
  self->received_ += bytes;
  self->expect(self->multi_.options.stall_timeout, "no data from the upstream");
  self->wake();
  return bytes;
}

// The deadline moves with every block, the timer only when it fires or the deadline comes nearer.
void Transfer::expect(base::Duration within, const char* what) {
  deadline_ = multi_.loop.after(within);
  expected_ = what;
  if (timer_ && (*timer_)->first <= deadline_) return;
  if (timer_) multi_.loop.cancel_timer(*std::exchange(timer_, std::nullopt));
  arm();
}

void Transfer::arm() {
  if (deadline_ == base::kForever) return;
  timer_ = multi_.loop.add_timer(deadline_, [this] {
    timer_.reset();
    if (multi_.loop.now() < deadline_) return arm();
    finish(TransferError(Kind::timed_out, expected_));
  });
}

void Transfer::ended(CURLcode code) {
  if (!head_.error().empty()) return finish(TransferError(Kind::broken, head_.error()));
  if (code != CURLE_OK) {
    const std::string why = curl_error_[0] != '\0' ? &curl_error_[0] : curl_easy_strerror(code);
    return finish(TransferError(kind_of(code), why));
  }
  if (!head_done_) return finish(TransferError(Kind::broken, "the response has no head"));
  const std::optional<uint64_t> length = content_length();
  const bool has_body = !is_head_ && status() != 204 && status() != 304;
  if (has_body && length && received_ != *length) {
    return finish(TransferError(Kind::broken, "the body has not the length its head says"));
  }
  finish(std::nullopt);
}

void Transfer::abort() {
  arriving_.clear();
  finish(TransferError(Kind::broken, "the client has been shut down"));
}

void Transfer::finish(std::optional<TransferError> error) {
  detach();
  done_ = true;
  error_ = std::move(error);
  wake();
}

// Takes the transfer from curl, which closes the connection if the response is not complete. Never
// inside a callback of curl's: those only store and post.
void Transfer::detach() {
  if (timer_) multi_.loop.cancel_timer(*std::exchange(timer_, std::nullopt));
  if (multi_.transfers.erase(this) == 0) return;
  CHECK_EQ(curl_multi_remove_handle(multi_.handle, easy_.get()), CURLM_OK);
  easy_.reset();
  request_headers_.reset();
  paused_ = false;
}

void Transfer::wake() {
  if (!waiter_) return;
  multi_.loop.post([waiter = std::exchange(waiter_, {})] { waiter.resume(); });
}

}  // namespace

struct Client::Impl {
  Multi multi;
};

Client::Client(base::EventLoop& loop, ClientOptions options)
    : impl_(new Impl{.multi{loop, std::move(options)}}) {}

Client::~Client() = default;

base::Task<std::unique_ptr<ClientResponse>> Client::fetch(ClientRequest request) {
  auto transfer = std::make_unique<Transfer>(impl_->multi, request);
  co_await transfer->head();
  co_return std::unique_ptr<ClientResponse>(std::move(transfer));
}

void Client::abort() { impl_->multi.abort(); }

uint64_t Client::connections_opened() const { return impl_->multi.connections_opened; }

}  // namespace http
