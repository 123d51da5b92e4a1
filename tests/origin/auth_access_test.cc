// The pure parts: globs, rules, what a request demands, what it shows, and the counting of
// failures.
#include <gtest/gtest.h>

#include "base/base64.h"
#include "http/credentials.h"
#include "origin/auth/access_list.h"
#include "origin/auth/demand.h"
#include "origin/auth/glob.h"
#include "origin/auth/identity.h"
#include "origin/auth/throttle.h"

namespace origin::auth {
namespace {

using std::chrono_literals::operator""s;

TEST(Glob, Matches) {
  struct Case {
    const char* glob;
    const char* name;
    bool matches;
  };
  const Case cases[] = {
      {"a", "a", true},
      {"a", "b", false},
      {"a", "aa", false},
      {"*", "a", true},
      {"*", "a/b", false},
      {"**", "a/b/c", true},
      {"a/*", "a/b", true},
      {"a/*", "a/b/c", false},
      {"a/*", "a", false},
      {"a/**", "a/b/c", true},
      {"a/**", "a", false},
      {"a/**", "ab/c", false},
      {"*/b", "a/b", true},
      {"*/b", "a/c/b", false},
      {"**/b", "a/c/b", true},
      {"**/b", "b", false},
      {"f*a", "fedora", true},
      {"f*a", "fa", true},
      {"f*a", "f/a", false},
      {"f**a", "f/x/a", true},
      {"*-*", "a-b", true},
      {"a*b*c", "axbxbxc", true},
      {"a*b*c", "axbxb", false},
      {"**/*/x", "a/b/x", true},
      {"a/*/c/**", "a/b/c/d/e", true},
      {"a/*/c/**", "a/b/x/c/d", false},
  };
  for (const Case& c : cases)
    EXPECT_EQ(glob_matches(c.glob, c.name), c.matches) << c.glob << c.name;
  // Would take forever by backtracking.
  EXPECT_FALSE(glob_matches("*a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(255, 'a')));
}

TEST(Glob, Validity) {
  for (const char* good : {"a", "**", "a/*", "fedora-*/x_y.z"}) EXPECT_TRUE(valid_glob(good));
  for (const char* bad : {"", "/a", "a/", "a//b", "A", "a b", "a?"}) EXPECT_FALSE(valid_glob(bad));
}

const std::vector<Action> kAll = {Action::pull, Action::push, Action::remove};

TEST(AccessList, TheFirstRuleThatFitsDecides) {
  const AccessList list({
      {.repositories = {"secret/**"}, .users = {"ann"}, .actions = {Action::pull}},
      {.repositories = {"secret/**"}, .anonymous = true, .actions = {}},
      {.repositories = {"team/*"}, .users = {"ann", "bob"}, .actions = kAll},
      {.repositories = {"team/*"}, .authenticated = true, .actions = {Action::pull}},
      {.repositories = {"**"}, .anonymous = true, .actions = {Action::pull}},
  });
  const Caller ann{true, "ann"};
  const Caller eve{true, "eve"};
  const Caller nobody;
  EXPECT_TRUE(list.allows(ann, "secret/a", Action::pull));
  EXPECT_FALSE(list.allows(ann, "secret/a", Action::push));
  EXPECT_FALSE(list.allows(eve, "secret/a", Action::pull));
  EXPECT_FALSE(list.allows(nobody, "secret/a", Action::pull));
  EXPECT_TRUE(list.allows(ann, "team/a", Action::remove));
  EXPECT_TRUE(list.allows(eve, "team/a", Action::pull));
  EXPECT_FALSE(list.allows(eve, "team/a", Action::push));
  EXPECT_TRUE(list.allows(nobody, "team/a", Action::pull)) << "by the last rule";
  EXPECT_TRUE(list.allows(eve, "other", Action::pull)) << "anonymous is everybody";
  EXPECT_FALSE(list.allows(ann, "other", Action::push));

  EXPECT_FALSE(list.allows_everywhere(nobody, Action::pull)) << "not secret/";
  EXPECT_FALSE(AccessList().allows(ann, "a", Action::pull)) << "no rule";
  EXPECT_FALSE(AccessList().allows_something(ann));
  const AccessList open({{.repositories = {"**"}, .anonymous = true, .actions = {Action::pull}}});
  EXPECT_TRUE(open.allows_everywhere(nobody, Action::pull));
  EXPECT_FALSE(open.allows_everywhere(nobody, Action::push));
  EXPECT_TRUE(open.allows_something(nobody));
}

TEST(AccessList, AUserWithoutANameIsNoUserOfARule) {
  const AccessList list({{.repositories = {"**"}, .users = {""}, .actions = kAll}});
  EXPECT_FALSE(list.allows({true, ""}, "a", Action::pull));
  EXPECT_FALSE(list.allows({}, "a", Action::pull));
}

TEST(Identity, ATokenNeedsItsGrantAndTheRules) {
  const auto rules = std::make_shared<const AccessList>(std::vector<Rule>{
      {.repositories = {"public/*"}, .anonymous = true, .actions = {Action::pull}},
      {.repositories = {"a/*"}, .authenticated = true, .actions = {Action::pull, Action::push}}});
  const Identity token({true, ""}, rules,
                       {{"repository", "a/b", {"pull"}}, {"repository", "x/y", {"*"}}});
  EXPECT_TRUE(token.may("a/b", Action::pull));
  EXPECT_FALSE(token.may("a/b", Action::push)) << "not granted";
  EXPECT_FALSE(token.may("a/c", Action::pull)) << "not granted";
  EXPECT_FALSE(token.may("x/y", Action::pull)) << "no rule";
  EXPECT_TRUE(token.may("public/z", Action::pull)) << "anybody may";
  EXPECT_FALSE(token.may_pull_everywhere());
  EXPECT_FALSE(Identity().may("public/z", Action::pull));
  EXPECT_FALSE(Identity().may_list());
}

http::Request request(const std::string& method, const std::string& query = "") {
  http::Request r;
  r.method = method;
  r.query = query;
  return r;
}

TEST(Demand, OfEachRouteAndMethod) {
  const auto scope = [](const http::Request& r, const std::string& path) {
    return scope_of(demand_of(r, oci::parse_route(path)));
  };
  const std::string blob = "/v2/a/b/blobs/sha256:" + std::string(64, '0');
  EXPECT_EQ(scope(request("GET"), blob), "repository:a/b:pull");
  EXPECT_EQ(scope(request("HEAD"), "/v2/a/manifests/x"), "repository:a:pull");
  EXPECT_EQ(scope(request("PUT"), "/v2/a/manifests/x"), "repository:a:pull,push");
  EXPECT_EQ(scope(request("DELETE"), "/v2/a/manifests/x"), "repository:a:delete");
  EXPECT_EQ(scope(request("GET"), "/v2/a/tags/list"), "repository:a:pull");
  EXPECT_EQ(scope(request("POST"), "/v2/a/blobs/uploads/"), "repository:a:pull,push");
  EXPECT_EQ(scope(request("DELETE"), "/v2/a/blobs/uploads/id"), "repository:a:pull,push");
  EXPECT_EQ(scope(request("PATCH"), "/v2/a/blobs/uploads/id"), "repository:a:pull,push");
  EXPECT_EQ(scope(request("POST", "mount=x&from=c/d"), "/v2/a/blobs/uploads/"),
            "repository:a:pull,push repository:c/d:pull");
  EXPECT_EQ(scope(request("POST", "mount=x&from=c%22%0d%0aX:"), "/v2/a/blobs/uploads/"),
            "repository:a:pull,push")
      << "what is no name does not get into a header";
  EXPECT_EQ(scope(request("GET"), "/v2/_catalog"), "registry:catalog:*");
  EXPECT_EQ(scope(request("GET"), "/v2/"), "");
  EXPECT_EQ(scope(request("OPTIONS"), "/v2/_catalog"), "registry:catalog:*");
  for (const char* path : {"/v2/a/manifests/x", "/v2/a/blobs/uploads/"}) {
    EXPECT_EQ(demand_of(request("OPTIONS"), oci::parse_route(path)).kind, Demand::Kind::base);
  }
  EXPECT_EQ(demand_of(request("GET"), oci::parse_route("/")).kind, Demand::Kind::nothing);
  EXPECT_EQ(detail_of(demand_of(request("GET"), oci::parse_route("/v2/bench/a/tags/list"))),
            R"([{"Type":"repository","Class":"","Name":"bench/a","Action":"pull"}])");
  EXPECT_EQ(detail_of(demand_of(request("GET"), oci::parse_route("/v2/"))), "null");
}

TEST(Credentials, Basic) {
  const auto read = [](const std::string& field) {
    http::Request r;
    r.headers.add("Authorization", field);
    return http::basic_credentials(r);
  };
  const auto encoded = [](std::string_view text) {
    return "Basic " + base::encode_base64(text, base::Base64::standard);
  };
  const auto given = read(encoded("ann:a:b"));
  ASSERT_TRUE(given);
  EXPECT_EQ(given->user, "ann");
  EXPECT_EQ(given->password, "a:b");
  EXPECT_TRUE(read("bAsIc  YTpi"));
  for (const std::string& bad :
       {std::string("Basic"), std::string("Basic "), std::string("Basic !"),
        std::string("BasicYTpi"), std::string("Bearer YTpi"), encoded("ann"), encoded("ann:x\r\n"),
        encoded("a\nb:x"), encoded({"ann:pw\0rest", 11})}) {
    EXPECT_FALSE(read(bad)) << bad;
  }
}

TEST(Throttle, ABurstAndThenOnePerInterval) {
  Throttle throttle(3, 10s, 1);
  base::TimePoint now{std::chrono::hours(1)};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(throttle.wait("a", now), 0s);
    throttle.charge("a", now);
  }
  EXPECT_EQ(throttle.wait("a", now), 10s);
  EXPECT_EQ(throttle.wait("b", now), 0s);
  now += 10s;
  EXPECT_EQ(throttle.wait("a", now), 0s);
  throttle.charge("a", now);
  EXPECT_EQ(throttle.wait("a", now), 10s);
  throttle.refund("a");
  EXPECT_EQ(throttle.wait("a", now), 0s);
}

}  // namespace
}  // namespace origin::auth
