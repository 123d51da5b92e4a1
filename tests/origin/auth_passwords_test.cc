// What checking passwords costs, and how guessing is slowed down; time is the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <semaphore>

#include "base/loop_group.h"
#include "origin/auth/passwords.h"
#include "tests/origin/auth_fixture.h"

namespace origin::auth {
namespace {

using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;

class PasswordsTest : public ::testing::Test {
 protected:
  PasswordsTest()
      : file_(dir_.write("htpasswd", "ann:" + bcrypt("secret") + "\nbob:" + bcrypt("word") + "\n")),
        passwords_(pool_, clock_, [this](const std::string& password, const std::string& hash) {
          ++computed_;
          most_at_once_ = std::max(most_at_once_.load(), ++at_once_now_);
          if (gate_) gate_->acquire();
          --at_once_now_;
          return bcrypt_matches_(password, hash);
        }) {}

  PasswordResult check(const std::string& user, const std::string& password,
                       const std::string& client = "192.0.2.1") {
    PasswordVerdict verdict{};
    loops_.await(0, [&]() -> base::Task<void> { return into(user, password, client, verdict); });
    retry_after_ = verdict.retry_after;
    return verdict.result;
  }
  base::Task<void> into(std::string user, std::string password, std::string client,
                        PasswordVerdict& out) {
    out = co_await passwords_.check(file_, http::UserPassword{user, password}, client);
  }
  // All of these at once, none computed before all have begun; counts how many had which result.
  base::Task<void> at_once(std::vector<std::pair<std::string, std::string>> asked,
                           std::map<PasswordResult, int>& results) {
    base::TaskScope scope;
    std::vector<PasswordVerdict> verdicts(asked.size());
    for (size_t i = 0; i < asked.size(); ++i) {
      scope.spawn(
          into(asked[i].first, asked[i].second, "192.0.2." + std::to_string(i % 200), verdicts[i]));
    }
    gate_->release(1000);
    co_await scope.join();
    for (const PasswordVerdict& verdict : verdicts) ++results[verdict.result];
  }

  static bool bcrypt_matches_(const std::string& password, const std::string& hash) {
    crypt_data data{};
    return hash == crypt_r(password.c_str(), hash.c_str(), &data);
  }

  test::TempDir dir_;
  base::ManualClock clock_;
  base::ThreadPool pool_{4};
  base::LoopGroup loops_{1, clock_};
  HtpasswdFile file_;
  std::atomic<int> computed_ = 0;
  std::atomic<int> at_once_now_ = 0;
  std::atomic<int> most_at_once_ = 0;
  std::unique_ptr<std::counting_semaphore<>> gate_;
  Passwords passwords_;
  base::Duration retry_after_{};
};

TEST_F(PasswordsTest, WhatIsRightIsRememberedForAMinute) {
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(check("ann", "secret"), PasswordResult::right);
  EXPECT_EQ(computed_, 1);
  clock_.advance(61s);
  EXPECT_EQ(check("ann", "secret"), PasswordResult::right);
  EXPECT_EQ(computed_, 2);
  EXPECT_EQ(check("ann", "Secret"), PasswordResult::wrong);
  EXPECT_EQ(check("bob", "secret"), PasswordResult::wrong);
  EXPECT_EQ(computed_, 4) << "what is wrong is not remembered";
}

TEST_F(PasswordsTest, AnUnknownUserCostsTheSame) {
  EXPECT_EQ(check("nobody", "secret"), PasswordResult::wrong);
  EXPECT_EQ(computed_, 1);
  EXPECT_EQ(check("", ""), PasswordResult::wrong);
  EXPECT_EQ(computed_, 2);
}

TEST_F(PasswordsTest, TheSameAtOnceIsOneComputation) {
  gate_ = std::make_unique<std::counting_semaphore<>>(0);
  std::map<PasswordResult, int> results;
  const std::vector<std::pair<std::string, std::string>> asked(50, {"ann", "secret"});
  loops_.await(0, [&]() -> base::Task<void> { return at_once(asked, results); });
  EXPECT_EQ(results[PasswordResult::right], 50);
  EXPECT_EQ(computed_, 1);
}

TEST_F(PasswordsTest, FewComputeAtOnceAndFewWait) {
  ASSERT_EQ(check("ann", "secret"), PasswordResult::right);  // the file was looked at
  gate_ = std::make_unique<std::counting_semaphore<>>(0);
  std::map<PasswordResult, int> results;
  std::vector<std::pair<std::string, std::string>> asked;
  for (int i = 0; i < 100; ++i) asked.emplace_back("user" + std::to_string(i), "x");
  loops_.await(0, [&]() -> base::Task<void> { return at_once(asked, results); });
  EXPECT_EQ(results[PasswordResult::wrong], 66) << "2 that compute and 64 that wait";
  EXPECT_EQ(results[PasswordResult::later], 34);
  EXPECT_EQ(computed_, 1 + 66);
  EXPECT_LE(most_at_once_, 2);
}

TEST_F(PasswordsTest, GuessingIsSlowedDownPerClient) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(check("user" + std::to_string(i), "guess"), PasswordResult::wrong) << i;
  }
  EXPECT_EQ(check("user20", "guess"), PasswordResult::later);
  EXPECT_EQ(retry_after_, 5s);
  EXPECT_EQ(computed_, 20) << "nothing is computed for it";
  EXPECT_EQ(check("user20", "guess", "192.0.2.2"), PasswordResult::wrong) << "another client";
  clock_.advance(5s);
  EXPECT_EQ(check("user20", "guess"), PasswordResult::wrong);
  EXPECT_EQ(check("user20", "guess"), PasswordResult::later);
}

