// What a client sees of a connection: keep-alive, pipelining, bodies both ways, timeouts, and ends
// that must not look like a whole response.
#include "http/http1_connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/durable_file.h"
#include "base/signal.h"
#include "tests/http/handlers.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::Access;
using test::End;
using test::RawClient;
using test::RawResponse;
using test::TestServer;

// Answers with what it got: method, path, body.
base::Task<void> echo(Exchange& e) {
  std::string body = e.request.method + " " + e.request.path + "|";
  while (true) {
    const std::string_view block = co_await e.body.read();
    if (block.empty()) break;
    body += block;
  }
  Response response{.status = 200, .body = std::move(body)};
  co_await e.response.send(std::move(response));
}

TEST(Connection, KeepsAlive) {
  TestServer server(echo);
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    const RawResponse response = client.get("/a");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "GET /a|");
    EXPECT_TRUE(response.headers.has("Date"));
    EXPECT_FALSE(response.headers.has("Connection"));
  }
  EXPECT_EQ(server.server().connections(), 1U);
}

TEST(Connection, AnswersPipelinedRequestsInOrder) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send(
      "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" + kGet +
      "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n"
      "0\r\n\r\n" +
      kGet);
  EXPECT_EQ(client.response().body, "POST /1|ab");
  EXPECT_EQ(client.response().body, "GET /a|");
  EXPECT_EQ(client.response().body, "POST /2|xyz");
  EXPECT_EQ(client.response().body, "GET /a|");
}

TEST(Connection, ServesALongPipeline) {
  TestServer server(echo);
  RawClient client(server.port());
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += kGet;
  std::thread sender([&] { client.send(requests); });
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.response().body, "GET /a|") << i;
  sender.join();
}

TEST(Connection, ClosesWhenAskedTo) {
  TestServer server(echo);
  RawClient client(server.port());
  const RawResponse response = client.get("/a", "Connection: close\r\n");
  EXPECT_EQ(response.headers.get("Connection"), "close");
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(Connection, ServesHttp10) {
  TestServer server(echo);
  RawClient once(server.port());
  once.send("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(once.response().headers.get("Connection"), "close");
  EXPECT_EQ(once.wait_for_end(), End::clean);
  RawClient kept(server.port());
  for (int i = 0; i < 2; ++i) {
    kept.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.response().headers.get("Connection"), "keep-alive");
  }
}

base::Task<void> stream(Exchange& e) {
  co_await e.response.begin(200, {}, std::nullopt);
  co_await e.response.write("hello ");
  co_await e.response.write("");
  co_await e.response.write("world");
  co_await e.response.finish();
}

TEST(Connection, StreamsAnUnknownLength) {
  TestServer server(stream);
  RawClient client(server.port());
  for (int i = 0; i < 2; ++i) {
    const RawResponse response = client.get("/");
    EXPECT_EQ(response.headers.get("Transfer-Encoding"), "chunked");
    EXPECT_EQ(response.body, "hello world");
  }
  // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
  RawClient old(server.port());
  old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const RawResponse response = old.response();
  EXPECT_FALSE(response.headers.has("Transfer-Encoding"));
  EXPECT_EQ(response.body, "hello world");
}

base::Task<void> sized(Exchange& e) {
  co_await e.response.begin(200, {}, 11);
  co_await e.response.write("hello world");
  co_await e.response.finish();
}

TEST(Connection, LeavesTheBodyOutForHead) {
  for (const Handler& handler : {Handler(sized), Handler(stream), Handler(deaf)}) {
    TestServer server(handler);
    RawClient client(server.port());
    for (int i = 0; i < 2; ++i) {
      client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
      const RawResponse response = client.response(/*head=*/true);
      EXPECT_EQ(response.status, 200);
    }
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.response(/*head=*/true);
    std::string rest;
    EXPECT_EQ(client.wait_for_end(&rest), End::clean);
    EXPECT_EQ(rest, "");
  }
  TestServer server(sized);
  RawClient client(server.port());
  client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.response(true).headers.get("Content-Length"), "11");
}

base::Task<void> not_modified(Exchange& e) {
  Response response{.status = 304, .body = "not sent"};
  response.headers.add("ETag", "\"x\"");
  co_await e.response.send(std::move(response));
}

