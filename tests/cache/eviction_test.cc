#include "cache/eviction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/cache/content.h"

namespace cache {
namespace {

constexpr uint64_t kSmallBlob = 100;

struct TestBlob {
  TestBlob(std::string its_name, uint64_t bytes, Eviction::Account account, const Place& its_place,
           Room room)
      : name(std::move(its_name)),
        digest(test::digest_of(name)),
        place(its_place),
        item(digest, bytes, account, place, room) {}
  const std::string name;
  const oci::Digest digest;
  Place place;
  Eviction::Item item;
};

// An Eviction and the blobs in it, by name.
class Blobs {
 public:
  explicit Blobs(uint64_t capacity, const EvictionOptions& options = {.small_blob = kSmallBlob})
      : eviction(capacity, options) {
    for (int i = 0; i < 3; ++i) accounts.push_back(eviction.add_account(capacity));
  }

  TestBlob& make(const std::string& name, uint64_t bytes, size_t account = 0,
                 const Place& place = {}, Room room = Room::file) {
    auto blob = std::make_unique<TestBlob>(name, bytes, accounts.at(account), place, room);
    return *(all[name] = std::move(blob));
  }
  void insert(const std::string& name, uint64_t bytes = 1000, size_t account = 0) {
    eviction.insert(make(name, bytes, account).item, ++now);
  }
  void insert_inside(const std::string& name, uint64_t bytes) {
    eviction.insert(make(name, bytes, 0, {}, Room::index).item, ++now);
  }
  void use(const std::string& name, int times = 1) {
    for (int i = 0; i < times; ++i) eviction.touch(all.at(name)->item);
  }
  void remove(const std::string& name) {
    eviction.remove(all.at(name)->item);
    all.erase(name);
  }

  // The name of the victim, which is forgotten; "" if there is none.
  std::string pop(uint64_t newcomer = 1000, bool inside_too = true) {
    return forget(eviction.pop_victim(newcomer, in_use_function(), inside_too));
  }
  std::string pop_of(size_t account, uint64_t newcomer = 1000) {
    return forget(eviction.pop_victim_of(accounts.at(account), newcomer, in_use_function()));
  }
  // The names of all victims.
  std::string drain() {
    std::string names;
    for (std::string name = pop(0); !name.empty(); name = pop(0)) names += name;
    return names;
  }

  Eviction::InUse in_use_function() const {
    return [this](const Eviction::Item& item) {
      return std::ranges::any_of(in_use,
                                 [&](const auto& name) { return &all.at(name)->item == &item; });
    };
  }
  std::string name_of(const Eviction::Item& item) const {
    for (const auto& [name, blob] : all) {
      if (&blob->item == &item) return name;
    }
    return "";
  }

  int64_t now = 0;
  std::set<std::string> in_use;
  std::vector<Eviction::Account> accounts;
  std::map<std::string, std::unique_ptr<TestBlob>> all;
  Eviction eviction;

