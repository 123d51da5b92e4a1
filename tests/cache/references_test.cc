#include "cache/references.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "tests/support/temp_dir.h"

namespace cache {
namespace {

Reference reference(const std::string& content, int64_t validated_at = 1) {
  return {oci::Digest::of(oci::Algorithm::sha256, content), "application/json", validated_at, {}};
}

constexpr int64_t kHour = 3600;

// "app?n=1" is a list, "sha256:…" a digest.
NameFacts facts_of(std::string_view name) {
  using Kind = NameFacts::Kind;
  if (name.contains('?')) return {Kind::list, std::string(name.substr(0, name.find('?')))};
  return {name.starts_with("sha256:") ? Kind::digest : Kind::tag, "app"};
}

class ReferencesTest : public ::testing::Test {
 protected:
  void open(size_t capacity = References::kCapacity) {
    table.reset();
    table = std::make_unique<References>(directory.path() / "references", facts_of, capacity);
  }

  // Names "<what><i>" of numbers [begin, end).
  void put_all(const std::string& what, int begin, int end, int64_t validated_at) {
    for (int i = begin; i < end; ++i) {
      table->put(what + std::to_string(i), reference("x", validated_at));
    }
  }
  int known(const std::string& what, int begin, int end) const {
    int count = 0;
    for (int i = begin; i < end; ++i) count += table->find(what + std::to_string(i)) ? 1 : 0;
    return count;
  }
  std::string bytes_on_disk() const {
    std::ostringstream bytes;
    bytes << std::ifstream(directory.path() / "references" / "data.mdb").rdbuf();
    return bytes.str();
  }

