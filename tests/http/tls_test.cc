#include "http/tls.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/durable_file.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::CertificateAuthority;
using test::CertificateFiles;
using test::End;
using test::RawClient;
using test::TestServer;
using test::TlsClient;

base::Task<void> describe_peer(Exchange& e) {
  const Peer& peer = e.request.peer;
  Response response{.body = std::string(peer.tls ? "tls" : "plain") + "|" +
                            peer.certificate_subject + "|"};
  for (const std::string& name : peer.certificate_names) response.body += name + ";";
  while (true) {
    const std::string_view block = co_await e.body.read();
    if (block.empty()) break;
    response.body += block;
  }
  co_await e.response.send(std::move(response));
}

TlsOptions::Certificate identity(const CertificateFiles& files) {
  return {.certificate = files.certificate, .key = files.key};
}

class Tls : public testing::Test {
 protected:
  TlsClient client_options() const { return {.ca = ca_.certificate()}; }
  TlsOptions options() const { return {.certificates = {identity(server_files_)}}; }
  std::shared_ptr<TlsContext> context() { return std::make_shared<TlsContext>(options()); }
  std::shared_ptr<TlsContext> context_with_clients(bool required) {
    return std::make_shared<TlsContext>(TlsOptions{.certificates = {identity(server_files_)},
                                                   .client_cas = {ca_.certificate()},
                                                   .require_client_certificate = required});
  }

  const test::TempDir dir_;
  CertificateAuthority ca_{dir_.path(), "ca"};
  CertificateFiles server_files_ = ca_.issue_server();
};

TEST_F(Tls, SpeaksBothVersions) {
  TestServer server(describe_peer, {.tls = context()});
  for (const int version : {12, 13}) {
    TlsClient options = client_options();
    options.version = version;
    RawClient client(server.port(), options);
    EXPECT_EQ(client.version(), version);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(client.get("/").body, "tls||");
  }
}

TEST_F(Tls, HonoursTheMinimumVersion) {
  TestServer server(describe_peer,
                    {.tls = std::make_shared<TlsContext>(TlsOptions{
                         .certificates = {identity(server_files_)}, .minimum_version = 13})});
  TlsClient options = client_options();
  options.version = 12;
  EXPECT_THROW(RawClient(server.port(), options), std::runtime_error);
  EXPECT_EQ(RawClient(server.port(), client_options()).version(), 13);
}

TEST_F(Tls, ChoosesTheProtocolByAlpn) {
  TestServer server(describe_peer, {.tls = context()});
  TlsClient options = client_options();
  options.protocols = {"h2", "http/1.1"};
  EXPECT_EQ(RawClient(server.port(), options).protocol(), "h2");
  options.protocols = {"http/1.1"};
  EXPECT_EQ(RawClient(server.port(), options).protocol(), "http/1.1");
  options.protocols = {"spdy/3"};
  EXPECT_THROW(RawClient(server.port(), options), std::runtime_error);
}

TEST_F(Tls, ResumesSessions) {
  TestServer server(describe_peer, {.tls = context_with_clients(false)});
  const CertificateFiles files = ca_.issue("client", {.common_name = "edge-1"});
  for (const int version : {12, 13}) {
    TlsClient options = client_options();
    options.version = version;
    options.certificate = files.certificate;
    options.key = files.key;
    RawClient first(server.port(), options);
    EXPECT_FALSE(first.resumed());
    EXPECT_EQ(first.get("/").body, "tls|CN=edge-1,O=Test|");
    ASSERT_NE(first.session(), "");
    // Who the client is comes with the session.
    RawClient second(server.port(), options, first.session());
    EXPECT_TRUE(second.resumed()) << version;
    EXPECT_EQ(second.get("/").body, "tls|CN=edge-1,O=Test|");
  }
}

TEST_F(Tls, DoesNotResumeASessionOfAnotherContext) {
  TestServer open(describe_peer, {.tls = context()});
  TestServer closed(describe_peer, {.tls = context_with_clients(true)});
  RawClient first(open.port(), client_options());
  first.get("/");
  EXPECT_THROW(
      {
        RawClient second(closed.port(), client_options(), first.session());
        second.get("/");
      },
      std::runtime_error);
}

