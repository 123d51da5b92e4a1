#include "http/client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/signal.h"
#include "base/unique_fd.h"
#include "tests/support/certificates.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

namespace step = test::step;
using base::Task;
using std::chrono::seconds;
using test::FakeUpstream;
using Kind = TransferError::Kind;

constexpr char kBlob[] = "/v2/a/blobs/sha256:1234";

// What a transfer came to: `body` holds what was read before a failure.
struct Outcome {
  int status = 0;
  Headers headers;
  std::optional<uint64_t> length;
  std::string body;
  size_t largest_read = 0;
  std::optional<Kind> failure;
  std::string why;
};

std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

// Reads to the end.
Task<void> drain(ClientResponse& response, Outcome& outcome) {
  while (true) {
    const std::string_view block = co_await response.read();
    if (block.empty()) break;
    outcome.largest_read = std::max(outcome.largest_read, block.size());
    outcome.body.append(block);
  }
}

// Reads until this much has come.
Task<std::string> read_upto(ClientResponse& response, size_t bytes) {
  std::string got;
  while (got.size() < bytes) {
    const std::string_view block = co_await response.read();
    if (block.empty()) break;
    got.append(block);
  }
  co_return got;
}

Task<Outcome> attempt(Client& client, ClientRequest request) {
  Outcome outcome;
  try {
    const auto response = co_await client.fetch(std::move(request));
    outcome.status = response->status();
    outcome.headers = response->headers();
    outcome.length = response->content_length();
    co_await drain(*response, outcome);
  } catch (const TransferError& error) {
    outcome.failure = error.kind();
    outcome.why = error.what();
  }
  co_return outcome;
}

Task<void> attempt_into(Client* client, ClientRequest request, Outcome* outcome) {
  *outcome = co_await attempt(*client, std::move(request));
}

// Enough turns for everything that is ready to happen.
Task<void> settle(base::EventLoop& loop) {
  for (int i = 0; i < 100; ++i) co_await loop.yield();
}

class ClientTest : public testing::Test {
 public:  // coroutines, which must not capture, use it through a pointer
  // Time stands still unless a test moves it: no test can time out by being slow.
  base::ManualClock clock_;
  base::EventLoop loop_{clock_};
  FakeUpstream up_;

  std::string url(std::string_view path = kBlob) const { return up_.url().append(path); }
  ClientRequest get() const { return {.url = url()}; }
  Outcome run(Client& client, ClientRequest request) {
    return base::run_task(loop_, attempt(client, std::move(request)));
  }
  // The outcome of one GET of the blob.
  Outcome fetch(ClientOptions options = {}) {
    Client client(loop_, std::move(options));
    return run(client, get());
  }
};

// --- what arrives -----------------------------------------------------------------------------

TEST_F(ClientTest, StreamsABodyWithStatusHeadersAndLength) {
  const std::string bytes = pattern(3 << 20);
  up_.serve_blob(kBlob, bytes);
  Client client(loop_, {.user_agent = "edge/1"});
  ClientRequest request = get();
  request.headers.add("X-Test", "yes");
  request.headers.add("X-Empty", "");
  const Outcome outcome = run(client, request);

  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_EQ(outcome.status, 200);
  EXPECT_EQ(outcome.length, bytes.size());
  EXPECT_EQ(outcome.headers.get("etag"), "\"sha256:1234\"");
  EXPECT_TRUE(outcome.body == bytes);
  const FakeUpstream::Seen seen = up_.requests().at(0);
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target, kBlob);
  EXPECT_EQ(seen.headers.get("X-Test"), "yes");
  EXPECT_EQ(seen.headers.get("X-Empty"), "");
  EXPECT_EQ(seen.headers.get("User-Agent"), "edge/1");
  EXPECT_FALSE(seen.headers.has("Accept-Encoding"));
}

// What a server was posted, and whether it was asked for leave first.
struct Posted {
  std::string body;
  std::optional<uint64_t> length;
  bool expect = false;
};

Task<void> take_post(Posted* posted, Exchange& exchange) {
  posted->expect = exchange.request.headers.has("Expect");
  posted->length = exchange.body.length();
  while (true) {
    const std::string_view block = co_await exchange.body.read();
    if (block.empty()) break;
    posted->body += block;
  }
  co_await exchange.response.send({.status = 202, .body = exchange.request.method});
}

TEST_F(ClientTest, PostsABodyAtOnceHoweverLarge) {
  for (const size_t size : {0, 5, 3 << 20}) {
    Posted posted;
    const test::TestServer server([&](Exchange& exchange) { return take_post(&posted, exchange); });
    Client client(loop_, {});
    const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
    const Outcome outcome = run(client, {.method = "POST", .url = url, .body = pattern(size)});
    EXPECT_EQ(outcome.status, 202) << outcome.why;
    EXPECT_EQ(outcome.body, "POST");
    EXPECT_TRUE(posted.body == pattern(size));
    EXPECT_EQ(posted.length, size);
    EXPECT_FALSE(posted.expect);
  }
}

