#include "cache/index.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <shared_mutex>

#include "base/fault_point.h"
#include "cache/files.h"
#include "cache/little_endian.h"
#include "cache/lmdb.h"
#include "cache/space.h"

// Four named databases:
//   meta        "format" → u32, the version of all this; "incomplete" → nothing, while the tree may
//               have blobs that are not here
//   blobs       algorithm byte + raw digest → u64 size (and kInside), i64 stored_at, i64 last_used,
//               i64 since, u8 queue, uses and pinned (kRecordSize), the name of the account; sealed
//   contents    algorithm byte + raw digest → the bytes of a blob that is inside
//   tombstones  algorithm byte + raw digest → nothing

namespace cache {
namespace {

constexpr uint32_t kIndexFormat = 3;
constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kIncompleteKey = "incomplete";
constexpr size_t kRecordSize = 33;
constexpr uint64_t kInside = uint64_t{1} << 63;  // in a record's size
// In the byte of a place; the two lowest bits are the uses.
constexpr uint8_t kUses = 3;
constexpr uint8_t kInMain = 4;
constexpr uint8_t kPinned = 8;
constexpr uint64_t kPageHeader = 16;
// What the name of a content takes, in pages that are half full.
constexpr uint64_t kContentName = 128;
constexpr size_t kFirstMapSize = 16 << 20;

// The index of an older or a newer program.
struct OtherFormat {
  uint32_t format;
};

using lmdb::check;
using lmdb::erase;
using lmdb::for_each;
using lmdb::get;
using lmdb::put;
using lmdb::Transaction;

constexpr const char* kIndexTable = "cache index";

std::string encode_key(const oci::Digest& digest) {
  return static_cast<char>(digest.algorithm()) + std::string(digest.bytes());
}

oci::Digest decode_key(std::string_view key) {
  if (key.empty()) throw lmdb::Error{MDB_CORRUPTED};
  const auto algorithm = static_cast<oci::Algorithm>(key.front());
  if (algorithm != oci::Algorithm::sha256 && algorithm != oci::Algorithm::sha512) {
    throw lmdb::Error{MDB_CORRUPTED};
  }
  const auto digest = oci::Digest::from_bytes(algorithm, key.substr(1));
  if (!digest) throw lmdb::Error{MDB_CORRUPTED};
  return *digest;
}

std::string encode_record(std::string_view key, const IndexRecord& record) {
  std::string out;
  append_u64(out, record.size | (record.inside ? kInside : 0));
  append_u64(out, static_cast<uint64_t>(record.stored_at));
  append_u64(out, static_cast<uint64_t>(record.last_used));
  append_u64(out, static_cast<uint64_t>(record.place.since));
  out += static_cast<char>(record.place.uses | (record.place.queue == Queue::main ? kInMain : 0) |
                           (record.place.pinned ? kPinned : 0));
  out += record.account;
  return lmdb::sealed(key, std::move(out));
}

IndexRecord decode_record(std::string_view key, std::string_view sealed) {
  const std::string_view bytes = lmdb::unsealed(key, sealed).value_or("");
  if (bytes.size() < kRecordSize) throw lmdb::Error{MDB_CORRUPTED};
  const uint64_t size = read_u64(bytes, 0);
  const auto bits = static_cast<uint8_t>(bytes[kRecordSize - 1]);
  const Place place{.queue = (bits & kInMain) != 0 ? Queue::main : Queue::probation,
                    .uses = static_cast<uint8_t>(bits & kUses),
                    .pinned = (bits & kPinned) != 0,
                    .since = static_cast<int64_t>(read_u64(bytes, 24))};
  return {.size = size & ~kInside,
          .stored_at = static_cast<int64_t>(read_u64(bytes, 8)),
          .last_used = static_cast<int64_t>(read_u64(bytes, 16)),
          .place = place,
          .account = std::string(bytes.substr(kRecordSize)),
          .inside = (size & kInside) != 0};
}

}  // namespace

struct Index::Environment {
  lmdb::Environment owner;
  MDB_env* env = nullptr;
  MDB_dbi meta = 0;
  MDB_dbi blobs = 0;
  MDB_dbi contents = 0;
  MDB_dbi tombstones = 0;
  const std::filesystem::path directory;
  // The map is moved while a transaction of this process reads: readers hold it shared.
  std::shared_mutex map_mutex;

  explicit Environment(std::filesystem::path where) : directory(std::move(where)) { open(); }

  void open() {
    owner.reset();
    owner = lmdb::open_environment(directory, 4, kFirstMapSize);
    env = owner.get();
  }

  void open_databases(MDB_txn* txn, unsigned flags) {
    check(mdb_dbi_open(txn, "meta", flags, &meta));
    check(mdb_dbi_open(txn, "blobs", flags, &blobs));
    check(mdb_dbi_open(txn, "contents", flags, &contents));
    check(mdb_dbi_open(txn, "tombstones", flags, &tombstones));
  }