 private:
  std::string forget(const Eviction::Item* victim) {
    if (victim == nullptr) return "";
    std::string name = name_of(*victim);
    remove(name);
    return name;
  }
};

class EvictionTest : public testing::Test {
 protected:
  Blobs blobs_{10'000};
};

TEST_F(EvictionTest, WhatNobodyUsedGoesInTheOrderInWhichItCame) {
  for (const char* name : {"a", "b", "c"}) blobs_.insert(name);
  EXPECT_EQ(blobs_.drain(), "abc");
}

TEST_F(EvictionTest, WhatWasUsedOutlivesWhatWasNot) {
  for (const char* name : {"a", "b", "c", "d"}) blobs_.insert(name);
  blobs_.use("b");
  blobs_.use("a");
  EXPECT_EQ(blobs_.drain(), "cdab");
}

TEST_F(EvictionTest, BlobsThatAreAskedForOncePushOutEachOther) {
  for (const char* name : {"a", "b", "c"}) {
    blobs_.insert(name);
    blobs_.use(name);
  }
  blobs_.insert("0");
  for (int i = 1; i < 100; ++i) {
    blobs_.insert(std::to_string(i));
    EXPECT_EQ(blobs_.pop(), std::to_string(i - 1));
  }
  EXPECT_EQ(blobs_.all.size(), 4U);
}

TEST_F(EvictionTest, InTheMainQueueEachUseIsAnotherRound) {
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    blobs_.insert(name);
    blobs_.use(name);
  }
  blobs_.insert("x");
  EXPECT_EQ(blobs_.pop(), "x");  // and all the others are in the main queue now
  blobs_.use("a", 2);
  blobs_.use("b", 1);
  blobs_.use("c", 100);  // no more than three are counted
  EXPECT_EQ(blobs_.drain(), "debac");
}

TEST_F(EvictionTest, WhatComesBackSoonGoesToTheMainQueue) {
  for (const char* name : {"a", "b", "c"}) {
    blobs_.insert(name);
    blobs_.use(name);
  }
  blobs_.insert("x");
  EXPECT_EQ(blobs_.pop(), "x");
  blobs_.insert("x");
  EXPECT_EQ(blobs_.all.at("x")->place.queue, Queue::main);
  blobs_.insert("y");
  EXPECT_EQ(blobs_.all.at("y")->place.queue, Queue::probation);
}

TEST_F(EvictionTest, SomeOfALoopThatIsLargerThanTheCacheStays) {
  int hits = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = std::to_string(i % 15);
    if (blobs_.all.contains(name)) {
      ++hits;
      blobs_.use(name);
    } else {
      if (blobs_.all.size() == 10) blobs_.pop();
      blobs_.insert(name);
    }
  }
  EXPECT_GT(hits, 300) << "at most 600 could be; a plain queue has none";
}

TEST_F(EvictionTest, PassesOverWhatIsInUse) {
  for (const char* name : {"a", "b", "c", "d"}) blobs_.insert(name);
  blobs_.use("a");
  blobs_.use("b");
  EXPECT_EQ(blobs_.pop(), "c");
  blobs_.in_use = {"a", "d"};
  EXPECT_EQ(blobs_.drain(), "b");
  blobs_.in_use = {};
  EXPECT_EQ(blobs_.drain(), "da");
}

TEST_F(EvictionTest, APinnedBlobIsNoVictim) {
  for (const char* name : {"a", "b"}) blobs_.insert(name);
  blobs_.eviction.set_pinned(blobs_.all.at("a")->item, true);
  EXPECT_EQ(blobs_.drain(), "b");
  blobs_.use("a");
  blobs_.insert("c");
  blobs_.eviction.set_pinned(blobs_.all.at("a")->item, false);
  EXPECT_EQ(blobs_.drain(), "ca");
}

TEST_F(EvictionTest, APinnedBlobCanBeRemoved) {
  blobs_.insert("a");
  blobs_.eviction.set_pinned(blobs_.all.at("a")->item, true);
  blobs_.remove("a");
  EXPECT_EQ(blobs_.drain(), "");
}

TEST_F(EvictionTest, LargeBlobsDoNotTakeTheShareOfTheSmall) {
  for (int i = 0; i < 10; ++i) blobs_.insert("s" + std::to_string(i), 50);  // 5 % of 10,000
  blobs_.insert("L", 9000);
  EXPECT_EQ(blobs_.pop(9000), "L");
  EXPECT_EQ(blobs_.pop(9000), "") << "nothing but the share is left";
  EXPECT_EQ(blobs_.pop(50), "s0") << "it goes for a small one";
  EXPECT_EQ(blobs_.pop(0), "s1") << "and if there is just too much";
}

TEST_F(EvictionTest, TheShareOfTheSmallIsOfTheCapacityThereIs) {
  for (int i = 0; i < 10; ++i) blobs_.insert("s" + std::to_string(i), 50);
  EXPECT_EQ(blobs_.pop(9000), "");
  blobs_.eviction.set_capacity(5000);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(blobs_.pop(4000), "s" + std::to_string(i));
  EXPECT_EQ(blobs_.pop(4000), "");
  blobs_.eviction.set_quota(blobs_.accounts[0], 4000);
  EXPECT_EQ(blobs_.pop_of(0, 4000), "s5") << "and of the quota";
  EXPECT_EQ(blobs_.pop_of(0, 4000), "");
}

TEST_F(EvictionTest, WhatTheSmallHaveBeyondTheirShareGoesFirst) {
  for (int i = 0; i < 11; ++i) blobs_.insert("s" + std::to_string(i), 50);
  blobs_.insert("L", 1000);
  EXPECT_EQ(blobs_.pop(50), "s0");
  EXPECT_EQ(blobs_.pop(50), "L");
}

TEST_F(EvictionTest, SmallBlobsInUseMakeTheLargeGo) {
  for (int i = 0; i < 11; ++i) {
    blobs_.insert("s" + std::to_string(i), 50);
    blobs_.in_use.insert("s" + std::to_string(i));
  }
  blobs_.insert("L", 1000);
  EXPECT_EQ(blobs_.pop(50), "L");
}

TEST_F(EvictionTest, AnAccountGivesUpItsOwnInItsOwnOrder) {
  blobs_.insert("a", 1000, 0);
  blobs_.insert("b", 1000, 1);
  blobs_.insert("c", 1000, 0);
  blobs_.insert("d", 1000, 1);
  blobs_.use("b");
  EXPECT_EQ(blobs_.pop_of(1), "d");
  EXPECT_EQ(blobs_.pop_of(1), "b");
  EXPECT_EQ(blobs_.pop_of(1), "");
  EXPECT_EQ(blobs_.pop_of(2), "");
  EXPECT_EQ(blobs_.drain(), "ac");
}

TEST_F(EvictionTest, WhatIsPutBackIsNext) {
  for (const char* name : {"a", "b", "c"}) blobs_.insert(name);
  const auto nothing = [](const Eviction::Item&) { return false; };
  Eviction::Item* first = blobs_.eviction.pop_victim(0, nothing);
  Eviction::Item* second = blobs_.eviction.pop_victim(0, nothing);
  blobs_.eviction.put_back(*second);
  blobs_.eviction.put_back(*first);
  EXPECT_EQ(blobs_.drain(), "abc");
}

TEST_F(EvictionTest, SaysWhosePlacesHaveChanged) {
  for (const char* name : {"a", "b", "c"}) blobs_.insert(name);
  EXPECT_EQ(blobs_.eviction.changed(), 0U) << "as they were inserted";
  blobs_.use("b", 2);
  blobs_.use("a");
  EXPECT_EQ(blobs_.eviction.changed(), 2U);
  const std::vector<Eviction::Item*> changed = blobs_.eviction.take_changed(100);
  ASSERT_EQ(changed.size(), 2U);
  EXPECT_EQ(blobs_.name_of(*changed[0]), "b");
  EXPECT_EQ(changed[0]->place().uses, 2);
  EXPECT_EQ(blobs_.eviction.changed(), 0U);
  EXPECT_EQ(blobs_.pop(), "c");
  EXPECT_EQ(blobs_.eviction.take_changed(100).size(), 2U) << "to the main queue";
  blobs_.use("a");
  blobs_.remove("a");
  EXPECT_EQ(blobs_.eviction.changed(), 0U);
}

TEST_F(EvictionTest, TimesGoForwardWhateverTheClockSays) {
  blobs_.now = 1000;
  blobs_.insert("a");
  blobs_.now = 5;
  blobs_.insert("b");
  EXPECT_EQ(blobs_.all.at("a")->place.since, 1001);
  EXPECT_EQ(blobs_.all.at("b")->place.since, 1002);
  EXPECT_EQ(blobs_.drain(), "ab");
}

TEST(GuessQueuesTest, TheNewestAreOnProbation) {
  Place old{.since = 1};
  Place middle{.since = 2};
  Place fresh{.since = 3};
  guess_queues({{50, &middle}, {10, &fresh}, {40, &old}}, 0.5);
  EXPECT_EQ(old.queue, Queue::main);
  EXPECT_EQ(middle.queue, Queue::main);
  EXPECT_EQ(fresh.queue, Queue::probation);
  guess_queues({}, 0.5);
}

TEST_F(EvictionTest, WhatIsInTheIndexGoesOnlyWhereThatHelps) {
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) blobs_.insert_inside(name, 90);
  blobs_.insert("small", 90);
  blobs_.insert("large");
  // Though there are more small ones than their share, and older ones.
  EXPECT_EQ(blobs_.pop(1000, false), "large");
  EXPECT_EQ(blobs_.pop(1000, false), "") << "what helps is within the share";
  EXPECT_EQ(blobs_.pop(50, false), "small");
  EXPECT_EQ(blobs_.pop(50, false), "");
  EXPECT_EQ(blobs_.pop(1000), "a");
  EXPECT_EQ(blobs_.pop(1000), "") << "the rest is within the share";
  EXPECT_EQ(blobs_.drain(), "bcdef");
}