TEST_F(ClientTest, BytesCanBeReadBeforeTheRestIsSent) {
  const std::string bytes = pattern(100'000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::send_upto(1000), step::stall("half")});
  Client client(loop_, {});
  base::run_task(loop_, [](ClientTest* self, Client* c, const std::string* all) -> Task<void> {
    const auto response = co_await c->fetch(self->get());
    const std::string first = co_await read_upto(*response, 1000);
    EXPECT_TRUE(first == all->substr(0, 1000));
    self->up_.release("half");
    Outcome rest;
    co_await drain(*response, rest);
    EXPECT_TRUE(first + rest.body == *all);
    const std::string_view after = co_await response->read();
    EXPECT_EQ(after, "") << "the end stays the end";
  }(this, &client, &bytes));
}

TEST_F(ClientTest, RangeIsAskedForAndPartIsGiven) {
  const std::string bytes = pattern(1000);
  up_.serve_blob(kBlob, bytes);
  Client client(loop_, {});
  ClientRequest request = get();
  request.headers.add("Range", "bytes=10-19");
  const Outcome outcome = run(client, request);
  EXPECT_EQ(outcome.status, 206);
  EXPECT_EQ(outcome.headers.get("Content-Range"), "bytes 10-19/1000");
  EXPECT_EQ(outcome.body, bytes.substr(10, 10));
}

TEST_F(ClientTest, HeadHasALengthAndNoBodyAndKeepsTheConnection) {
  up_.serve_blob(kBlob, pattern(5000));
  Client client(loop_, {});
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = run(client, {.method = "HEAD", .url = url()});
    EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
    EXPECT_EQ(outcome.length, 5000U);
    EXPECT_EQ(outcome.body, "");
  }
  EXPECT_EQ(up_.requests().at(1).method, "HEAD");
  EXPECT_EQ(up_.bytes_sent(kBlob), 0U);
  EXPECT_EQ(client.connections_opened(), 1U);
}

TEST_F(ClientTest, EmptyBody) {
  up_.serve_blob(kBlob, "");
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_EQ(outcome.length, 0U);
  EXPECT_EQ(outcome.body, "");
}

TEST_F(ClientTest, ChunkedBodyHasNoLength) {
  const std::string bytes = pattern(300'000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::chunked()});
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.length, std::nullopt);
  EXPECT_TRUE(outcome.body == bytes);
}

TEST_F(ClientTest, TrailersAreNotHeaders) {
  up_.script(kBlob, {step::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n"),
                     step::close()});
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_EQ(outcome.body, "abc");
  EXPECT_FALSE(outcome.headers.has("X-Trailer"));
}

TEST_F(ClientTest, BodyThatEndsWithTheConnection) {
  const std::string bytes = pattern(100'000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::no_length()});
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_EQ(outcome.length, std::nullopt);
  EXPECT_TRUE(outcome.body == bytes);
}

TEST_F(ClientTest, RedirectIsReturnedNotFollowed) {
  up_.script(kBlob, {step::redirect(url("/elsewhere"))});
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.status, 302);
  EXPECT_EQ(outcome.headers.get("Location"), url("/elsewhere"));
  EXPECT_EQ(up_.requests().size(), 1U);
}

