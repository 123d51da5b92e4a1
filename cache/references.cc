#include "cache/references.h"

#include <glog/logging.h>

#include <algorithm>
#include <tuple>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "cache/little_endian.h"
#include "cache/lmdb.h"

// One unnamed database. Key: SHA-256 of the name, because LMDB's keys are short. Value: u8 format,
// u64 validated_at, u64 when it was last used, validations included, then as texts (u32 length and
// bytes) the name, the digest, the media type and the fields, name and value in turn; sealed.

namespace cache {
namespace {

constexpr char kValueFormat = 3;
constexpr size_t kTimeAt = 1;
constexpr size_t kUsedAt = 9;
constexpr size_t kTextsAt = 17;
// Seconds; an older use is as good as a newer one within it.
constexpr int64_t kUsePrecision = 3600;
// That are remembered until the next write; more are not.
constexpr size_t kMostUses = 4096;
// Of addresses, not of bytes on disk. More than the capacity needs.
constexpr size_t kMapSize = size_t{1} << 30;
constexpr const char* kReferencesTable = "table of references";

using lmdb::check;
using lmdb::Transaction;

std::string key_of(std::string_view name) {
  return std::string(oci::Digest::of(oci::Algorithm::sha256, name).bytes());
}

std::string encode(std::string_view key, std::string_view name, const Reference& reference,
                   int64_t used_at) {
  std::string out(1, kValueFormat);
  append_u64(out, static_cast<uint64_t>(reference.validated_at));
  append_u64(out, static_cast<uint64_t>(used_at));
  append_text(out, name);
  append_text(out, reference.digest.str());
  append_text(out, reference.media_type);
  for (const auto& [field, value] : reference.fields) {
    append_text(out, field);
    append_text(out, value);
  }
  return lmdb::sealed(key, std::move(out));
}

// The texts of a value; nullopt if it is of another format or cut.
std::optional<std::vector<std::string_view>> texts_of(std::string_view bytes) {
  if (bytes.size() < kTextsAt || bytes.front() != kValueFormat) return std::nullopt;
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
  int64_t used_at;
  Reference reference;
};

std::optional<Named> decode(std::string_view key, std::string_view sealed) {
  const std::string_view bytes = lmdb::unsealed(key, sealed).value_or("");
  const auto texts = texts_of(bytes);
  if (!texts || texts->size() < 3 || texts->size() % 2 == 0) return std::nullopt;
  const auto digest = oci::Digest::parse((*texts)[1]);
  if (!digest) return std::nullopt;
  Named named{
      (*texts)[0],
      static_cast<int64_t>(read_u64(bytes, kUsedAt)),
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

  std::optional<Named> find(const Transaction& transaction, std::string_view key) const {
    const auto bytes = lmdb::get(transaction.get(), table, key);
    return bytes ? decode(key, *bytes) : std::nullopt;
  }

  void for_each(const Transaction& transaction,
                const std::function<void(std::string_view key, const Named&)>& visit) const {
    lmdb::for_each(transaction.get(), table, [&](std::string_view key, std::string_view value) {
      if (const auto named = decode(key, value)) visit(key, *named);
    });
  }

  void note_uses(const Transaction& transaction, const Uses& uses) const {
    for (const auto& [key, used_at] : uses) {
      const std::optional<Named> named = find(transaction, key);
      if (!named || named->used_at >= used_at) continue;
      const std::string value = encode(key, named->name, named->reference, used_at);
      lmdb::put(transaction.get(), table, key, value);
    }
  }

  // Makes room for many at once, because it reads all of them: a tenth goes, and at least one.
  void drop(const Transaction& transaction, const Classify& classify, bool lists_only) const {
    using Kind = NameFacts::Kind;
    std::vector<std::tuple<bool, int64_t, Kind, int64_t, std::string>> all;
    lmdb::for_each(transaction.get(), table, [&](std::string_view key, std::string_view value) {
      const auto named = decode(key, value);
      const Kind kind = named ? classify(named->name).kind : Kind::list;
      const int64_t used = named ? named->used_at : 0;
      const bool list = kind == Kind::list;
      if (list || !lists_only) all.emplace_back(!list, used / kUsePrecision, kind, used, key);
    });
    if (all.empty()) return;
    const size_t count = std::max<size_t>(all.size() / 10, 1);
    std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(count) - 1);
    for (size_t i = 0; i < count; ++i) lmdb::erase(transaction.get(), table, std::get<4>(all[i]));
    LOG(INFO) << "the table of references is full: " << count << (lists_only ? " lists" : " names")
              << " that were asked for longest ago are forgotten";
  }
};

References::References(const std::filesystem::path& directory, Classify classify, size_t capacity)
    : capacity_(capacity), classify_(std::move(classify)) {
  base::create_directories_durably(directory);
  try {
    const std::string why = open_what_is_there(directory);
    if (why.empty()) return;
    LOG(ERROR) << kReferencesTable << ": " << why << "; it begins anew in " << directory.string();
    environment_.reset();
    lmdb::remove_environment(directory);
    environment_ = std::make_unique<Environment>(directory);
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

// Why it cannot be read; empty if it could.
std::string References::open_what_is_there(const std::filesystem::path& directory) {
  if (lmdb::was_fatal(directory)) return "a process crashed while it read it";
  try {
    const lmdb::Reading reading(directory);
    environment_ = std::make_unique<Environment>(directory);
    lmdb::check_free_pages(Transaction(environment_->env, MDB_RDONLY).get());
    load_lists();
    base::fault_point("references.read");
    return "";
  } catch (const lmdb::Error& error) {
    if (!error.unreadable()) throw;
    return mdb_strerror(error.code);
  }
}

References::~References() {
  const Uses uses = take_uses();
  if (uses.empty()) return;
  try {
    Transaction transaction(environment_->env, 0);
    environment_->note_uses(transaction, uses);
    environment_->commit(transaction);
  } catch (const lmdb::Error& error) {
    LOG(ERROR) << "which references were used is lost: " << error.io_error(kReferencesTable).what();
  }
}

void References::load_lists() {
  std::vector<std::tuple<int64_t, std::string, std::string>> found;
  environment_->for_each(Transaction(environment_->env, MDB_RDONLY),
                         [&](std::string_view key, const Named& named) {
                           NameFacts facts = classify_(named.name);
                           if (facts.kind != NameFacts::Kind::list) return;
                           found.emplace_back(named.used_at, std::move(facts.repository), key);
                         });
  std::ranges::sort(found);
  lists_.clear();
  for (auto& [used_at, repository, key] : found) lists_[repository].push_back(std::move(key));
}

size_t References::lists() const {
  size_t count = 0;
  for (const auto& [repository, keys] : lists_) count += keys.size();
  return count;
}

References::Uses References::take_uses() {
  const std::lock_guard lock(uses_mutex_);
  return std::exchange(uses_, {});
}

std::optional<Reference> References::find(std::string_view name) const {
  try {
    const Transaction transaction(environment_->env, MDB_RDONLY);
    std::optional<Named> named = environment_->find(transaction, key_of(name));
    if (!named || named->name != name) return std::nullopt;
    return std::move(named->reference);
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

std::optional<Reference> References::use(std::string_view name, int64_t now) {
  const std::string key = key_of(name);
  std::optional<Named> named;
  try {
    const Transaction transaction(environment_->env, MDB_RDONLY);
    named = environment_->find(transaction, key);
    if (!named || named->name != name) return std::nullopt;
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
  if (now - named->used_at >= kUsePrecision) {
    const std::lock_guard lock(uses_mutex_);
    if (uses_.size() < kMostUses || uses_.contains(key)) uses_[key] = now;
  }
  return std::move(named->reference);
}

void References::put(std::string_view name, const Reference& reference) {
  const std::string key = key_of(name);
  const NameFacts facts = classify_(name);
  const bool is_list = facts.kind == NameFacts::Kind::list;
  const Uses uses = take_uses();
  const std::lock_guard lock(write_mutex_);
  try {
    Transaction transaction(environment_->env, 0);
    environment_->note_uses(transaction, uses);
    const std::optional<Named> before = environment_->find(transaction, key);
    const int64_t used_at =
        std::max(reference.validated_at, before ? before->used_at : reference.validated_at);
    std::optional<std::string> displaced;
    bool dropped = false;
    if (is_list && !before) {
      const auto siblings = lists_.find(facts.repository);
      if (siblings != lists_.end() && siblings->second.size() >= kListsOfARepository) {
        displaced = siblings->second.front();
        lmdb::erase(transaction.get(), environment_->table, *displaced);
      } else if (lists() >= std::max<size_t>(capacity_ / 10, 1)) {
        environment_->drop(transaction, classify_, /*lists_only=*/true);
        dropped = true;
      }
    }
    if (!before && environment_->entries(transaction) >= capacity_) {
      environment_->drop(transaction, classify_, /*lists_only=*/false);
      dropped = true;
    }
    lmdb::put(transaction.get(), environment_->table, key, encode(key, name, reference, used_at));
    environment_->commit(transaction);
    if (dropped) {
      load_lists();
    } else if (is_list) {
      std::vector<std::string>& siblings = lists_[facts.repository];
      std::erase_if(siblings,
                    [&](const std::string& each) { return each == key || each == displaced; });
      siblings.push_back(key);
    }
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

bool References::remove(std::string_view name) {
  const std::string one(name);
  return remove({&one, 1}) == 1;
}

size_t References::remove(std::span<const std::string> names) {
  const std::lock_guard lock(write_mutex_);
  try {
    Transaction transaction(environment_->env, 0);
    size_t removed = 0;
    for (const std::string& name : names) {
      if (lmdb::erase(transaction.get(), environment_->table, key_of(name))) ++removed;
    }
    environment_->commit(transaction);
    for (const std::string& name : names) {
      const auto siblings = lists_.find(classify_(name).repository);
      if (siblings == lists_.end()) continue;
      std::erase(siblings->second, key_of(name));
      if (siblings->second.empty()) lists_.erase(siblings);
    }
    return removed;
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

void References::for_each(
    const std::function<void(std::string_view, const Reference&)>& visit) const {
  try {
    environment_->for_each(
        Transaction(environment_->env, MDB_RDONLY),
        [&](std::string_view, const Named& named) { visit(named.name, named.reference); });
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

size_t References::size() const {
  try {
    return environment_->entries(Transaction(environment_->env, MDB_RDONLY));
  } catch (const lmdb::Error& error) {
    throw error.io_error(kReferencesTable);
  }
}

}  // namespace cache
