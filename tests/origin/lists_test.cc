// The lists: tags, catalog and referrers, with their pages and filters.
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/fault_point.h"
#include "oci/manifest.h"
#include "tests/origin/registry_fixture.h"

namespace origin {
namespace {

using Strings = std::vector<std::string>;

class ListsTest : public RegistryTest {
 protected:
  // Follows Link from page to page.
  static Strings all_pages(uint16_t port, std::string target, const std::string& key) {
    Strings all;
    while (true) {
      const auto answer = call(port, "GET", target);
      EXPECT_EQ(answer.status, 200) << target;
      EXPECT_EQ(answer.header("Content-Type"), "application/json");
      for (std::string& entry : strings(answer, key)) all.push_back(std::move(entry));
      const std::string link = answer.header("Link");
      if (link.empty()) return all;
      EXPECT_TRUE(link.ends_with(">; rel=\"next\"")) << link;
      target = link.substr(1, link.find('>') - 1);
    }
  }
};

TEST_F(ListsTest, Tags) {
  const uint16_t port = start();
  for (const char* tag : {"b", "c", "a", "B"}) push_image(port, "a/b", tag, "x");
  const Strings sorted = {"B", "a", "b", "c"};
  EXPECT_EQ(call(port, "GET", "/v2/a/b/tags/list").body,
            "{\"name\":\"a/b\",\"tags\":[\"B\",\"a\",\"b\",\"c\"]}\n");
  for (const char* n : {"1", "2", "3", "4", "5", "100000"}) {
    EXPECT_EQ(all_pages(port, std::string("/v2/a/b/tags/list?n=") + n, "tags"), sorted) << n;
  }
  EXPECT_EQ(call(port, "GET", "/v2/a/b/tags/list?n=4").header("Link"), "");
  EXPECT_EQ(call(port, "GET", "/v2/a/b/tags/list?n=2").header("Link"),
            "</v2/a/b/tags/list?last=a&n=2>; rel=\"next\"");
  EXPECT_EQ(strings(call(port, "GET", "/v2/a/b/tags/list?last=a"), "tags"), (Strings{"b", "c"}));
  EXPECT_EQ(strings(call(port, "GET", "/v2/a/b/tags/list?n=0"), "tags"), Strings{});
  for (const char* n : {"-1", "x", "1x", "99999999999999999999999"}) {
    const auto answer = call(port, "GET", std::string("/v2/a/b/tags/list?n=") + n);
    EXPECT_EQ(answer.status, 400) << n;
    EXPECT_EQ(error_code(answer), "PAGINATION_NUMBER_INVALID") << n;
  }
}

TEST_F(ListsTest, TagsOfARepositoryWithout) {
  const uint16_t port = start();
  push_blob(port, "a", "x");
  EXPECT_EQ(strings(call(port, "GET", "/v2/a/tags/list"), "tags"), Strings{});
  const auto unknown = call(port, "GET", "/v2/b/tags/list");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(error_code(unknown), "NAME_UNKNOWN");
}

TEST_F(ListsTest, Catalog) {
  const uint16_t port = start();
  EXPECT_EQ(call(port, "GET", "/v2/_catalog").body, "{\"repositories\":[]}\n");
  for (const char* name : {"b", "a-b", "a/b", "a", "a/c"}) push_blob(port, name, "x");
  const Strings sorted = {"a", "a/b", "a/c", "a-b", "b"};
  EXPECT_EQ(all_pages(port, "/v2/_catalog", "repositories"), sorted);
  for (const char* n : {"1", "2", "3", "5", "1000"}) {
    EXPECT_EQ(all_pages(port, std::string("/v2/_catalog?n=") + n, "repositories"), sorted) << n;
  }
  EXPECT_EQ(call(port, "GET", "/v2/_catalog?n=2").header("Link"),
            "</v2/_catalog?last=a%2Fb&n=2>; rel=\"next\"");
  EXPECT_EQ(error_code(call(port, "GET", "/v2/_catalog?n=1001")), "PAGINATION_NUMBER_INVALID");
}

TEST_F(ListsTest, PagesAreAsLargeAsConfigured) {
  Config small = config();
  small.max_catalog_entries = 2;
  small.max_tags = 2;
  const uint16_t port = start(std::move(small)).port();
  for (const char* name : {"a", "b", "c"}) push_image(port, "r", name, "x");
  for (const char* name : {"s", "t"}) push_blob(port, name, "x");
  EXPECT_EQ(strings(call(port, "GET", "/v2/r/tags/list?n=3"), "tags"), (Strings{"a", "b"}));
  EXPECT_EQ(strings(call(port, "GET", "/v2/r/tags/list"), "tags"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(strings(call(port, "GET", "/v2/_catalog"), "repositories"), (Strings{"r", "s"}));
  EXPECT_EQ(strings(call(port, "GET", "/v2/_catalog?n=0"), "repositories"), Strings{});
  EXPECT_EQ(call(port, "GET", "/v2/_catalog?n=3").status, 400);
}

// A manifest that refers to another.
std::string attachment(const oci::Digest& config, const oci::Digest& subject,
                       const std::string& type) {
  return image(config, {},
               R"(,"artifactType":")" + type + R"(","annotations":{"k":")" + type +
                   R"("},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json",)" +
                   R"("digest":")" + subject.str() + R"(","size":1})");
}

TEST_F(ListsTest, Referrers) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const oci::Digest subject = sha256("not pushed yet");
  const std::string path = "/v2/a/referrers/" + subject.str();
  const auto nothing = call(port, "GET", path);
  EXPECT_EQ(nothing.status, 200);
  EXPECT_EQ(nothing.header("Content-Type"), "application/vnd.oci.image.index.v1+json");
  EXPECT_EQ(nothing.body,
            R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",)"
            R"("manifests":[]})");