TEST(Connection, LeavesTheBodyOutOf304) {
  TestServer server(not_modified);
  RawClient client(server.port());
  EXPECT_EQ(client.get("/").status, 304);
  EXPECT_EQ(client.get("/").headers.get("ETag"), "\"x\"");
}

base::Task<void> inject(Exchange& e) {
  Response response;
  response.headers.add("X", "a\r\nSet-Cookie: b");
  co_await e.response.send(std::move(response));
}

TEST(Connection, DoesNotLetAFieldValueWriteFields) {
  TestServer server(inject);
  RawClient client(server.port());
  const RawResponse response = client.get("/");
  EXPECT_FALSE(response.headers.has("Set-Cookie"));
  EXPECT_EQ(response.headers.get("X"), "a  Set-Cookie: b");
}

// --- Expect ------------------------------------------------------------------------------------

const std::string kExpect =
    "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";

TEST(Expect, ContinuesAtTheFirstRead) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send(kExpect);
  EXPECT_EQ(client.response().status, 100);
  client.send("body");
  EXPECT_EQ(client.response().body, "PUT /a|body");
  EXPECT_EQ(client.get("/b").body, "GET /b|");
}

TEST(Expect, SendsNo100WhenTheBodyIsThereAlready) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send(kExpect + "body");
  EXPECT_EQ(client.response().body, "PUT /a|body");
}

TEST(Expect, ClosesWithout100WhenTheHandlerDoesNotRead) {
  TestServer server(deaf);
  RawClient client(server.port());
  client.send(kExpect);
  const RawResponse response = client.response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("Connection"), "close");
  // The server drops what comes for a moment; it is the client that hangs up.
  client.shut_down_write();
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(Expect, RefusesOtherExpectations) {
  TestServer server(echo);
  RawClient client(server.port());
  EXPECT_EQ(client.get("/", "Expect: miracles\r\n").status, 417);
  EXPECT_EQ(client.get("/").status, 200);
  client.send("POST /a HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx");
  EXPECT_EQ(client.response().body, "POST /a|x");
}

// --- Request bodies ----------------------------------------------------------------------------

TEST(RequestBody, ASmallOneLeftUnreadIsDropped) {
  TestServer server(deaf);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n" +
              std::string(60000, 'x') + kGet);
  EXPECT_FALSE(client.response().headers.has("Connection"));
  EXPECT_EQ(client.response().body, "deaf");
  client.send(
      "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n" +
      kGet);
  EXPECT_EQ(client.response().body, "deaf");
  EXPECT_EQ(client.response().body, "deaf");
}

TEST(RequestBody, ALargeOneLeftUnreadEndsTheConnection) {
  TestServer server(deaf);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
  const RawResponse response = client.response();
  EXPECT_EQ(response.headers.get("Connection"), "close");
  // Nothing in it is taken for a request.
  client.send(kGet);
  client.shut_down_write();
  std::string rest;
  EXPECT_EQ(client.wait_for_end(&rest), End::clean);
  EXPECT_EQ(rest, "");
}

TEST(RequestBody, ALongChunkedOneLeftUnreadEndsTheConnection) {
  TestServer server(deaf);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.try_send("20000\r\n" + std::string(0x20000, 'x') + "\r\n0\r\n\r\n" + kGet);
  client.shut_down_write();
  EXPECT_EQ(client.response().body, "deaf");
  std::string rest;
  client.wait_for_end(&rest);
  EXPECT_EQ(rest, "");
}

// A refusal arrives although the client is still sending: the server reads on for a moment.
base::Task<void> unauthorized(Exchange&) {
  throw StatusError(401, "who are you");
  co_return;
}

TEST(RequestBody, ARefusalReachesAClientThatIsStillSending) {
  TestServer server(unauthorized);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n");
  client.send(std::string(2000000, 'x'));
  client.shut_down_write();
  EXPECT_EQ(client.response().status, 401);
}