TEST_F(EvictionTest, OfTheSmallTheOlderGoesWhereverItIs) {
  blobs_.insert("a", 90);
  blobs_.insert_inside("b", 90);
  blobs_.insert_inside("c", 90);
  blobs_.insert("d", 90);
  blobs_.use("b");
  EXPECT_EQ(blobs_.drain(), "acdb");
}

TEST_F(EvictionTest, NoVictimCostsALookAtAllThatWereUsed) {
  for (const Queue queue : {Queue::main, Queue::probation}) {
    Blobs blobs(10'000'000);
    for (int i = 0; i < 10'000; ++i) {
      const uint8_t uses = i == 50 ? 1 : 3;
      blobs.eviction.restore(
          blobs.make(std::to_string(i), 1000, 0, {.queue = queue, .uses = uses, .since = i}).item);
    }
    for (size_t victims = 1; victims < 5; ++victims) {
      const std::string victim = blobs.pop();
      if (victims == 1 && queue == Queue::main) EXPECT_EQ(victim, "50") << "the least used";
      EXPECT_NE(victim, "");
      EXPECT_LE(blobs.eviction.changed(), victims * 2 * Eviction::kMostPassed);
    }
  }
}

// The main queue has nothing but what is in use, and all on probation was used.
TEST_F(EvictionTest, WhatComesFromProbationCanGoAtOnce) {
  for (const char* name : {"a", "b", "c"}) {
    blobs_.eviction.restore(
        blobs_.make(name, 1000, 0, {.queue = Queue::main, .since = ++blobs_.now}).item);
    blobs_.in_use.insert(name);
  }
  blobs_.insert("d", 200);
  blobs_.use("d");
  EXPECT_EQ(blobs_.pop(), "d");
}

