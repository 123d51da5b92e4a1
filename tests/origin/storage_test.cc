// The stores, on a real directory.
#include "origin/storage/storage.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "origin/secret.h"
#include "origin/storage/files.h"
#include "tests/origin/client.h"
#include "tests/support/log_capture.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

class StorageTest : public ::testing::Test {
 protected:
  Upload open(const std::string& id) {
    auto upload = storage_.uploads.open("a", id);
    EXPECT_TRUE(upload.has_value());
    return std::move(*upload);
  }
  oci::Digest add_blob(const std::string& repository, std::string_view bytes) {
    const std::string id = storage_.uploads.create(repository);
    auto upload = storage_.uploads.open(repository, id);
    upload->append(bytes);
    EXPECT_TRUE(upload->commit(sha256(bytes), storage_.blobs));
    return sha256(bytes);
  }
  // As if the holder had been silent for long.
  static void expire(const fs::path& lease) {
    fs::last_write_time(lease, fs::file_time_type::clock::now() - 2 * UploadLease::kLeaseTime);
  }
  // Makes the upload look as if its holder, which is in this process, were a silent other host.
  void lose_lease(const std::string& id) {
    const fs::path lease = layout_.upload_lease("a", id);
    fs::remove(lease);
    write(lease, "another host");
    expire(lease);
  }
  void write(const fs::path& path, std::string_view text) {
    base::create_directories_durably(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  std::string content(const fs::path& path) {
    return base::read_file(path, 1 << 20).value_or("(no file)");
  }

  test::TempDir dir_;
  Storage storage_{dir_.path()};
  const Layout& layout_ = storage_.layout;
};

TEST_F(StorageTest, PathsAreThoseOfDistribution) {
  const oci::Digest d = sha256("hello");
  const fs::path tree = dir_.path() / "docker/registry/v2";
  const std::string hex = d.hex();
  EXPECT_EQ(layout_.blob(d), tree / "blobs/sha256" / hex.substr(0, 2) / hex / "data");
  EXPECT_EQ(layout_.layer_link("a/b", d), tree / "repositories/a/b/_layers/sha256" / hex / "link");
  EXPECT_EQ(layout_.revision_link("a", d),
            tree / "repositories/a/_manifests/revisions/sha256" / hex / "link");
  EXPECT_EQ(layout_.tag_current_link("a", "t"),
            tree / "repositories/a/_manifests/tags/t/current/link");
  EXPECT_EQ(layout_.tag_index_link("a", "t", d),
            tree / "repositories/a/_manifests/tags/t/index/sha256" / hex / "link");
  EXPECT_EQ(layout_.upload_data("a", "u"), tree / "repositories/a/_uploads/u/data");
  EXPECT_EQ(layout_.upload_hash_state("a", "u", 17),
            tree / "repositories/a/_uploads/u/hashstates/sha256/17");
}

TEST_F(StorageTest, AGarbledLinkIsAbsent) {
  const fs::path path = dir_.path() / "x/link";
  EXPECT_EQ(read_link(path), std::nullopt);
  for (const std::string& bad :
       {std::string(), sha256("a").str() + "\n", std::string("sha256:"), std::string(5000, 'x')}) {
    write(path, bad);
    EXPECT_EQ(read_link(path), std::nullopt) << bad;
  }
  write_link(path, sha256("a"));
  EXPECT_EQ(read_link(path), sha256("a"));
  EXPECT_EQ(content(path), sha256("a").str());
  EXPECT_TRUE(remove_file(path));
  EXPECT_FALSE(remove_file(path));
}

TEST_F(StorageTest, AnUploadBecomesABlobOfItsRepositoryOnly) {
  const oci::Digest digest = add_blob("a", "some bytes");
  EXPECT_EQ(content(layout_.blob(digest)), "some bytes");
  EXPECT_EQ(content(layout_.layer_link("a", digest)), digest.str());
  EXPECT_EQ(storage_.blobs.size("a", digest), 10U);
  EXPECT_FALSE(storage_.blobs.open("b", digest));
  EXPECT_TRUE(fs::is_empty(layout_.repository("a") / "_uploads"));
}

TEST_F(StorageTest, AnUploadGoesOnFromTheSavedHash) {
  const std::string id = storage_.uploads.create("a");
  {
    Upload first = open(id);
    first.append("hello ");
    first.save();
  }
  EXPECT_EQ(content(layout_.upload_hash_state("a", id, 6)).size(), 108U);
  // A state for other bytes of that length shows whether it is used.
  oci::Hasher other(oci::Algorithm::sha256);
  other.update("HELLO ");
  write(layout_.upload_hash_state("a", id, 6), other.save());
  Upload second = open(id);
  EXPECT_EQ(second.size(), 6U);
  second.append("world");
  EXPECT_FALSE(second.commit(sha256("hello world"), storage_.blobs));
}

TEST_F(StorageTest, AnUploadWithoutASavedHashIsReadAgain) {
  for (const bool garbled : {false, true}) {
    const std::string id = storage_.uploads.create("a");
    open(id).append("hello ");
    if (garbled) write(layout_.upload_hash_state("a", id, 6), "rubbish");
    Upload second = open(id);
    second.append("world");
    EXPECT_TRUE(second.commit(sha256("hello world"), storage_.blobs)) << garbled;
  }
}

// The kernel takes the pages for clean then, so that the next fsync would succeed.
TEST_F(StorageTest, AnUploadThatCouldNotBeSyncedIsEnded) {
  for (const bool at_commit : {false, true}) {
    const std::string id = storage_.uploads.create("a");
    {
      Upload upload = open(id);
      upload.append("some bytes");
      const base::InjectedFault fault("upload.sync", EIO);
      if (at_commit) {
        EXPECT_THROW(upload.commit(sha256("some bytes"), storage_.blobs), base::IoError);
      } else {
        EXPECT_THROW(upload.save(), base::IoError);
      }
    }
    EXPECT_EQ(storage_.uploads.open("a", id).error(), UploadUnavailable::unknown);
    EXPECT_FALSE(storage_.blobs.size("a", sha256("some bytes")));
  }
}

TEST_F(StorageTest, ABlobThatIsTornOrWrongIsReplacedByAPush) {
  const oci::Digest digest = add_blob("a", "some bytes");
  write(layout_.blob(digest), "");
  EXPECT_FALSE(storage_.blobs.size("a", digest));
  EXPECT_FALSE(storage_.blobs.open("a", digest));
  EXPECT_FALSE(storage_.blobs.mount("a", "b", digest));
  for (const char* wrong : {"", "SOME BYTES", "some"}) {
    write(layout_.blob(digest), wrong);
    add_blob("a", "some bytes");
    EXPECT_EQ(content(layout_.blob(digest)), "some bytes") << wrong;
  }
  EXPECT_EQ(storage_.blobs.size("a", add_blob("a", "")), 0U);
}

// A delete of a manifest takes the tags that name it, and none that a push moves meanwhile.
TEST_F(StorageTest, ATagThatIsMovedWhileItsManifestIsDeletedStays) {
  const oci::Digest old = sha256("old");
  const oci::Digest fresh = sha256("new");
  for (const char* step : {"tag.found", "tag.taken", "tag.unlinked"}) {
    storage_.tags.put("a", "latest", fresh);
    storage_.tags.put("a", "latest", old);
    int moves = 0;
    {
      const base::InjectedFault push(step, [&](std::string_view) {
        if (moves++ == 0) storage_.tags.put("a", "latest", fresh);
        return 0;
      });
      storage_.tags.remove_all_of("a", old);
    }
    EXPECT_EQ(moves, 1) << step;
    EXPECT_EQ(storage_.tags.get("a", "latest"), fresh) << step;
    EXPECT_EQ(storage_.tags.remove_all_of("a", fresh), std::vector<std::string>{"latest"});
    EXPECT_FALSE(fs::exists(layout_.tag("a", "latest"))) << step;
  }
  storage_.tags.put("a", "latest", old);
  const base::InjectedFault push("tag.unlinked", [&](std::string_view) {
    storage_.tags.put("a", "latest", fresh);
    return 0;
  });
  EXPECT_TRUE(storage_.tags.remove("a", "latest"));
  EXPECT_EQ(storage_.tags.get("a", "latest"), fresh);
}

TEST_F(StorageTest, AnUploadHasOneWriterAtATime) {
  const std::string id = storage_.uploads.create("a");
  {
    Upload writer = open(id);
    const auto second = storage_.uploads.open("a", id);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error(), UploadUnavailable::busy);
  }
  Upload writer = open(id);
  writer.append("x");
  EXPECT_TRUE(writer.commit(sha256("x"), storage_.blobs));
  const auto after = storage_.uploads.open("a", id);
  ASSERT_FALSE(after.has_value());
  EXPECT_EQ(after.error(), UploadUnavailable::unknown);
}

TEST_F(StorageTest, AnUploadThatAnotherHostWritesIsBusyUntilThatHostIsSilent) {
  const std::string id = storage_.uploads.create("a");
  const fs::path lease = layout_.upload_lease("a", id);
  write(lease, "another host");
  const auto busy = storage_.uploads.open("a", id);
  ASSERT_FALSE(busy.has_value());
  EXPECT_EQ(busy.error(), UploadUnavailable::busy);
  EXPECT_EQ(content(lease), "another host");
  expire(lease);
  open(id).append("x");
  EXPECT_FALSE(fs::exists(lease));
}

TEST_F(StorageTest, AHolderThatDiedOnThisHostBlocksNobody) {
  const std::string id = storage_.uploads.create("a");
  write(layout_.upload_lease("a", id), content("/proc/sys/kernel/random/boot_id"));
  open(id).append("x");
}

// What the host that was taken for dead still does, at each moment, reaches neither the upload nor
// the blob.
TEST_F(StorageTest, AWriterThatWasTakenForDeadReachesNothing) {
  const std::string id = storage_.uploads.create("a");
  Upload late = open(id);
  late.append("hello ");
  late.save();
  const base::UniqueFd late_fd = base::open_file(layout_.upload_data("a", id), O_WRONLY | O_APPEND);
  lose_lease(id);

  {
    Upload heir = open(id);
    EXPECT_EQ(heir.size(), 6U);
    heir.append("wo");
    late.append("WO");
    EXPECT_THROW(late.save(), base::IoError);
    EXPECT_THROW(late.commit(sha256("hello WO"), storage_.blobs), base::IoError);
    heir.append("rld");
    heir.save();
  }
  // A state that it saved in spite of all is not believed.
  oci::Hasher other(oci::Algorithm::sha256);
  other.update("HELLO WORLD");
  write(layout_.upload_hash_state("a", id, 11), other.save());
  Upload last = open(id);
  EXPECT_TRUE(last.commit(sha256("hello world"), storage_.blobs));
  base::write_at(late_fd.get(), 0, "late");
  EXPECT_THROW(late.commit(sha256("hello WO"), storage_.blobs), base::IoError);
  EXPECT_EQ(content(layout_.blob(sha256("hello world"))), "hello world");
  EXPECT_FALSE(fs::exists(layout_.blob(sha256("hello WO"))));
}

TEST_F(StorageTest, ACommitOfAnotherWritersFileFailsAndLeavesIt) {
  const std::string id = storage_.uploads.create("a");
  Upload late = open(id);
  late.append("mine");
  lose_lease(id);
  Upload heir = open(id);
  heir.append(" and more");
  EXPECT_THROW(late.commit(sha256("mine"), storage_.blobs), base::IoError);
  EXPECT_TRUE(heir.commit(sha256("mine and more"), storage_.blobs));
}

TEST_F(StorageTest, BytesThatWereNotHashedDoNotBecomeABlob) {
  const std::string id = storage_.uploads.create("a");
  Upload writer = open(id);
  writer.append("mine");
  std::ofstream(layout_.upload_data("a", id), std::ios::app) << "theirs";
  EXPECT_THROW(writer.commit(sha256("mine"), storage_.blobs), base::IoError);
  EXPECT_FALSE(fs::exists(layout_.blob(sha256("mine"))));
  EXPECT_EQ(content(layout_.upload_data("a", id)), "minetheirs");
}

// It is not looked for after each block: on NFS a look waits until what was written is on the
// server's disk.
TEST_F(StorageTest, AWriterThatIsNotAloneInSpiteOfTheLeaseFailsAtItsEnd) {
  for (const bool at_commit : {false, true}) {
    const std::string id = storage_.uploads.create("a");
    Upload writer = open(id);
    writer.append("mine");
    std::ofstream(layout_.upload_data("a", id), std::ios::app) << "theirs";
    writer.append("mine");
    if (at_commit) {
      EXPECT_THROW(writer.commit(sha256("minemine"), storage_.blobs), base::IoError);
      EXPECT_FALSE(fs::exists(layout_.blob(sha256("minemine"))));
    } else {
      EXPECT_THROW(writer.save(), base::IoError);
      EXPECT_FALSE(fs::exists(layout_.upload_hash_state("a", id, 8)));
    }
    EXPECT_EQ(content(layout_.upload_data("a", id)), "minetheirsmine");
  }
}

TEST_F(StorageTest, AWrongDigestLeavesTheUpload) {
  const std::string id = storage_.uploads.create("a");
  Upload upload = open(id);
  upload.append("bytes");
  EXPECT_FALSE(upload.commit(sha256("other"), storage_.blobs));
  EXPECT_FALSE(fs::exists(layout_.blob(sha256("other"))));
  EXPECT_TRUE(upload.commit(sha256("bytes"), storage_.blobs));
}

TEST_F(StorageTest, AnUploadForgetsWhatIsTruncated) {
  const std::string id = storage_.uploads.create("a");
  Upload upload = open(id);
  upload.append("keep");
  upload.append("forget");
  upload.truncate(4);
  EXPECT_EQ(storage_.uploads.status("a", id)->size, 4U);
  EXPECT_TRUE(upload.commit(sha256("keep"), storage_.blobs));
}

TEST_F(StorageTest, ASha512BlobIsStoredAsWhatItIs) {
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha512, "bytes");
  const std::string id = storage_.uploads.create("a");
  Upload upload = open(id);
  upload.append("bytes");
  EXPECT_TRUE(upload.commit(digest, storage_.blobs));
  EXPECT_EQ(content(layout_.layer_link("a", digest)), digest.str());
  EXPECT_EQ(storage_.blobs.size("a", digest), 5U);
}