TEST_F(PasswordsTest, AnIpv6ClientIsItsNetwork) {
  for (int i = 0; i < 20; ++i) {
    const std::string address = "2001:db8::" + std::to_string(i);
    ASSERT_EQ(check("user" + std::to_string(i), "guess", address), PasswordResult::wrong);
  }
  EXPECT_EQ(check("user20", "guess", "2001:db8::ffff"), PasswordResult::later);
  EXPECT_EQ(check("user20", "guess", "2001:db8:0:1::1"), PasswordResult::wrong);
}

TEST_F(PasswordsTest, GuessingFromEverywhereDoesNotLockTheUserOut) {
  ASSERT_EQ(check("ann", "secret", "198.51.100.1"), PasswordResult::right);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(check("ann", "guess", "192.0.2." + std::to_string(i)), PasswordResult::wrong);
  }
  EXPECT_EQ(check("ann", "guess", "192.0.2.99"), PasswordResult::later);
  EXPECT_EQ(check("ann", "secret", "192.0.2.99"), PasswordResult::right) << "still remembered";
  clock_.advance(61s);
  for (int i = 0; i < 40; ++i) check("ann", "guess", "192.0.2." + std::to_string(i));
  EXPECT_EQ(check("ann", "secret", "203.0.113.1"), PasswordResult::later) << "not known there";
  EXPECT_EQ(check("ann", "secret", "198.51.100.1"), PasswordResult::right) << "known there";
}

TEST_F(PasswordsTest, AKnownClientCannotGuessForEverEither) {
  ASSERT_EQ(check("ann", "secret"), PasswordResult::right);
  int wrong = 0;
  for (int i = 0; i < 100; ++i) {
    if (check("ann", "guess" + std::to_string(i)) == PasswordResult::wrong) ++wrong;
  }
  EXPECT_EQ(wrong, 20);
  EXPECT_EQ(check("ann", "secret"), PasswordResult::right);
}

TEST_F(PasswordsTest, AChangedFileCountsAtOnce) {
  ASSERT_EQ(check("ann", "secret"), PasswordResult::right);
  dir_.write("htpasswd", "ann:" + bcrypt("changed") + "\n\n# more\ncarol:" + bcrypt("new") + "\n");
  clock_.advance(1s);
  EXPECT_EQ(check("ann", "secret"), PasswordResult::wrong);
  EXPECT_EQ(check("ann", "changed"), PasswordResult::right);
  EXPECT_EQ(check("carol", "new"), PasswordResult::right);
  EXPECT_EQ(check("bob", "word"), PasswordResult::wrong);
}

TEST_F(PasswordsTest, AFileThatIsGoneChangesNothing) {
  LogCapture log;
  std::filesystem::remove(dir_.path() / "htpasswd");
  for (int i = 0; i < 5; ++i) {
    clock_.advance(1s);
    EXPECT_EQ(check("ann", "secret"), PasswordResult::right);
  }
  EXPECT_EQ(log.count("stay as they were"), 1U);
}

TEST_F(PasswordsTest, BadLinesAreNamedWithoutTheirHash) {
  LogCapture log;
  const Users users("ann:" + bcrypt("secret") +
                        "\nbob:{SHA}abcdefgh\ncarol:$apr1$salt$hashhash\njusttext\n:x\n"
                        "dora:$2y$31$" +
                        std::string(53, 'a') + "\neve:$2x$10$" + std::string(53, 'a') +
                        "\n\n# comment\n",
                    "users");
  EXPECT_EQ(users.size(), 1U);
  const std::string text = log.text();
  EXPECT_THAT(text, ::testing::HasSubstr("users:2: user \"bob\""));
  EXPECT_THAT(text, ::testing::HasSubstr("users:3: user \"carol\""));
  EXPECT_THAT(text, ::testing::HasSubstr("users:4: not \"user:hash\""));
  EXPECT_THAT(text, ::testing::HasSubstr("users:6: user \"dora\""));
  EXPECT_THAT(text, ::testing::HasSubstr("users:7: user \"eve\""));
  for (const char* secret : {"abcdefgh", "hashhash", "justtext", "aaaaaaa"}) {
    EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr(secret)));
  }
}

}  // namespace
}  // namespace origin::auth
