#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/loop_group.h"

namespace base {
namespace {

Task<std::string> returns_value(ThreadPool* pool, std::string text) {
  std::string result = co_await pool->run([&] { return text + " done"; });
  co_return result;
}

TEST(ThreadPool, ReturnsTheResult) {
  EventLoop loop;
  ThreadPool pool(2);
  EXPECT_EQ(run_task(loop, returns_value(&pool, "work")), "work done");
}

Task<int> returns_move_only(ThreadPool* pool) {
  auto owned = std::make_unique<int>(7);
  const std::unique_ptr<int> result =
      co_await pool->run([owned = std::move(owned)]() mutable { return std::move(owned); });
  co_return *result;
}

TEST(ThreadPool, MovesFunctionsAndResults) {
  EventLoop loop;
  ThreadPool pool(1);
  EXPECT_EQ(run_task(loop, returns_move_only(&pool)), 7);
}

Task<void> throws(ThreadPool* pool) {
  co_await pool->run([] { throw std::runtime_error("on the pool"); });
}

TEST(ThreadPool, PassesExceptionsOn) {
  EventLoop loop;
  ThreadPool pool(1);
  try {
    run_task(loop, throws(&pool));
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "on the pool");
  }
}

struct Where {
  std::thread::id before, inside, after;
};

Task<void> notes_threads(ThreadPool* pool, Where* where) {
  where->before = std::this_thread::get_id();
  co_await pool->run([&] { where->inside = std::this_thread::get_id(); });
  where->after = std::this_thread::get_id();
}

TEST(ThreadPool, RunsElsewhereAndResumesOnTheAwaitingLoop) {
  ThreadPool pool(2);
  LoopGroup loops(2);
  Where where[2];
  for (size_t i = 0; i < 2; ++i) {
    loops.await(i, [&, i] { return notes_threads(&pool, &where[i]); });
    EXPECT_EQ(where[i].before, where[i].after);
    EXPECT_NE(where[i].before, where[i].inside);
  }
  EXPECT_NE(where[0].before, where[1].before);
}

Task<void> add_many(ThreadPool* pool, int times, std::atomic<int>* total, int* resumed) {
  for (int i = 0; i < times; ++i) {
    co_await pool->run([&] { ++*total; });
    ++*resumed;
  }
}

Task<int> many_tasks(ThreadPool* pool, int tasks, int times, std::atomic<int>* total) {
  TaskScope scope;
  int resumed = 0;
  for (int i = 0; i < tasks; ++i) scope.spawn(add_many(pool, times, total, &resumed));
  co_await scope.join();
  co_return resumed;
}

TEST(ThreadPool, ServesManyTasksAtOnce) {
  EventLoop loop;
  ThreadPool pool(4);
  std::atomic<int> total = 0;
  EXPECT_EQ(run_task(loop, many_tasks(&pool, 20, 200, &total)), 4000);
  EXPECT_EQ(total, 4000);
}

TEST(ThreadPool, FinishesWhatIsQueuedBeforeItGoes) {
  std::atomic<int> done = 0;
  {
    ThreadPool pool(2);
    for (int i = 0; i < 100; ++i) pool.submit([&] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

Task<std::thread::id> parses(ThreadPool* pool, size_t bytes) {
  const std::thread::id where =
      co_await pool->run_sized(bytes, [] { return std::this_thread::get_id(); });
  co_return where;
}

TEST(ThreadPool, TakesWhatIsLargeFromTheLoop) {
  EventLoop loop;
  ThreadPool pool(1);
  EXPECT_EQ(run_task(loop, parses(&pool, 64 << 10)), std::this_thread::get_id());
  EXPECT_NE(run_task(loop, parses(&pool, (64 << 10) + 1)), std::this_thread::get_id());
}

}  // namespace
}  // namespace base