TEST_F(ClientTest, InterimResponsesAreSkipped) {
  up_.serve_blob(kBlob, "abc");
  up_.script(kBlob, {step::raw("HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                               "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")});
  const Outcome outcome = fetch();
  EXPECT_EQ(outcome.status, 200);
  EXPECT_EQ(outcome.body, "abc");
  EXPECT_FALSE(outcome.headers.has("X-Interim"));
  EXPECT_FALSE(outcome.headers.has("Link"));
}

TEST_F(ClientTest, TheEnvironmentsProxyIsNotUsed) {
  up_.serve_blob(kBlob, "abc");
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  const Outcome outcome = fetch();
  unsetenv("http_proxy");
  EXPECT_EQ(outcome.body, "abc") << outcome.why;
}

// --- flow control -----------------------------------------------------------------------------

TEST_F(ClientTest, SlowReaderHoldsTheUpstreamBack) {
  const std::string bytes = pattern(48 << 20);
  up_.serve_blob(kBlob, bytes);
  Client client(loop_, {.buffer_bytes = 64 << 10});
  base::run_task(loop_, [](ClientTest* self, Client* c, const std::string* all) -> Task<void> {
    const auto response = co_await c->fetch(self->get());
    uint64_t sent = 0;
    while (sent != self->up_.bytes_sent(kBlob)) {
      sent = self->up_.bytes_sent(kBlob);
      co_await settle(self->loop_);
    }
    EXPECT_LT(self->up_.bytes_sent(kBlob), all->size() / 2) << "more than sockets hold";
    Outcome outcome;
    co_await drain(*response, outcome);
    EXPECT_TRUE(outcome.body == *all);
    EXPECT_LE(outcome.largest_read, 64U << 10);
  }(this, &client, &bytes));
}

TEST_F(ClientTest, SmallestBufferStillDeliversEverything) {
  const std::string bytes = pattern(500'000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::chunked()});
  const Outcome outcome = fetch({.buffer_bytes = 1});
  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_TRUE(outcome.body == bytes);
}

TEST_F(ClientTest, FiftyTransfersAtOnceShareAFewConnections) {
  const std::string bytes = pattern(200'000);
  up_.serve_blob(kBlob, bytes);
  Client client(loop_, {.buffer_bytes = 32 << 10, .max_connections = 8});
  std::vector<Outcome> outcomes(50);
  base::run_task(loop_,
                 [](ClientTest* self, Client* c, std::vector<Outcome>* results) -> Task<void> {
                   base::TaskScope scope;
                   for (Outcome& outcome : *results)
                     scope.spawn(attempt_into(c, self->get(), &outcome));
                   co_await scope.join();
                 }(this, &client, &outcomes));
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
    EXPECT_TRUE(outcome.body == bytes);
  }
  EXPECT_LE(up_.connections(), 8U);
  EXPECT_EQ(client.connections_opened(), up_.connections());
}

TEST_F(ClientTest, WaitingForAConnectionIsNoTimeout) {
  up_.serve_blob(kBlob, "abc");
  up_.script(kBlob, {step::send_upto(1), step::stall("first")});
  Client client(loop_, {.stall_timeout = std::chrono::hours(2), .max_connections = 1});
  Outcome second;
  base::run_task(loop_, [](ClientTest* self, Client* c, Outcome* waiting) -> Task<void> {
    base::TaskScope scope;
    const auto first = co_await c->fetch(self->get());
    const std::string got = co_await read_upto(*first, 1);
    scope.spawn(attempt_into(c, self->get(), waiting));
    co_await settle(self->loop_);
    self->clock_.advance(std::chrono::hours(1));
    co_await settle(self->loop_);
    EXPECT_EQ(self->up_.requests().size(), 1U);
    self->up_.release("first");
    Outcome rest;
    co_await drain(*first, rest);
    EXPECT_EQ(got + rest.body, "abc");
    co_await scope.join();
  }(this, &client, &second));
  EXPECT_EQ(second.body, "abc") << second.why;
}

TEST_F(ClientTest, ConnectionsAreReused) {
  up_.serve_blob(kBlob, pattern(50'000));
  Client client(loop_, {});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(client, get()).body.size(), 50'000U);
  EXPECT_EQ(client.connections_opened(), 1U);
  EXPECT_EQ(up_.connections(), 1U);
}

TEST_F(ClientTest, TheEndIsWaitedForAsLongAsWanted) {
  up_.serve_blob(kBlob, pattern(1000));
  for (const char* stall : {"brief", "long"}) {
    up_.script(kBlob, {step::chunked(), step::send_upto(1000), step::stall(stall)});
  }
  Client client(loop_, {});
  base::run_task(loop_, [](ClientTest* self, Client* c) -> Task<void> {
    for (const bool comes : {true, false}) {
      const auto response = co_await c->fetch(self->get());
      const std::string got = co_await read_upto(*response, 1000);
      EXPECT_EQ(got.size(), 1000U);
      self->loop_.post(
          [self, comes] { comes ? self->up_.release("brief") : self->clock_.advance(seconds(1)); });
      co_await response->wait_for_end(seconds(1));
      EXPECT_EQ(c->connections_opened(), 1U);
    }
    const Outcome next = co_await attempt(*c, self->get());
    EXPECT_EQ(next.body.size(), 1000U);
    EXPECT_EQ(c->connections_opened(), 2U);
  }(this, &client));
}

TEST_F(ClientTest, KeptConnectionThatDiedIsReplaced) {
  up_.serve_blob(kBlob, "abc");
  Client client(loop_, {});
  EXPECT_EQ(run(client, get()).body, "abc");
  up_.stop();
  up_.start();
  const Outcome outcome = run(client, get());
  EXPECT_EQ(outcome.body, "abc") << outcome.why;
  EXPECT_EQ(client.connections_opened(), 2U);
}

// --- where it may go --------------------------------------------------------------------------

// Or the kernel would send again for a quarter of an hour, and by HTTP/2 many requests would wait.
TEST_F(ClientTest, ConnectionThatNobodyAcknowledgesEndsAsATransferWould) {
  up_.serve_blob(kBlob, "abc");
  Client client(loop_, {.stall_timeout = seconds(17)});
  run(client, get());
  std::vector<int> limits;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    void* generic = &peer;
    if (::getpeername(fd, static_cast<sockaddr*>(generic), &length) != 0) continue;
    if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != up_.port()) continue;
    int limit = 0;
    socklen_t size = sizeof limit;
    EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, &size), 0);
    limits.push_back(limit);
  }
  EXPECT_EQ(limits, std::vector<int>{17'000});
}

TEST_F(ClientTest, AddressesCanBeRefused) {
  up_.serve_blob(kBlob, "abc");
  Client client(loop_, {});
  ClientRequest request = get();
  std::vector<std::string> asked;
  request.may_connect = [&](const std::string& address) {
    asked.push_back(address);
    return false;
  };
  EXPECT_EQ(run(client, request).failure, Kind::unreachable);
  EXPECT_THAT(run(client, request).why, testing::HasSubstr("127.0.0.1"));
  EXPECT_THAT(asked, testing::Contains("127.0.0.1"));
  EXPECT_EQ(up_.connections(), 0U);
  request.may_connect = [](const std::string& address) { return address == "127.0.0.1"; };
  EXPECT_EQ(run(client, request).body, "abc");
}

TEST_F(ClientTest, AddressOfAKeptConnectionIsCheckedToo) {
  up_.serve_blob(kBlob, "abc");
  Client client(loop_, {});
  EXPECT_EQ(run(client, get()).body, "abc");
  ClientRequest request = get();
  request.may_connect = [](const std::string&) { return false; };
  EXPECT_EQ(run(client, request).failure, Kind::unreachable);
  EXPECT_EQ(up_.requests().size(), 1U);
}

// --- TLS --------------------------------------------------------------------------------------

class TlsClientTest : public testing::Test {
 public:  // as ClientTest
  base::ManualClock clock_;
  base::EventLoop loop_{clock_};
  test::TempDir directory_;
  test::CertificateAuthority authority_{directory_.path(), "ca"};

  Outcome fetch(const FakeUpstream& up, ClientOptions options) {
    Client client(loop_, std::move(options));
    return base::run_task(loop_, attempt(client, {.url = up.url() + kBlob}));
  }
};

TEST_F(TlsClientTest, StreamsOverTls) {
  const test::CertificateFiles files = authority_.issue_server();
  FakeUpstream up({.certificate = files.certificate, .key = files.key});
  const std::string bytes = pattern(3 << 20);
  up.serve_blob(kBlob, bytes);
  const Outcome outcome = fetch(up, {.buffer_bytes = 100'000, .ca_file = authority_.certificate()});
  EXPECT_EQ(outcome.failure, std::nullopt) << outcome.why;
  EXPECT_TRUE(outcome.body == bytes);
}

// --- HTTP/2 -----------------------------------------------------------------------------------

// Holds answers back until it is opened.
struct Gate {
  std::atomic<bool> open = false;
  base::Signal opened;

  void release() {
    open = true;
    opened.notify();
  }
};

// Answers with as many bytes as the path says, after its version; with a query, once the gate is
// open.
Task<void> answer_with_version(std::atomic<int>* http2, Gate* gate, Exchange& exchange) {
  if (exchange.request.version == Version::http2) ++*http2;
  http2->notify_all();
  while (!exchange.request.query.empty()) {
    const base::Signal::Ticket ticket = gate->opened.ticket();
    if (gate->open) break;
    co_await gate->opened.wait(ticket);
  }
  Response response;
  response.body = pattern(std::stoul(exchange.request.path.substr(1)));
  co_await exchange.response.send(std::move(response));
}

class Http2ClientTest : public TlsClientTest {
 public:
  Http2ClientTest() {
    const test::CertificateFiles files = authority_.issue_server();
    TlsOptions tls;
    tls.certificates.push_back({files.certificate, files.key});
    server_ = std::make_unique<test::TestServer>(
        [this](Exchange& exchange) { return answer_with_version(&http2_, &gate_, exchange); },
        test::TestServerOptions{.tls = std::make_shared<TlsContext>(tls)});
  }
  ClientRequest get(size_t bytes) const {
    return {.url = "https://localhost:" + std::to_string(server_->port()) + "/" +
                   std::to_string(bytes)};
  }
  // One that is not answered, and lets time pass until it is given up; it is the server's nth.
  Task<void> time_out(Client& client, int nth) {
    std::jthread time([this, nth] {
      for (int asked = 0; (asked = http2_) < nth;) http2_.wait(asked);
      clock_.advance(seconds(30));
    });
    ClientRequest request = get(1);
    request.url += "?held";
    const Outcome outcome = co_await attempt(client, std::move(request));
    EXPECT_EQ(outcome.failure, Kind::timed_out) << outcome.why;
  }
  ClientOptions options() const {
    return {.buffer_bytes = 64 << 10, .ca_file = authority_.certificate(), .http2 = true};
  }

  std::atomic<int> http2_ = 0;
  Gate gate_;
  std::unique_ptr<test::TestServer> server_;
};

TEST_F(Http2ClientTest, IsSpokenIfWanted) {
  Client client(loop_, options());
  const Outcome outcome = base::run_task(loop_, attempt(client, get(5'000'000)));
  EXPECT_EQ(outcome.status, 200) << outcome.why;
  EXPECT_EQ(outcome.length, 5'000'000U);
  EXPECT_TRUE(outcome.body == pattern(5'000'000));
  EXPECT_EQ(http2_, 1);
  ClientOptions plain = options();
  plain.http2 = false;
  Client other(loop_, plain);
  EXPECT_EQ(base::run_task(loop_, attempt(other, get(10))).body, pattern(10));
  EXPECT_EQ(http2_, 1);
}

TEST_F(Http2ClientTest, TransfersShareAConnectionAndASlowReaderHoldsUpNoOther) {
  Client client(loop_, options());
  base::run_task(loop_, [](Http2ClientTest* self, Client* c) -> Task<void> {
    const auto slow = co_await c->fetch(self->get(8'000'000));
    std::vector<Outcome> outcomes(10);
    base::TaskScope scope;
    for (Outcome& outcome : outcomes) {
      scope.spawn(attempt_into(c, self->get(3'000'000), &outcome));
    }
    co_await scope.join();
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.body == pattern(3'000'000)) << outcome.why;
    }
    Outcome rest;
    co_await drain(*slow, rest);
    EXPECT_TRUE(rest.body == pattern(8'000'000));
  }(this, &client));
  EXPECT_EQ(client.connections_opened(), 1U);
  EXPECT_EQ(http2_, 11);
}

// It may lead nowhere. Requests that followed would share it, and its end.
TEST_F(Http2ClientTest, ConnectionOfATransferThatTimedOutIsNotUsedAgain) {
  Client client(loop_, options());
  base::run_task(loop_, time_out(client, 1));
  EXPECT_EQ(base::run_task(loop_, attempt(client, get(10))).body, pattern(10));
  EXPECT_EQ(client.connections_opened(), 2U);
  gate_.release();
}

TEST_F(Http2ClientTest, TransferThatTimedOutEndsNoOtherOfItsConnection) {
  ClientOptions long_stalls = options();
  long_stalls.stall_timeout = std::chrono::hours(1);  // the first need not be paused yet
  Client client(loop_, long_stalls);
  base::run_task(loop_, [](Http2ClientTest* self, Client* c) -> Task<void> {
    const auto paused = co_await c->fetch(self->get(8'000'000));
    co_await settle(self->loop_);
    co_await self->time_out(*c, 2);
    Outcome rest;
    co_await drain(*paused, rest);
    EXPECT_TRUE(rest.body == pattern(8'000'000));
  }(this, &client));
  EXPECT_EQ(client.connections_opened(), 1U);
  gate_.release();
}

// Under the leak sanitizer: curl 7.88 loses what it holds of such transfers.
TEST_F(Http2ClientTest, PausedTransferCanBeLeft) {
  Client client(loop_, options());
  base::run_task(loop_, [](Http2ClientTest* self, Client* c) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      const auto left = co_await c->fetch(self->get(8'000'000));
      co_await settle(self->loop_);
    }
    const auto aborted = co_await c->fetch(self->get(8'000'000));
    co_await settle(self->loop_);
    c->abort();
  }(this, &client));
}

TEST_F(TlsClientTest, UnknownAuthorityIsRefused) {
  const test::CertificateFiles files = authority_.issue_server();
  FakeUpstream up({.certificate = files.certificate, .key = files.key});
  up.serve_blob(kBlob, "abc");
  test::CertificateAuthority other(directory_.path(), "other");
  EXPECT_EQ(fetch(up, {.ca_file = other.certificate()}).failure, Kind::tls);
  EXPECT_EQ(fetch(up, {}).failure, Kind::tls);
  EXPECT_EQ(up.requests().size(), 0U);
}

TEST_F(TlsClientTest, WrongNameIsRefused) {
  const test::CertificateFiles files =
      authority_.issue("wrong", {.common_name = "localhost", .dns_names = {"elsewhere.example"}});
  FakeUpstream up({.certificate = files.certificate, .key = files.key});
  up.serve_blob(kBlob, "abc");
  EXPECT_EQ(fetch(up, {.ca_file = authority_.certificate()}).failure, Kind::tls);
  EXPECT_EQ(up.requests().size(), 0U);
}

TEST_F(TlsClientTest, ClientCertificateIsShown) {
  const test::CertificateFiles server = authority_.issue_server();
  const test::CertificateFiles edge = authority_.issue("edge", {.common_name = "edge-1"});
  FakeUpstream up({.certificate = server.certificate,
                   .key = server.key,
                   .client_ca = authority_.certificate()});
  up.serve_blob(kBlob, "abc");
  const Outcome outcome = fetch(
      up, {.ca_file = authority_.certificate(), .certificate = edge.certificate, .key = edge.key});
  EXPECT_EQ(outcome.body, "abc") << outcome.why;
  EXPECT_NE(fetch(up, {.ca_file = authority_.certificate()}).failure, std::nullopt);
  EXPECT_EQ(up.requests().size(), 1U);
}

TEST_F(TlsClientTest, MissingFilesAreTlsErrors) {
  const test::CertificateFiles files = authority_.issue_server();
  FakeUpstream up({.certificate = files.certificate, .key = files.key});
  EXPECT_EQ(fetch(up, {.ca_file = directory_.path() / "absent.pem"}).failure, Kind::tls);
  EXPECT_EQ(fetch(up, {.ca_file = authority_.certificate(),
                       .certificate = directory_.path() / "absent.pem",
                       .key = directory_.path() / "absent.pem"})
                .failure,
            Kind::tls);
}

// --- failures ---------------------------------------------------------------------------------

TEST_F(ClientTest, NobodyListensIsUnreachable) {
  up_.stop();
  EXPECT_EQ(fetch().failure, Kind::unreachable);
}

TEST_F(ClientTest, UnresolvableNameIsUnreachable) {
  Client client(loop_, {});
  // A label of more than 63 characters: refused by the resolver, no name server is asked.
  const Outcome outcome = run(client, {.url = "http://" + std::string(64, 'a') + ".invalid/v2/"});
  EXPECT_EQ(outcome.failure, Kind::unreachable) << outcome.why;
}

TEST_F(ClientTest, UrlsThatAreNoneAreRefused) {
  Client client(loop_, {});
  EXPECT_EQ(run(client, {.url = "http://"}).failure, Kind::unreachable);
  EXPECT_EQ(run(client, {.url = url() + "\r\nX-Injected: 1"}).failure, Kind::unreachable);
  EXPECT_NE(run(client, {.url = "file:///etc/passwd"}).failure, std::nullopt);
  ClientRequest injected = get();
  injected.headers.add("X-Test", "a\r\nX-Injected: 1");
  EXPECT_EQ(run(client, injected).failure, Kind::broken);
  EXPECT_EQ(up_.requests().size(), 0U);
}

TEST_F(ClientTest, HandshakeThatHangsTimesOut) {
  base::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_GE(listener.get(), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  void* generic = &address;
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(listener.get(), static_cast<sockaddr*>(generic), length), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), static_cast<sockaddr*>(generic), &length), 0);

  Client client(loop_, {.connect_timeout = seconds(1000)});
  base::UniqueFd accepted;
  std::jthread silent([&] {
    accepted.reset(::accept(listener.get(), nullptr, nullptr));
    ASSERT_GE(accepted.get(), 0);
    char first_byte = 0;
    EXPECT_EQ(::recv(accepted.get(), &first_byte, 1, 0), 1);
    clock_.advance(seconds(1000));
  });
  const Outcome outcome =
      run(client, {.url = "https://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/"});
  EXPECT_EQ(outcome.failure, Kind::timed_out) << outcome.why;
}