TEST_F(StorageTest, DistributionsAliasOfASha512IsRead) {
  const oci::Digest digest = add_blob("a", "bytes");
  const oci::Digest alias = oci::Digest::of(oci::Algorithm::sha512, "bytes");
  write_link(layout_.layer_link("a", alias), digest);
  EXPECT_EQ(storage_.blobs.size("a", alias), 5U);
}

// The name may be there, for all that is known then.
TEST_F(StorageTest, ADirectoryThatCannotBeOpenedNowMakesNothingMissing) {
  const oci::Digest digest = add_blob("a", "bytes");
  const fs::path missing = layout_.layer_link("a", sha256("other"));
  for (const int error : {EMFILE, ENFILE, ENOMEM, EIO}) {
    const base::InjectedFault fault(
        "open", [&](std::string_view path) { return fs::is_directory(path) ? error : 0; });
    EXPECT_THROW(read_link(missing), base::IoError) << error;
    EXPECT_THROW(name_exists(missing), base::IoError) << error;
    EXPECT_THROW(storage_.uploads.status("a", "x"), base::IoError) << error;
    EXPECT_EQ(read_link(layout_.layer_link("a", digest)), digest) << error;
  }
  const base::InjectedFault unlisted(
      "open", [&](std::string_view path) { return fs::is_directory(path) ? EACCES : 0; });
  EXPECT_FALSE(read_link(missing));
}

