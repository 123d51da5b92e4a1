#include "base/fault_point.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <latch>
#include <optional>
#include <thread>

#include "base/durable_file.h"
#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

#ifdef ENTREPOT_CRASH_POINTS

TEST(FaultPoint, FailsAsLongAsTheFaultLives) {
  EXPECT_EQ(fault_point("at.it"), 0);
  {
    const InjectedFault fault("at.it", EIO);
    EXPECT_EQ(fault_point("at.it"), EIO);
    EXPECT_EQ(fault_point("elsewhere"), 0);
  }
  EXPECT_EQ(fault_point("at.it"), 0);
}

TEST(FaultPoint, MayChooseItsSubject) {
  const InjectedFault fault("at.it", EIO, "b/c");
  EXPECT_EQ(fault_point("at.it", "/a/b/c/d"), EIO);
  EXPECT_EQ(fault_point("at.it", "/a/b"), 0);
}

// So that what its function works with may go right after it.
TEST(FaultPoint, EndsOnceNobodyIsInIt) {
  std::optional<InjectedFault> fault;
  std::latch arrived(1);
  std::latch go_on(1);
  std::atomic<bool> left = false;
  fault.emplace("at.it", [&](std::string_view) {
    arrived.count_down();
    go_on.wait();
    left = true;
    return 0;
  });
  std::jthread other([] { fault_point("at.it"); });
  arrived.wait();
  std::jthread release([&] { go_on.count_down(); });
  fault.reset();
  EXPECT_TRUE(left);
}

TEST(FaultPoint, StandsInFilesThatAreWrittenAndRead) {
  const test::TempDir directory;
  const auto path = directory.path() / "file";
  for (const char* operation : {"create", "write", "fsync"}) {
    const InjectedFault fault(operation, ENOSPC);
    try {
      write_file_durably(path, "x");
      FAIL() << operation;
    } catch (const IoError& error) {
      EXPECT_EQ(error.number(), ENOSPC);
    }
  }
  write_file_durably(path, "x");
  const InjectedFault fault("open", EIO);
  EXPECT_THROW(read_file(path, 10), IoError);
}

#endif

}  // namespace
}  // namespace base
