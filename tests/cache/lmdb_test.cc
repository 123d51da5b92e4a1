#include "cache/lmdb.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace cache::lmdb {
namespace {

// Each reading thread of the pool has a transaction, and the pool may have 1024 threads.
TEST(Lmdb, AsManyCanReadAtOnceAsThePoolMayHaveThreads) {
  const test::TempDir directory;
  const Environment environment = open_environment(directory.path(), 0, 1 << 20);
  std::vector<std::unique_ptr<Transaction>> readers;
  for (int i = 0; i < 1024; ++i) {
    readers.push_back(std::make_unique<Transaction>(environment.get(), MDB_RDONLY));
  }
}

TEST(Lmdb, AFileThatIsCutIsTold) {
  const test::TempDir directory;
  {
    const Environment environment = open_environment(directory.path(), 0, 1 << 20);
    Transaction transaction(environment.get(), 0);
    MDB_dbi table = 0;
    check(mdb_dbi_open(transaction.get(), nullptr, 0, &table));
    put(transaction.get(), table, "key", std::string(20'000, 'x'));
    transaction.commit();
    restore_length(environment.get());
    EXPECT_NO_THROW(check_length(environment.get()));
  }
  const auto file = directory.path() / "data.mdb";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4096);
  const Environment environment = open_environment(directory.path(), 0, 1 << 20);
  EXPECT_THROW(check_length(environment.get()), Error);
}

// Of whoever is interested in crashes: a stack trace is logged, say.
void interested_in(int signal) { ::_exit(signal); }

void crash_while_it_is_read(const std::filesystem::path& directory) {
  ::signal(SIGABRT, interested_in);
  const Reading reading(directory);
  std::abort();
}

TEST(LmdbDeathTest, ACrashIsMarkedAndThenWhatItWas) {
  const test::TempDir directory;
  EXPECT_EXIT(crash_while_it_is_read(directory.path()), testing::ExitedWithCode(SIGABRT), "");
  EXPECT_TRUE(was_fatal(directory.path()));
  remove_environment(directory.path());
  EXPECT_FALSE(was_fatal(directory.path()));
}

TEST(LmdbDeathTest, ACrashAfterwardsIsNotMarked) {
  const test::TempDir directory;
  {
    const Reading reading(directory.path());
  }
  EXPECT_EXIT(std::abort(), testing::KilledBySignal(SIGABRT), "");
  EXPECT_FALSE(was_fatal(directory.path()));
}

TEST(LmdbDeathTest, ACrashOfAnotherThreadIsNotMarked) {
  const test::TempDir directory;
  const auto crash_elsewhere = [&] {
    const Reading reading(directory.path());
    std::thread([] { std::abort(); }).join();
  };
  EXPECT_EXIT(crash_elsewhere(), testing::KilledBySignal(SIGABRT), "");
  EXPECT_FALSE(was_fatal(directory.path()));
}

}  // namespace
}  // namespace cache::lmdb