// Random operations. What always holds, whatever the order; and another run that begins with the
// places of this one gives up the same blobs.
class RandomEvictionTest : public testing::TestWithParam<uint64_t> {
 protected:
  static constexpr uint64_t kCapacity = 100'000;
  static constexpr uint64_t kReserve = kCapacity / 20;

  std::string any() {
    auto at = blobs_.all.begin();
    std::advance(at, below(blobs_.all.size()));
    return at->first;
  }
  uint64_t below(uint64_t count) {
    return std::uniform_int_distribution<uint64_t>(0, count - 1)(random_);
  }
  bool can_go(const TestBlob& blob) const {
    return !blob.place.pinned && !blobs_.in_use.contains(blob.name);
  }
  // Of blobs that are not pinned.
  uint64_t small_bytes() const {
    uint64_t bytes = 0;
    for (const auto& [name, blob] : blobs_.all) {
      if (blob->item.bytes() < kSmallBlob && !blob->place.pinned) bytes += blob->item.bytes();
    }
    return bytes;
  }
  bool one_can_go(bool small) const {
    return std::ranges::any_of(blobs_.all, [&](const auto& each) {
      return (each.second->item.bytes() < kSmallBlob) == small && can_go(*each.second);
    });
  }

  void pop_and_check(uint64_t newcomer) {
    const bool small_above_share = small_bytes() > kReserve;
    const bool small_can = one_can_go(true);
    const bool large_can = one_can_go(false);
    Eviction::Item* victim = blobs_.eviction.pop_victim(newcomer, blobs_.in_use_function());
    if (victim == nullptr) {
      EXPECT_FALSE(large_can);
      EXPECT_TRUE(!small_can || (!small_above_share && newcomer >= kSmallBlob));
      return;
    }
    const std::string name = blobs_.name_of(*victim);
    ASSERT_NE(name, "");
    EXPECT_TRUE(can_go(*blobs_.all.at(name))) << name;
    if (victim->bytes() < kSmallBlob) {
      EXPECT_TRUE(small_above_share || (!large_can && newcomer < kSmallBlob));
    } else {
      EXPECT_TRUE(!small_above_share || !small_can);
    }
    if (below(4) == 0) {
      blobs_.eviction.put_back(*victim);
    } else {
      blobs_.remove(name);
    }
  }
  void pop_of_and_check(size_t account) {
    const bool can = std::ranges::any_of(blobs_.all, [&](const auto& each) {
      return each.second->item.account() == blobs_.accounts[account] && can_go(*each.second);
    });
    Eviction::Item* victim =
        blobs_.eviction.pop_victim_of(blobs_.accounts[account], 0, blobs_.in_use_function());
    EXPECT_EQ(victim != nullptr, can);
    if (victim == nullptr) return;
    EXPECT_EQ(victim->account(), blobs_.accounts[account]);
    EXPECT_TRUE(can_go(*blobs_.all.at(blobs_.name_of(*victim))));
    blobs_.remove(blobs_.name_of(*victim));
  }

