// A disk that spoils pages of the index or of the references: a process that reads one may end, but
// the next start does not, and what has files is served.
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
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
      std::map<std::string, std::string> variables = {
          {"ASAN_OPTIONS", "symbolize=0:abort_on_error=1"}};
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
}

TEST_F(DamagedIndexTest, ACrashWhileItIsReadCostsNoBlob) {
  for (const std::string how : {"abort", "fault"}) {
    const std::string said = run({serve()}, {{"END_AT", "index.read:" + how}});
    EXPECT_EQ(std::exchange(ends_, 0), 1);
    EXPECT_THAT(said, testing::HasSubstr("a process crashed while it read it"));
    EXPECT_THAT(said, testing::HasSubstr("served " + std::to_string(kBlobs) + "\n"));
    open();
    wait_complete();
    EXPECT_EQ(store->stats().blobs, kBlobs);
    expect_consistent();
    store.reset();
  }
}

// What is only in the index is there still.
TEST_F(DamageTest, AnEndFromOutsideWhileTheIndexIsReadIsNoCrash) {
  const BlobStoreOptions options{.root = root(), .capacity = 100 * kMiB, .inline_limit = 8192};
  const std::string small = content(1, kSize);
  for (const int signal : {SIGKILL, SIGTERM, SIGABRT, SIGSEGV}) {
    open(options);
    put(*store, digest_of(small), small);
    store->pin(digest_of(small), true);
    store.reset();
    test::Process child({CACHE_CRASH_CHILD, root().string(), "100000000", "inline:8192"},
                        {{"ASAN_OPTIONS", "symbolize=0"}, {"END_AT", "index.read:wait"}});
    child.wait_for("waits");
    child.signal(signal);
    EXPECT_NE(child.wait(), 0);
    open(options);
    EXPECT_TRUE(store->stats().complete);
    EXPECT_TRUE(held(small)) << signal;
    const std::optional<BlobInfo> info = store->info(digest_of(small));
    EXPECT_TRUE(info && info->pinned) << signal;
  }
}

TEST_F(DamagedIndexTest, AStartThatComesToItsEndLeavesNoMark) {
  for (int start = 0; start < 2; ++start) {
    open();
    EXPECT_TRUE(store->stats().complete);
    EXPECT_EQ(store->stats().blobs, kBlobs);
  }
}

// What is still known is right, and what is not is known again.
TEST_F(DamageTest, ReferencesBeginAnewAfterOneEndAtMost) {
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 0\n"));
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 60\n"));
  expect_of_each_page(layout.references(), {"names:60", "names:60"}, "known 60\ndone");
}

TEST_F(DamageTest, ACrashWhileReferencesAreReadCostsThem) {
  run({"names:60"});
  const std::string said = run({"names:60"}, {{"END_AT", "references.read:abort"}});
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(said, testing::HasSubstr("a process crashed while it read it"));
  EXPECT_THAT(said, testing::HasSubstr("known 0\n"));
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 60\n"));
}

TEST_F(DamageTest, AnEndFromOutsideWhileReferencesAreReadCostsNone) {
  run({"names:60"});
  test::Process child({CACHE_CRASH_CHILD, root().string(), "100000000", "names:60"},
                      {{"END_AT", "references.read:wait"}});
  child.wait_for("waits");
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), -SIGTERM);
  EXPECT_THAT(run({"names:60"}), testing::HasSubstr("known 60\n"));
}

}  // namespace
}  // namespace cache
