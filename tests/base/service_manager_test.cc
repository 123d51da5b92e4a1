// Socket activation needs a process of its own: see tests/origin/service_test.cc.
#include "base/service_manager.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/support/notify_socket.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

TEST(ServiceManager, IsNotifiedWhereThereIsOne) {
  notify_service_manager("READY=1");  // nobody listens, nothing happens
  const test::TempDir dir;
  test::NotifySocket socket(dir.path() / "notify");
  ::setenv("NOTIFY_SOCKET", socket.path().c_str(), 1);
  notify_service_manager("READY=1\nSTATUS=serving");
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(socket.receive(), "READY=1\nSTATUS=serving");
}

TEST(ServiceManager, MayWatch) {
  EXPECT_FALSE(watchdog_timeout());
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(watchdog_timeout(), std::chrono::seconds(3));
  ::setenv("WATCHDOG_PID", "1", 1);  // meant for another process
  EXPECT_FALSE(watchdog_timeout());
  ::unsetenv("WATCHDOG_PID");
  ::unsetenv("WATCHDOG_USEC");
}

TEST(ServiceManager, GivesSocketsToTheProcessItNamesOnly) {
  EXPECT_TRUE(inherited_sockets().empty());
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", "1", 1);
  EXPECT_TRUE(inherited_sockets().empty());
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
}

}  // namespace
}  // namespace base
