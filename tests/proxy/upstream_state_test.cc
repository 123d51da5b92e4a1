// What an Upstream knows, and what follows for whom a request asks: no socket is opened here.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/event_loop.h"
#include "proxy/attempts.h"
#include "proxy/upstream.h"

namespace proxy {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class UpstreamStateTest : public ::testing::Test {
 protected:
  static UpstreamConfig config(size_t urls) {
    UpstreamConfig config;
    config.name = "origin";
    for (size_t i = 0; i < urls; ++i) config.urls.push_back("https://" + std::to_string(i));
    config.eject_after = 3;
    config.eject_time = seconds(10);
    config.eject_time_max = seconds(25);
    return config;
  }
  void fail(Upstream& upstream, size_t url, size_t times) {
    for (size_t i = 0; i < times; ++i) {
      upstream.health().failed(url, Failure::unreachable, "down", now);
    }
  }
  std::optional<size_t> choose(Upstream& upstream, UrlSet asked = 0) {
    return upstream.health().choose(asked, 0, now);
  }

  // "0 1 0 throttled 7": the URLs that a request asks if all attempts end like this, and the end.
  std::string order(Upstream& upstream, Outcome outcome, size_t rounds = 3) {
    Attempts attempts(upstream, rounds);
    std::string text;
    while (true) {
      const auto next = attempts.next(now);
      if (const auto* ending = std::get_if<Ending>(&next)) {
        const bool throttled = ending->outcome == Outcome::throttled;
        return text + (throttled ? "throttled " + ending->retry_after : ending->why);
      }
      text += std::to_string(std::get<Attempts::Next>(next).url) + " ";
      attempts.failed({outcome, "end", ""});
    }
  }

