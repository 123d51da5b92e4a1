#include "base/line_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "tests/support/log_capture.h"

namespace base {
namespace {

using ::testing::HasSubstr;

class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw IoError("pipe");
    reader_.reset(ends[0]);
    pipe_.reset(ends[1]);
  }
  // Whose writer waits for its reader at the end, however slow the machine is.
  LineWriterOptions options() {
    return {.fd = pipe_.get(), .name = "the test's log", .patience = std::chrono::hours(1)};
  }
  std::string read_some() {
    std::string buffer(4096, '\0');
    const ssize_t n = ::read(reader_.get(), buffer.data(), buffer.size());
    buffer.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return buffer;
  }
  // To the end, which comes when nobody can write any more.
  std::string read_all() {
    std::string all;
    for (std::string some = read_some(); !some.empty(); some = read_some()) all += some;
    return all;
  }
  UniqueFd reader_;
  UniqueFd pipe_;
};

TEST_F(LineWriterTest, WritesWhatWasAddedBeforeItsEnd) {
  {
    LineWriter writer(options());
    writer.add("one");
    writer.add("");
    writer.add(std::string(10'000, 'x'));
  }
  pipe_.reset();
  EXPECT_EQ(read_all(), "one\n\n" + std::string(10'000, 'x') + "\n");
}

TEST_F(LineWriterTest, ALineComesWithoutTheNext) {
  LineWriter writer(options());
  writer.add("one");
  EXPECT_EQ(read_some(), "one\n");
  writer.add("two");
  EXPECT_EQ(read_some(), "two\n");
}

// Nobody reads until every line was added; then all that was kept comes, whole and in order, and
// the rest is counted and said once.
TEST_F(LineWriterTest, AReaderThatStopsCostsLinesAndHoldsUpNobody) {
  constexpr int kThreads = 4;
  constexpr int kLines = 20'000;
  const std::string padding(50, '.');
  test::LogCapture log;
  std::optional<LineWriter> writer;
  LineWriterOptions small = options();
  small.most_bytes = 1 << 20;
  writer.emplace(small);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kLines; ++i) {
        writer->add(std::to_string(thread) + ' ' + std::to_string(i) + ' ' + padding);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const uint64_t dropped = writer->dropped();
  EXPECT_GT(dropped, 0U);
  EXPECT_EQ(log.text(), "");

  std::string all;
  std::thread reading([&] { all = read_all(); });
  writer.reset();
  pipe_.reset();
  reading.join();
  std::vector<int> next(kThreads, 0);
  uint64_t lines = 0;
  std::istringstream in(all);
  for (std::string line; std::getline(in, line); ++lines) {
    std::istringstream fields(line);
    size_t thread = kThreads;
    int i = -1;
    std::string end;
    fields >> thread >> i >> end;
    ASSERT_LT(thread, next.size()) << line;
    EXPECT_EQ(end, padding);
    EXPECT_GE(i, next[thread]);
    next[thread] = i + 1;
  }
  EXPECT_EQ(all.back(), '\n');
  EXPECT_EQ(lines + dropped, uint64_t{kThreads} * kLines);
  ASSERT_EQ(log.count("\n"), 1U);
  EXPECT_THAT(log.text(),
              HasSubstr(std::to_string(dropped) + " lines of the test's log were dropped"));
}

// The queue keeps no room for what was written.
TEST_F(LineWriterTest, TakesLinesAgainOnceTheyFlow) {
  LineWriterOptions tiny = options();
  tiny.most_bytes = 1000;
  LineWriter writer(tiny);
  for (int i = 0; i < 100; ++i) {
    const std::string line = std::to_string(i) + std::string(900, 'x');
    while (true) {
      const uint64_t before = writer.dropped();
      writer.add(line);
      if (writer.dropped() == before) break;
      std::this_thread::yield();
    }
    EXPECT_EQ(read_some(), line + '\n');
  }
}

TEST_F(LineWriterTest, ANonBlockingDescriptorIsWaitedFor) {
  ASSERT_EQ(::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK), 0);
  std::optional<LineWriter> writer;
  writer.emplace(options());
  const std::string line(999, 'x');
  for (int i = 0; i < 1000; ++i) writer->add(line);
  std::string all;
  std::thread reading([&] { all = read_all(); });
  writer.reset();
  pipe_.reset();
  reading.join();
  EXPECT_EQ(all.size(), 1'000'000U);
}

TEST_F(LineWriterTest, AReaderThatIsGoneCostsLines) {
  reader_.reset();
  LineWriter writer(options());
  for (uint64_t lost = 1; lost <= 3; ++lost) {
    writer.add("nobody hears this");
    while (writer.dropped() < lost) std::this_thread::yield();
  }
}

TEST_F(LineWriterTest, DoesNotWaitForEverAtItsEnd) {
  test::LogCapture log;
  LineWriterOptions impatient = options();
  impatient.patience = std::chrono::milliseconds(1);
  {
    LineWriter writer(impatient);
    for (int i = 0; i < 1000; ++i) writer.add(std::string(999, 'x'));
  }
  ASSERT_EQ(log.count("\n"), 1U);
  EXPECT_THAT(log.text(), HasSubstr("was not written: its reader has stopped"));
  // The thread that is left behind is let go; the number stays its own.
  reader_.reset();
  pipe_.release();
}

}  // namespace
}  // namespace base