  test::TempDir directory;
  std::unique_ptr<References> table;
};

TEST_F(ReferencesTest, WhatWasPutIsFoundAfterARestart) {
  open();
  EXPECT_EQ(table->find("hub latest"), std::nullopt);
  Reference stored{oci::Digest::of(oci::Algorithm::sha512, "x"),
                   "text/plain",
                   1'700'000'000,
                   {{"ETag", "\"abc\""}, {"Link", ""}}};
  table->put("hub latest", stored);
  EXPECT_EQ(table->find("hub latest"), stored);
  open();
  EXPECT_EQ(table->find("hub latest"), stored);
  stored.validated_at = -5;
  stored.fields.clear();
  table->put("hub latest", stored);
  EXPECT_EQ(table->find("hub latest"), stored);
  EXPECT_EQ(table->size(), 1U);
}

TEST_F(ReferencesTest, NamesOfAnyLengthAndNumberOfThem) {
  open();
  std::map<std::string, Reference> all;
  for (int i = 0; i < 100; ++i) {
    const std::string name = std::string(static_cast<size_t>(i) * 40, 'n') + std::to_string(i);
    all.emplace(name, reference(name, i));
    table->put(name, reference(name, i));
  }
  std::map<std::string, Reference> seen;
  table->for_each([&](std::string_view name, const Reference& each) { seen.emplace(name, each); });
  EXPECT_EQ(seen, all);
}

TEST_F(ReferencesTest, SeveralAreRemovedAtOnce) {
  open();
  for (const char* name : {"a", "b", "c"}) table->put(name, reference(name));
  const std::vector<std::string> some = {"a", "c", "nothing"};
  EXPECT_EQ(table->remove(some), 2U);
  EXPECT_EQ(table->find("a"), std::nullopt);
  EXPECT_TRUE(table->find("b"));
  EXPECT_EQ(table->size(), 1U);
}

TEST_F(ReferencesTest, RemovedIsGone) {
  open();
  table->put("a", reference("a"));
  EXPECT_TRUE(table->remove("a"));
  EXPECT_FALSE(table->remove("a"));
  EXPECT_EQ(table->find("a"), std::nullopt);
}

TEST_F(ReferencesTest, AFullTableForgetsWhatWasValidatedLongestAgo) {
  open(20);
  for (int i = 0; i < 20; ++i) table->put(std::to_string(i), reference("x", 100 - i));
  table->put("5", reference("y", 1000));  // replaced: no room needed
  EXPECT_EQ(table->size(), 20U);
  table->put("new", reference("z", 1));
  EXPECT_EQ(table->size(), 19U);
  EXPECT_NE(table->find("new"), std::nullopt);
  EXPECT_NE(table->find("5"), std::nullopt);
  EXPECT_NE(table->find("17"), std::nullopt);
  for (const char* gone : {"18", "19"}) EXPECT_EQ(table->find(gone), std::nullopt) << gone;
}

TEST_F(ReferencesTest, ListsPushOutNothingButLists) {
  open(100);
  put_all("sha256:", 0, 50, 1);
  put_all("tag", 0, 40, 1);
  for (int i = 0; i < 300; ++i)
    table->put("app" + std::to_string(i) + "?", reference("x", 1 << 30));
  EXPECT_EQ(known("sha256:", 0, 50), 50);
  EXPECT_EQ(known("tag", 0, 40), 40);
  EXPECT_NE(table->find("app299?"), std::nullopt);
  while (table->size() < 100) {
    table->put("more" + std::to_string(table->size()) + "?", reference("x", 1 << 30));
  }
  put_all("new", 0, 5, 2);
  EXPECT_EQ(known("sha256:", 0, 50), 50) << "and tags take the places of lists";
  EXPECT_EQ(known("tag", 0, 40), 40);
  EXPECT_EQ(known("new", 0, 5), 5);
}

TEST_F(ReferencesTest, ListsOfARepositoryAreBounded) {
  constexpr int kMost = References::kListsOfARepository;
  open();
  table->put("other?", reference("x"));
  for (int i = 0; i < kMost; ++i) table->put("app?" + std::to_string(i), reference("x", i));
  open();  // it is known again which there are
  table->put("app?0", reference("y", 2));
  put_all("app?", kMost, kMost + 2, 1);
  EXPECT_EQ(known("app?", 0, kMost + 2), kMost);
  EXPECT_NE(table->find("app?0"), std::nullopt);
  EXPECT_EQ(known("app?", 1, 3), 0) << "put longest ago";
  EXPECT_NE(table->find("other?"), std::nullopt);
  // What was removed is not counted.
  EXPECT_TRUE(table->remove("app?50"));
  put_all("app?", kMost + 2, kMost + 3, 1);
  EXPECT_EQ(known("app?", 0, kMost + 3), kMost);
  EXPECT_NE(table->find("app?3"), std::nullopt);
}

TEST_F(ReferencesTest, WhatIsAskedForIsRememberedLonger) {
  for (const bool restarted : {false, true}) {
    table.reset();
    std::filesystem::remove_all(directory.path() / "references");
    open(20);
    put_all("sha256:", 0, 20, kHour);
    for (int i = 1; i < 20; ++i)
      table->put("sha256:" + std::to_string(i), reference("x", 2 * kHour));
    EXPECT_EQ(table->use("sha256:0", 10 * kHour), reference("x", kHour));
    if (restarted) open(20);
    put_all("new", 0, 16, 20 * kHour);
    EXPECT_NE(table->find("sha256:0"), std::nullopt) << restarted;
    EXPECT_LT(known("sha256:", 1, 20), 10);
  }
}

TEST_F(ReferencesTest, OfOneHourTagsGoBeforeDigests) {
  open(20);
  put_all("sha256:", 0, 10, kHour);
  for (int i = 0; i < 10; ++i) table->put("tag" + std::to_string(i), reference("x", kHour + i));
  put_all("new", 0, 1, 2 * kHour);
  EXPECT_EQ(known("sha256:", 0, 10), 10);
  EXPECT_EQ(known("tag", 0, 10), 8);
  // A digest that nobody asks for goes before a tag that is asked for.
  EXPECT_NE(table->use("tag9", 5 * kHour), std::nullopt);
  put_all("late", 0, 14, 6 * kHour);
  EXPECT_NE(table->find("tag9"), std::nullopt);
  EXPECT_LT(known("sha256:", 0, 10), 10);
}

TEST_F(ReferencesTest, AUseIsNoWrite) {
  open();
  put_all("tag", 0, 10, kHour);
  const std::string before = bytes_on_disk();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(table->use("tag" + std::to_string(i), 10 * kHour));
  EXPECT_EQ(table->use("none", 10 * kHour), std::nullopt);
  EXPECT_TRUE(bytes_on_disk() == before);
  table->put("other", reference("x"));
  EXPECT_FALSE(bytes_on_disk() == before);
}

TEST_F(ReferencesTest, ATableThatCannotBeReadIsBegunAnew) {
  open();
  for (int i = 0; i < 100; ++i) table->put(std::to_string(i), reference(std::string(100, 'x')));
  table.reset();
  const auto file = directory.path() / "references" / "data.mdb";
  const auto size = std::filesystem::file_size(file);
  std::filesystem::resize_file(file, size - 1);
  open();
  EXPECT_EQ(table->size(), 0U);
  table->put("a", reference("a"));
  table.reset();
  std::ofstream(file) << std::string(8192, 'x');
  open();
  EXPECT_EQ(table->size(), 0U);
  table->put("a", reference("a"));
  EXPECT_NE(table->find("a"), std::nullopt);
}

}  // namespace
}  // namespace cache