  base::TimePoint now{std::chrono::hours(1)};
};

TEST_F(UpstreamStateTest, FailuresInARowEject) {
  Upstream upstream(config(2));
  fail(upstream, 0, 2);
  upstream.health().succeeded(0);
  fail(upstream, 0, 2);
  EXPECT_EQ(choose(upstream), 0U);
  fail(upstream, 0, 1);
  EXPECT_EQ(choose(upstream), 1U);
  EXPECT_EQ(upstream.status(now).urls[0].ejected_for, seconds(10));
  EXPECT_EQ(upstream.status(now).urls[0].failures[0], 5U);
  EXPECT_EQ(upstream.status(now).urls[0].last_error, "down");
}

TEST_F(UpstreamStateTest, OneRequestTriesItAgainAndASuccessBringsItBack) {
  Upstream upstream(config(2));
  fail(upstream, 0, 3);
  now += seconds(10);
  EXPECT_EQ(choose(upstream), 0U);  // the trial
  EXPECT_EQ(choose(upstream), 1U);  // all others, until it is known how that went
  upstream.health().succeeded(0);
  EXPECT_EQ(choose(upstream), 0U);
  EXPECT_EQ(choose(upstream), 0U);
}

TEST_F(UpstreamStateTest, EachEjectionIsTwiceAsLongUpToALimit) {
  Upstream upstream(config(2));
  fail(upstream, 0, 3);
  for (const seconds expected : {seconds(20), seconds(25), seconds(25)}) {
    now += *upstream.status(now).urls[0].ejected_for;
    EXPECT_EQ(choose(upstream), 0U);
    fail(upstream, 0, 1);
    EXPECT_EQ(upstream.status(now).urls[0].ejected_for, expected);
    fail(upstream, 0, 5);  // requests that were under way say nothing new
    EXPECT_EQ(upstream.status(now).urls[0].ejected_for, expected);
  }
}

TEST_F(UpstreamStateTest, TheLastOneIsNeverEjectedAndIfAllAreAllAreAsked) {
  Upstream one(config(1));
  fail(one, 0, 100);
  EXPECT_EQ(choose(one), 0U);
  EXPECT_FALSE(one.status(now).urls[0].ejected_for);

  Upstream two(config(2));
  fail(two, 0, 3);
  fail(two, 1, 3);
  EXPECT_EQ(choose(two), 0U);
  EXPECT_EQ(choose(two, 0b01), 1U);
  EXPECT_EQ(choose(two, 0b11), std::nullopt);
}

TEST_F(UpstreamStateTest, ThrottledUrlsAreNotAsked) {
  Upstream upstream(config(2));
  upstream.health().throttle(0, seconds(30), now);
  EXPECT_EQ(choose(upstream), 1U);
  EXPECT_EQ(upstream.health().throttled(now), std::nullopt);
  upstream.health().throttle(1, seconds(20), now);
  EXPECT_EQ(choose(upstream), std::nullopt);
  EXPECT_EQ(upstream.health().throttled(now), seconds(20));
  EXPECT_EQ(order(upstream, Outcome::unreachable), "throttled 20");
  now += seconds(19) + std::chrono::milliseconds(500);
  EXPECT_EQ(order(upstream, Outcome::unreachable), "throttled 1");
  now += seconds(1);
  EXPECT_EQ(choose(upstream), 1U);
}

TEST_F(UpstreamStateTest, OneRoundOfRefusalsIsEnough) {
  Upstream upstream(config(3));
  EXPECT_EQ(order(upstream, Outcome::absent), "0 1 2 end");
  EXPECT_EQ(order(upstream, Outcome::busy), "0 end");
}

TEST_F(UpstreamStateTest, FailuresGoRoundAndRound) {
  UpstreamConfig patient = config(2);
  patient.eject_after = 1000;
  patient.round_delay = seconds(1);
  Upstream upstream(patient);
  EXPECT_EQ(order(upstream, Outcome::unreachable), "0 1 0 1 0 1 end");

  Attempts attempts(upstream, 5);
  std::vector<base::Duration> delays;
  for (int i = 0; i < 6; ++i) {
    const auto next = attempts.next(now);
    ASSERT_TRUE(std::holds_alternative<Attempts::Next>(next));
    delays.push_back(std::get<Attempts::Next>(next).delay);
    attempts.failed({Outcome::unreachable, "", ""});
  }
  EXPECT_EQ(delays, (std::vector<base::Duration>{seconds(0), seconds(0), seconds(1), seconds(0),
                                                 seconds(2), seconds(0)}));
}

TEST_F(UpstreamStateTest, AWorthwhileTransferBeginsTheRoundsAgain) {
  Upstream upstream(config(2));
  Attempts attempts(upstream, 1);
  for (int i = 0; i < 50; ++i) {
    const auto next = attempts.next(now);
    ASSERT_TRUE(std::holds_alternative<Attempts::Next>(next)) << i;
    EXPECT_EQ(std::get<Attempts::Next>(next).url, i % 2U) << "the other one resumes it";
    attempts.failed({Outcome::unreachable, "cut", ""}, true);
  }
  EXPECT_EQ(upstream.status(now).retries.retries, 0U);
}

TEST_F(UpstreamStateTest, RetriesAreAShareOfTheRequests) {
  RetryBudget budget(20, 2);
  for (int i = 0; i < 10; ++i) budget.request(now);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(budget.retry(now)) << i;
  EXPECT_FALSE(budget.retry(now));
  for (int i = 0; i < 5; ++i) budget.request(now);
  EXPECT_TRUE(budget.retry(now));
  EXPECT_FALSE(budget.retry(now));
  now += seconds(11);
  EXPECT_TRUE(budget.retry(now));
  EXPECT_TRUE(budget.retry(now));
  EXPECT_FALSE(budget.retry(now));
  EXPECT_EQ(budget.counts().retries, 7U);
  EXPECT_EQ(budget.counts().denied, 3U);
}

TEST_F(UpstreamStateTest, ADeadUpstreamIsNotAskedManyTimesAsMuch) {
  UpstreamConfig patient = config(1);
  Upstream upstream(patient);
  size_t asked = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string urls = order(upstream, Outcome::unreachable);
    asked += std::ranges::count(urls, '0');
  }
  EXPECT_LE(asked, 100U + 100 * patient.retry_percent / 100 + patient.retry_floor);
}

