// What nobody should send: each gets the right error or a closed connection, and the server lives.
#include <filesystem>

#include "tests/origin/registry_fixture.h"
#include "tests/support/raw_client.h"

namespace origin {
namespace {

class BadInputTest : public RegistryTest {
 protected:
  void TearDown() override {
    EXPECT_EQ(call(port_, "GET", "/v2/").body, "{}");
    RegistryTest::TearDown();
  }
  const uint16_t port_ = start();
};

TEST_F(BadInputTest, PathTricks) {
  const std::string digest = push_blob(port_, "a", "bytes").str();
  const std::filesystem::path outside = layout().root() / "outside";
  write(outside, "bytes");
  for (const std::string& name :
       {std::string("../a"), std::string("a/../a"), std::string("a/./b"), std::string("."),
        std::string(".."), std::string("a//b"), std::string("/a"), std::string("a/"),
        std::string("A"), std::string("a/_layers"), std::string("_uploads"), std::string("a%2Fb"),
        std::string("a%00"), std::string("%2e%2e/a"), std::string("a%5Cb"), std::string("-a"),
        std::string(256, 'a'), std::string("a/%2e%2e/%2e%2e/a")}) {
    for (const std::string& end : {"/blobs/" + digest, std::string("/manifests/t"),
                                   std::string("/tags/list"), "/referrers/" + digest}) {
      const auto answer = call(port_, "GET", "/v2/" + name + end);
      EXPECT_GE(answer.status, 400) << name << end;
      EXPECT_LT(answer.status, 500) << name << end;
      EXPECT_NE(error_code(answer), "") << name << end;
    }
    const auto push =
        call(port_, "POST", "/v2/" + name + "/blobs/uploads/?digest=" + digest, "bytes");
    EXPECT_GE(push.status, 400) << name;
    EXPECT_LT(push.status, 500) << name;
  }
  EXPECT_EQ(error_code(call(port_, "GET", "/v2/A/tags/list")), "NAME_INVALID");
  for (const std::string id : {"..", ".", "../../x", "%2e%2e", "a%2F..", "x y"}) {
    for (const char* method : {"GET", "PATCH", "PUT", "DELETE"}) {
      const auto answer = call(port_, method, "/v2/a/blobs/uploads/" + id + "?digest=" + digest);
      EXPECT_GE(answer.status, 400) << id;
      EXPECT_LT(answer.status, 500) << id;
    }
  }
  // Only the repository that was meant has come to be.
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(layout().repositories())) {
    names.push_back(entry.path().filename());
  }
  EXPECT_EQ(names, std::vector<std::string>{"a"});
}

TEST_F(BadInputTest, MalformedDigests) {
  for (const std::string& digest :
       {std::string("sha256:"), std::string("sha256:xyz"), "sha256:" + std::string(63, 'a'),
        "sha256:" + std::string(65, 'a'), "sha256:" + std::string(64, 'A'),
        "sha384:" + std::string(96, 'a'), "md5:" + std::string(32, 'a'), std::string("nothing"),
        "sha512:" + std::string(64, 'a')}) {
    for (const char* method : {"GET", "HEAD", "DELETE"}) {
      const auto answer = call(port_, method, "/v2/a/blobs/" + digest);
      EXPECT_EQ(answer.status, 400) << digest;
    }
    EXPECT_EQ(error_code(call(port_, "GET", "/v2/a/blobs/" + digest)), "DIGEST_INVALID");
    EXPECT_EQ(error_code(call(port_, "GET", "/v2/a/referrers/" + digest)), "DIGEST_INVALID");
    EXPECT_EQ(error_code(call(port_, "POST", "/v2/a/blobs/uploads/?digest=" + digest, "x")),
              "DIGEST_INVALID");
  }
}

// The methods that Distribution's routes list, where we have them too.
TEST_F(BadInputTest, WrongMethods) {
  const std::string digest = sha256("x").str();
  const auto begun = call(port_, "POST", "/v2/a/blobs/uploads/");
  const std::string upload = "/v2/a/blobs/uploads/" + begun.header("Docker-Upload-UUID");
  const std::vector<std::pair<std::string, std::string>> allowed = {
      {"/v2/a/blobs/" + digest, "DELETE, GET, HEAD"},
      {"/v2/a/blobs/uploads/", "DELETE, GET, HEAD, PATCH, POST, PUT"},
      {upload, "DELETE, GET, HEAD, PATCH, PUT"},
      {"/v2/a/manifests/t", "DELETE, GET, HEAD, PUT"},
      {"/v2/a/tags/list", "GET, HEAD"},
      {"/v2/_catalog", "GET, HEAD"},
      {"/v2/a/referrers/" + digest, "GET, HEAD"},
  };
  for (const auto& [target, methods] : allowed) {
    for (const char* wrong : {"LINK", "get", "E"}) {
      const auto answer = call(port_, wrong, target);
      EXPECT_EQ(answer.status, 405) << wrong << target;
      EXPECT_EQ(error_code(answer), "UNSUPPORTED") << wrong << target;
      EXPECT_EQ(answer.header("Allow"), methods) << wrong << target;
    }
    const auto asked = call(port_, "OPTIONS", target);
    EXPECT_EQ(asked.status, 200) << target;
    EXPECT_EQ(asked.header("Allow"), methods) << target;
    EXPECT_EQ(asked.header("Docker-Distribution-Api-Version"), "registry/2.0") << target;
    EXPECT_EQ(asked.body, "") << target;
  }
  for (const char* anything : {"/", "/v2/"})
    EXPECT_EQ(call(port_, "OPTIONS", anything).status, 200);
  EXPECT_EQ(call(port_, "OPTIONS", "/v2/a").status, 404);
}

// Neither one that is not there nor one without an id.
TEST_F(BadInputTest, UnknownUploadsHaveNoMethods) {
  for (const char* method : {"GET", "PATCH", "PUT", "DELETE"}) {
    const auto answer = call(port_, method, "/v2/a/blobs/uploads/", "x");
    EXPECT_EQ(answer.status, 404) << method;
    EXPECT_EQ(error_code(answer), "BLOB_UPLOAD_UNKNOWN") << method;
  }
  for (const char* method : {"OPTIONS", "LINK", "GET", "PATCH", "DELETE"}) {
    const auto answer = call(port_, method, "/v2/a/blobs/uploads/x");
    EXPECT_EQ(answer.status, 404) << method;
    EXPECT_EQ(error_code(answer), "BLOB_UPLOAD_UNKNOWN") << method;
  }
}

TEST_F(BadInputTest, PathsThatAreNoRoute) {
  for (const char* target : {"/v1/", "/v2x", "/v2/a", "/v2/a/blobs", "/favicon.ico", "/v2/_x"}) {
    const auto answer = call(port_, "GET", target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_NE(error_code(answer), "") << target;
  }
  EXPECT_EQ(call(port_, "GET", "/").status, 200);
  EXPECT_EQ(call(port_, "GET", "/v2").status, 200);
}

TEST_F(BadInputTest, OversizedHeaders) {
  const auto answer = call(port_, "GET", "/v2/", "", fields({{"X", std::string(20'000, 'x')}}));
  EXPECT_EQ(answer.status, 431);
  EXPECT_NE(error_code(answer), "");
  test::RawClient client(port_);
  client.try_send("GET /v2/" + std::string(100'000, 'a'));
  std::string rest;
  client.wait_for_end(&rest);
  EXPECT_TRUE(rest.empty() || rest.starts_with("HTTP/1.1 4")) << rest;
}

TEST_F(BadInputTest, ABlobShorterOrLongerThanDeclared) {
  const std::string content = "these are the bytes";
  const std::string target = "/v2/a/blobs/uploads/?digest=" + sha256(content).str();
  const auto post = [&](size_t length) {
    return "POST " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(length) +
           "\r\n\r\n";
  };
  {
    test::RawClient shorter(port_);
    shorter.send(post(content.size() + 5) + content);
    shorter.shut_down_write();
    std::string rest;
    shorter.wait_for_end(&rest);
    EXPECT_EQ(rest.find("201"), std::string::npos) << rest;
  }
  EXPECT_EQ(call(port_, "GET", "/v2/a/blobs/" + sha256(content).str()).status, 404);
  {
    // The rest is the next request, and not a valid one.
    test::RawClient longer(port_);
    longer.send(post(content.size()) + content + " and more\r\n\r\n");
    EXPECT_EQ(longer.response().status, 201);
    EXPECT_EQ(longer.response().status, 400);
    longer.wait_for_end();
  }
  EXPECT_EQ(call(port_, "GET", "/v2/a/blobs/" + sha256(content).str()).body, content);
  EXPECT_TRUE(std::filesystem::is_empty(layout().repository("a") / "_uploads"));
}

TEST_F(BadInputTest, AManifestThatNeverEnds) {
  test::RawClient client(port_);
  client.send("PUT /v2/a/manifests/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "100000\r\n" + std::string(1 << 20, ' ') + "\r\n";
  for (int i = 0; i < 6; ++i) {
    if (!client.try_send(chunk)) break;
  }
  std::string rest;
  client.wait_for_end(&rest);
  EXPECT_TRUE(rest.empty() || rest.starts_with("HTTP/1.1 413")) << rest;
}

}  // namespace
}  // namespace origin
