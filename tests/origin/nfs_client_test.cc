// The stand-in for NFS that shared_storage_test.cc stands on: that it shows a program what it says
// it does (tests/support/nfs_caching.h).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/durable_file.h"
#include "tests/support/nfs_mount.h"
#include "tests/support/temp_dir.h"

namespace {

namespace fs = std::filesystem;

class NfsClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::NfsMount::unavailable(); !why.empty()) GTEST_SKIP() << why;
    client_.emplace(server(), program());
    client_->wait_for("ready");
  }

  // Of what runs, only that it sees the mount matters.
  static std::vector<std::string> program() {
    return {"sh", "-c", "echo ready; exec sleep infinity"};
  }
  const fs::path& server() const { return dir_.path(); }
  fs::path seen(const fs::path& name) const { return client_->seen(name); }

  // Another client changes these.
  void put(const fs::path& name, const std::string& content) const {
    dir_.write("new", content);
    fs::rename(server() / "new", server() / name);
  }
  static void look_into(const fs::path& directory) {
    EXPECT_TRUE(base::open_file(directory, O_RDONLY | O_DIRECTORY));
  }
  static std::string content(const fs::path& path) {
    return base::read_file(path, 1000).value_or("nothing");
  }
  static std::string read(int fd) {
    std::string bytes(1000, '\0');
    bytes.resize(base::read_at(fd, 0, bytes.data(), bytes.size()));
    return bytes;
  }

  test::TempDir dir_;
  std::optional<test::NfsMount> client_;
};

TEST_F(NfsClientTest, AMissingNameIsBelievedUntilItsDirectoryIsOpened) {
  EXPECT_FALSE(fs::exists(seen("name")));
  put("name", "one");
  EXPECT_FALSE(fs::exists(seen("name")));
  EXPECT_EQ(content(seen("name")), "nothing");
  EXPECT_EQ(::unlink(seen("name").c_str()), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(::open(seen("name").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600), -1);
  EXPECT_EQ(errno, EEXIST);
  look_into(seen(""));
  EXPECT_TRUE(fs::exists(seen("name")));
  EXPECT_EQ(content(seen("name")), "one");
}

TEST_F(NfsClientTest, AttributesAreBelievedUntilTheFileIsOpened) {
  dir_.write("file", "short");
  EXPECT_EQ(fs::file_size(seen("file")), 5U);
  dir_.write("file", "much longer");
  EXPECT_EQ(fs::file_size(seen("file")), 5U);
  EXPECT_EQ(content(seen("file")), "much longer");
  EXPECT_EQ(fs::file_size(seen("file")), 11U);
}

TEST_F(NfsClientTest, AReplacedFileIsFoundByOpenAndAMovedOneUnderItsOldName) {
  put("tag", "one");
  EXPECT_EQ(fs::file_size(seen("tag")), 3U);
  put("tag", "three");
  EXPECT_EQ(fs::file_size(seen("tag")), 3U);
  EXPECT_EQ(content(seen("tag")), "three");
  fs::rename(server() / "tag", server() / "moved");
  EXPECT_EQ(content(seen("tag")), "three");
  look_into(seen(""));
  EXPECT_EQ(content(seen("tag")), "nothing");
}

TEST_F(NfsClientTest, ADirectoryThatIsMadeAnewIsFoundByOpen) {
  for (const char* content_now : {"one", "two"}) {
    fs::remove_all(server() / "a");
    dir_.write("a/b/file", content_now);
    EXPECT_EQ(content(seen("a/b/file")), content_now);
  }
  fs::remove_all(server() / "a");
  EXPECT_EQ(content(seen("a/b/file")), "nothing");
}

TEST_F(NfsClientTest, AFileThatAnotherClientRemovesIsStaleAndOneRemovedHereStays) {
  put("theirs", "content");
  put("ours", "content");
  const base::UniqueFd theirs = base::open_file(seen("theirs"), O_RDONLY);
  const base::UniqueFd ours = base::open_file(seen("ours"), O_RDONLY);
  fs::remove(server() / "theirs");
  fs::remove(seen("ours"));
  char byte = 0;
  EXPECT_EQ(::pread(theirs.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ESTALE);
  EXPECT_EQ(read(ours.get()), "content");
  EXPECT_FALSE(fs::is_empty(server()));
  for (const auto& left : fs::directory_iterator(server())) {
    const fs::path name = left.path().filename();
    EXPECT_EQ(name.string().substr(0, 4), ".nfs");
    EXPECT_EQ(::unlink(seen(name).c_str()), -1);
    EXPECT_EQ(errno, EBUSY);
  }
}

TEST_F(NfsClientTest, LocksHoldOnOneHost) {
  put("file", "");
  test::NfsMount other(server(), program());
  other.wait_for("ready");
  const auto lock = [](const base::UniqueFd& fd) { return ::flock(fd.get(), LOCK_EX | LOCK_NB); };
  const base::UniqueFd first = base::open_file(seen("file"), O_RDWR);
  const base::UniqueFd second = base::open_file(seen("file"), O_RDWR);
  const base::UniqueFd elsewhere = base::open_file(other.seen("file"), O_RDWR);
  EXPECT_EQ(lock(first), 0);
  EXPECT_EQ(lock(second), -1);
  EXPECT_EQ(lock(elsewhere), 0);
  const std::string boot_id = "/proc/sys/kernel/random/boot_id";
  const std::string there = "/proc/" + std::to_string(client_->pid()) + "/root";
  EXPECT_NE(content(there + boot_id), content(boot_id));
}

TEST_F(NfsClientTest, TheMountIsTheProgramsAlone) {
  look_into(seen(""));
  const auto mounts = [](const std::string& process) {
    return base::read_file("/proc/" + process + "/mounts", 1 << 20).value();
  };
  EXPECT_NE(mounts(std::to_string(client_->pid())).find(server().string()), std::string::npos);
  EXPECT_EQ(mounts("self").find(server().string()), std::string::npos);
}

}  // namespace