TEST_F(UpstreamStateTest, AbsenceIsRememberedForAWhile) {
  auto upstream = std::make_shared<Upstream>(config(1));
  const BlobName blob{upstream, "app", oci::Digest::of(oci::Algorithm::sha256, "x")};
  BlobName elsewhere = blob;
  elsewhere.repository = "other";
  const Ending absent{Outcome::absent, "", ""};
  EXPECT_FALSE(upstream->known_no(blob, now));
  upstream->remember_no(blob, {Outcome::unreachable, "", ""}, now);
  EXPECT_FALSE(upstream->known_no(blob, now));
  upstream->remember_no(blob, absent, now);
  ASSERT_TRUE(upstream->known_no(blob, now));
  EXPECT_EQ(upstream->known_no(blob, now)->outcome, Outcome::absent);
  EXPECT_FALSE(upstream->known_no(elsewhere, now));
  now += upstream->config().absent_lifetime / 2;
  upstream->remember_no(blob, absent, now);  // as one who was told so would
  now += upstream->config().absent_lifetime / 2;
  EXPECT_FALSE(upstream->known_no(blob, now));
  upstream->remember_no(blob, absent, now);
  upstream->forget_no(blob);
  EXPECT_FALSE(upstream->known_no(blob, now));
}

TEST_F(UpstreamStateTest, ARefusalIsThatOfTheWayARequestCame) {
  auto upstream = std::make_shared<Upstream>(config(1));
  upstream->remember_no("/v2/a/tags/list", "edge-2", {Outcome::refused, "", ""}, now);
  EXPECT_FALSE(upstream->known_no("/v2/a/tags/list", "", now));
  ASSERT_TRUE(upstream->known_no("/v2/a/tags/list", "edge-2", now));
  EXPECT_EQ(upstream->known_no("/v2/a/tags/list", "edge-2", now)->outcome, Outcome::refused);
  upstream->remember_no("/v2/a/tags/list", "", {Outcome::absent, "", ""}, now);
  EXPECT_TRUE(upstream->known_no("/v2/a/tags/list", "edge-3", now));
}

TEST_F(UpstreamStateTest, ManyRefusalsAreFewLines) {
  struct Count : google::LogSink {
    void send(google::LogSeverity severity, const char*, const char*, int, const struct ::tm*,
              const char*, size_t) override {
      lines += severity == google::GLOG_WARNING ? 1 : 0;
    }
    int lines = 0;
  } count;
  google::AddLogSink(&count);
  Upstream upstream(config(1));
  for (int i = 0; i < 1000; ++i) {
    const std::string target = "/v2/a/manifests/" + std::to_string(i);
    upstream.remember_no(target, "", {Outcome::refused, "", ""}, now);
  }
  google::RemoveLogSink(&count);
  EXPECT_LT(count.lines, 100);
}

TEST_F(UpstreamStateTest, SuspectsComeLast) {
  Upstream upstream(config(3));
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, "x");
  upstream.suspect(digest, 0b001, now);
  upstream.suspect(digest, 0b010, now);
  Attempts attempts(upstream, 1, &digest);
  EXPECT_EQ(std::get<Attempts::Next>(attempts.next(now)).url, 2U);
  attempts.failed({Outcome::unreachable, "", ""});
  EXPECT_EQ(std::get<Attempts::Next>(attempts.next(now)).url, 0U);
  now += minutes(6);
  EXPECT_EQ(upstream.suspects(digest, now), 0U);
}

// ---- slots ----------------------------------------------------------------------------------

