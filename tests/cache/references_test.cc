#include "cache/references.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/support/temp_dir.h"

namespace cache {
namespace {

Reference reference(const std::string& content, int64_t validated_at = 1) {
  return {oci::Digest::of(oci::Algorithm::sha256, content), "application/json", validated_at, {}};
}

class ReferencesTest : public ::testing::Test {
 protected:
  void open(size_t capacity = References::kCapacity) {
    table.reset();
    table = std::make_unique<References>(directory.path() / "references", capacity);
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
  EXPECT_EQ(table->size(), 18U);
  EXPECT_NE(table->find("new"), std::nullopt);
  EXPECT_NE(table->find("5"), std::nullopt);
  EXPECT_NE(table->find("16"), std::nullopt);
  for (const char* gone : {"17", "18", "19"}) EXPECT_EQ(table->find(gone), std::nullopt) << gone;
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