  // After an error in the last step of a commit LMDB refuses all further work. What is in the file
  // is the state before that transaction or after it.
  void open_again() {
    LOG(WARNING) << "cache index: opened again after an error";
    const std::unique_lock lock(map_mutex);
    open();
    Transaction transaction(env, MDB_RDONLY);
    open_databases(transaction.get(), 0);
    transaction.commit();
  }

  Pages pages() const {
    Transaction transaction(env, MDB_RDONLY);
    MDB_envinfo info{};
    check(mdb_env_info(env, &info));
    MDB_stat stat{};
    const auto pages_of = [&](MDB_dbi db) {
      check(mdb_stat(transaction.get(), db, &stat));
      return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    };
    const uint64_t content = pages_of(contents);
    uint64_t used = 2 + content;  // two are LMDB's own
    // The first two are LMDB's: the list of free pages and the names of the databases.
    for (const MDB_dbi db : {MDB_dbi{0}, MDB_dbi{1}, meta, blobs, tombstones}) used += pages_of(db);
    const uint64_t all = info.me_last_pgno + 1;
    return {content * stat.ms_psize, all > used ? (all - used) * stat.ms_psize : 0};
  }

  // Runs the function in a write transaction, again with a larger map while it does not fit.
  void write(const std::function<void(MDB_txn*)>& function) {
    while (true) {
      try {
        Transaction transaction(env, 0);
        function(transaction.get());
        if (const int error = base::fault_point("index.commit")) throw lmdb::Error{error};
        transaction.commit();
        break;
      } catch (const lmdb::Error& error) {
        if (error.code != MDB_MAP_FULL) throw;
      }
      const std::unique_lock lock(map_mutex);
      MDB_envinfo info{};
      check(mdb_env_info(env, &info));
      check(mdb_env_set_mapsize(env, 2 * info.me_mapsize));
    }
    lmdb::restore_length(env);
  }

  Content read() {
    lmdb::check_length(env);
    Transaction transaction(env, MDB_RDONLY);
    open_databases(transaction.get(), 0);
    const auto format = get(transaction.get(), meta, kFormatKey);
    if (!format || format->size() != 4) throw lmdb::Error{MDB_CORRUPTED};
    if (read_u32(*format, 0) != kIndexFormat) throw OtherFormat{read_u32(*format, 0)};
    Content content;
    lmdb::check_free_pages(transaction.get());
    content.complete = !get(transaction.get(), meta, kIncompleteKey);
    for_each(transaction.get(), blobs, [&](std::string_view key, std::string_view record) {
      content.blobs.emplace(decode_key(key), decode_record(key, record));
    });
    for_each(transaction.get(), tombstones, [&](std::string_view key, std::string_view) {
      content.tombstones.push_back(decode_key(key));
    });
    transaction.commit();
    base::fault_point("index.read");
    return content;
  }

  void put_record(MDB_txn* txn, const oci::Digest& digest, const IndexRecord& record) const {
    const std::string key = encode_key(digest);
    put(txn, blobs, key, encode_record(key, record));
  }

  // If it is there; it may have been removed since.
  template <typename Change>
  void change_record(MDB_txn* txn, const oci::Digest& digest, const Change& change) {
    const std::string key = encode_key(digest);
    const auto bytes = get(txn, blobs, key);
    if (!bytes) return;
    IndexRecord record = decode_record(key, *bytes);
    change(record);
    put(txn, blobs, key, encode_record(key, record));
  }

