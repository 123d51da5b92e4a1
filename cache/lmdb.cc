#include "cache/lmdb.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/files.h"
#include "cache/little_endian.h"

namespace cache::lmdb {
namespace {

// More than the pool may have threads.
constexpr unsigned kMaxReaders = 2048;
// The table of each environment that has its free pages.
constexpr MDB_dbi kFreePages = 0;
constexpr size_t kChecksum = 4;

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

struct CloseCursor {
  void operator()(MDB_cursor* opened) const { mdb_cursor_close(opened); }
};
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

Cursor open_cursor(MDB_txn* txn, MDB_dbi db) {
  MDB_cursor* cursor = nullptr;
  check(mdb_cursor_open(txn, db, &cursor));
  return Cursor(cursor);
}

std::filesystem::path mark_in(const std::filesystem::path& directory) {
  return directory / "reading";
}

// What a crash is: LMDB aborts on what it asserts.
constexpr std::array kCrashes = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};

// The Reading that there is, as the handler of signals needs it.
std::mutex reading_alone;
std::atomic<pid_t> reading_thread = 0;
std::atomic<const char*> reading_mark = nullptr;
std::array<struct sigaction, kCrashes.size()> before_reading;

void end_reading() {
  for (size_t i = 0; i < kCrashes.size(); ++i) {
    ::sigaction(kCrashes[i], &before_reading[i], nullptr);
  }
}

// Only what is safe in a handler of signals.
void on_crash(int signal, siginfo_t* info, void*) {
  // By somebody, and not by the kernel because of what the thread did.
  const bool sent = info->si_code <= 0;
  if (::gettid() == reading_thread && (!sent || info->si_pid == ::getpid())) {
    const int mark = ::open(reading_mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (mark >= 0) ::close(mark);
  }
  end_reading();
  // What faulted does so again by itself.
  if (sent) ::raise(signal);
}

// It is for what happens by chance.
uint32_t checksum(std::string_view key, std::string_view value) {
  boost::crc_32_type crc;
  crc.process_bytes(key.data(), key.size());
  crc.process_bytes(value.data(), value.size());
  return crc.checksum();
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

void remove_environment(const std::filesystem::path& directory) {
  remove_file(directory / "data.mdb");
  remove_file(directory / "lock.mdb");
  remove_file(mark_in(directory));
}

Reading::Reading(const std::filesystem::path& directory)
    : alone_(reading_alone), mark_(mark_in(directory)) {
  reading_thread = ::gettid();
  reading_mark = mark_.c_str();
  struct sigaction action{};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  // All of them first, for a crash at once.
  for (size_t i = 0; i < kCrashes.size(); ++i) {
    ::sigaction(kCrashes[i], nullptr, &before_reading[i]);
  }
  for (const int signal : kCrashes) ::sigaction(signal, &action, nullptr);
}

Reading::~Reading() { end_reading(); }

bool was_fatal(const std::filesystem::path& directory) {
  return file_facts(mark_in(directory)).has_value();
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
  const Cursor cursor = open_cursor(txn, db);
  MDB_stat stat{};
  check(mdb_stat(txn, db, &stat));
  size_t left = stat.ms_entries;
  MDB_val key{};
  MDB_val value{};
  int code = 0;
  for (MDB_val before{};
       (code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) == MDB_SUCCESS; before = key) {
    const bool in_order = before.mv_data == nullptr || mdb_cmp(txn, db, &before, &key) < 0;
    if (left == 0 || !in_order) throw Error{MDB_CORRUPTED};
    --left;
    visit(bytes_of(key), bytes_of(value));
  }
  if (code != MDB_NOTFOUND) check(code);
  if (left > 0) throw Error{MDB_CORRUPTED};
}

std::optional<std::pair<std::string_view, std::string_view>> from(MDB_txn* txn, MDB_dbi db,
                                                                  std::string_view key) {
  const Cursor cursor = open_cursor(txn, db);
  MDB_val k = value_of(key);
  MDB_val v{};
  const int code = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  if (code == MDB_NOTFOUND) return std::nullopt;
  check(code);
  return std::pair(bytes_of(k), bytes_of(v));
}

void check_free_pages(MDB_txn* txn) {
  MDB_envinfo info{};
  check(mdb_env_info(mdb_txn_env(txn), &info));
  // Of each transaction: how many, and their numbers, the highest first.
  for_each(txn, kFreePages, [&](std::string_view, std::string_view value) {
    const auto number = [&](size_t at) {
      uint64_t page = 0;
      std::memcpy(&page, value.data() + at * sizeof page, sizeof page);
      return page;
    };
    const size_t room = value.size() / sizeof(uint64_t);
    if (room == 0 || number(0) >= room) throw Error{MDB_CORRUPTED};
    uint64_t before = info.me_last_pgno + 1;
    for (size_t at = 1; at <= number(0); ++at) {
      // The first two are LMDB's own.
      if (number(at) >= before || number(at) < 2) throw Error{MDB_CORRUPTED};
      before = number(at);
    }
  });
}

std::string sealed(std::string_view key, std::string value) {
  append_u32(value, checksum(key, value));
  return value;
}

std::optional<std::string_view> unsealed(std::string_view key, std::string_view bytes) {
  if (bytes.size() < kChecksum) return std::nullopt;
  const std::string_view value = bytes.substr(0, bytes.size() - kChecksum);
  if (read_u32(bytes, value.size()) != checksum(key, value)) return std::nullopt;
  return value;
}

}  // namespace cache::lmdb
