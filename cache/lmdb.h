// What the tables that are kept in LMDB share (index, references): the environment's file, one
// transaction as an object, and LMDB's calls with errors as exceptions. For these units alone;
// everything blocks.
//
// LMDB checks no page. One that the disk has spoilt may crash the process that reads it, or have
// less in it. So all of an environment is read at start: the records have checksums, LMDB knows how
// many there are, and a crash leaves a mark in the directory, for the next start to begin anew.
#pragma once

#include <lmdb.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace cache::lmdb {

// Thrown by everything here.
struct Error {
  int code;
  // What is wrong with the file, not with the disk.
  bool unreadable() const { return code < 0; }
  // `table` is what the operator knows it by.
  base::IoError io_error(const std::string& table) const;
};

void check(int code);

struct Close {
  void operator()(MDB_env* opened) const { mdb_env_close(opened); }
};
using Environment = std::unique_ptr<MDB_env, Close>;

// Opens the environment in this directory, with room for that many named databases, each of its
// transactions free to move between threads. `flags` are further ones of mdb_env_open().
Environment open_environment(const std::filesystem::path& directory, unsigned databases,
                             size_t map_size, unsigned flags = 0);
// Bytes of the file that its pages need.
uint64_t bytes_in_use(MDB_env* env);
// Pages that are missing at the end of the file would be a SIGBUS on first touch.
void check_length(MDB_env* env);
// LMDB does not write pages at the end that it gave back at once. After a commit this gives the
// file its full length all the same, because check_length() tells a truncated file by it.
void restore_length(MDB_env* env);

// Removes it, to be begun anew, and the mark of one that was fatal.
void remove_environment(const std::filesystem::path& directory);

// While all of an environment is read at start: if this thread crashes, that leaves the mark in the
// directory, and goes on as it would have. Whatever else ends the process says nothing about the
// environment. The mark is not synced, for a power cut ends that, too; on a disk that is full there
// may be none. One at a time: another thread waits for the end of it.
class Reading {
 public:
  explicit Reading(const std::filesystem::path& directory);
  ~Reading();
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  const std::lock_guard<std::mutex> alone_;
  const std::filesystem::path mark_;
};
// A process crashed while it read it: it is not to be tried again.
bool was_fatal(const std::filesystem::path& directory);

// Aborted when it is destroyed, unless it was committed.
class Transaction {
 public:
  Transaction(MDB_env* env, unsigned flags) { check(mdb_txn_begin(env, nullptr, flags, &txn_)); }
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  MDB_txn* get() const { return txn_; }
  void commit();

 private:
  MDB_txn* txn_ = nullptr;
};

void put(MDB_txn* txn, MDB_dbi db, std::string_view key, std::string_view bytes);
// Valid as long as the transaction writes nothing.
std::optional<std::string_view> get(MDB_txn* txn, MDB_dbi db, std::string_view key);
// False if there was none.
bool erase(MDB_txn* txn, MDB_dbi db, std::string_view key);
// All of them in the order of their keys; MDB_CORRUPTED if there are not as many as there should
// be.
void for_each(MDB_txn* txn, MDB_dbi db,
              const std::function<void(std::string_view key, std::string_view value)>& visit);
// The first of them with this key or a greater one.
std::optional<std::pair<std::string_view, std::string_view>> from(MDB_txn* txn, MDB_dbi db,
                                                                  std::string_view key);
// MDB_CORRUPTED if a transaction would be given pages that the environment does not have, or an
// endless list of them.
void check_free_pages(MDB_txn* txn);

// The value with a checksum of it and of its key.
std::string sealed(std::string_view key, std::string value);
// The value again; nullopt if it is not what was sealed.
std::optional<std::string_view> unsealed(std::string_view key, std::string_view bytes);

}  // namespace cache::lmdb
