#include "cache/references.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"
#include "cache/files.h"
#include "cache/little_endian.h"
#include "cache/lmdb.h"

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
constexpr const char* kTable = "table of references";

using lmdb::check;
using lmdb::Transaction;

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
  lmdb::Environment owner;
  MDB_env* env;
  MDB_dbi table = 0;

  // NOMETASYNC: one sync a change; what a power cut takes of it leaves the state before.
  explicit Environment(const std::filesystem::path& directory)
      : owner(lmdb::open_environment(directory, 0, kMapSize, MDB_NOMETASYNC)), env(owner.get()) {
    lmdb::check_length(env);
    Transaction transaction(env, 0);
    check(mdb_dbi_open(transaction.get(), nullptr, 0, &table));
    commit(transaction);
  }

  void commit(Transaction& transaction) const {
    transaction.commit();
    lmdb::restore_length(env);
  }

  size_t entries(const Transaction& transaction) const {
    MDB_stat stat{};
    check(mdb_stat(transaction.get(), table, &stat));
    return stat.ms_entries;
  }

  // Makes room for many at once, because it reads all of them: a tenth goes, and at least one.
  void drop_oldest(const Transaction& transaction) const {
    std::vector<std::pair<int64_t, std::string>> oldest;
    lmdb::for_each(transaction.get(), table, [&](std::string_view key, std::string_view value) {
      const bool known = value.size() >= kTextsAt && value.front() == kFormat;
      oldest.emplace_back(known ? static_cast<int64_t>(read_u64(value, kTimeAt)) : 0, key);
    });
    const size_t count = std::min(oldest.size(), oldest.size() / 10 + 1);
    std::ranges::nth_element(oldest, oldest.begin() + static_cast<std::ptrdiff_t>(count) - 1);
    for (size_t i = 0; i < count; ++i) lmdb::erase(transaction.get(), table, oldest[i].second);
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
  } catch (const lmdb::Error& error) {
    if (!error.unreadable()) throw error.io_error(kTable);
    LOG(ERROR) << error.io_error(kTable).what() << "; it begins anew in " << directory.string();
  }
  remove_file(directory / "data.mdb");
  remove_file(directory / "lock.mdb");
  try {
    environment_ = std::make_unique<Environment>(directory);
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

References::~References() = default;

std::optional<Reference> References::find(std::string_view name) const {
  try {
    const Transaction transaction(environment_->env, MDB_RDONLY);
    const auto bytes = lmdb::get(transaction.get(), environment_->table, key_of(name));
    std::optional<Named> named = bytes ? decode(*bytes) : std::nullopt;
    if (!named || named->name != name) return std::nullopt;
    return std::move(named->reference);
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

void References::put(std::string_view name, const Reference& reference) {
  const std::string key = key_of(name);
  const std::string value = encode(name, reference);
  try {
    Transaction transaction(environment_->env, 0);
    const bool known = lmdb::get(transaction.get(), environment_->table, key).has_value();
    if (!known && environment_->entries(transaction) >= capacity_) {
      environment_->drop_oldest(transaction);
    }
    lmdb::put(transaction.get(), environment_->table, key, value);
    environment_->commit(transaction);
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

bool References::remove(std::string_view name) {
  const std::string one(name);
  return remove({&one, 1}) == 1;
}

size_t References::remove(std::span<const std::string> names) {
  try {
    Transaction transaction(environment_->env, 0);
    size_t removed = 0;
    for (const std::string& name : names) {
      if (lmdb::erase(transaction.get(), environment_->table, key_of(name))) ++removed;
    }
    environment_->commit(transaction);
    return removed;
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

void References::for_each(
    const std::function<void(std::string_view, const Reference&)>& visit) const {
  try {
    const Transaction transaction(environment_->env, MDB_RDONLY);
    lmdb::for_each(transaction.get(), environment_->table,
                   [&](std::string_view, std::string_view value) {
                     if (const auto named = decode(value)) visit(named->name, named->reference);
                   });
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

size_t References::size() const {
  try {
    return environment_->entries(Transaction(environment_->env, MDB_RDONLY));
  } catch (const lmdb::Error& error) {
    throw error.io_error(kTable);
  }
}

}  // namespace cache
