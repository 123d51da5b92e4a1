#include "base/durable_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uint64_t kNoLimit = 1 << 30;

std::set<std::string> names_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// The error that the call throws; number 0 if it throws none.
template <typename Call>
IoError error_of(Call call) {
  try {
    call();
  } catch (const IoError& e) {
    return e;
  }
  return {0, "no error"};
}

class DurableFile : public testing::Test {
 protected:
  test::TempDir temp_;
  const fs::path dir_ = temp_.path();
};

TEST_F(DurableFile, WritesAndReplaces) {
  const fs::path path = dir_ / "link";
  write_file_durably(path, "old");
  EXPECT_EQ(read_file(path, kNoLimit), "old");
  write_file_durably(path, "new and longer");
  EXPECT_EQ(read_file(path, kNoLimit), "new and longer");
  write_file_durably(path, "");
  EXPECT_EQ(read_file(path, kNoLimit), "");
  EXPECT_EQ(names_in(dir_), std::set<std::string>{"link"});
}

TEST_F(DurableFile, HasTheModeItIsGiven) {
  const mode_t old_mask = umask(022);
  write_file_durably(dir_ / "secret", "s", 0600);
  write_file_durably(dir_ / "open", "o");
  umask(old_mask);
  struct stat st{};
  ASSERT_EQ(stat((dir_ / "secret").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  ASSERT_EQ(stat((dir_ / "open").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0644U);
}

TEST_F(DurableFile, MakesMissingParents) {
  const fs::path path = dir_ / "a" / "b" / "c" / "link";
  write_file_durably(path, "x");
  EXPECT_EQ(read_file(path, kNoLimit), "x");
}

TEST_F(DurableFile, AParentThatIsAFileIsAnError) {
  write_file_durably(dir_ / "file", "x");
  const IoError error = error_of([&] { write_file_durably(dir_ / "file" / "link", "x"); });
  EXPECT_EQ(error.number(), ENOTDIR);
  EXPECT_THAT(error.what(), HasSubstr((dir_ / "file").string()));
  EXPECT_EQ(names_in(dir_), std::set<std::string>{"file"});
}

TEST_F(DurableFile, RemovesTheTempFileWhenTheRenameFails) {
  fs::create_directory(dir_ / "taken");
  const IoError error = error_of([&] { write_file_durably(dir_ / "taken", "x"); });
  EXPECT_EQ(error.number(), EISDIR);
  EXPECT_THAT(error.what(), HasSubstr((dir_ / "taken").string()));
  EXPECT_EQ(names_in(dir_), std::set<std::string>{"taken"});
}

TEST_F(DurableFile, RemovesTheTempFileAndKeepsTheOldOneWhenWritingFails) {
  const fs::path path = dir_ / "link";
  write_file_durably(path, "old");
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small = {1000, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const IoError error = error_of([&] { write_file_durably(path, std::string(2000, 'x')); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(error.number(), EFBIG);
  EXPECT_THAT(error.what(), HasSubstr(path.string()));
  EXPECT_EQ(names_in(dir_), std::set<std::string>{"link"});
  EXPECT_EQ(read_file(path, kNoLimit), "old");
}

TEST_F(DurableFile, ReadersSeeOldOrNewAndNeverAMixture) {
  constexpr int kReplacements = 100;
  const fs::path path = dir_ / "link";
  const std::string contents[] = {std::string(100'000, 'a'), std::string(50'000, 'b')};
  write_file_durably(path, contents[0]);
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> readers;
  readers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const std::optional<std::string> seen = read_file(path, kNoLimit);
        if (seen != contents[0] && seen != contents[1]) ++wrong;
      }
    });
  }
  std::vector<std::jthread> writers;
  writers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      for (int n = 0; n < kReplacements; ++n) write_file_durably(path, contents[n % 2]);
    });
  }
  writers.clear();
  done = true;
  readers.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(names_in(dir_), std::set<std::string>{"link"});
}

TEST_F(DurableFile, CreatesDirectories) {
  create_directories_durably(dir_ / "a" / "b");
  create_directories_durably(dir_ / "a" / "b");
  create_directories_durably(dir_ / "a" / "c" / "");
  EXPECT_EQ(names_in(dir_ / "a"), (std::set<std::string>{"b", "c"}));
  write_file_durably(dir_ / "file", "x");
  EXPECT_EQ(error_of([&] { create_directories_durably(dir_ / "file"); }).number(), ENOTDIR);
  EXPECT_EQ(error_of([&] { create_directories_durably(dir_ / "file" / "d"); }).number(), ENOTDIR);
}