  const std::string sbom = attachment(config, subject, "text/sbom");
  const std::string signature = attachment(config, subject, "text/signature");
  for (const std::string& manifest : {sbom, signature}) {
    const auto put = push_manifest(port, "a", sha256(manifest).str(), manifest);
    EXPECT_EQ(put.status, 201) << put.body;
    EXPECT_EQ(put.header("OCI-Subject"), subject.str());
  }
  const auto all = call(port, "GET", path);
  EXPECT_EQ(nlohmann::json::parse(all.body)["manifests"].size(), 2U);
  EXPECT_FALSE(all.headers.has("OCI-Filters-Applied"));

  const auto some = call(port, "GET", path + "?artifactType=text%2Fsbom");
  EXPECT_EQ(some.header("OCI-Filters-Applied"), "artifactType");
  const auto manifests = nlohmann::json::parse(some.body)["manifests"];
  ASSERT_EQ(manifests.size(), 1U);
  EXPECT_EQ(manifests[0]["digest"], sha256(sbom).str());
  EXPECT_EQ(manifests[0]["size"], sbom.size());
  EXPECT_EQ(manifests[0]["artifactType"], "text/sbom");
  EXPECT_EQ(manifests[0]["annotations"]["k"], "text/sbom");

  EXPECT_EQ(call(port, "DELETE", "/v2/a/manifests/" + sha256(sbom).str()).status, 202);
  EXPECT_EQ(nlohmann::json::parse(call(port, "GET", path).body)["manifests"].size(), 1U);
}

TEST_F(ListsTest, ReferrersComeInPagesOfAManifestsSize) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const oci::Digest subject = sha256("subject");
  const std::string text(1'500'000, '.');
  std::map<std::string, std::set<std::string>> pushed;  // by type
  for (const std::string& name : {"x1", "y1", "x2", "y2", "x3"}) {
    const std::string type = "text/" + name.substr(0, 1);
    const std::string manifest =
        image(config, {},
              R"(,"artifactType":")" + type + R"(","annotations":{"k":")" + name + text +
                  R"("},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json",)" +
                  R"("digest":")" + subject.str() + R"(","size":1})");
    EXPECT_EQ(push_manifest(port, "a", sha256(manifest).str(), manifest).status, 201);
    for (const std::string& list : {type, std::string()}) {
      pushed[list].insert(sha256(manifest).str());
    }
  }
  // Follows the links of a list, and returns how many pages it has.
  const auto pages = [&](const std::string& query, const std::set<std::string>& expected) {
    std::set<std::string> found;
    size_t count = 0;
    std::string target = "/v2/a/referrers/" + subject.str() + query;
    while (!target.empty()) {
      ++count;
      const auto answer = call(port, "GET", target);
      EXPECT_EQ(answer.status, 200) << target;
      EXPECT_LE(answer.body.size(), oci::kMaxManifestSize) << target;
      EXPECT_TRUE(answer.body.starts_with(R"({"schemaVersion":2,)") && answer.body.ends_with("]}"));
      EXPECT_EQ(answer.header("OCI-Filters-Applied"), query.empty() ? "" : "artifactType");
      const std::string before = R"("digest":")";
      for (size_t at = answer.body.find(before); at != std::string::npos;
           at = answer.body.find(before, at + 1)) {
        EXPECT_TRUE(found.insert(answer.body.substr(at + before.size(), 71)).second) << "twice";
      }
      const std::string link = answer.header("Link");
      target = link.empty() ? "" : link.substr(1, link.find(">; rel=\"next\"") - 1);
    }
    EXPECT_EQ(found, expected) << query;
    return count;
  };
  EXPECT_EQ(pages("", pushed[""]), 3U);
  EXPECT_EQ(pages("?artifactType=text%2Fx&artifactType=text%2Fz", pushed["text/x"]), 2U);
  EXPECT_EQ(pages("?artifactType=text/y", pushed["text/y"]), 1U);
  const auto nonsense = call(port, "GET", "/v2/a/referrers/" + subject.str() + "?last=x");
  EXPECT_EQ(error_code(nonsense), "DIGEST_INVALID");
}

