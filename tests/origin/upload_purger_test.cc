// What is purged and when, on a real directory; the waits are on a clock that the test moves.
#include "origin/maintenance/upload_purger.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <ctime>
#include <fstream>

#include "base/fault_point.h"
#include "tests/support/log_capture.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;

class UploadPurgerTest : public ::testing::Test {
 protected:
  struct Ages {
    hours started;
    hours written;
  };

  // One round of a purger that does not run by itself.
  void purge(bool dry_run = false) {
    UploadPurging options;
    options.enabled = false;
    options.dry_run = dry_run;
    UploadPurger(options, storage_, writes_, loops_, pool_).purge();
  }

  std::string upload(const std::string& repository, Ages ages) {
    const std::string id = storage_.uploads.create(repository);
    storage_.uploads.open(repository, id)->append("bytes");
    set_started(repository, id, text(ages.started));
    set_age(layout_.upload_data(repository, id), ages.written);
    return id;
  }
  void set_started(const std::string& repository, const std::string& id, const std::string& text) {
    std::ofstream(layout_.upload_started_at(repository, id)) << text;
  }
  static void set_age(const fs::path& path, hours age) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }
  static std::string text(hours ago) {
    const time_t then =
        std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() - ago);
    tm utc{};
    gmtime_r(&then, &utc);
    char out[32];
    std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return out;
  }
  bool there(const std::string& repository, const std::string& id) const {
    return fs::exists(layout_.upload(repository, id));
  }
  // When what the loop and the pool have to do so far is done.
  void settle() {
    loops_.call(0, [] {});
    loops_.await(0, [this] { return use_pool(); });
  }
  base::Task<void> use_pool() {
    co_await pool_.run([] {});
  }

  test::TempDir dir_;
  Storage storage_{dir_.path()};
  const Layout& layout_ = storage_.layout;
  Writes writes_{/*read_only=*/false};
  base::ManualClock clock_;
  base::LoopGroup loops_{1, clock_};
  base::ThreadPool pool_{1};
};

constexpr hours kOld{169};
constexpr hours kYoung{167};

TEST_F(UploadPurgerTest, RemovesWhatBeganAndWasWrittenLongAgo) {
  const std::string old = upload("a", {kOld, kOld});
  const std::string deep = upload("b/c/d", {kOld, kOld});
  const std::string written = upload("a", {kOld, kYoung});
  const std::string started = upload("a", {kYoung, kOld});
  purge();
  EXPECT_FALSE(there("a", old));
  EXPECT_FALSE(there("b/c/d", deep));
  EXPECT_TRUE(there("a", written));
  EXPECT_TRUE(there("a", started));
}

TEST_F(UploadPurgerTest, AnUploadThatDoesNotSayWhenItBeganHasTheAgeOfItsData) {
  for (const std::string text : {"", "yesterday", "2020-01-01T00:00:00Z?"}) {
    const std::string old = upload("a", {kYoung, kOld});
    const std::string young = upload("a", {kYoung, kYoung});
    set_started("a", old, text);
    set_started("a", young, text);
    const std::string missing = upload("a", {kYoung, kOld});
    fs::remove(layout_.upload_started_at("a", missing));
    purge();
    EXPECT_FALSE(there("a", old)) << text;
    EXPECT_TRUE(there("a", young)) << text;
    EXPECT_FALSE(there("a", missing)) << text;
  }
}

TEST_F(UploadPurgerTest, WhatACrashLeavesWithoutDataGoesToo) {
  const std::string old = upload("a", {kOld, kOld});
  fs::rename(layout_.upload_data("a", old), layout_.upload_data("a", old).string() + ".x");
  purge();
  EXPECT_TRUE(there("a", old));
  set_age(layout_.upload("a", old), kOld);
  purge();
  EXPECT_FALSE(there("a", old));
}

TEST_F(UploadPurgerTest, AnUploadThatARequestHoldsStays) {
  const std::string id = upload("a", {kOld, kOld});
  {
    const auto held = storage_.uploads.open("a", id);
    ASSERT_TRUE(held.has_value());
    purge();
    EXPECT_TRUE(there("a", id));
  }
  purge();
  EXPECT_FALSE(there("a", id));
}

TEST_F(UploadPurgerTest, ADryRunRemovesNothing) {
  const std::string id = upload("a", {kOld, kOld});
  purge(/*dry_run=*/true);
  EXPECT_TRUE(there("a", id));
}

TEST_F(UploadPurgerTest, NothingGoesWhileTheRegistryIsReadOnly) {
  const std::string id = upload("a", {kOld, kOld});
  writes_.set_read_only(true);
  purge();
  EXPECT_TRUE(there("a", id));
  writes_.set_read_only(false);
  purge();
  EXPECT_FALSE(there("a", id));
  EXPECT_EQ(writes_.in_flight(), 0U);
}

TEST_F(UploadPurgerTest, EveryInterval) {
  UploadPurging options;
  UploadPurger running(options, storage_, writes_, loops_, pool_);
  std::string id = upload("a", {kOld, kOld});
  settle();
  EXPECT_TRUE(there("a", id));
  clock_.advance(options.interval);  // the first delay is no longer
  settle();
  EXPECT_FALSE(there("a", id));
  id = upload("a", {kOld, kOld});
  clock_.advance(options.interval - std::chrono::seconds(1));
  settle();
  EXPECT_TRUE(there("a", id));
  clock_.advance(std::chrono::seconds(1));
  settle();
  EXPECT_FALSE(there("a", id));
  running.stop();  // does not wait for the clock
  clock_.advance(2 * options.interval);
}

// A registry that is restarted every day purges too.
TEST_F(UploadPurgerTest, TheFirstRoundIsWithinAnHour) {
  UploadPurging options;
  const UploadPurger running(options, storage_, writes_, loops_, pool_);
  const std::string id = upload("a", {kOld, kOld});
  settle();
  clock_.advance(hours(1));
  settle();
  EXPECT_FALSE(there("a", id));
}

// SIGTERM does not wait until all repositories are listed.
TEST_F(UploadPurgerTest, ARoundEndsAtTheDirectoryWhereItIs) {
  for (const char* name : {"a/b/c", "a/d", "e"}) fs::create_directories(layout_.repository(name));
  UploadPurging options;
  options.enabled = false;
  UploadPurger purger(options, storage_, writes_, loops_, pool_);
  int listed = 0;
  const base::InjectedFault stop("list", [&](std::string_view path) {
    if (path == layout_.repository("a").string()) purger.stop();
    ++listed;
    return 0;
  });
  test::LogCapture log;
  purger.purge();
  EXPECT_EQ(listed, 2) << "all repositories, and a";
  EXPECT_EQ(log.count("stopped early"), 1U) << log.text();
}

TEST_F(UploadPurgerTest, ARoundThatCannotListTheRepositoriesIsNotTheLast) {
  const UploadPurging options;
  const UploadPurger running(options, storage_, writes_, loops_, pool_);
  const std::string id = upload("a", {kOld, kOld});
  settle();
  {
    test::LogCapture log;
    const base::InjectedFault unreadable("list", EIO, layout_.repositories().string());
    clock_.advance(options.interval);
    settle();
    EXPECT_TRUE(there("a", id));
    EXPECT_EQ(log.count("0 bytes removed, 1 failures"), 1U) << log.text();
  }
  clock_.advance(options.interval);
  settle();
  EXPECT_FALSE(there("a", id));
}

}  // namespace
}  // namespace origin