  void apply(MDB_txn* txn, const Changes& changes) {
    for (const oci::Digest& digest : changes.forget) erase(txn, tombstones, encode_key(digest));
    for (const auto& each : changes.use) {
      const auto& use = each.second;
      change_record(txn, each.first, [&use](IndexRecord& record) {
        const bool pinned = record.place.pinned;
        record.last_used = std::max(record.last_used, use.last_used);
        record.place = use.place;
        record.place.pinned = pinned;
      });
    }
    for (const auto& each : changes.pin) {
      const bool pinned = each.second;
      change_record(txn, each.first,
                    [pinned](IndexRecord& record) { record.place.pinned = pinned; });
    }
    for (const auto& [digest, bytes] : changes.content) {
      put(txn, contents, encode_key(digest), bytes);
    }
    for (const auto& [digest, record] : changes.put) {
      put_record(txn, digest, record);
      if (!record.inside) erase(txn, tombstones, encode_key(digest));
    }
    for (const oci::Digest& digest : changes.remove) {
      erase(txn, blobs, encode_key(digest));
      const bool was_inside = erase(txn, contents, encode_key(digest));
      if (!was_inside) put(txn, tombstones, encode_key(digest), "");
    }
    if (changes.complete) erase(txn, meta, kIncompleteKey);
  }
};

Index::Index(std::unique_ptr<Environment> environment)
    : environment_(std::move(environment)), pages_(environment_->pages()) {}

Index::~Index() = default;

std::expected<Index::Opened, std::string> Index::open(const std::filesystem::path& directory) {
  if (!file_facts(directory / "data.mdb")) return std::unexpected("there is none");
  if (lmdb::was_fatal(directory)) return std::unexpected("a process crashed while it read it");
  try {
    const lmdb::Reading reading(directory);
    auto environment = std::make_unique<Environment>(directory);
    Content content = environment->read();
    return Opened{std::unique_ptr<Index>(new Index(std::move(environment))), std::move(content)};
  } catch (const lmdb::Error& error) {
    if (!error.unreadable()) throw error.io_error(kIndexTable);
    return std::unexpected(mdb_strerror(error.code));
  } catch (const OtherFormat& other) {
    return std::unexpected("its format is " + std::to_string(other.format) +
                           ", that of this program " + std::to_string(kIndexFormat));
  }
}

std::unique_ptr<Index> Index::create(const std::filesystem::path& directory,
                                     const Content& content) {
  lmdb::remove_environment(directory);
  try {
    auto environment = std::make_unique<Environment>(directory);
    environment->write([&](MDB_txn* txn) {
      environment->open_databases(txn, MDB_CREATE);
      for (const auto& [digest, record] : content.blobs) {
        environment->put_record(txn, digest, record);
      }
      for (const oci::Digest& digest : content.tombstones) {
        put(txn, environment->tombstones, encode_key(digest), "");
      }
      std::string format;
      append_u32(format, kIndexFormat);
      put(txn, environment->meta, kFormatKey, format);
      if (!content.complete) put(txn, environment->meta, kIncompleteKey, "");
    });
    return std::unique_ptr<Index>(new Index(std::move(environment)));
  } catch (const lmdb::Error& error) {
    throw error.io_error(kIndexTable);
  }
}

void Index::apply(const Changes& changes) {
  if (changes.empty()) return;
  Pending pending{changes};
  std::unique_lock lock(mutex_);
  queue_.push_back(&pending);
  written_.wait(lock, [&] { return pending.done || !writing_; });
  if (!pending.done) {
    writing_ = true;
    const std::vector<Pending*> batch = std::exchange(queue_, {});
    lock.unlock();
    const std::optional<base::IoError> error = write(batch);
    lock.lock();
    writing_ = false;
    for (Pending* each : batch) {
      each->error = error;
      each->done = true;
    }
    written_.notify_all();
  }
  if (pending.error) throw base::IoError(*pending.error);
}

std::optional<base::IoError> Index::write(const std::vector<Pending*>& batch) {
  const auto apply_all = [&](MDB_txn* txn) {
    for (const Pending* each : batch) environment_->apply(txn, each->changes);
  };
  try {
    try {
      environment_->write(apply_all);
    } catch (const lmdb::Error& error) {
      if (error.code != MDB_PANIC) throw;
      environment_->open_again();
      environment_->write(apply_all);
    }
    const Pages pages = environment_->pages();
    const std::lock_guard lock(mutex_);
    pages_ = pages;
    return std::nullopt;
  } catch (const lmdb::Error& error) {
    return error.io_error(kIndexTable);
  } catch (const base::IoError& error) {
    return error;
  }
}

std::optional<std::pair<oci::Digest, IndexRecord>> Index::after(
    const std::optional<oci::Digest>& digest) const {
  // A zero is the least that a key can go on with, and what the least key begins with.
  const std::string key = (digest ? encode_key(*digest) : "") + '\0';
  try {
    const std::shared_lock lock(environment_->map_mutex);
    Transaction transaction(environment_->env, MDB_RDONLY);
    const auto found = lmdb::from(transaction.get(), environment_->blobs, key);
    if (!found) return std::nullopt;
    return std::pair(decode_key(found->first), decode_record(found->first, found->second));
  } catch (const lmdb::Error& error) {
    throw error.io_error(kIndexTable);
  }
}

uint64_t Index::on_disk(uint64_t size) { return Space::on_disk(kPageHeader + size) + kContentName; }

Index::Pages Index::pages() const {
  const std::lock_guard lock(mutex_);
  return pages_;
}

std::optional<std::string> Index::content(const oci::Digest& digest) const {
  try {
    const std::shared_lock lock(environment_->map_mutex);
    Transaction transaction(environment_->env, MDB_RDONLY);
    const auto bytes = get(transaction.get(), environment_->contents, encode_key(digest));
    return bytes ? std::optional<std::string>(*bytes) : std::nullopt;
  } catch (const lmdb::Error& error) {
    throw error.io_error(kIndexTable);
  }
}

}  // namespace cache