TEST_F(Tls, ChoosesTheCertificateByName) {
  const CertificateFiles a = ca_.issue("a", {.common_name = "a", .dns_names = {"a.example"}});
  const CertificateFiles b = ca_.issue("b", {.common_name = "b", .dns_names = {"*.b.example"}});
  const CertificateFiles b_rsa =
      ca_.issue("b-rsa", {.common_name = "b-rsa", .dns_names = {"*.b.example"}, .rsa = true});
  TestServer server(
      describe_peer,
      {.tls = std::make_shared<TlsContext>(TlsOptions{
           .certificates = {identity(server_files_), identity(a), identity(b), identity(b_rsa)}})});
  TlsClient options = client_options();
  const auto presented = [&](const std::string& name) {
    options.server_name = name;
    return RawClient(server.port(), options).peer_common_name();
  };
  EXPECT_EQ(presented("a.example"), "a");
  EXPECT_EQ(presented("x.b.example"), "b");
  EXPECT_EQ(presented("localhost"), "localhost");
  EXPECT_THROW(presented("other.example"), std::runtime_error);  // gets the default, refuses it
  options.rsa_only = true;
  options.version = 12;
  options.server_name = "x.b.example";
  EXPECT_TRUE(RawClient(server.port(), options).peer_key_is_rsa());
}

TEST_F(Tls, KnowsClientsByTheirCertificate) {
  const CertificateFiles files =
      ca_.issue("client", {.common_name = "edge-1", .dns_names = {"edge-1.example", "e1"}});
  CertificateAuthority other(dir_.path(), "other-ca");
  const CertificateFiles foreign = other.issue("foreign", {.common_name = "edge-1"});
  for (const bool required : {false, true}) {
    TestServer server(describe_peer, {.tls = context_with_clients(required)});
    for (const int version : {12, 13}) {
      TlsClient options = client_options();
      options.version = version;
      const auto ask = [&] { return RawClient(server.port(), options).get("/").body; };
      if (required) {
        EXPECT_THROW(ask(), std::runtime_error);
      } else {
        EXPECT_EQ(ask(), "tls||");
      }
      options.certificate = foreign.certificate;
      options.key = foreign.key;
      EXPECT_THROW(ask(), std::runtime_error);
      options.certificate = files.certificate;
      options.key = files.key;
      EXPECT_EQ(ask(), "tls|CN=edge-1,O=Test|DNS:edge-1.example;DNS:e1;");
    }
  }
}

TEST_F(Tls, KnowsAlternativeNamesOfEveryKindThatHasAText) {
  const CertificateFiles files =
      ca_.issue("client", {.common_name = "x",
                           .dns_names = {"edge-1.example", "URI:no"},
                           .addresses = {"192.0.2.1", "2001:db8:0:0::1"},
                           .names = {"email:ann@example.com", "URI:spiffe://example/edge",
                                     "RID:1.2.3.4", "otherName:1.2.3.4;UTF8:other"}});
  TestServer server(describe_peer, {.tls = context_with_clients(true)});
  TlsClient options = client_options();
  options.certificate = files.certificate;
  options.key = files.key;
  EXPECT_EQ(RawClient(server.port(), options).get("/").body,
            "tls|CN=x,O=Test|DNS:edge-1.example;DNS:URI:no;IP:192.0.2.1;IP:2001:db8::1;"
            "email:ann@example.com;URI:spiffe://example/edge;");
}

TEST_F(Tls, ASubjectCannotPretendToHaveTwoNames) {
  const CertificateFiles files = ca_.issue("client", {.common_name = "x,CN=edge-1\n"});
  TestServer server(describe_peer, {.tls = context_with_clients(true)});
  TlsClient options = client_options();
  options.certificate = files.certificate;
  options.key = files.key;
  EXPECT_EQ(RawClient(server.port(), options).get("/").body, "tls|CN=x\\,CN=edge-1\\0A,O=Test|");
}

TEST_F(Tls, IsRefusedByAClientThatKnowsAnotherAuthority) {
  TestServer server(describe_peer, {.tls = context()});
  CertificateAuthority other(dir_.path(), "other-ca");
  EXPECT_THROW(RawClient(server.port(), TlsClient{.ca = other.certificate()}), std::runtime_error);
  EXPECT_EQ(RawClient(server.port(), client_options()).get("/").status, 200);
}

