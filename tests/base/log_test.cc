#include "base/log.h"

#include <glog/logging.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace base {
namespace {

TEST(Printable, EscapesWhatALogMustNotShow) {
  EXPECT_EQ(printable("GET /v2/ \"quoted\" ~"), "GET /v2/ \"quoted\" ~");
  EXPECT_EQ(printable("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(printable(std::string_view("\x00\x1b\x7f", 3)), "\\x00\\x1b\\x7f");
  EXPECT_EQ(printable("caf\xc3\xa9"), "caf\\xc3\\xa9");
  EXPECT_EQ(printable("\\n"), "\\\\n");
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, CutsAt256Bytes) {
  EXPECT_EQ(printable(std::string(256, 'a')), std::string(256, 'a'));
  EXPECT_EQ(printable(std::string(257, 'a')), std::string(256, 'a') + "...");
}

// Logging is set up once per process, so each case is a process of its own.
[[noreturn]] void log_and_exit(bool journal, LogLevel level, const LogFormat& format = {}) {
  struct stat st{};
  fstat(STDERR_FILENO, &st);
  // Of another file, as it is when a service starts a program with its stderr elsewhere.
  if (!journal) ++st.st_ino;
  setenv("JOURNAL_STREAM", (std::to_string(st.st_dev) + ':' + std::to_string(st.st_ino)).c_str(),
         1);
  init_logging("log_test");
  set_log_level(level);
  set_log_format(format);
  VLOG(1) << "about details";
  LOG(INFO) << "about a fact";
  LOG(WARNING) << "about a risk";
  LOG(ERROR) << "about a failure\nin two lines";
  std::_Exit(0);
}

TEST(LogDeathTest, WritesOnePlainLinePerMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::string time = "20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z ";
  const std::string where = " \\(log_test.cc:[0-9]+\\)\n";
  EXPECT_EXIT(log_and_exit(false, LogLevel::info), testing::ExitedWithCode(0),
              "^" + time + "info: about a fact" + where +           //
                  time + "warning: about a risk" + where +          //
                  time + "error: about a failure" + where + time +  //
                  "error: in two lines" + where + "$");
}

TEST(LogDeathTest, GivesTheJournalPriorities) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(log_and_exit(true, LogLevel::debug), testing::ExitedWithCode(0),
              "^<6>about details\n<6>about a fact\n<4>about a risk\n"
              "<3>about a failure\n<3>in two lines\n$");
}

TEST(LogDeathTest, WritesFieldsWithEveryMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(log_and_exit(true, LogLevel::error, {.fields = {{"service", "registry"}}}),
              testing::ExitedWithCode(0),
              "^<3>about a failure service=registry\n<3>in two lines service=registry\n$");
}

TEST(LogDeathTest, WritesALineOfJsonPerMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  using Style = LogFormat::Style;
  EXPECT_EXIT(log_and_exit(false, LogLevel::error, {Style::json, {{"service", "\"x\""}}}),
              testing::ExitedWithCode(0),
              R"(^\{"time":"20[^"]*Z","level":"error","msg":"about a failure\\nin two lines",)"
              R"("service":"\\"x\\"","source":"log_test.cc:[0-9]+"\})"
              "\n$");
  EXPECT_EXIT(log_and_exit(false, LogLevel::error, {Style::logstash, {}}),
              testing::ExitedWithCode(0),
              R"(^\{"@timestamp":"20[^"]*Z","@version":"1","level":"error","message":"about)");
}

TEST(LogDeathTest, KeepsToTheLevel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(log_and_exit(true, LogLevel::warning), testing::ExitedWithCode(0),
              "^<4>about a risk\n<3>about a failure\n<3>in two lines\n$");
  EXPECT_EXIT(log_and_exit(true, LogLevel::error), testing::ExitedWithCode(0),
              "^<3>about a failure\n<3>in two lines\n$");
}

TEST(LogDeathTest, AFailedCheckSaysWhyAndAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        init_logging("log_test");
        CHECK_EQ(1 + 1, 3) << "arithmetic";
      },
      testing::KilledBySignal(SIGABRT),
      "fatal: Check failed: 1 \\+ 1 == 3 \\(2 vs. 3\\) arithmetic");
}

}  // namespace
}  // namespace base
