#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "origin/events/queue.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kLimit = 1 << 20;

class EventQueueTest : public ::testing::Test {
 protected:
  std::filesystem::path directory() const { return dir_.path() / "queue"; }
  std::filesystem::path journal() const { return directory() / "journal"; }

  // All that waits, taken out.
  static std::vector<std::string> drain(EventQueue& queue) {
    std::vector<std::string> events;
    while (const auto entry = queue.front()) {
      events.push_back(entry->event);
      queue.done(entry->number);
    }
    return events;
  }
  std::vector<std::string> drain_after_restart() const {
    EventQueue queue(directory(), kLimit);
    return drain(queue);
  }
  void append_to_journal(std::string_view bytes) const {
    std::ofstream(journal(), std::ios::binary | std::ios::app) << bytes;
  }

  test::TempDir dir_;
};

TEST_F(EventQueueTest, FirstInFirstOut) {
  EventQueue queue(directory(), kLimit);
  EXPECT_EQ(queue.front(), std::nullopt);
  queue.add("one");
  queue.add("two");
  EXPECT_EQ(queue.pending(), 2U);
  queue.flush();
  queue.add("three");
  EXPECT_THAT(drain(queue), ElementsAre("one", "two", "three"));
  EXPECT_EQ(queue.pending(), 0U);
  EXPECT_EQ(std::filesystem::file_size(journal()), 0U);
}

TEST_F(EventQueueTest, ARestartFindsWhatIsNotDone) {
  {
    EventQueue queue(directory(), kLimit);
    for (const char* event : {"one", "two", "three"}) queue.add(event);
    queue.flush();
    queue.done(queue.front()->number);
    queue.add("four");
    queue.flush();
    queue.add("never flushed");
  }
  {
    EventQueue queue(directory(), kLimit);
    EXPECT_EQ(queue.pending(), 3U);
    EXPECT_EQ(queue.front()->event, "two");
    queue.done(queue.front()->number);
  }
  EXPECT_THAT(drain_after_restart(), ElementsAre("three", "four"));
  EXPECT_THAT(drain_after_restart(), IsEmpty());
}

TEST_F(EventQueueTest, ATornTailIsCutWhereverItIsTorn) {
  {
    EventQueue queue(directory(), kLimit);
    queue.add("one");
    queue.flush();
  }
  const auto whole = std::filesystem::file_size(journal());
  {
    EventQueue queue(directory(), kLimit);
    queue.add("two");
    queue.flush();
  }
  const auto both = std::filesystem::file_size(journal());
  for (auto size = both - 1; size >= whole; --size) {
    std::filesystem::resize_file(journal(), size);
    EventQueue queue(directory(), kLimit);
    EXPECT_EQ(queue.pending(), 1U) << size;
    EXPECT_EQ(std::filesystem::file_size(journal()), whole);
  }
  append_to_journal(std::string(100, '\0'));
  {
    EventQueue queue(directory(), kLimit);
    queue.add("three");
    queue.flush();
  }
  EXPECT_THAT(drain_after_restart(), ElementsAre("one", "three"));
}

TEST_F(EventQueueTest, ARecordThatIsNotWhatWasWrittenEndsTheJournal) {
  {
    EventQueue queue(directory(), kLimit);
    queue.add("one");
    queue.add("two");
    queue.flush();
  }
  std::fstream file(journal(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('!');
  file.close();
  EXPECT_THAT(drain_after_restart(), ElementsAre("one"));
}

TEST_F(EventQueueTest, AFullQueuePushesTheOldestOut) {
  constexpr uint64_t kThree = 3 * (100 + 12);  // and what each record has besides
  const auto event = [](char c) { return std::string(100, c); };
  {
    EventQueue queue(directory(), kThree);
    for (const char c : {'a', 'b', 'c'}) queue.add(event(c));
    queue.flush();
    EXPECT_EQ(queue.dropped(), 0U);
    const auto being_sent = queue.front();
    for (const char c : {'d', 'e'}) queue.add(event(c));
    queue.flush();
    EXPECT_EQ(queue.dropped(), 2U);
    EXPECT_EQ(queue.pending(), 3U);
    // It is gone already; the one that is now the first must stay.
    queue.done(being_sent->number);
    EXPECT_EQ(queue.pending(), 3U);
  }
  EXPECT_THAT(drain_after_restart(), ElementsAre(event('c'), event('d'), event('e')));
}

TEST_F(EventQueueTest, TheJournalDoesNotGrowWhileAnEventIsAlwaysLeft) {
  const std::string event(10'000, 'x');
  {
    EventQueue queue(directory(), kLimit);
    queue.add("first");
    for (int i = 0; i < 1000; ++i) {
      queue.add(event);
      queue.flush();
      queue.done(queue.front()->number);
      EXPECT_LT(std::filesystem::file_size(journal()), 2U << 20);
    }
    queue.add("last");
    queue.flush();
  }
  EXPECT_THAT(drain_after_restart(), ElementsAre(event, "last"));
}

TEST_F(EventQueueTest, ADiskThatFailsLosesEventsAndNothingElse) {
  EventQueue queue(directory(), kLimit);
  queue.add("one");
  queue.flush();
  // As a full disk would: no write beyond this size.
  const auto size = std::filesystem::file_size(journal());
  const auto forked = ::fork();
  ASSERT_GE(forked, 0);
  if (forked == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{size + 5, size + 5};
    setrlimit(RLIMIT_FSIZE, &limit);
    queue.add("two");
    queue.flush();
    const bool as_it_should = queue.pending() == 1 && queue.dropped() == 1 &&
                              queue.front()->event == "one" &&
                              std::filesystem::file_size(journal()) == size;
    ::_exit(as_it_should ? 0 : 1);
  }
  int status = 0;
  ::waitpid(forked, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(EventQueueTest, OneProcessAtATime) {
  const EventQueue queue(directory(), kLimit);
  try {
    const EventQueue second(directory(), kLimit);
    FAIL() << "two may use it";
  } catch (const base::IoError& e) {
    EXPECT_EQ(e.number(), EWOULDBLOCK);
    EXPECT_THAT(e.what(), HasSubstr(directory().string() + " is used by another process"));
  }
}

}  // namespace
}  // namespace origin
