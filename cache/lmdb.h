// What the tables that are kept in LMDB share (index, references): the environment's file, one
// transaction as an object, and LMDB's calls with errors as exceptions. For these units alone;
// everything blocks.
#pragma once

#include <lmdb.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
void for_each(MDB_txn* txn, MDB_dbi db,
              const std::function<void(std::string_view key, std::string_view value)>& visit);

}  // namespace cache::lmdb
