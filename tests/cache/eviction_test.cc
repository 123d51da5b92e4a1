#include "cache/eviction.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace cache {
namespace {

oci::Digest blob(char name) {
  return oci::Digest::of(oci::Algorithm::sha256, std::string(1, name));
}

class EvictionTest : public testing::Test {
 protected:
  // The names of all victims, in order.
  std::string drain() {
    std::string order;
    while (const auto victim =
               eviction_.pop_victim([&](const oci::Digest& d) { return in_use_.contains(d); })) {
      for (char name = 'a'; name <= 'z'; ++name) {
        if (blob(name) == victim->digest) order += name;
      }
    }
    return order;
  }
  Eviction eviction_;
  std::set<oci::Digest> in_use_;
};

TEST_F(EvictionTest, TakesTheLeastRecentlyUsedFirst) {
  eviction_.insert({blob('b'), 1, 20});
  eviction_.insert({blob('c'), 1, 30});
  eviction_.insert({blob('a'), 1, 10});  // as at a start: in any order
  EXPECT_EQ(drain(), "abc");
}

TEST_F(EvictionTest, AUseMovesABlobToTheEnd) {
  eviction_.insert({blob('a'), 1, 10});
  eviction_.insert({blob('b'), 1, 20});
  eviction_.touch(blob('a'), 30);
  EXPECT_EQ(drain(), "ba");
}

TEST_F(EvictionTest, PassesOverWhatIsInUse) {
  eviction_.insert({blob('a'), 1, 10});
  eviction_.insert({blob('b'), 1, 20});
  in_use_.insert(blob('a'));
  EXPECT_EQ(drain(), "b");
  in_use_.clear();
  EXPECT_EQ(drain(), "a");
}

TEST_F(EvictionTest, ForgetsWhatWasRemoved) {
  eviction_.insert({blob('a'), 1, 10});
  eviction_.insert({blob('b'), 1, 20});
  eviction_.remove(blob('a'));
  eviction_.remove(blob('z'));
  EXPECT_EQ(drain(), "b");
}

TEST_F(EvictionTest, AVictimPutBackKeepsItsPlace) {
  eviction_.insert({blob('a'), 7, 10});
  eviction_.insert({blob('b'), 1, 20});
  const auto victim = eviction_.pop_victim([](const oci::Digest&) { return false; });
  ASSERT_TRUE(victim);
  EXPECT_EQ(victim->bytes, 7U);
  eviction_.insert(*victim);
  EXPECT_EQ(drain(), "ab");
}

TEST_F(EvictionTest, BlobsUsedAtTheSameInstantAreAllKept) {
  eviction_.insert({blob('a'), 1, 10});
  eviction_.insert({blob('b'), 1, 10});
  EXPECT_EQ(drain().size(), 2U);
}

}  // namespace
}  // namespace cache