TEST(RequestBody, ABrokenOneIsAnsweredAndEndsTheConnection) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXXXX");
  const RawResponse response = client.response();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.headers.get("Connection"), "close");
  client.shut_down_write();
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(RequestBody, OneThatBreaksOffIsAConnectionError) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
  client.shut_down_write();
  client.wait_for_end();
  const std::vector<Access> accesses = server.wait_for_accesses(1);
  EXPECT_FALSE(accesses[0].complete);
  EXPECT_EQ(accesses[0].status, 0);
}

// Counts what it has taken and waits for the test after each block.
struct Gate {
  base::Signal opened;
  std::atomic<bool> open = false;
  std::atomic<uint64_t> taken = 0;
  std::promise<void> first_block;
};

base::Task<void> take_slowly(Exchange* e, Gate* gate) {
  bool first = true;
  while (true) {
    const std::string_view block = co_await e->body.read();
    if (block.empty()) break;
    EXPECT_LE(block.size(), size_t{1} << 20);
    gate->taken += block.size();
    if (first) gate->first_block.set_value();
    first = false;
    while (!gate->open) {
      const base::Signal::Ticket ticket = gate->opened.ticket();
      if (gate->open) break;
      co_await gate->opened.wait(ticket);
    }
  }
  Response response{.body = std::to_string(gate->taken)};
  co_await e->response.send(std::move(response));
}

TEST(RequestBody, IsHeldBackUntilTheHandlerTakesIt) {
  Gate gate;
  TestServer server([&](Exchange& e) { return take_slowly(&e, &gate); });
  RawClient client(server.port());
  constexpr size_t kTotal = 64 << 20;
  constexpr size_t kChunk = 0x8000;
  std::string body;
  for (size_t total = 0; total < kTotal; total += kChunk) {
    body += "8000\r\n" + std::string(kChunk, 'x') + "\r\n";
  }
  body += "0\r\n\r\n";
  std::string_view unsent = body;
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  unsent.remove_prefix(client.send_some(unsent));
  gate.first_block.get_future().wait();
  // The kernel's buffers fill up, and that is all: the server holds one block.
  for (size_t sent = 1; sent > 0;) {
    server.settle();
    sent = client.send_some(unsent);
    unsent.remove_prefix(sent);
  }
  EXPECT_GT(unsent.size(), kTotal / 2);
  EXPECT_LE(gate.taken, uint64_t{1} << 20);
  gate.open = true;
  gate.opened.notify();
  client.send(unsent);
  EXPECT_EQ(client.response().body, std::to_string(kTotal));
}

// --- Responses that are not whole --------------------------------------------------------------

base::Task<void> too_short(Exchange& e) {
  co_await e.response.begin(200, {}, 100);
  co_await e.response.write("only this");
  co_await e.response.finish();
}
base::Task<void> no_finish(Exchange& e) {
  co_await e.response.begin(200, {}, std::nullopt);
  co_await e.response.write("only this");
}
base::Task<void> too_long(Exchange& e) {
  co_await e.response.begin(200, {}, 5);
  co_await e.response.write("more than five");
  co_await e.response.finish();
}
base::Task<void> throws_midway(Exchange& e) {
  co_await e.response.begin(200, {}, 100'000);
  co_await e.response.write("only this");
  throw std::runtime_error("the disk is gone");
}
base::Task<void> throws_in_unbounded(Exchange& e) {
  co_await e.response.begin(200, {}, std::nullopt);
  co_await e.response.write("only this");
  throw std::runtime_error("the disk is gone");
}
base::Task<void> no_response(Exchange&) { co_return; }

TEST(CutResponse, EndsInAReset) {
  const std::pair<const char*, Handler> handlers[] = {
      {"too_short", too_short},     {"no_finish", no_finish},
      {"too_long", too_long},       {"throws_midway", throws_midway},
      {"no_response", no_response}, {"throws_in_unbounded", throws_in_unbounded}};
  for (const auto& [name, handler] : handlers) {
    TestServer server(handler);
    RawClient client(server.port());
    client.send(kGet);
    EXPECT_EQ(client.wait_for_end(), End::reset) << name;
    EXPECT_FALSE(server.wait_for_accesses(1)[0].complete) << name;
  }
  // Where the end of the connection is the end of the body, only a reset tells.
  TestServer server(throws_in_unbounded);
  RawClient old(server.port());
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.wait_for_end(), End::reset);
}

