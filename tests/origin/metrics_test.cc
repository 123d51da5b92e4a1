// What the debug server tells Prometheus, and that it tells it under Distribution's names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <latch>
#include <set>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/fault_point.h"
#include "origin/debug_server.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/log_capture.h"
#include "tests/support/process.h"
#include "tests/support/raw_client.h"
#include "tests/support/reserved_port.h"

namespace origin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public RegistryTest {
 protected:
  Registry& start_with_metrics() {
    Config c = config();
    c.debug = {.address = "127.0.0.1:0", .metrics = true};
    return start(std::move(c));
  }
};

// One request for each handler of Distribution; returns when the last is counted.
void use(uint16_t port) {
  call(port, "GET", "/v2/");
  call(port, "GET", "/v2/_catalog");
  const auto post = call(port, "POST", "/v2/a/blobs/uploads/");
  const auto put = call(port, "PUT", location(post) + "&digest=" + sha256("hello").str(), "hello");
  EXPECT_EQ(put.status, 201);
  EXPECT_EQ(call(port, "GET", "/v2/a/blobs/" + sha256("hello").str()).body, "hello");
  call(port, "GET", "/v2/a/manifests/none");
  call(port, "GET", "/v2/none/tags/list");
}

const std::string kLast =
    R"(registry_http_requests_total{code="404",handler="tags",method="get"} 1)";

TEST_F(MetricsTest, RequestsAreCountedByHandlerMethodAndStatus) {
  Registry& registry = start_with_metrics();
  use(registry.port());
  call(registry.port(), "GET", "/nothing/at/all");
  call(registry.port(), "BREW", "/v2/");
  const std::string text =
      scrape(registry.debug_port(),
             R"(registry_http_requests_total{code="200",handler="base",method="unknown"} 1)");
  for (const char* series :
       {R"(registry_http_requests_total{code="200",handler="base",method="get"} 1)",
        R"(registry_http_requests_total{code="202",handler="blob_upload",method="post"} 1)",
        R"(registry_http_requests_total{code="201",handler="blob_upload_chunk",method="put"} 1)",
        R"(registry_http_requests_total{code="404",handler="manifest",method="get"} 1)",
        R"(registry_http_requests_total{code="404",handler="other",method="get"} 1)",
        R"(registry_http_request_duration_seconds_count{handler="blob",method="get"} 1)",
        R"(registry_http_response_size_bytes_sum{handler="blob"} 5)",
        R"(registry_http_in_flight_requests{handler="blob"} 0)", "entrepot_uploads_in_flight 0",
        "entrepot_http_received_bytes_total 5", "entrepot_build_info{version=\"",
        "entrepot_http_connections ", "entrepot_access_log_dropped_lines_total 0",
        "process_resident_memory_bytes "}) {
    EXPECT_THAT(text, HasSubstr(series));
  }
}