base::Task<void> take(RequestSlots* slots, base::TimePoint deadline,
                      std::vector<std::string>* events, std::string name, Slot* keep) {
  std::optional<Slot> slot = co_await slots->take(deadline);
  events->push_back(name + (slot ? "" : " turned away"));
  if (slot) *keep = std::move(*slot);
}

base::Task<void> queue_in_order(base::EventLoop* loop, base::ManualClock* clock) {
  RequestSlots slots(1, 2);
  base::TaskScope tasks;
  std::vector<std::string> events;
  Slot a;
  Slot b;
  Slot c;
  Slot d;
  tasks.spawn(take(&slots, loop->after(seconds(9)), &events, "a", &a));
  tasks.spawn(take(&slots, loop->after(seconds(9)), &events, "b", &b));
  tasks.spawn(take(&slots, loop->after(seconds(1)), &events, "c", &c));
  tasks.spawn(take(&slots, loop->after(seconds(9)), &events, "d", &d));  // the queue is full
  EXPECT_EQ(events, (std::vector<std::string>{"a", "d turned away"}));
  EXPECT_EQ(slots.counts().waiting, 2U);
  a = Slot();
  while (events.size() < 3) co_await loop->yield();
  EXPECT_EQ(events.back(), "b");
  EXPECT_EQ(slots.counts().in_flight, 1U);
  clock->advance(seconds(1));
  while (events.size() < 4) co_await loop->yield();
  EXPECT_EQ(events.back(), "c turned away");
  EXPECT_EQ(slots.counts().turned_away, 2U);
  tasks.spawn(take(&slots, base::kForever, &events, "e", &c));
  slots.stop();
  while (events.size() < 5) co_await loop->yield();
  EXPECT_EQ(events.back(), "e turned away");
  b = Slot();
  EXPECT_EQ(slots.counts().in_flight, 0U);
  co_await tasks.join();
}

base::Task<void> take_first(RequestSlots* slots, std::vector<std::string>* events, std::string name,
                            Slot* keep) {
  std::optional<Slot> slot = co_await slots->take_first();
  events->push_back(name + (slot ? "" : " turned away"));
  if (slot) *keep = std::move(*slot);
}

base::Task<void> go_before_the_queue(base::EventLoop* loop, base::ManualClock* clock) {
  RequestSlots slots(1, 1);
  base::TaskScope tasks;
  std::vector<std::string> events;
  const auto wait_events = [&](size_t count) -> base::Task<void> {
    while (events.size() < count) co_await loop->yield();
  };
  Slot slot;
  tasks.spawn(take(&slots, base::kForever, &events, "a", &slot));
  tasks.spawn(take(&slots, base::kForever, &events, "new", &slot));  // the queue is full
  for (const char* name : {"b", "c", "d", "e", "f"}) {
    tasks.spawn(take_first(&slots, &events, name, &slot));
  }
  EXPECT_EQ(slots.counts().waiting, 6U);
  clock->advance(std::chrono::hours(1));
  for (size_t given = 2; given <= 7; ++given) {
    slot = Slot();
    co_await wait_events(given);
  }
  EXPECT_EQ(events, (std::vector<std::string>{"a", "b", "c", "d", "new", "e", "f"}));
  Slot another;
  tasks.spawn(take_first(&slots, &events, "g", &another));
  slots.stop();
  co_await wait_events(8);
  EXPECT_EQ(events.back(), "g turned away");
  co_await tasks.join();
}

TEST(RequestSlotsTest, WhatHasBegunGoesBeforeWhoWaits) {
  base::ManualClock clock;
  base::EventLoop loop(clock);
  base::run_task(loop, go_before_the_queue(&loop, &clock));
}

TEST(RequestSlotsTest, FirstComeFirstServedAndNotForEver) {
  base::ManualClock clock;
  base::EventLoop loop(clock);
  base::run_task(loop, queue_in_order(&loop, &clock));
}

}  // namespace
}  // namespace proxy