// Lists that wait for the storage take a quarter of the threads, however many they are.
TEST_F(ListsTest, NoNumberOfListsDelaysAPullOrAPush) {
  constexpr int kThreads = 8;
  constexpr int kLists = 4 * kThreads;
  Config c = config();
  c.threads = kThreads;
  c.upload_purging.enabled = false;  // it lists as well
  c.debug = {.address = "127.0.0.1:0", .metrics = true};
  Registry& registry = start(std::move(c));
  const uint16_t port = registry.port();
  const std::string manifest = push_image(port, "a", "t", "x");

  std::atomic<int> waiting = 0;
  std::atomic<bool> go_on = false;
  const auto release = [&] {
    go_on = true;
    go_on.notify_all();
  };
  std::vector<std::jthread> clients;
  const base::InjectedFault hangs("list", [&](std::string_view) {
    if (!go_on && ++waiting > kThreads / 4) release();
    waiting.notify_all();
    go_on.wait(false);
    return 0;
  });
  const Strings lists = {"/v2/_catalog", "/v2/a/tags/list",
                         "/v2/a/referrers/" + sha256("subject").str()};
  for (const std::string& list : lists) {
    for (int i = 0; i < kLists; ++i) {
      clients.emplace_back([port, list] { EXPECT_EQ(call(port, "GET", list).status, 200); });
    }
  }
  for (const std::string handler : {"catalog", "tags", "referrers"}) {
    scrape(registry.debug_port(), "registry_http_in_flight_requests{handler=\"" + handler + "\"} " +
                                      std::to_string(kLists));
  }
  for (int n = waiting; n < kThreads / 4; n = waiting) waiting.wait(n);
  EXPECT_EQ(call(port, "GET", "/v2/a/manifests/t").body, manifest);
  push_blob(port, "a", "y");
  EXPECT_FALSE(go_on) << "no more of them at once";
  release();
}

TEST_F(ListsTest, WhatCannotBeReadIsLeftOut) {
  const uint16_t port = start();
  for (const char* name : {"a", "bad", "bad/below", "c"}) push_blob(port, name, "{}");
  {
    const base::InjectedFault unreadable("list", EACCES, "repositories/bad");
    EXPECT_EQ(strings(call(port, "GET", "/v2/_catalog"), "repositories"), (Strings{"a", "c"}));
  }
  const oci::Digest subject = sha256("subject");
  const std::string bad = attachment(sha256("{}"), subject, "text/bad");
  const std::string good = attachment(sha256("{}"), subject, "text/good");
  for (const std::string& manifest : {bad, good}) {
    EXPECT_EQ(push_manifest(port, "a", sha256(manifest).str(), manifest).status, 201);
  }
  // The fallback tag is as unreadable as can be, and so is what another algorithm would list.
  std::filesystem::create_directories(
      layout().tag_current_link("a", "sha256-" + subject.hex()).parent_path());
  std::filesystem::create_symlink("link",
                                  layout().tag_current_link("a", "sha256-" + subject.hex()));
  std::filesystem::create_directories(layout().referrers("a", subject) / "sha512");
  const base::InjectedFault unlisted("list", EIO, subject.hex() + "/sha512");
  for (const std::string& unreadable :
       {"blobs/sha256/" + sha256(bad).hex().substr(0, 2) + "/" + sha256(bad).hex(),
        "revisions/sha256/" + sha256(bad).hex()}) {
    const base::InjectedFault fault("open", EIO, unreadable);
    const auto answer = call(port, "GET", "/v2/a/referrers/" + subject.str());
    EXPECT_EQ(answer.status, 200) << unreadable;
    EXPECT_NE(answer.body.find(sha256(good).str()), std::string::npos) << unreadable;
    EXPECT_EQ(answer.body.find(sha256(bad).str()), std::string::npos) << unreadable;
  }
}

