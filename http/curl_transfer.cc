#include "http/curl_transfer.h"

#include <glog/logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>

namespace http {
namespace {

constexpr long kReceiveBytes = 256 << 10;  // what curl asks the socket for at once
constexpr long kKeepAliveIdleSeconds = 30;
constexpr long kKeepAliveIntervalSeconds = 10;

// Options are set with constants and memory that is there: a refusal is a mistake in this file.
template <typename T>
void set(CURL* easy, CURLoption option, T value) {
  CHECK_EQ(curl_easy_setopt(easy, option, value), CURLE_OK) << "curl option " << option;
}

TransferError::Kind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return TransferError::Kind::unreachable;
    case CURLE_OPERATION_TIMEDOUT:
      return TransferError::Kind::timed_out;
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
      return TransferError::Kind::tls;
    default:
      return TransferError::Kind::broken;
  }
}

bool sendable(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

}  // namespace

CurlTransfer::CurlTransfer(CurlMulti& multi, const ClientRequest& request)
    : multi_(multi),
      half_(std::max<size_t>(multi.options.buffer_bytes / 2, 1)),
      is_head_(request.method == "HEAD"),
      easy_(curl_easy_init()),
      may_connect_(request.may_connect) {
  CHECK(easy_ != nullptr);
  CHECK(is_head_ || request.method == "GET" || request.method == "POST") << request.method;
  if (multi_.aborted)
    throw TransferError(TransferError::Kind::broken, "the client has been shut down");
  if (!sendable(request.url))
    throw TransferError(TransferError::Kind::unreachable, "malformed URL");
  configure(request);
  multi_.transfers.insert(this);
  CHECK_EQ(curl_multi_add_handle(multi_.handle, easy_.get()), CURLM_OK);
}

void CurlTransfer::add_header(const std::string& line) {
  curl_slist* list = curl_slist_append(request_headers_.get(), line.c_str());
  CHECK(list != nullptr);
  std::ignore = request_headers_.release();
  request_headers_.reset(list);
}