TEST_F(ClientTest, NoFirstByteTimesOut) {
  up_.script(kBlob, {step::stall("head")});
  std::jthread time([&] {
    up_.wait_stalled("head");
    clock_.advance(seconds(30));
  });
  const Outcome outcome =
      fetch({.connect_timeout = std::chrono::hours(1), .first_byte_timeout = seconds(30)});
  EXPECT_EQ(outcome.failure, Kind::timed_out) << outcome.why;
  EXPECT_EQ(outcome.status, 0);
}

TEST_F(ClientTest, ResponseMayTakeLongerThanConnecting) {
  up_.serve_blob(kBlob, "abc");
  up_.script(kBlob, {step::stall("head")});
  std::jthread time([&] {
    up_.wait_stalled("head");
    clock_.advance(seconds(29));
    loop_.post([&] { up_.release("head"); });  // after the timers that came due
  });
  const Outcome outcome = fetch({.connect_timeout = seconds(1), .first_byte_timeout = seconds(30)});
  EXPECT_EQ(outcome.body, "abc") << outcome.why;
}

TEST_F(ClientTest, StallTimesOutButSlownessDoesNot) {
  const std::string bytes = pattern(3000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::send_upto(1000), step::stall("one"), step::send_upto(2000),
                     step::stall("two"), step::send_upto(2500), step::stall("three")});
  Client client(loop_, {.stall_timeout = seconds(30)});
  base::run_task(loop_, [](ClientTest* self, Client* c, const std::string* all) -> Task<void> {
    const auto response = co_await c->fetch(self->get());
    std::string got = co_await read_upto(*response, 1000);
    for (int i = 0; i < 29; ++i) {
      self->clock_.advance(seconds(1));
      co_await settle(self->loop_);
    }
    self->up_.release("one");
    got += co_await read_upto(*response, 1000);
    self->clock_.advance(seconds(29));
    co_await settle(self->loop_);
    self->up_.release("two");
    got += co_await read_upto(*response, 500);
    EXPECT_TRUE(got == all->substr(0, 2500));
    self->clock_.advance(seconds(30));
    std::optional<Kind> failure;
    try {
      co_await response->read();
    } catch (const TransferError& error) {
      failure = error.kind();
    }
    EXPECT_EQ(failure, Kind::timed_out);
  }(this, &client, &bytes));
}