TEST_F(ListsTest, AnEntryThatCannotBeRemovedStandsInNoDeletesWay) {
  const uint16_t port = start();
  const oci::Digest subject = sha256("subject");
  const std::string manifest = attachment(push_blob(port, "a", "{}"), subject, "text/sbom");
  const std::string place = "/v2/a/manifests/" + sha256(manifest).str();
  EXPECT_EQ(push_manifest(port, "a", sha256(manifest).str(), manifest).status, 201);
  const auto entry = layout().referrer_link("a", subject, sha256(manifest));
  std::filesystem::remove(entry);
  std::filesystem::create_directory(entry);
  const base::InjectedFault stays("remove", EIO, entry.string());
  EXPECT_EQ(call(port, "DELETE", place).status, 202);
  EXPECT_EQ(call(port, "GET", place).status, 404);
  EXPECT_TRUE(std::filesystem::exists(entry));
  const auto list = call(port, "GET", "/v2/a/referrers/" + subject.str());
  EXPECT_TRUE(nlohmann::json::parse(list.body)["manifests"].empty()) << list.body;
}

// A list with holes would say that they are not there, to who prunes or mirrors by it.
TEST_F(ListsTest, WhatTheProcessOrTheServerCannotDoNowIsNotLeftOut) {
  const uint16_t port = start();
  push_image(port, "a", "t", "x");
  const oci::Digest subject = sha256("subject");
  const std::string manifest = attachment(sha256("x"), subject, "text/sbom");
  EXPECT_EQ(push_manifest(port, "a", sha256(manifest).str(), manifest).status, 201);
  struct Case {
    std::string list;
    std::string operation;
    std::string subject;
  };
  const std::vector<Case> cases = {
      {"/v2/_catalog", "list", "repositories/a"},
      {"/v2/a/tags/list", "open", "/tags/t/"},
      {"/v2/a/referrers/" + subject.str(), "open", sha256(manifest).hex() + "/data"},
  };
  for (const auto& [list, operation, of] : cases) {
    for (const int error : {EMFILE, ENFILE, ENOMEM, ETIMEDOUT}) {
      const base::InjectedFault fault(operation, error, of);
      EXPECT_EQ(call(port, "GET", list).status, 500) << list << ' ' << error;
    }
    EXPECT_EQ(call(port, "GET", list).status, 200) << list;
  }
}

TEST_F(ListsTest, ReferrersThatAClientListedInTheFallbackTag) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const oci::Digest subject = sha256("subject");
  const std::string sbom = attachment(config, subject, "text/sbom");
  const std::string unrelated = push_image(port, "a", "t", "x");
  push_manifest(port, "a", "sbom", sbom);
  // As if Distribution had stored it, which keeps no list of its own.
  std::filesystem::remove_all(layout().referrers("a", subject));
  const auto child = [](const std::string& manifest) {
    return R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
           sha256(manifest).str() + R"(","size":1})";
  };
  const std::string index =
      R"({"schemaVersion":2,"manifests":[)" + child(sbom) + "," + child(unrelated) + "]}";
  EXPECT_EQ(push_manifest(port, "a", "sha256-" + subject.hex(), index).status, 201);
  const auto answer = call(port, "GET", "/v2/a/referrers/" + subject.str());
  const auto manifests = nlohmann::json::parse(answer.body)["manifests"];
  ASSERT_EQ(manifests.size(), 1U);
  EXPECT_EQ(manifests[0]["digest"], sha256(sbom).str());
}

}  // namespace
}  // namespace origin