void CurlTransfer::configure(const ClientRequest& request) {
  CURL* easy = easy_.get();
  const ClientOptions& options = multi_.options;
  for (const Headers::Field& field : request.headers) {
    if (!sendable(field.name) || !sendable(field.value)) {
      throw TransferError(TransferError::Kind::broken, "malformed request header");
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
  set(easy, CURLOPT_HTTP_VERSION,
      long{options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1});
  set(easy, CURLOPT_PIPEWAIT, long{options.http2});  // for a connection that it could share
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
  if (!options.certificate.empty() && request.show_certificate) {
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
  set(easy, CURLOPT_RESOLVER_START_FUNCTION, &CurlTransfer::on_resolve);
  set(easy, CURLOPT_RESOLVER_START_DATA, this);
  if (may_connect_) {
    set(easy, CURLOPT_OPENSOCKETFUNCTION, &CurlTransfer::on_open);
    set(easy, CURLOPT_OPENSOCKETDATA, this);
  }
  set(easy, CURLOPT_SOCKOPTFUNCTION, &CurlTransfer::on_socket);
  set(easy, CURLOPT_SOCKOPTDATA, this);
  set(easy, CURLOPT_PREREQFUNCTION, &CurlTransfer::on_connected);
  set(easy, CURLOPT_PREREQDATA, this);
  set(easy, CURLOPT_HEADERFUNCTION, &CurlTransfer::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &CurlTransfer::on_body);
  set(easy, CURLOPT_WRITEDATA, this);
}

base::Task<void> CurlTransfer::head() {
  while (!head_done_ && !done_) co_await change();
  if (!head_done_) throw TransferError(*error_);
}

base::Task<std::string_view> CurlTransfer::read() {
  reading_.clear();
  while (arriving_.empty() && !done_) co_await change();
  // What arrived before a failure is still good.
  if (arriving_.empty() && error_) throw TransferError(*error_);
  std::swap(reading_, arriving_);
  if (paused_) unpause();
  co_return std::string_view(reading_);
}

base::Task<void> CurlTransfer::wait_for_end(std::chrono::nanoseconds most) {
  if (arriving_.empty() && !done_) expect(most, "no end of the response");
  while (arriving_.empty() && !done_) co_await change();
}

void CurlTransfer::unpause() {
  paused_ = false;
  expect(multi_.options.stall_timeout, "no data from the upstream");
  // Runs on_body with what curl holds, which may pause again.
  const CURLcode code = curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
  if (code != CURLE_OK) ended(code);
}

// A transfer beyond the limit of connections waits without a deadline; the clock starts when curl
// begins to connect, and starts again should it replace a kept connection that turns out dead.
void CurlTransfer::connecting() {
  if (connecting_) return;
  connecting_ = true;
  expect(multi_.options.connect_timeout, "connecting takes too long");
}

int CurlTransfer::on_resolve(void*, void*, void* self) {
  static_cast<CurlTransfer*>(self)->connecting();
  return 0;
}

// What nobody acknowledges the kernel would send again for a quarter of an hour, and by HTTP/2 one
// request after the other would be sent into the same hole.
int CurlTransfer::on_socket(void* arg, curl_socket_t socket, curlsocktype) {
  auto* self = static_cast<CurlTransfer*>(arg);
  self->connecting();
  const auto limit =
      std::chrono::ceil<std::chrono::milliseconds>(self->multi_.options.stall_timeout);
  const auto milliseconds = static_cast<int>(std::clamp<int64_t>(limit.count(), 1, INT_MAX));
  ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  return CURL_SOCKOPT_OK;
}

bool CurlTransfer::may_connect(const std::string& address) {
  if (!may_connect_ || may_connect_(address)) return true;
  refused_address_ = address;
  return false;
}

curl_socket_t CurlTransfer::on_open(void* self, curlsocktype, curl_sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int error = ::getnameinfo(&address->addr, address->addrlen, text.data(), text.size(),
                                  nullptr, 0, NI_NUMERICHOST);
  if (error != 0 || !static_cast<CurlTransfer*>(self)->may_connect(text.data())) {
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Of a kept connection too, which may have been made for a request that could go anywhere.
int CurlTransfer::on_connected(void* arg, char* address, char*, int, int) {
  auto* self = static_cast<CurlTransfer*>(arg);
  if (!self->may_connect(address)) return CURL_PREREQFUNC_ABORT;
  if (self->connecting_) ++self->multi_.connections_opened;
  self->connecting_ = false;
  self->expect(self->multi_.options.first_byte_timeout, "no response from the upstream");
  return CURL_PREREQFUNC_OK;
}

size_t CurlTransfer::on_header(char* data, size_t size, size_t count, void* self) {
  return static_cast<CurlTransfer*>(self)->take_head_line({data, size * count}) ? size * count : 0;
}

bool CurlTransfer::take_head_line(std::string_view line) {
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

size_t CurlTransfer::on_body(char* data, size_t size, size_t count, void* arg) {
  auto* self = static_cast<CurlTransfer*>(arg);
  const size_t bytes = size * count;
  if (self->discarding_) return bytes;
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
void CurlTransfer::expect(base::Duration within, const char* what) {
  deadline_ = multi_.loop.after(within);
  expected_ = what;
  if (timer_ && (*timer_)->first <= deadline_) return;
  if (timer_) multi_.loop.cancel_timer(*std::exchange(timer_, std::nullopt));
  arm();
}

void CurlTransfer::arm() {
  if (deadline_ == base::kForever) return;
  timer_ = multi_.loop.add_timer(deadline_, [this] {
    timer_.reset();
    if (multi_.loop.now() < deadline_) return arm();
    // Its connection is not used again, unless others share it now.
    set(easy_.get(), CURLOPT_FORBID_REUSE, 1L);
    finish(TransferError(TransferError::Kind::timed_out, expected_));
  });
}

void CurlTransfer::ended(CURLcode code) {
  if (!head_.error().empty())
    return finish(TransferError(TransferError::Kind::broken, head_.error()));
  if (code != CURLE_OK && !refused_address_.empty()) {
    return finish(TransferError(TransferError::Kind::unreachable,
                                "the address " + refused_address_ + " is one it may not go to"));
  }
  if (code != CURLE_OK) {
    const std::string why = curl_error_[0] != '\0' ? &curl_error_[0] : curl_easy_strerror(code);
    return finish(TransferError(kind_of(code), why));
  }
  if (!head_done_)
    return finish(TransferError(TransferError::Kind::broken, "the response has no head"));
  const std::optional<uint64_t> length = content_length();
  const bool has_body = !is_head_ && status() != 204 && status() != 304;
  if (has_body && length && received_ != *length) {
    return finish(
        TransferError(TransferError::Kind::broken, "the body has not the length its head says"));
  }
  finish(std::nullopt);
}

void CurlTransfer::abort() {
  arriving_.clear();
  finish(TransferError(TransferError::Kind::broken, "the client has been shut down"));
}

void CurlTransfer::finish(std::optional<TransferError> error) {
  detach();
  done_ = true;
  error_ = std::move(error);
  wake();
}

// Takes the transfer from curl, which closes the connection if the response is not complete. Never
// inside a callback of curl's: those only store and post.
void CurlTransfer::detach() {
  if (timer_) multi_.loop.cancel_timer(*std::exchange(timer_, std::nullopt));
  if (multi_.transfers.erase(this) == 0) return;
  if (paused_ && multi_.options.http2) {
    // curl 7.88 loses what it holds of a paused HTTP/2 transfer that is removed (curl issue 10971),
    // so it is taken from it first.
    discarding_ = true;
    curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
  }
  CHECK_EQ(curl_multi_remove_handle(multi_.handle, easy_.get()), CURLM_OK);
  easy_.reset();
  request_headers_.reset();
  paused_ = false;
}

void CurlTransfer::wake() {
  if (!waiter_) return;
  multi_.loop.post([waiter = std::exchange(waiter_, {})] { waiter.resume(); });
}

}  // namespace http