TEST_F(DurableFile, ManyThreadsMayCreateOneDirectory) {
  std::atomic<int> failures = 0;
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) {
        try {
          create_directories_durably(dir_ / std::to_string(n) / "a" / "b");
        } catch (const IoError&) {
          ++failures;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(names_in(dir_).size(), 20U);
}

TEST_F(DurableFile, RenamesIntoADirectoryThatIsMissing) {
  write_file_durably(dir_ / "incoming" / "x", "content");
  const fs::path to = dir_ / "blobs" / "ab" / "x";
  rename_durably(dir_ / "incoming" / "x", to);
  EXPECT_EQ(read_file(to, kNoLimit), "content");
  EXPECT_TRUE(names_in(dir_ / "incoming").empty());
}

TEST_F(DurableFile, RenamingWhatIsMissingIsAnError) {
  const IoError error = error_of([&] { rename_durably(dir_ / "none", dir_ / "to"); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_THAT(error.what(), HasSubstr((dir_ / "none").string()));
}

TEST_F(DurableFile, SyncingAMissingDirectoryIsAnError) {
  sync_directory(dir_);
  EXPECT_EQ(error_of([&] { sync_directory(dir_ / "none"); }).number(), ENOENT);
}

TEST_F(DurableFile, ReadsUpToTheLimit) {
  const fs::path path = dir_ / "file";
  const std::string content(200'000, 'x');
  write_file_durably(path, content);
  EXPECT_EQ(read_file(path, content.size()), content);
  const IoError error = error_of([&] { read_file(path, content.size() - 1); });
  EXPECT_EQ(error.number(), EFBIG);
  EXPECT_THAT(error.what(), HasSubstr(path.string()));
}

TEST_F(DurableFile, ReadsFilesThatDoNotTellTheirSize) {
  const std::optional<std::string> status = read_file("/proc/self/status", kNoLimit);
  ASSERT_TRUE(status);
  EXPECT_THAT(*status, HasSubstr("Pid:"));
  EXPECT_EQ(error_of([] { read_file("/dev/zero", 100'000); }).number(), EFBIG);
}

TEST_F(DurableFile, ReadingWhatIsMissingGivesNothing) {
  write_file_durably(dir_ / "file", "x");
  EXPECT_EQ(read_file(dir_ / "none", kNoLimit), std::nullopt);
  EXPECT_EQ(read_file(dir_ / "file" / "none", kNoLimit), std::nullopt);
  EXPECT_EQ(error_of([&] { read_file(dir_, kNoLimit); }).number(), EISDIR);
}

TEST_F(DurableFile, OpensWithCloseOnExec) {
  EXPECT_FALSE(open_file(dir_ / "none", O_RDONLY));
  const UniqueFd fd = open_file(dir_ / "file", O_RDWR | O_CREAT);
  ASSERT_TRUE(fd);
  EXPECT_EQ(fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(error_of([&] { open_file(dir_, O_WRONLY); }).number(), EISDIR);
}

TEST_F(DurableFile, ReadsAndWritesAtOffsets) {
  const UniqueFd fd = open_file(dir_ / "file", O_RDWR | O_CREAT);
  write_at(fd.get(), 4, "world");
  write_at(fd.get(), 0, "far ");
  char out[16];
  EXPECT_EQ(read_at(fd.get(), 0, out, 9), 9U);
  EXPECT_EQ(std::string_view(out, 9), "far world");
  EXPECT_EQ(read_at(fd.get(), 6, out, sizeof out), 3U);
  EXPECT_EQ(std::string_view(out, 3), "rld");
  EXPECT_EQ(read_at(fd.get(), 100, out, sizeof out), 0U);
}

TEST_F(DurableFile, AFullDiskIsAnErrorThatNamesTheFile) {
  const UniqueFd full = open_file("/dev/full", O_WRONLY);
  ASSERT_TRUE(full);
  const IoError error = error_of([&] { write_at(full.get(), 0, "x"); });
  EXPECT_EQ(error.number(), ENOSPC);
  EXPECT_STREQ(error.what(), "write /dev/full: No space left on device");
}

TEST_F(DurableFile, AnErrorOfAReadNamesTheFile) {
  const UniqueFd fd = open_file(dir_ / "file", O_WRONLY | O_CREAT);
  char out[1];
  const IoError error = error_of([&] { read_at(fd.get(), 0, out, 1); });
  EXPECT_EQ(error.number(), EBADF);
  EXPECT_EQ(error.what(), "read " + (dir_ / "file").string() + ": Bad file descriptor");
}

}  // namespace
}  // namespace base