TEST_F(StorageTest, ABlobOfTheWrongSizeIsReplacedByAPush) {
  const oci::Digest digest = add_blob("a", "all the bytes");
  write(layout_.blob(digest), "all the");
  add_blob("b", "all the bytes");
  EXPECT_EQ(content(layout_.blob(digest)), "all the bytes");
}

TEST_F(StorageTest, AMountIsALink) {
  const oci::Digest digest = add_blob("a", "bytes");
  EXPECT_FALSE(storage_.blobs.mount("b", "c", digest));
  EXPECT_TRUE(storage_.blobs.mount("a", "b", digest));
  EXPECT_TRUE(storage_.blobs.mount(std::nullopt, "c", digest));
  EXPECT_FALSE(storage_.blobs.mount(std::nullopt, "c", sha256("unknown")));
  EXPECT_TRUE(storage_.blobs.remove("a", digest));
  EXPECT_FALSE(storage_.blobs.remove("a", digest));
  EXPECT_EQ(storage_.blobs.size("a", digest), std::nullopt);
  EXPECT_EQ(storage_.blobs.size("b", digest), 5U);
  EXPECT_EQ(storage_.blobs.size("c", digest), 5U);
}

TEST_F(StorageTest, TornManifestBytesAreAbsentUntilPushedAgain) {
  const std::string bytes = R"({"schemaVersion":2})";
  const oci::Digest digest = sha256(bytes);
  storage_.manifests.put("a", digest, bytes, std::nullopt);
  EXPECT_EQ(storage_.manifests.get("a", digest), bytes);
  EXPECT_EQ(storage_.manifests.get("b", digest), std::nullopt);
  write(layout_.blob(digest), "{\"schema");
  EXPECT_EQ(storage_.manifests.get("a", digest), std::nullopt);
  storage_.manifests.put("a", digest, bytes, std::nullopt);
  EXPECT_EQ(storage_.manifests.get("a", digest), bytes);
  EXPECT_TRUE(storage_.manifests.remove("a", digest));
  EXPECT_FALSE(storage_.manifests.remove("a", digest));
}

