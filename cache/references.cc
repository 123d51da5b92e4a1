#include "cache/references.h"

#include <glog/logging.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"
#include "cache/files.h"
#include "cache/little_endian.h"

// One unnamed database. Key: SHA-256 of the name, because LMDB's keys are short. Value: u8 format,
// u64 validated_at, then as texts (u32 length and bytes) the name, the digest, the media type and
// the fields, name and value in turn.

namespace cache {
namespace {

constexpr char kFormat = 1;
constexpr size_t kTimeAt = 1;
constexpr size_t kTextsAt = 9;
// Of addresses, not of bytes on disk. More than the capacity needs.
constexpr size_t kMapSize = size_t{1} << 30;
// More than the pool has threads.
constexpr unsigned kMaxReaders = 2048;

struct LmdbError {
  int code;
  base::IoError io_error() const {
    if (code > 0) return {code, "table of references"};
    return {EIO, std::string("table of references: ") + mdb_strerror(code)};
  }
};

void check(int code) {
  if (code != MDB_SUCCESS) throw LmdbError{code};
}

MDB_val value_of(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
std::string_view bytes_of(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

std::string key_of(std::string_view name) {
  return std::string(oci::Digest::of(oci::Algorithm::sha256, name).bytes());
}

void append_text(std::string& out, std::string_view text) {
  append_u32(out, static_cast<uint32_t>(text.size()));
  out += text;
}

std::string encode(std::string_view name, const Reference& reference) {
  std::string out(1, kFormat);
  append_u64(out, static_cast<uint64_t>(reference.validated_at));
  append_text(out, name);
  append_text(out, reference.digest.str());
  append_text(out, reference.media_type);
  for (const auto& [field, value] : reference.fields) {
    append_text(out, field);
    append_text(out, value);
  }
  return out;
}

// The texts of a value; nullopt if it is of another format or cut.
std::optional<std::vector<std::string_view>> texts_of(std::string_view bytes) {
  if (bytes.size() < kTextsAt || bytes.front() != kFormat) return std::nullopt;
  std::vector<std::string_view> texts;
  bytes.remove_prefix(kTextsAt);
  while (!bytes.empty()) {
    if (bytes.size() < 4 || bytes.size() - 4 < read_u32(bytes, 0)) return std::nullopt;
    texts.push_back(bytes.substr(4, read_u32(bytes, 0)));
    bytes.remove_prefix(4 + texts.back().size());
  }
  return texts;
}

struct Named {
  std::string_view name;
  Reference reference;
};

std::optional<Named> decode(std::string_view bytes) {
  const auto texts = texts_of(bytes);
  if (!texts || texts->size() < 3 || texts->size() % 2 == 0) return std::nullopt;
  const auto digest = oci::Digest::parse((*texts)[1]);
  if (!digest) return std::nullopt;
  Named named{
      (*texts)[0],
      {*digest, std::string((*texts)[2]), static_cast<int64_t>(read_u64(bytes, kTimeAt)), {}}};
  for (size_t i = 3; i < texts->size(); i += 2) {
    named.reference.fields.emplace_back((*texts)[i], (*texts)[i + 1]);
  }
  return named;
}

}  // namespace

struct References::Environment {
  struct Close {
    void operator()(MDB_env* opened) const { mdb_env_close(opened); }
  };
  class Transaction {
   public:
    Transaction(MDB_env* env, unsigned flags) { check(mdb_txn_begin(env, nullptr, flags, &txn_)); }
    ~Transaction() {
      if (txn_ != nullptr) mdb_txn_abort(txn_);
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    MDB_txn* get() const { return txn_; }
    void commit() { check(mdb_txn_commit(std::exchange(txn_, nullptr))); }

   private:
    MDB_txn* txn_ = nullptr;
  };
  using Visit = std::function<void(std::string_view key, std::string_view value)>;

  std::unique_ptr<MDB_env, Close> owner;
  MDB_env* env = nullptr;
  MDB_dbi table = 0;

  explicit Environment(const std::filesystem::path& directory) {
    check(mdb_env_create(&env));
    owner.reset(env);
    check(mdb_env_set_mapsize(env, kMapSize));
    check(mdb_env_set_maxreaders(env, kMaxReaders));
    // NOTLS: transactions belong to the object that began them, not to a thread. NOMETASYNC: one
    // sync a change; what a power cut takes of it leaves the state before.
    check(mdb_env_open(env, directory.c_str(), MDB_NOTLS | MDB_NORDAHEAD | MDB_NOMETASYNC, 0644));
    // Pages that are missing at the end would be a SIGBUS on first touch.
    if (file_size(file()) < bytes_in_use()) throw LmdbError{MDB_CORRUPTED};
    Transaction transaction(env, 0);
    check(mdb_dbi_open(transaction.get(), nullptr, 0, &table));
    commit(transaction);
  }

  uint64_t bytes_in_use() const {
    MDB_envinfo info{};
    MDB_stat stat{};
    check(mdb_env_info(env, &info));
    check(mdb_env_stat(env, &stat));
    return (info.me_last_pgno + 1) * stat.ms_psize;
  }

  int file() const {
    mdb_filehandle_t fd = -1;
    check(mdb_env_get_fd(env, &fd));
    return fd;
  }

  // LMDB does not write pages at the end that it gave back at once. The file gets its full length
  // all the same, because a truncated one is told by it.
  void commit(Transaction& transaction) const {
    transaction.commit();
    if (file_size(file()) >= bytes_in_use()) return;
    if (::ftruncate(file(), static_cast<off_t>(bytes_in_use())) != 0) throw LmdbError{errno};
  }

  size_t entries(const Transaction& transaction) const {
    MDB_stat stat{};
    check(mdb_stat(transaction.get(), table, &stat));
    return stat.ms_entries;
  }

  std::optional<std::string_view> get(const Transaction& transaction, std::string_view key) const {
    MDB_val k = value_of(key);
    MDB_val v{};
    const int code = mdb_get(transaction.get(), table, &k, &v);
    if (code == MDB_NOTFOUND) return std::nullopt;
    check(code);
    return bytes_of(v);
  }

  void put(const Transaction& transaction, std::string_view key, std::string_view bytes) const {
    MDB_val k = value_of(key);
    MDB_val v = value_of(bytes);
    check(mdb_put(transaction.get(), table, &k, &v, 0));
  }

  bool erase(const Transaction& transaction, std::string_view key) const {
    MDB_val k = value_of(key);
    const int code = mdb_del(transaction.get(), table, &k, nullptr);
    if (code == MDB_NOTFOUND) return false;
    check(code);
    return true;
  }

  void visit(const Transaction& transaction, const Visit& function) const {
    MDB_cursor* cursor = nullptr;
    check(mdb_cursor_open(transaction.get(), table, &cursor));
    const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> close(cursor, mdb_cursor_close);
    MDB_val key{};
    MDB_val value{};
    int code = 0;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
      function(bytes_of(key), bytes_of(value));
    }
    if (code != MDB_NOTFOUND) check(code);
  }

  // Makes room for many at once, because it reads all of them: a tenth goes, and at least one.
  void drop_oldest(const Transaction& transaction) const {
    std::vector<std::pair<int64_t, std::string>> oldest;
    visit(transaction, [&](std::string_view key, std::string_view value) {
      const bool known = value.size() >= kTextsAt && value.front() == kFormat;
      oldest.emplace_back(known ? static_cast<int64_t>(read_u64(value, kTimeAt)) : 0, key);
    });
    const size_t count = std::min(oldest.size(), oldest.size() / 10 + 1);
    std::ranges::nth_element(oldest, oldest.begin() + static_cast<std::ptrdiff_t>(count) - 1);
    for (size_t i = 0; i < count; ++i) erase(transaction, oldest[i].second);
    LOG(INFO) << "the table of references is full: the " << count
              << " that were validated longest ago are forgotten";
  }
};

References::References(const std::filesystem::path& directory, size_t capacity)
    : capacity_(capacity) {
  base::create_directories_durably(directory);
  try {
    environment_ = std::make_unique<Environment>(directory);
    return;
  } catch (const LmdbError& error) {
    if (error.code > 0) throw error.io_error();
    LOG(ERROR) << error.io_error().what() << "; it begins anew in " << directory.string();
  }
  remove_file(directory / "data.mdb");
  remove_file(directory / "lock.mdb");
  try {
    environment_ = std::make_unique<Environment>(directory);
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

References::~References() = default;

std::optional<Reference> References::find(std::string_view name) const {
  try {
    const Environment::Transaction transaction(environment_->env, MDB_RDONLY);
    const auto bytes = environment_->get(transaction, key_of(name));
    std::optional<Named> named = bytes ? decode(*bytes) : std::nullopt;
    if (!named || named->name != name) return std::nullopt;
    return std::move(named->reference);
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

void References::put(std::string_view name, const Reference& reference) {
  const std::string key = key_of(name);
  const std::string value = encode(name, reference);
  try {
    Environment::Transaction transaction(environment_->env, 0);
    const bool known = environment_->get(transaction, key).has_value();
    if (!known && environment_->entries(transaction) >= capacity_) {
      environment_->drop_oldest(transaction);
    }
    environment_->put(transaction, key, value);
    environment_->commit(transaction);
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

bool References::remove(std::string_view name) {
  const std::string one(name);
  return remove({&one, 1}) == 1;
}

size_t References::remove(std::span<const std::string> names) {
  try {
    Environment::Transaction transaction(environment_->env, 0);
    size_t removed = 0;
    for (const std::string& name : names) {
      if (environment_->erase(transaction, key_of(name))) ++removed;
    }
    environment_->commit(transaction);
    return removed;
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

void References::for_each(
    const std::function<void(std::string_view, const Reference&)>& visit) const {
  try {
    const Environment::Transaction transaction(environment_->env, MDB_RDONLY);
    environment_->visit(transaction, [&](std::string_view, std::string_view value) {
      if (const auto named = decode(value)) visit(named->name, named->reference);
    });
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

size_t References::size() const {
  try {
    return environment_->entries(Environment::Transaction(environment_->env, MDB_RDONLY));
  } catch (const LmdbError& error) {
    throw error.io_error();
  }
}

}  // namespace cache