base::Task<void> throws_first(Exchange&) {
  throw std::runtime_error("secret");
  co_return;
}

TEST(Errors, BecomeResponsesBeforeTheFirstByte) {
  TestServer server(throws_first);
  RawClient client(server.port());
  for (int i = 0; i < 2; ++i) {
    const RawResponse response = client.get("/");
    EXPECT_EQ(response.status, 500);
    EXPECT_THAT(response.body, testing::Not(testing::HasSubstr("secret")));
  }
}

TEST(Errors, ABadHeadIsAnsweredAndEndsTheConnection) {
  TestServer server(echo);
  for (const auto& [bytes, status] : std::vector<std::pair<std::string, int>>{
           {"GET / HTTP/1.1\r\n\r\n", 400},
           {"GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
           {"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405},
           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
           {"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 421}}) {
    RawClient client(server.port());
    client.send(bytes + kGet);
    client.shut_down_write();
    const RawResponse response = client.response();
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.headers.get("Connection"), "close");
    std::string rest;
    EXPECT_EQ(client.wait_for_end(&rest), End::clean);
    EXPECT_EQ(rest, "");
  }
}

// Writes until the connection fails, and tells the test what it saw.
base::Task<void> write_forever(Exchange* e, std::promise<bool>* failed) {
  const std::string block(1 << 20, 'x');
  co_await e->response.begin(200, {}, uint64_t{1} << 40);
  bool connection_error = false;
  try {
    while (true) co_await e->response.write(block);
  } catch (const ConnectionError&) {
    connection_error = true;
  }
  failed->set_value(connection_error);
}

TEST(Errors, AHandlerLearnsThatThePeerHasGone) {
  std::promise<bool> failed;
  TestServer server([&](Exchange& e) { return write_forever(&e, &failed); });
  RawClient client(server.port());
  client.send(kGet);
  client.receive();
  client.reset();
  EXPECT_TRUE(failed.get_future().get());
}

TEST(Errors, AHandlerThatWritesNothingCanAskWhetherThePeerHasGone) {
  std::atomic<size_t> entered = 0;
  TestServer server([&](Exchange& e) { return outlast(&e, &entered); });
  {
    RawClient client(server.port());
    client.send(kGet + kGet);
    entered.wait(0);
    server.settle();
    EXPECT_FALSE(client.readable(0));
  }
  EXPECT_FALSE(server.wait_for_accesses(1)[0].complete);
}

TEST(Connection, AnswersAHalfClosedClient) {
  TestServer server(echo);
  RawClient client(server.port());
  client.send(kGet + kGet);
  client.shut_down_write();
  EXPECT_EQ(client.response().body, "GET /a|");
  EXPECT_EQ(client.response().body, "GET /a|");
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

// --- Time --------------------------------------------------------------------------------------

struct TimedServer {
  base::ManualClock clock;
  TestServer server;
  explicit TimedServer(Handler handler) : server(std::move(handler), {.clock = &clock}) {}

  // Lets time pass, once the server knows what the client sent, until it does something about it.
  void advance_until_readable(RawClient& client, base::Duration step) {
    while (!client.readable(1)) {
      server.settle();
      clock.advance(step);
    }
  }
};

TEST(Timeout, AnIdleConnectionIsClosed) {
  TimedServer timed(echo);
  RawClient client(timed.server.port());
  EXPECT_EQ(client.get("/a").status, 200);
  timed.advance_until_readable(client, 76s);
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(Timeout, AConnectionThatSaysNothingIsClosed) {
  TimedServer timed(echo);
  RawClient client(timed.server.port());
  timed.advance_until_readable(client, 11s);
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(Timeout, AHeadThatDoesNotCompleteIs408) {
  TimedServer timed(echo);
  RawClient client(timed.server.port());
  EXPECT_EQ(client.get("/a").status, 200);
  client.send("GET / HTTP/1.1\r\nHo");
  timed.advance_until_readable(client, 11s);
  EXPECT_EQ(client.response().status, 408);
  client.shut_down_write();
  EXPECT_EQ(client.wait_for_end(), End::clean);
}

TEST(Timeout, ABodyThatStallsIs408) {
  TimedServer timed(echo);
  RawClient client(timed.server.port());
  client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
  timed.advance_until_readable(client, 61s);
  const RawResponse response = client.response();
  EXPECT_EQ(response.status, 408);
  EXPECT_EQ(response.headers.get("Connection"), "close");
}

TEST(Timeout, AClientThatTakesNothingIsReset) {
  std::promise<bool> failed;
  TimedServer timed([&](Exchange& e) { return write_forever(&e, &failed); });
  RawClient client(timed.server.port(), 4096);
  client.send(kGet);
  std::future<bool> future = failed.get_future();
  while (future.wait_for(1ms) != std::future_status::ready) timed.clock.advance(61s);
  EXPECT_TRUE(future.get());
  EXPECT_EQ(client.wait_for_end(), End::reset);
}

TEST(Timeout, ALingeringCloseEnds) {
  TimedServer timed(deaf);
  RawClient client(timed.server.port());
  client.send(kExpect);
  EXPECT_EQ(client.response().status, 200);
  EXPECT_EQ(client.receive(), "");  // the server's half is closed
  while (timed.server.server().connections() > 0) timed.clock.advance(6s);
}

// --- Files -------------------------------------------------------------------------------------

std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  uint32_t x = 1;
  for (char& c : bytes) {
    x = x * 1664525 + 1013904223;
    c = static_cast<char>(x >> 24);
  }
  return bytes;
}

base::Task<void> send_file_part(Exchange* e, int fd, uint64_t offset, uint64_t size, bool known) {
  std::optional<uint64_t> length;
  if (known) length = size;
  co_await e->response.begin(200, {}, length);
  co_await e->response.write_file(fd, offset, size);
  co_await e->response.finish();
}

TEST(Files, AreSentAsTheyAre) {
  const test::TempDir dir;
  const std::string bytes = pattern((9 << 20) + 12345);
  const base::UniqueFd file = base::open_file(dir.write("f", bytes), O_RDONLY);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{16 << 10},
                            size_t{(16 << 10) + 1}, size_t{100'000}, bytes.size() - 7}) {
    for (const bool known : {true, false}) {
      TestServer server(
          [&](Exchange& e) { return send_file_part(&e, file.get(), 7, size, known); });
      RawClient client(server.port());
      for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(client.get("/").body == bytes.substr(7, size)) << size << known;
      }
      EXPECT_EQ(server.wait_for_accesses(1)[0].body_bytes, size);
    }
  }
}

TEST(Files, ThatAreNotInMemoryAreReadFirst) {
  const test::TempDir dir;
  const std::string bytes = pattern(5 << 20);
  const base::UniqueFd file = base::open_file(dir.write("f", bytes), O_RDONLY);
  TestServer server(
      [&](Exchange& e) { return send_file_part(&e, file.get(), 0, bytes.size(), true); });
  ASSERT_EQ(fdatasync(file.get()), 0);
  ASSERT_EQ(posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  RawClient client(server.port());
  EXPECT_TRUE(client.get("/").body == bytes);
}

TEST(Files, ThatAreTooShortEndInAReset) {
  const test::TempDir dir;
  for (const size_t missing : {size_t{1}, size_t{1 << 20}}) {
    for (const size_t size : {size_t{4096}, size_t{3 << 20}}) {
      const base::UniqueFd file = base::open_file(dir.write("f", pattern(size)), O_RDONLY);
      TestServer server(
          [&](Exchange& e) { return send_file_part(&e, file.get(), 0, size + missing, true); });
      RawClient client(server.port());
      client.send(kGet);
      EXPECT_EQ(client.wait_for_end(), End::reset);
    }
  }
}

TEST(Files, WaitForASlowReader) {
  const test::TempDir dir;
  const std::string bytes = pattern(8 << 20);
  const base::UniqueFd file = base::open_file(dir.write("f", bytes), O_RDONLY);
  TestServer server(
      [&](Exchange& e) { return send_file_part(&e, file.get(), 0, bytes.size(), true); });
  RawClient slow(server.port(), 4096);
  slow.send(kGet);
  RawClient fast(server.port());  // on the same loop, while the slow one's socket is full
  EXPECT_TRUE(fast.get("/").body == bytes);
  EXPECT_TRUE(slow.response().body == bytes);
}

}  // namespace
}  // namespace http