TEST_F(StorageTest, TagsMoveAndKeepTheirHistory) {
  const oci::Digest one = sha256("1");
  const oci::Digest two = sha256("2");
  storage_.tags.put("a", "t", one);
  storage_.tags.put("a", "t", two);
  EXPECT_EQ(storage_.tags.get("a", "t"), two);
  EXPECT_TRUE(fs::exists(layout_.tag_index_link("a", "t", one)));
  EXPECT_TRUE(storage_.tags.remove("a", "t"));
  EXPECT_FALSE(storage_.tags.remove("a", "t"));
  EXPECT_FALSE(fs::exists(layout_.tag("a", "t")));
}

TEST_F(StorageTest, TagsAreListedInOrderWithoutThoseThatLeadNowhere) {
  for (const std::string tag : {"b", "a", "C", "10"}) storage_.tags.put("a", tag, sha256(tag));
  write(layout_.tag_current_link("a", "empty"), "");
  write_link(layout_.tag_index_link("a", "unborn", sha256("x")), sha256("x"));
  EXPECT_EQ(storage_.tags.list("a", "", 100), (Strings{"10", "C", "a", "b"}));
  EXPECT_EQ(storage_.tags.list("a", "C", 1), (Strings{"a"}));
  EXPECT_EQ(storage_.tags.list("a", "B", 100), (Strings{"C", "a", "b"}));
  EXPECT_EQ(storage_.tags.list("unknown", "", 100), Strings{});
}