TEST_F(ClientTest, PausedTransferDoesNotStall) {
  const std::string bytes = pattern(200'000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::send_upto(150'000), step::stall("sent")});
  Client client(loop_, {.stall_timeout = seconds(30), .buffer_bytes = 64 << 10});
  base::run_task(loop_, [](ClientTest* self, Client* c, const std::string* all) -> Task<void> {
    const auto response = co_await c->fetch(self->get());
    self->up_.wait_stalled("sent");
    co_await settle(self->loop_);
    self->clock_.advance(std::chrono::hours(1));
    co_await settle(self->loop_);
    std::string got = co_await read_upto(*response, 150'000);
    EXPECT_EQ(got.size(), 150'000U);
    // And now it can stall.
    self->clock_.advance(seconds(29));
    co_await settle(self->loop_);
    self->up_.release("sent");
    Outcome rest;
    co_await drain(*response, rest);
    EXPECT_TRUE(got + rest.body == *all);
  }(this, &client, &bytes));
}

TEST_F(ClientTest, ConnectionClosedAfterKBytesIsBroken) {
  const std::string bytes = pattern(2 << 20);
  up_.serve_blob(kBlob, bytes);
  for (const size_t k : {size_t{0}, size_t{1}, size_t{100'000}, bytes.size() - 1}) {
    up_.script(kBlob, {step::send_upto(k), step::close()});
    const Outcome outcome = fetch({.buffer_bytes = 64 << 10});
    EXPECT_EQ(outcome.failure, Kind::broken) << k;
    EXPECT_EQ(outcome.status, 200) << k;
    EXPECT_TRUE(outcome.body == bytes.substr(0, k)) << k << " sent, read " << outcome.body.size();
  }
}

TEST_F(ClientTest, ChunkedBodyCutShortIsBroken) {
  up_.serve_blob(kBlob, pattern(100'000));
  up_.script(kBlob, {step::chunked(), step::send_upto(100'000), step::close()});
  EXPECT_EQ(fetch().failure, Kind::broken);
}

TEST_F(ClientTest, ResetIsBroken) {
  const std::string bytes = pattern(2 << 20);
  up_.serve_blob(kBlob, bytes);
  for (const size_t k : {size_t{0}, size_t{1'000'000}}) {
    up_.script(kBlob, {step::send_upto(k), step::reset()});
    const Outcome outcome = fetch();
    EXPECT_EQ(outcome.failure, Kind::broken) << k;
    EXPECT_TRUE(bytes.starts_with(outcome.body));
  }
}

TEST_F(ClientTest, NoAnswerAtAllIsBroken) {
  up_.script(kBlob, {step::close()});
  EXPECT_EQ(fetch().failure, Kind::broken);
}

TEST_F(ClientTest, UpstreamThatDiesIsBroken) {
  up_.serve_blob(kBlob, pattern(1000));
  up_.script(kBlob, {step::send_upto(500), step::stall("dying")});
  Client client(loop_, {});
  base::run_task(loop_, [](ClientTest* self, Client* c) -> Task<void> {
    const auto response = co_await c->fetch(self->get());
    const std::string got = co_await read_upto(*response, 500);
    EXPECT_EQ(got.size(), 500U);
    self->up_.stop();
    std::optional<Kind> failure;
    try {
      co_await response->read();
    } catch (const TransferError& error) {
      failure = error.kind();
    }
    EXPECT_EQ(failure, Kind::broken);
  }(this, &client));
}

TEST_F(ClientTest, LengthThatLies) {
  const std::string bytes = pattern(1000);
  up_.serve_blob(kBlob, bytes);
  up_.script(kBlob, {step::claim_length(1100)});
  const Outcome longer = fetch();
  EXPECT_EQ(longer.failure, Kind::broken);
  EXPECT_TRUE(longer.body == bytes);

  // More bytes than said belong to nothing: the body ends where the head says. Should they come too
  // late for curl to see them and close the connection, they break the next transfer on it, which
  // is no more than a failure.
  up_.script(kBlob, {step::claim_length(900)});
  Client client(loop_, {});
  const Outcome shorter = run(client, get());
  EXPECT_EQ(shorter.failure, std::nullopt) << shorter.why;
  EXPECT_TRUE(shorter.body == bytes.substr(0, 900));
  const Outcome next = run(client, get());
  EXPECT_TRUE(next.failure == Kind::broken || next.body == bytes) << next.why;
}

TEST_F(ClientTest, MalformedHeadsAreBroken) {
  const std::string heads[] = {
      "HELLO\r\n\r\n",
      "HTTP/1.1 abc OK\r\nContent-Length: 1\r\n\r\nx",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 3\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Length: 3",
      "HTTP/1.1 103 Early Hints\r\n\r\n",
  };
  for (const std::string& head : heads) {
    up_.script(kBlob, {step::raw(head), step::close()});
    EXPECT_EQ(fetch().failure, Kind::broken) << head;
  }
}

TEST_F(ClientTest, HeadIsLimited) {
  up_.serve_blob(kBlob, "abc");
  for (int i = 0; i < 2; ++i) {
    FakeUpstream::Script script;
    const int fields = i == 0 ? 60 : 65;
    for (int n = 0; n < fields; ++n) {
      script.push_back(step::add_header("X-" + std::to_string(n), std::string(1000, 'x')));
    }
    up_.script(kBlob, script);
  }
  const Outcome large = fetch();
  EXPECT_EQ(large.body, "abc") << large.why;
  EXPECT_EQ(large.headers.get("X-59"), std::string(1000, 'x'));
  EXPECT_EQ(fetch().failure, Kind::broken);

  std::string hints;
  for (int n = 0; n < 3000; ++n) hints += "HTTP/1.1 103 Early Hints\r\n\r\n";
  up_.script(kBlob, {step::raw(hints)});
  EXPECT_EQ(fetch().failure, Kind::broken) << "interim responses without end";
}

// --- leaving early ----------------------------------------------------------------------------

TEST_F(ClientTest, ResponseCanBeLeftAtEveryStage) {
  const std::string bytes = pattern(1 << 20);
  up_.serve_blob(kBlob, bytes);
  enum class Stage { head, middle, paused, all_arrived };
  for (const Stage stage : {Stage::head, Stage::middle, Stage::paused, Stage::all_arrived}) {
    const std::string stall = std::to_string(std::to_underlying(stage));
    if (stage != Stage::all_arrived) {
      up_.script(kBlob, {step::send_upto(stage == Stage::head ? 0 : 500'000), step::stall(stall)});
    }
    Client client(loop_, {.buffer_bytes = stage == Stage::paused ? 64U << 10 : 4U << 20});
    base::run_task(loop_, [](ClientTest* self, Client* c, Stage until) -> Task<void> {
      {
        const auto response = co_await c->fetch(self->get());
        if (until == Stage::middle) co_await read_upto(*response, 100'000);
        while (until == Stage::all_arrived && !self->up_.requests().back().complete) {
          co_await self->loop_.yield();
        }
        co_await settle(self->loop_);
      }
      self->up_.release(std::to_string(std::to_underlying(until)));
      const Outcome next = co_await attempt(*c, self->get());
      EXPECT_EQ(next.failure, std::nullopt) << next.why;
      EXPECT_EQ(next.body.size(), 1U << 20);
    }(this, &client, stage));
  }
}

TEST_F(ClientTest, AbortEndsEveryTransferAndEveryLaterOne) {
  up_.serve_blob(kBlob, pattern(1 << 20));
  up_.script("/head", {step::stall("head")});
  up_.script(kBlob, {step::send_upto(500'000), step::stall("body")});
  Client client(loop_, {.buffer_bytes = 64 << 10, .max_connections = 3});
  std::vector<Outcome> outcomes(3);
  base::run_task(loop_,
                 [](ClientTest* self, Client* c, std::vector<Outcome>* results) -> Task<void> {
                   base::TaskScope scope;
                   const auto paused = co_await c->fetch(self->get());
                   self->up_.wait_stalled("body");
                   co_await settle(self->loop_);
                   self->up_.script(kBlob, {step::send_upto(1000), step::stall("body")});
                   scope.spawn(attempt_into(c, self->get(), &results->at(0)));
                   scope.spawn(attempt_into(c, {.url = self->url("/head")}, &results->at(1)));
                   // Waits for a connection.
                   scope.spawn(attempt_into(c, self->get(), &results->at(2)));
                   while (self->up_.requests().size() < 3) co_await self->loop_.yield();
                   co_await settle(self->loop_);
                   EXPECT_EQ(scope.running(), 3U);

                   c->abort();
                   co_await scope.join();
                   std::optional<Kind> failure;
                   try {
                     co_await paused->read();
                   } catch (const TransferError& error) {
                     failure = error.kind();
                   }
                   EXPECT_EQ(failure, Kind::broken);
                   const Outcome later = co_await attempt(*c, self->get());
                   EXPECT_EQ(later.failure, Kind::broken);
                 }(this, &client, &outcomes));
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.failure, Kind::broken) << outcome.why;
  EXPECT_EQ(up_.requests().size(), 3U);
}

TEST_F(ClientTest, AbortWhileANameIsResolvedDoesNotWaitForIt) {
  Client client(loop_, {});
  Outcome outcome;
  base::run_task(loop_, [](ClientTest* self, Client* c, Outcome* result) -> Task<void> {
    base::TaskScope scope;
    scope.spawn(attempt_into(c, {.url = "http://localhost:1/"}, result));
    co_await self->loop_.yield();
    c->abort();
    co_await scope.join();
  }(this, &client, &outcome));
  EXPECT_NE(outcome.failure, std::nullopt);
}

}  // namespace
}  // namespace http