  void step(uint64_t number) {
    const uint64_t kind = below(100);
    if (kind < 40 || blobs_.all.empty()) {
      // Some names come again, so that there are ghosts.
      const std::string name = std::to_string(below(4) == 0 ? below(number + 1) : number);
      if (!blobs_.all.contains(name)) blobs_.insert(name, below(2) == 0 ? 50 : 500, below(3));
    } else if (kind < 70) {
      blobs_.use(any());
    } else if (kind < 80) {
      pop_and_check(below(3) * 50);
    } else if (kind < 85) {
      pop_of_and_check(below(3));
    } else if (kind < 90) {
      const std::string name = any();
      if (blobs_.in_use.erase(name) == 0) blobs_.in_use.insert(name);
    } else if (kind < 95) {
      TestBlob& blob = *blobs_.all.at(any());
      blobs_.eviction.set_pinned(blob.item, !blob.place.pinned);
    } else {
      const std::string name = any();
      blobs_.in_use.erase(name);
      blobs_.remove(name);
    }
  }

  std::mt19937_64 random_{GetParam()};
  Blobs blobs_{kCapacity};
};

TEST_P(RandomEvictionTest, HoldsItsPromisesAndSurvivesARestart) {
  for (uint64_t number = 0; number < 2000; ++number) {
    step(number);
    if (HasFatalFailure()) return;
  }
  Blobs restarted(kCapacity);
  std::vector<const TestBlob*> order;
  for (const auto& [name, blob] : blobs_.all) order.push_back(blob.get());
  std::ranges::sort(order, {}, [](const TestBlob* blob) { return blob->place.since; });
  for (const TestBlob* blob : order) {
    const auto account = static_cast<size_t>(
        std::ranges::find(blobs_.accounts, blob->item.account()) - blobs_.accounts.begin());
    restarted.eviction.restore(
        restarted.make(blob->name, blob->item.bytes(), account, blob->place).item);
  }
  restarted.in_use = blobs_.in_use;
  while (true) {
    const uint64_t newcomer = below(3) * 50;
    const bool of_one = below(2) == 0;
    const size_t account = below(3);
    const std::string name = of_one ? blobs_.pop_of(account) : blobs_.pop(newcomer);
    EXPECT_EQ(of_one ? restarted.pop_of(account) : restarted.pop(newcomer), name);
    if (name.empty() && !of_one && newcomer < kSmallBlob) break;
  }
  for (const auto& [name, blob] : blobs_.all) EXPECT_FALSE(can_go(*blob)) << name;
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomEvictionTest, testing::Range<uint64_t>(0, 10));

}  // namespace
}  // namespace cache