TEST_F(StorageTest, OneGarbledLinkDoesNotKeepOtherTagsOfAManifest) {
  write(layout_.tag_current_link("a", "0"), "");
  storage_.tags.put("a", "1", sha256("x"));
  storage_.tags.put("a", "2", sha256("y"));
  storage_.tags.put("a", "3", sha256("x"));
  storage_.tags.remove_all_of("a", sha256("x"));
  EXPECT_EQ(storage_.tags.list("a", "", 100), (Strings{"2"}));
}

TEST_F(StorageTest, TheCatalogIsInTheOrderOfPathComponents) {
  for (const std::string name : {"a-b", "a", "a/b", "a/b/c", "b/c"}) add_blob(name, name);
  fs::create_directories(layout_.repository("not/a/repository"));
  storage_.manifests.put("m", sha256("{}"), "{}", std::nullopt);
  const Strings all = {"a", "a/b", "a/b/c", "a-b", "b/c", "m"};
  EXPECT_EQ(storage_.catalog.list("", 100), all);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(storage_.catalog.list(all[i], 100), Strings(all.begin() + i + 1, all.end()))
        << all[i];
  }
  EXPECT_EQ(storage_.catalog.list("a/bb", 2), (Strings{"a-b", "b/c"}));
  EXPECT_EQ(storage_.catalog.list("", 2), (Strings{"a", "a/b"}));
  EXPECT_TRUE(storage_.catalog.exists("a/b"));
  EXPECT_FALSE(storage_.catalog.exists("b"));
}

TEST_F(StorageTest, ReplicasShareOneSecret) {
  const std::string secret = shared_secret(layout_.secret());
  EXPECT_EQ(secret.size(), 64U);
  EXPECT_EQ(shared_secret(layout_.secret()), secret);
  EXPECT_EQ(fs::status(layout_.secret()).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), {}), 1);
}

TEST_F(StorageTest, WhereNoSecretCanBeKeptAProcessHasItsOwn) {
  for (const int error : {EROFS, EACCES}) {
    const base::InjectedFault read_only("create", error, layout_.secret().string() + ".");
    test::LogCapture log;
    const std::string secret = shared_secret(layout_.secret());
    EXPECT_EQ(secret.size(), 64U);
    EXPECT_NE(shared_secret(layout_.secret()), secret);
    EXPECT_EQ(log.count("cannot go on with"), 2U) << log.text();
  }
  {
    const base::InjectedFault full("create", ENOSPC, layout_.secret().string() + ".");
    EXPECT_THROW(shared_secret(layout_.secret()), base::IoError);
  }
  // One that is there is not this process's to leave aside.
  shared_secret(layout_.secret());
  const base::InjectedFault unreadable("open", EACCES, layout_.secret().string());
  EXPECT_THROW(shared_secret(layout_.secret()), base::IoError);
}

}  // namespace
}  // namespace origin
