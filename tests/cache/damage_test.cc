// A disk that spoils pages of the index or of the references: a process that reads one may end, but
// the next start does not, and what has files is served.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cache/store_fixture.h"
#include "tests/support/process.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

constexpr size_t kPage = 4096;

using Damage = std::function<void(std::string& bytes, size_t page)>;

std::vector<Damage> damages() {
  return {
      [](std::string& bytes, size_t page) { bytes.replace(page, kPage, kPage, '\0'); },
      [](std::string& bytes, size_t page) { bytes.replace(page, kPage, content(page + 1, kPage)); },
      // An entry less is in it: where the list of entries ends is the 13th byte.
      [](std::string& bytes, size_t page) { bytes[page + 12] -= 2; },
      [](std::string& bytes, size_t page) {
        bytes.replace(page + kPage - 200, 20, content(page + 2, 20));
      }};
}

class DamageTest : public test::StoreTest {
 protected:
  static constexpr uint64_t kBlobs = 50;
  static constexpr uint64_t kSize = 300;

  std::string serve() const { return "serve:" + std::to_string(kBlobs) + ":300"; }
  std::string put_another() const { return "put:" + std::to_string(kBlobs) + ":300"; }

  // What a child says of these commands; it is started again if that ends it, once.
  std::string run(const std::vector<std::string>& commands,
                  const std::map<std::string, std::string>& environment = {}) {
    std::vector<std::string> argv = {CACHE_CRASH_CHILD, root().string(), "100000000"};
    argv.insert(argv.end(), commands.begin(), commands.end());
    for (int ends = 0;; ++ends) {
      std::map<std::string, std::string> variables = {{"ASAN_OPTIONS", "symbolize=0"}};
      if (ends == 0) variables.insert(environment.begin(), environment.end());
      test::Process child(argv, variables);
      try {
        child.wait_for("done");
        return child.output();
      } catch (const std::runtime_error&) {
        ends_ += 1;
        if (ends == 1) return child.output() + "and ended again";
      }
    }
  }

  // Each page of this environment is spoilt in each way.
  void expect_of_each_page(const std::filesystem::path& directory,
                           const std::vector<std::string>& commands, const std::string& expected) {
    const std::string good = read_file(directory / "data.mdb");
    for (const Damage& damage : damages()) {
      for (size_t page = 0; page + kPage <= good.size(); page += kPage) {
        std::string bad = good;
        damage(bad, page);
        std::filesystem::remove_all(directory);
        write_file(directory / "data.mdb", bad);
        const std::string said = run(commands);
        EXPECT_THAT(said, testing::HasSubstr(expected)) << "page " << page / kPage;
        EXPECT_THAT(said, testing::Not(testing::HasSubstr("and ended again")));
      }
    }
  }

  int ends_ = 0;
};

class DamagedIndexTest : public DamageTest {
 protected:
  void SetUp() override {
    open();
    for (uint64_t i = 0; i < kBlobs; ++i)
      put(*store, digest_of(content(i, kSize)), content(i, kSize));
    for (uint64_t i = 0; i < 10; ++i) {
      const std::string other = content(1000 + i, kSize);
      put(*store, digest_of(other), other);
      store->remove(digest_of(other));
    }
    store.reset();
  }
};

TEST_F(DamagedIndexTest, IsMadeAnewAfterOneEndAtMost) {
  expect_of_each_page(layout.index(), {serve(), put_another()},
                      "served " + std::to_string(kBlobs) + "\n");
  EXPECT_GT(ends_, 0) << "or there is nothing to guard against";
}

TEST_F(DamagedIndexTest, AnEndWhileItIsReadCostsNoBlob) {
  const std::string said = run({serve()}, {{"ENTREPOT_CRASH_AT", "index.read"}});
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(said, testing::HasSubstr("a process ended while it read it"));
  EXPECT_THAT(said, testing::HasSubstr("served " + std::to_string(kBlobs) + "\n"));
  open();
  wait_complete();
  EXPECT_EQ(store->stats().blobs, kBlobs);
  expect_consistent();
}

TEST_F(DamagedIndexTest, AStartThatComesToItsEndLeavesNoMark) {
  for (int start = 0; start < 2; ++start) {
    open();
    EXPECT_TRUE(store->stats().complete);
    EXPECT_EQ(store->stats().blobs, kBlobs);
  }
}

TEST_F(DamageTest, ReferencesBeginAnewAfterOneEndAtMost) {
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 0\n"));
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 60\n"));
  expect_of_each_page(layout.references(), {"names:60"}, "known ");
  EXPECT_GT(ends_, 0) << "or there is nothing to guard against";
}

TEST_F(DamageTest, AnEndWhileReferencesAreReadCostsThem) {
  run({"names:60"});
  const std::string said = run({"names:60"}, {{"ENTREPOT_CRASH_AT", "references.read"}});
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(said, testing::HasSubstr("known 0\n"));
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 60\n"));
}

}  // namespace
}  // namespace cache
