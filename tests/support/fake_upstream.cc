#include "tests/support/fake_upstream.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "base/unique_fd.h"
#include "tests/support/reserved_port.h"

namespace test {
namespace {

constexpr size_t kBlock = 64 << 10;
constexpr std::chrono::seconds kPatience{120};

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

// A blocking connection.
struct Connection {
  base::UniqueFd fd;
  std::unique_ptr<SSL, SslDeleter> ssl;
  size_t number = 0;
  std::string input;  // read and not yet used

  bool read_more() {
    char block[4096];
    const auto n = ssl ? SSL_read(ssl.get(), &block[0], sizeof block)
                       : ::recv(fd.get(), &block[0], sizeof block, 0);
    if (n <= 0) return false;
    input.append(&block[0], static_cast<size_t>(n));
    return true;
  }

  bool write(std::string_view data) {
    while (!data.empty()) {
      const auto n = ssl ? SSL_write(ssl.get(), data.data(), static_cast<int>(data.size()))
                         : ::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
};

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// First and one-past-last byte of a single byte range; nullopt if it is not satisfiable.
std::optional<std::pair<uint64_t, uint64_t>> parse_range(std::string_view range, uint64_t size) {
  range.remove_prefix(std::min(range.find('=') + 1, range.size()));
  const size_t dash = std::min(range.find('-'), range.size());
  const std::string_view first = range.substr(0, dash);
  const std::string_view last = range.substr(std::min(dash + 1, range.size()));
  if (first.empty()) return std::pair(size - std::min(size, number(last)), size);
  const uint64_t begin = number(first);
  const uint64_t end = last.empty() ? size : std::min(size, number(last) + 1);
  if (begin >= end) return std::nullopt;
  return std::pair(begin, end);
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

struct FakeUpstream::Impl {
  struct Blob {
    std::shared_ptr<const std::string> bytes;
    http::Headers headers;
  };
  struct Stall {
    size_t arrived = 0;
    bool open = false;
  };

  explicit Impl(Options o);

  void listen();
  void accept(int listener);
  void serve(const std::shared_ptr<Connection>& connection);
  bool read_request(Connection& connection, Seen& seen);
  void answer(Connection& connection, const Seen& seen, size_t index, bool& keep);

  template <typename Condition>
  void wait(const char* what, Condition condition) {
    std::unique_lock lock(mutex);
    require(changed.wait_for(lock, kPatience, condition), what);
  }

  const Options options;
  std::unique_ptr<SSL_CTX, SslContextDeleter> tls;
  const ReservedPort port;

  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  bool stopping = false;
  std::map<std::string, Blob, std::less<>> blobs;
  std::map<std::string, std::deque<Script>, std::less<>> scripts;
  std::map<std::string, Stall, std::less<>> stalls;
  std::vector<Seen> requests;
  std::set<Connection*> open;
  size_t connections = 0;
  base::UniqueFd listener;
  std::thread acceptor;
  std::vector<std::thread> threads;
};

// One request and its answer, on the connection's thread.
class FakeUpstream::Exchange {
 public:
  Exchange(Impl& impl, Connection& connection, const Seen& request, size_t index)
      : seen(request), impl_(impl), connection_(connection), index_(index) {}

  void set_answer(int status, http::Headers headers, std::shared_ptr<const std::string> body) {
    status_ = status;
    headers_ = std::move(headers);
    body_ = std::move(body);
    begin_ = 0;
    end_ = body_->size();
  }

  void set_range(uint64_t begin, uint64_t end) {
    status_ = 206;
    headers_.set("Content-Range", "bytes " + std::to_string(begin) + "-" + std::to_string(end - 1) +
                                      "/" + std::to_string(body_->size()));
    begin_ = begin;
    end_ = end;
  }

  void ignore_range() {
    status_ = 200;
    headers_.remove("Content-Range");
    begin_ = 0;
    end_ = body_->size();
  }

  void raw(std::string_view bytes) {
    if (alive && !connection_.write(bytes)) alive = false;
  }

  void send_head() {
    if (std::exchange(head_sent_, true) || !alive) return;
    if (chunked) {
      headers_.set("Transfer-Encoding", "chunked");
    } else if (!no_length) {
      headers_.set("Content-Length", std::to_string(claimed_length.value_or(end_ - begin_)));
    }
    std::string head = "HTTP/1.1 " + std::to_string(status_);
    head.append(" ").append(http::reason_phrase(status_)).append("\r\n");
    for (const auto& field : headers_) {
      head.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    // Logged first, so that a client that has the answer finds it in the log.
    log([&](Seen& entry) { entry.status = status_; });
    raw(head.append("\r\n"));
  }

  void send_upto(uint64_t bytes) {
    send_head();
    if (seen.method == "HEAD") return;
    const uint64_t stop = begin_ + std::min(bytes, end_ - begin_);
    while (alive && begin_ + sent_ < stop) {
      const uint64_t from = begin_ + sent_;
      std::string block = body_->substr(from, std::min<uint64_t>(kBlock, stop - from));
      for (const uint64_t offset : corrupted) {
        if (offset >= from && offset < from + block.size()) block[offset - from] ^= 1;
      }
      sent_ += block.size();
      log([&](Seen& entry) { entry.bytes_sent = sent_; });
      if (chunked) {
        char size[20];
        const auto end = std::to_chars(&size[0], &size[0] + sizeof size, block.size(), 16).ptr;
        raw(std::string(&size[0], end).append("\r\n"));
        block.append("\r\n");
      }
      raw(block);
    }
  }

  // Sends what the script has left. True if the connection can take another request.
  bool finish() {
    send_upto(end_ - begin_);
    if (chunked && seen.method != "HEAD") raw("0\r\n\r\n");
    if (!alive) return false;
    log([](Seen& entry) { entry.complete = true; });
    return !claimed_length && !no_length;
  }

  void stall(const std::string& name) {
    if (!alive) return;
    std::unique_lock lock(impl_.mutex);
    auto& stall = impl_.stalls[name];
    ++stall.arrived;
    impl_.changed.notify_all();
    impl_.changed.wait(lock, [&] { return stall.open || impl_.stopping; });
    if (impl_.stopping) alive = false;
  }

  void reset() {
    const linger now = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(connection_.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    connection_.ssl.reset();  // no close_notify
    alive = false;
  }

  const Seen& seen;
  bool alive = true;  // the connection
  bool chunked = false;
  bool no_length = false;
  std::optional<uint64_t> claimed_length;
  std::vector<uint64_t> corrupted;
  void add_header(std::string_view name, std::string_view value) { headers_.add(name, value); }

 private:
  template <typename Change>
  void log(Change change) {
    const std::lock_guard lock(impl_.mutex);
    change(impl_.requests[index_]);
    impl_.changed.notify_all();
  }

  Impl& impl_;
  Connection& connection_;
  const size_t index_;
  int status_ = 200;
  http::Headers headers_;
  std::shared_ptr<const std::string> body_;
  uint64_t begin_ = 0;  // of the body's bytes, what this answer gives
  uint64_t end_ = 0;
  uint64_t sent_ = 0;
  bool head_sent_ = false;
};

FakeUpstream::Impl::Impl(Options o) : options(std::move(o)) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  if (!options.certificate.empty()) {
    tls.reset(SSL_CTX_new(TLS_server_method()));
    require(tls != nullptr, "SSL_CTX_new");
    require(SSL_CTX_use_certificate_chain_file(tls.get(), options.certificate.c_str()) == 1,
            "upstream certificate");
    require(SSL_CTX_use_PrivateKey_file(tls.get(), options.key.c_str(), SSL_FILETYPE_PEM) == 1,
            "upstream key");
    if (!options.client_ca.empty()) {
      require(SSL_CTX_load_verify_file(tls.get(), options.client_ca.c_str()) == 1,
              "upstream client authority");
      SSL_CTX_set_verify(tls.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      const unsigned char context = 1;
      SSL_CTX_set_session_id_context(tls.get(), &context, 1);
    }
  }
  listen();
}

void FakeUpstream::Impl::listen() {
  base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  require(fd.get() >= 0, "upstream: socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.number());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  void* generic = &address;
  require(::bind(fd.get(), static_cast<sockaddr*>(generic), sizeof address) == 0, "upstream: bind");
  require(::listen(fd.get(), 1024) == 0, "upstream: listen");

  const std::lock_guard lock(mutex);
  stopping = false;
  acceptor = std::thread([this, number = fd.get()] { accept(number); });
  listener = std::move(fd);
}

void FakeUpstream::Impl::accept(int listening) {
  while (true) {
    base::UniqueFd fd(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex);
    if (stopping) return;
    if (!fd) continue;
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_shared<Connection>();
    connection->fd = std::move(fd);
    connection->number = connections++;
    open.insert(connection.get());
    threads.emplace_back([this, connection] { serve(connection); });
  }
}

void FakeUpstream::Impl::serve(const std::shared_ptr<Connection>& connection) {
  bool keep = true;
  if (tls) {
    connection->ssl.reset(SSL_new(tls.get()));
    SSL_set_fd(connection->ssl.get(), connection->fd.get());
    keep = SSL_accept(connection->ssl.get()) == 1;
  }
  while (keep) {
    Seen seen;
    if (!read_request(*connection, seen)) break;
    size_t index = 0;
    {
      const std::lock_guard lock(mutex);
      index = requests.size();
      requests.push_back(seen);
      changed.notify_all();
    }
    answer(*connection, seen, index, keep);
  }
  if (connection->ssl) SSL_shutdown(connection->ssl.get());
  const std::lock_guard lock(mutex);
  open.erase(connection.get());
  connection->ssl.reset();
  connection->fd.reset();
}

bool FakeUpstream::Impl::read_request(Connection& connection, Seen& seen) {
  std::string& input = connection.input;
  size_t end = 0;
  while ((end = input.find("\r\n\r\n")) == input.npos) {
    if (!connection.read_more()) return false;
  }
  const std::string head = input.substr(0, end + 2);
  input.erase(0, end + 4);
  const size_t line_end = head.find("\r\n");
  const size_t first = head.find(' ');
  const size_t second = head.find(' ', first + 1);
  seen.method = head.substr(0, first);
  seen.target = head.substr(first + 1, second - first - 1);
  for (size_t at = line_end + 2; at < head.size();) {
    const size_t stop = head.find("\r\n", at);
    const size_t colon = head.find(':', at);
    const size_t value = head.find_first_not_of(' ', colon + 1);
    seen.headers.add(head.substr(at, colon - at), head.substr(value, stop - value));
    at = stop + 2;
  }
  seen.range = seen.headers.get("Range").value_or("");
  seen.connection = connection.number;
  return true;
}

void FakeUpstream::Impl::answer(Connection& connection, const Seen& seen, size_t index,
                                bool& keep) {
  Exchange exchange(*this, connection, seen, index);
  const std::string_view path = path_of(seen.target);
  Script script;
  std::optional<Blob> blob;
  {
    const std::lock_guard lock(mutex);
    if (const auto it = blobs.find(path); it != blobs.end()) blob = it->second;
    if (const auto it = scripts.find(path); it != scripts.end() && !it->second.empty()) {
      script = std::move(it->second.front());
      it->second.pop_front();
    }
  }
  if (!blob) {
    exchange.set_answer(404, {}, std::make_shared<const std::string>("not found\n"));
  } else {
    const auto condition = seen.headers.get("If-Range");
    const bool same = !condition || condition == blob->headers.get("ETag");
    exchange.set_answer(200, blob->headers, blob->bytes);
    if (!seen.range.empty() && same) {
      if (const auto range = parse_range(seen.range, blob->bytes->size())) {
        exchange.set_range(range->first, range->second);
      } else {
        http::Headers headers;
        headers.add("Content-Range", "bytes */" + std::to_string(blob->bytes->size()));
        exchange.set_answer(416, std::move(headers), std::make_shared<const std::string>());
      }
    }
  }
  for (const Step& step : script) step(exchange);
  keep = exchange.finish();
}

FakeUpstream::FakeUpstream() : FakeUpstream(Options()) {}
FakeUpstream::FakeUpstream(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
FakeUpstream::~FakeUpstream() { stop(); }

std::string FakeUpstream::url() const {
  return (impl_->tls ? "https://localhost:" : "http://127.0.0.1:") +
         std::to_string(impl_->port.number());
}
uint16_t FakeUpstream::port() const { return impl_->port.number(); }

void FakeUpstream::serve_blob(const std::string& path, std::string bytes, http::Headers headers) {
  if (!headers.has("ETag")) headers.add("ETag", "\"" + path.substr(path.rfind('/') + 1) + "\"");
  if (headers.get("ETag") == "") headers.remove("ETag");
  if (!headers.has("Content-Type")) headers.add("Content-Type", "application/octet-stream");
  headers.add("Accept-Ranges", "bytes");
  const std::lock_guard lock(impl_->mutex);
  impl_->blobs[path] = {std::make_shared<const std::string>(std::move(bytes)), std::move(headers)};
}

void FakeUpstream::script(const std::string& path, Script script) {
  const std::lock_guard lock(impl_->mutex);
  impl_->scripts[path].push_back(std::move(script));
}

std::vector<FakeUpstream::Seen> FakeUpstream::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->requests;
}

size_t FakeUpstream::count(std::string_view path) const {
  const std::lock_guard lock(impl_->mutex);
  return std::ranges::count_if(impl_->requests,
                               [&](const Seen& seen) { return path_of(seen.target) == path; });
}

uint64_t FakeUpstream::bytes_sent(std::string_view path) const {
  const std::lock_guard lock(impl_->mutex);
  uint64_t sum = 0;
  for (const Seen& seen : impl_->requests) {
    if (path_of(seen.target) == path) sum += seen.bytes_sent;
  }
  return sum;
}

size_t FakeUpstream::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->connections;
}

void FakeUpstream::wait_for_requests(size_t count) const {
  impl_->wait("the upstream has not been asked", [&] { return impl_->requests.size() >= count; });
}

void FakeUpstream::wait_complete(size_t requests) const {
  impl_->wait("the upstream's answers are not complete", [&] {
    return std::cmp_greater_equal(std::ranges::count_if(impl_->requests, &Seen::complete),
                                  requests);
  });
}

void FakeUpstream::wait_stalled(const std::string& stall, size_t scripts) const {
  impl_->wait("no script has come to the stall",
              [&] { return impl_->stalls[stall].arrived >= scripts; });
}

void FakeUpstream::release(const std::string& stall) {
  const std::lock_guard lock(impl_->mutex);
  impl_->stalls[stall].open = true;
  impl_->changed.notify_all();
}

void FakeUpstream::stop() {
  std::thread acceptor;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    impl_->changed.notify_all();
    if (impl_->listener) ::shutdown(impl_->listener.get(), SHUT_RDWR);
    acceptor = std::move(impl_->acceptor);
  }
  if (acceptor.joinable()) acceptor.join();
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->listener.reset();
    for (Connection* connection : impl_->open) ::shutdown(connection->fd.get(), SHUT_RDWR);
    threads = std::move(impl_->threads);
    impl_->threads.clear();
  }
  for (std::thread& thread : threads) thread.join();
}

void FakeUpstream::start() { impl_->listen(); }

namespace step {

Step expect_method(std::string method) {
  return
      [method = std::move(method)](FakeUpstream::Exchange& e) { EXPECT_EQ(e.seen.method, method); };
}
Step expect_header(std::string name, std::string value) {
  return [name = std::move(name), value = std::move(value)](FakeUpstream::Exchange& e) {
    EXPECT_EQ(e.seen.headers.get(name).value_or("(none)"), value) << name;
  };
}
Step expect_no_header(std::string name) {
  return [name = std::move(name)](FakeUpstream::Exchange& e) {
    EXPECT_EQ(e.seen.headers.get(name).value_or("(none)"), "(none)") << name;
  };
}
Step respond(int status, http::Headers headers, std::string body) {
  return [status, headers = std::move(headers),
          bytes = std::make_shared<const std::string>(std::move(body))](FakeUpstream::Exchange& e) {
    e.set_answer(status, headers, bytes);
  };
}
Step redirect(std::string_view location, int status) {
  http::Headers headers;
  headers.add("Location", location);
  return respond(status, std::move(headers));
}
Step add_header(std::string name, std::string value) {
  return [name = std::move(name), value = std::move(value)](FakeUpstream::Exchange& e) {
    e.add_header(name, value);
  };
}
Step ignore_range() {
  return [](FakeUpstream::Exchange& e) { e.ignore_range(); };
}
Step claim_length(uint64_t length) {
  return [length](FakeUpstream::Exchange& e) { e.claimed_length = length; };
}
Step no_length() {
  return [](FakeUpstream::Exchange& e) { e.no_length = true; };
}
Step chunked() {
  return [](FakeUpstream::Exchange& e) { e.chunked = true; };
}
Step corrupt(uint64_t offset) {
  return [offset](FakeUpstream::Exchange& e) { e.corrupted.push_back(offset); };
}
Step raw(std::string bytes) {
  return [bytes = std::move(bytes)](FakeUpstream::Exchange& e) { e.raw(bytes); };
}
Step send_head() {
  return [](FakeUpstream::Exchange& e) { e.send_head(); };
}
Step send_upto(uint64_t bytes) {
  return [bytes](FakeUpstream::Exchange& e) { e.send_upto(bytes); };
}
Step stall(std::string name) {
  return [name = std::move(name)](FakeUpstream::Exchange& e) { e.stall(name); };
}
Step close() {
  return [](FakeUpstream::Exchange& e) { e.alive = false; };
}
Step reset() {
  return [](FakeUpstream::Exchange& e) { e.reset(); };
}

}  // namespace step
}  // namespace test
