#include "cache/lmdb.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "cache/files.h"

namespace cache::lmdb {
namespace {

// More than the pool may have threads.
constexpr unsigned kMaxReaders = 2048;

// LMDB's MDB_val is not const, but what it is given to read it does not write.
MDB_val value_of(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
std::string_view bytes_of(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

int file_of(MDB_env* env) {
  mdb_filehandle_t fd = -1;
  check(mdb_env_get_fd(env, &fd));
  return fd;
}

}  // namespace

base::IoError Error::io_error(const std::string& table) const {
  if (code > 0) return {code, table};
  return {EIO, table + ": " + mdb_strerror(code)};
}

void check(int code) {
  if (code != MDB_SUCCESS) throw Error{code};
}

Environment open_environment(const std::filesystem::path& directory, unsigned databases,
                             size_t map_size, unsigned flags) {
  MDB_env* env = nullptr;
  check(mdb_env_create(&env));
  Environment owner(env);
  if (databases > 0) check(mdb_env_set_maxdbs(env, databases));
  check(mdb_env_set_mapsize(env, map_size));
  check(mdb_env_set_maxreaders(env, kMaxReaders));
  // NOTLS: transactions belong to the object that began them, not to a thread.
  check(mdb_env_open(env, directory.c_str(), MDB_NOTLS | MDB_NORDAHEAD | flags, 0644));
  return owner;
}

uint64_t bytes_in_use(MDB_env* env) {
  MDB_envinfo info{};
  MDB_stat stat{};
  check(mdb_env_info(env, &info));
  check(mdb_env_stat(env, &stat));
  return (info.me_last_pgno + 1) * stat.ms_psize;
}

void check_length(MDB_env* env) {
  if (file_size(file_of(env)) < bytes_in_use(env)) throw Error{MDB_CORRUPTED};
}

void restore_length(MDB_env* env) {
  if (file_size(file_of(env)) >= bytes_in_use(env)) return;
  if (::ftruncate(file_of(env), static_cast<off_t>(bytes_in_use(env))) != 0) throw Error{errno};
}

void Transaction::commit() { check(mdb_txn_commit(std::exchange(txn_, nullptr))); }

void put(MDB_txn* txn, MDB_dbi db, std::string_view key, std::string_view bytes) {
  MDB_val k = value_of(key);
  MDB_val v = value_of(bytes);
  check(mdb_put(txn, db, &k, &v, 0));
}

std::optional<std::string_view> get(MDB_txn* txn, MDB_dbi db, std::string_view key) {
  MDB_val k = value_of(key);
  MDB_val v{};
  const int code = mdb_get(txn, db, &k, &v);
  if (code == MDB_NOTFOUND) return std::nullopt;
  check(code);
  return bytes_of(v);
}

bool erase(MDB_txn* txn, MDB_dbi db, std::string_view key) {
  MDB_val k = value_of(key);
  const int code = mdb_del(txn, db, &k, nullptr);
  if (code == MDB_NOTFOUND) return false;
  check(code);
  return true;
}

void for_each(MDB_txn* txn, MDB_dbi db,
              const std::function<void(std::string_view, std::string_view)>& visit) {
  MDB_cursor* cursor = nullptr;
  check(mdb_cursor_open(txn, db, &cursor));
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> owner(cursor, mdb_cursor_close);
  MDB_val key{};
  MDB_val value{};
  int code = 0;
  while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
    visit(bytes_of(key), bytes_of(value));
  }
  if (code != MDB_NOTFOUND) check(code);
}

}  // namespace cache::lmdb
