// What checking passwords costs, and how guessing is slowed down; time is the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <semaphore>

#include "base/error.h"
#include "base/fault_point.h"
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
        passwords_(
            pool_, clock_,
            [this](const std::string& password, const std::string& hash) {
              return compare(password, hash);
            },
            kSalt) {}

  // With it no two addresses of a test share a count.
  static constexpr uint64_t kSalt = 1;

  bool compare(const std::string& password, const std::string& hash) {
    ++computed_;
    most_at_once_ = std::max(most_at_once_.load(), ++at_once_now_);
    {
      const std::lock_guard lock(mutex_);
      order_.push_back(password);
    }
    if (gate_) gate_->acquire();
    --at_once_now_;
    return bcrypt_matches_(password, hash);
  }

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
  struct Asked {
    std::string user;
    std::string password;
    std::string client;
  };
  // What all of these get, asked at once: none is computed before all have begun.
  std::vector<PasswordResult> at_once(std::vector<Asked> asked) {
    std::vector<PasswordVerdict> verdicts(asked.size());
    gate_ = std::make_unique<std::counting_semaphore<>>(0);
    static_cast<void>(file_.due(clock_.now()));  // or the first would look at it, and be the last
    loops_.await(0, [&]() -> base::Task<void> { return ask_all(asked, verdicts); });
    gate_.reset();
    std::vector<PasswordResult> results;
    for (const PasswordVerdict& verdict : verdicts) results.push_back(verdict.result);
    return results;
  }
  base::Task<void> ask_all(const std::vector<Asked>& asked,
                           std::vector<PasswordVerdict>& verdicts) {
    base::TaskScope scope;
    for (size_t i = 0; i < asked.size(); ++i) {
      scope.spawn(into(asked[i].user, asked[i].password, asked[i].client, verdicts[i]));
    }
    gate_->release(1000);
    co_await scope.join();
  }
  // Guesses at ann's password, from so many addresses in turn.
  static std::vector<Asked> guesses(int count, int addresses) {
    std::vector<Asked> asked;
    for (int i = 0; i < count; ++i) {
      asked.push_back({"ann", "guess" + std::to_string(i), address(i % addresses)});
    }
    return asked;
  }
  static std::string address(int i) { return "192.0.2." + std::to_string(i); }

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
  std::mutex mutex_;
  std::vector<std::string> order_;  // of the passwords computed; guarded by mutex_
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
  const auto results = at_once(std::vector<Asked>(50, {"ann", "secret", "192.0.2.1"}));
  EXPECT_EQ(std::ranges::count(results, PasswordResult::right), 50);
  EXPECT_EQ(computed_, 1);
}

TEST_F(PasswordsTest, FewComputeAtOnceAndFewWait) {
  const auto results = at_once(guesses(100, 100));
  EXPECT_EQ(std::ranges::count(results, PasswordResult::wrong), 66)
      << "2 that compute and 64 that wait";
  EXPECT_EQ(std::ranges::count(results, PasswordResult::later), 34);
  EXPECT_EQ(computed_, 66);
  EXPECT_LE(most_at_once_, 2);
}

TEST_F(PasswordsTest, WhatFailsBeforeItsTurnTakesNoTurnFromOthers) {
  {
    const base::InjectedFault fault("password.queued", ENOMEM);
    EXPECT_THROW(check("ann", "secret"), base::IoError);
  }
  const auto results = at_once(guesses(100, 100));
  EXPECT_EQ(std::ranges::count(results, PasswordResult::wrong), 66);
  ASSERT_FALSE(HasFailure()) << "or it waits for ever";
  EXPECT_EQ(check("ann", "secret", "203.0.113.1"), PasswordResult::right);
}