TEST_F(Tls, ReloadsForTheConnectionsThatComeAfter) {
  const std::shared_ptr<TlsContext> tls = context();
  TestServer server(describe_peer, {.tls = tls});
  RawClient before(server.port(), client_options());
  EXPECT_EQ(before.peer_common_name(), "localhost");
  ca_.issue("server", {.common_name = "fresh", .dns_names = {"localhost"}});
  tls->reload(options());
  EXPECT_EQ(RawClient(server.port(), client_options()).peer_common_name(), "fresh");
  EXPECT_EQ(before.get("/").status, 200);

  // A broken file changes nothing and is named.
  dir_.write("server.pem", "rubbish");
  try {
    tls->reload(options());
    FAIL() << "rubbish was taken for a certificate";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("server.pem"));
  }
  EXPECT_EQ(RawClient(server.port(), client_options()).peer_common_name(), "fresh");
}

TEST_F(Tls, SaysWhichFileIsWrong) {
  const CertificateFiles other = ca_.issue("other", {.common_name = "other"});
  const auto complaint = [](const TlsOptions& options) -> std::string {
    try {
      const TlsContext loaded(options);
      return "none";
    } catch (const std::runtime_error& e) {
      return e.what();
    }
  };
  using testing::HasSubstr;
  EXPECT_THAT(complaint({.certificates = {{"/no/such.pem", server_files_.key}}}),
              HasSubstr("/no/such.pem"));
  EXPECT_THAT(complaint({.certificates = {{server_files_.certificate, other.key}}}),
              HasSubstr("other.key: is not the key of"));
  EXPECT_THAT(complaint({.certificates = {{server_files_.certificate, server_files_.certificate}}}),
              HasSubstr("server.pem"));
  EXPECT_THAT(complaint({.certificates = {identity(server_files_)},
                         .client_cas = {dir_.write("ca-rubbish.pem", "x")}}),
              HasSubstr("ca-rubbish.pem"));
}

TEST_F(Tls, TakesLargeBodies) {
  TestServer server(describe_peer, {.tls = context()});
  RawClient client(server.port(), client_options());
  const std::string body(3'000'000, 'b');
  for (int i = 0; i < 2; ++i) {
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    EXPECT_TRUE(client.response().body == "tls||" + body);
  }
}

base::Task<void> send_file(Exchange* e, int fd, uint64_t size) {
  co_await e->response.begin(200, {}, size);
  co_await e->response.write_file(fd, 0, size);
  co_await e->response.finish();
}

TEST_F(Tls, SendsFiles) {
  std::string bytes((9 << 20) + 4321, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 7);
  const base::UniqueFd file = base::open_file(dir_.write("f", bytes), O_RDONLY);
  for (const size_t size : {size_t{4096}, size_t{40'000}, bytes.size()}) {
    TestServer server([&](Exchange& e) { return send_file(&e, file.get(), size); },
                      {.tls = context()});
    RawClient client(server.port(), client_options());
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(client.get("/").body == bytes.substr(0, size));
  }
}

base::Task<void> break_off(Exchange& e) {
  co_await e.response.begin(200, {}, std::nullopt);
  co_await e.response.write("only this");
  throw std::runtime_error("the disk is gone");
}

TEST_F(Tls, ACutResponseEndsInAReset) {
  TestServer server(break_off, {.tls = context()});
  RawClient client(server.port(), client_options());
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.wait_for_end(), End::reset);
}

TEST_F(Tls, AHandshakeHasADeadline) {
  base::ManualClock clock;
  TestServer server(describe_peer, {.tls = context(), .clock = &clock});
  RawClient client(server.port());
  client.send("\x16\x03\x01");
  while (!client.readable(1)) clock.advance(11s);
  EXPECT_EQ(client.wait_for_end(), End::reset);
}

TEST_F(Tls, SurvivesPlainHttpOnItsPort) {
  TestServer server(describe_peer, {.tls = context()});
  RawClient plain(server.port());
  plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  plain.shut_down_write();
  plain.wait_for_end();
  EXPECT_EQ(RawClient(server.port(), client_options()).get("/").status, 200);
}

}  // namespace
}  // namespace http