TEST_F(MetricsTest, WhoMakesItReadOnlyIsToldWhenTheLastWriteHasEnded) {
  test::LogCapture log;
  Config c = config();
  c.debug = {.address = "127.0.0.1:0", .metrics = true};
  Config read_only = c;
  read_only.read_only = true;
  Registry& registry = start(c);
  scrape(registry.debug_port(), "entrepot_writes_in_flight 0");
  test::RawClient client(registry.port());
  client.send("POST /v2/a/blobs/uploads/?digest=" + sha256("hello").str() +
              " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_EQ(client.response().status, 100);
  const std::string before = scrape(registry.debug_port(), "entrepot_writes_in_flight 1");
  EXPECT_THAT(before, HasSubstr("entrepot_read_only 0"));

  registry.reload(read_only);
  EXPECT_EQ(call(registry.port(), "DELETE", "/v2/a/manifests/t").status, 405);
  registry.reload(read_only);
  const std::string meanwhile = scrape(registry.debug_port(), "entrepot_writes_in_flight 1");
  EXPECT_THAT(meanwhile, HasSubstr("entrepot_read_only 0"));
  EXPECT_EQ(log.count("no write is in progress"), 0U);

  client.send("hello");
  EXPECT_EQ(client.response().status, 201);
  const std::string after = scrape(registry.debug_port(), "entrepot_read_only 1");
  EXPECT_THAT(after, HasSubstr("entrepot_writes_in_flight 0"));
  EXPECT_EQ(log.count("read-only: no write is in progress any more (1 waited for)"), 1U);

  registry.reload(c);
  push_blob(registry.port(), "a", "world");
  scrape(registry.debug_port(), "entrepot_read_only 0");
  scrape(registry.debug_port(), "entrepot_writes_in_flight 0");
  registry.reload(read_only);
  EXPECT_EQ(log.count("read-only: no write is in progress any more (0 waited for)"), 1U);
}

TEST_F(MetricsTest, WhatStartsReadOnlySaysSoAsWell) {
  test::LogCapture log;
  Config read_only = config();
  read_only.read_only = true;
  start(std::move(read_only));
  EXPECT_EQ(log.count("read-only: no write is in progress any more (0 waited for)"), 1U);
}

TEST_F(MetricsTest, RedirectsAreCounted) {
  Config c = config();
  c.debug = {.address = "127.0.0.1:0", .metrics = true};
  c.redirect.url = "https://cdn.example";
  Registry& registry = start(std::move(c));
  push_blob(registry.port(), "a", "bytes");
  EXPECT_EQ(call(registry.port(), "GET", "/v2/a/blobs/" + sha256("bytes").str()).status, 302);
  scrape(registry.debug_port(), "entrepot_redirects_total 1");
}

TEST_F(MetricsTest, WhatClientsChooseIsNoLabel) {
  Registry& registry = start_with_metrics();
  push_image(registry.port(), "secret/name", "tag", "content");
  const std::string text = scrape(registry.debug_port(), R"(handler="manifest",method="put"} 1)");
  EXPECT_THAT(text, Not(HasSubstr("secret")));
  EXPECT_THAT(text, Not(HasSubstr("sha256")));
  EXPECT_THAT(text, Not(HasSubstr("127.0.0.1")));
}

TEST_F(MetricsTest, AStorageThatHangsDoesNotKeepTheMetrics) {
  Config c = config();
  c.threads = 1;
  c.debug = {.address = "127.0.0.1:0", .metrics = true};
  Registry& registry = start(std::move(c));
  std::latch hangs(1);
  std::latch go_on(1);
  const base::InjectedFault storage("upload.sync", [&](std::string_view) {
    hangs.count_down();
    go_on.wait();
    return 0;
  });
  std::jthread client([port = registry.port()] { push_blob(port, "a", "hello"); });
  hangs.wait();
  test::RawClient scraper(registry.debug_port());
  scraper.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(scraper.readable());
  go_on.count_down();
  EXPECT_THAT(scraper.response().body, HasSubstr("entrepot_uploads_in_flight 1"));
}

TEST_F(MetricsTest, TheDebugServerHasNothingElse) {
  Registry& registry = start_with_metrics();
  for (const char* path : {"/", "/v2/", "/debug/vars", "/debug/pprof/", "/healthz"}) {
    EXPECT_EQ(call(registry.debug_port(), "GET", path).status, 404) << path;
  }
  EXPECT_EQ(call(registry.debug_port(), "POST", "/debug/health").status, 404);
  EXPECT_EQ(call(registry.port(), "GET", "/metrics").status, 404);
  Config c = config();
  c.debug.address = "127.0.0.1:0";
  EXPECT_EQ(call(start(std::move(c)).debug_port(), "GET", "/metrics").status, 404);
}

// Distribution does not say when its debug server listens.
void wait_until_served(uint16_t port) {
  while (true) {
    try {
      call(port, "GET", "/metrics");
      return;
    } catch (const base::IoError&) {
      std::this_thread::yield();
    }
  }
}

// The series in a text: name and labels. Both programs write a bucket's bound in their own way.
std::set<std::string> series(const std::string& text) {
  std::set<std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::string name = line.substr(0, line.rfind(' '));
    if (const size_t bound = name.find("le=\""); bound != std::string::npos) {
      name = name.substr(0, bound) + std::to_string(std::stod(name.substr(bound + 4)));
    }
    names.insert(name);
  }
  return names;
}

// The families that a dashboard made for Distribution may use; each is in both programs, and the
// requests of use() give the same series of them.
TEST_F(MetricsTest, NamesAreDistributions) {
  Registry& registry = start_with_metrics();
  use(registry.port());
  const std::set<std::string> ours = series(scrape(registry.debug_port(), kLast));

  const test::TempDir dir;
  const test::ReservedPort debug_port;
  const auto file =
      dir.write("config.yml",
                "version: 0.1\nstorage: {filesystem: {rootdirectory: " + dir.path().string() +
                    "}}\nhttp:\n  addr: 127.0.0.1:0\n  debug:\n    addr: " + debug_port.address() +
                    "\n    prometheus: {enabled: true, path: /metrics}\n");
  test::Process distribution({"docker-registry", "serve", file.string()});
  const std::string line = distribution.wait_for("listening on 127.0.0.1:");
  const size_t at = line.find("listening on 127.0.0.1:") + 23;
  use(static_cast<uint16_t>(std::stoul(line.substr(at))));
  wait_until_served(debug_port.number());
  const std::set<std::string> theirs = series(scrape(debug_port.number(), kLast));

  for (const char* family :
       {"registry_http_requests_total", "registry_http_request_duration_seconds",
        "registry_http_request_size_bytes", "registry_http_response_size_bytes",
        "registry_http_in_flight_requests", "registry_storage_action_seconds",
        "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds",
        "process_max_fds", "process_cpu_seconds_total", "process_start_time_seconds"}) {
    SCOPED_TRACE(family);
    size_t shared = 0;
    for (const std::string& name : theirs) {
      if (!name.starts_with(family)) continue;
      ++shared;
      // We need no URLs of the storage.
      if (name.find("URLFor") == std::string::npos) EXPECT_TRUE(ours.contains(name)) << name;
    }
    EXPECT_GT(shared, 0U);
  }
}

}  // namespace
}  // namespace origin
