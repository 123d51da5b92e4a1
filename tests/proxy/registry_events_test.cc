// What a registry's events say, in the forms that Distribution and the origin send.
#include "proxy/registry_events.h"

#include <gtest/gtest.h>

namespace proxy {
namespace {

using Action = RegistryEvent::Action;

const oci::Digest kDigest = oci::Digest::of(oci::Algorithm::sha256, "a");

RegistryEvents parse(const std::string& event) {
  const auto parsed = parse_registry_events("{\"events\":[" + event + "],\"more\":1}");
  EXPECT_TRUE(parsed.has_value()) << (parsed ? "" : parsed.error());
  return parsed.value_or(RegistryEvents{});
}

std::string event_text(const std::string& action, const std::string& target) {
  return R"({"id":"1","action":")" + action + R"(","target":{)" + target +
         R"(},"request":{"method":"PUT"},"actor":{}})";
}

std::string digest() { return R"("digest":")" + kDigest.str() + '"'; }

TEST(RegistryEvents, APushOfAManifestIsToldByItsTypeOrItsUrl) {
  const std::string target = R"("repository":"a/b","tag":"1",)" + digest();
  for (const std::string& more :
       {std::string(R"("mediaType":"application/vnd.oci.image.index.v1+json")"),
        std::string(R"("mediaType":"application/json","url":"https://r/v2/a/b/manifests/1")")}) {
    const RegistryEvents parsed = parse(event_text("push", target + "," + more));
    ASSERT_EQ(parsed.events.size(), 1U);
    EXPECT_EQ(
        parsed.events[0],
        (RegistryEvent{.repository = "a/b", .digest = kDigest, .tag = "1", .manifest = true}));
  }
}

TEST(RegistryEvents, APushOrMountOfABlobIsNoManifests) {
  for (const char* action : {"push", "mount"}) {
    const RegistryEvents parsed = parse(
        event_text(action, R"("mediaType":"application/octet-stream","size":3,"fromRepository":"x",
            "repository":"app","url":"https://r/v2/app/blobs/x",)" +
                               digest()));
    ASSERT_EQ(parsed.events.size(), 1U);
    EXPECT_EQ(parsed.events[0], (RegistryEvent{.repository = "app", .digest = kDigest}));
  }
}

TEST(RegistryEvents, ADeleteNamesADigestOrATagOrTheRepository) {
  const RegistryEvents parsed =
      parse(event_text("delete", R"("repository":"app",)" + digest()) + "," +
            event_text("delete", R"("repository":"app","tag":"1")") + "," +
            event_text("delete", R"("repository":"app")"));
  ASSERT_EQ(parsed.events.size(), 3U);
  EXPECT_EQ(parsed.events[0], (RegistryEvent{Action::remove, "app", kDigest, "", false}));
  EXPECT_EQ(parsed.events[1], (RegistryEvent{Action::remove, "app", std::nullopt, "1", false}));
  EXPECT_EQ(parsed.events[2], (RegistryEvent{Action::remove, "app", std::nullopt, "", false}));
}

TEST(RegistryEvents, WhatIsOfNoUseIsCountedAndDoesNotHoldUpTheRest) {
  const RegistryEvents parsed =
      parse(event_text("pull", R"("repository":"app",)" + digest()) + ",7,null,{}," +
            event_text("prune", R"("repository":"app",)" + digest()) + "," +
            event_text("push", R"("repository":"app")") + "," +
            event_text("push", R"("repository":"../etc",)" + digest()) + "," +
            event_text("push", R"("repository":"app","tag":"a b",)" + digest()) + "," +
            // Not the whole repository: something of it that cannot be here.
            event_text("delete", R"("repository":"app","digest":"md5:00")") + "," +
            event_text("push", R"("repository":"app",)" + digest()));
  EXPECT_EQ(parsed.ignored, 9U);
  ASSERT_EQ(parsed.events.size(), 1U);
  EXPECT_EQ(parsed.events[0].repository, "app");
}

TEST(RegistryEvents, WhatIsNoEnvelopeIsRefused) {
  for (const char* body : {"", "{", "[]", "7", "{}", R"({"events":{}})", R"({"events":null})"}) {
    const auto parsed = parse_registry_events(body);
    ASSERT_FALSE(parsed.has_value()) << body;
    EXPECT_FALSE(parsed.error().empty());
  }
  EXPECT_TRUE(parse_registry_events(R"({"events":[]})").has_value());
}

}  // namespace
}  // namespace proxy