TEST_F(PasswordsTest, WhoWaitsHasTheResultEvenIfItCannotBeRemembered) {
  const base::InjectedFault fault("password.remember", ENOMEM);
  const auto results = at_once(std::vector<Asked>(2, {"ann", "guess", "192.0.2.1"}));
  EXPECT_EQ(results.back(), PasswordResult::wrong);
  EXPECT_EQ(computed_, 1);
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
  for (int round = 0; round < 30; ++round) {
    for (int i = 0; i < 40; ++i) check("ann", "guess", address(i));
  }
  EXPECT_EQ(check("ann", "guess", address(0)), PasswordResult::later) << "who failed has to wait";
  EXPECT_EQ(check("ann", "secret", address(0)), PasswordResult::later);
  EXPECT_EQ(check("ann", "secret", "203.0.113.1"), PasswordResult::right) << "who did not has not";
  clock_.advance(61s);
  EXPECT_EQ(check("ann", "secret", "198.51.100.1"), PasswordResult::right) << "not remembered";
}

TEST_F(PasswordsTest, WhoFailsBehindAUsersAddressDoesNotLockItOut) {
  ASSERT_EQ(check("ann", "secret"), PasswordResult::right);
  clock_.advance(61s);
  for (int i = 0; i < 40; ++i) check("bob", "guess" + std::to_string(i));
  EXPECT_EQ(check("bob", "word"), PasswordResult::later);
  EXPECT_EQ(check("ann", "secret"), PasswordResult::right);
}

TEST_F(PasswordsTest, GuessersWhoWaitGiveWayToWhoHasNotFailed) {
  for (int i = 0; i < 100; ++i) ASSERT_EQ(check("ann", "x", address(i)), PasswordResult::wrong);
  clock_.advance(1min);  // so that none has to wait
  order_.clear();
  std::vector<Asked> asked = guesses(100, 100);
  asked.push_back({"ann", "secret", "203.0.113.1"});
  const auto results = at_once(asked);
  EXPECT_EQ(results.back(), PasswordResult::right);
  EXPECT_EQ(std::ranges::count(results, PasswordResult::wrong), 65);
  EXPECT_LE(most_at_once_, 2);
  order_.resize(4);
  EXPECT_THAT(order_, ::testing::Contains("secret")) << "hers is the first turn that there is";
}

TEST_F(PasswordsTest, OneAddressIsAStrangerOnlyOnceAtATime) {
  std::vector<Asked> asked = guesses(100, 5);
  asked.push_back({"ann", "secret", "203.0.113.1"});
  EXPECT_EQ(at_once(asked).back(), PasswordResult::right);
}

TEST_F(PasswordsTest, WhoIsKnownGoesBeforeStrangers) {
  ASSERT_EQ(check("ann", "secret", "198.51.100.1"), PasswordResult::right);
  clock_.advance(61s);
  std::vector<Asked> asked = guesses(100, 100);
  asked.push_back({"ann", "secret", "198.51.100.1"});
  EXPECT_EQ(at_once(asked).back(), PasswordResult::right);
}

TEST_F(PasswordsTest, WhoAsksTheSameLendsItsStanding) {
  ASSERT_EQ(check("bob", "x", "192.0.2.200"), PasswordResult::wrong);
  std::vector<Asked> asked = guesses(65, 65);
  asked.push_back({"ann", "secret", "192.0.2.200"});  // the last that may wait
  asked.push_back({"ann", "secret", "203.0.113.1"});
  asked.push_back({"bob", "word", "203.0.113.2"});
  const auto results = at_once(asked);
  EXPECT_EQ(results[65], PasswordResult::right);
  EXPECT_EQ(results[66], PasswordResult::right);
  EXPECT_EQ(results[67], PasswordResult::later);
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
  test::LogCapture log;
  std::filesystem::remove(dir_.path() / "htpasswd");
  for (int i = 0; i < 5; ++i) {
    clock_.advance(1s);
    EXPECT_EQ(check("ann", "secret"), PasswordResult::right);
  }
  EXPECT_EQ(log.count("stay as they were"), 1U);
}

TEST_F(PasswordsTest, BadLinesAreNamedWithoutTheirHash) {
  test::LogCapture log;
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
