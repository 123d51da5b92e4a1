#include "proxy/documents.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"

namespace proxy {
namespace {

int64_t whole_seconds(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

// Pool. The blob, if it is small enough to be a document.
std::shared_ptr<const cache::Blob> open_blob(const Store& store, const oci::Digest& digest) {
  std::shared_ptr<const cache::Blob> blob = store.open(digest);
  if (blob && blob->size() > kMaxDocument) return nullptr;
  return blob;
}

// Pool. All of its file; nullopt if it cannot be read.
std::optional<std::string> read_file(const cache::Blob& blob) {
  std::string bytes(blob.size(), '\0');
  try {
    if (base::read_at(blob.fd(), 0, bytes.data(), bytes.size()) == bytes.size()) return bytes;
    LOG(ERROR) << "a document's file is too short";
  } catch (const base::IoError& e) {
    LOG(ERROR) << "a document cannot be read: " << e.what();
  }
  return std::nullopt;
}

std::string sentence(const Ending& ending) {
  switch (ending.outcome) {
    case Outcome::throttled:
      return "the upstream limits this cache's requests";
    case Outcome::busy:
      return "too many requests to the upstream are waiting";
    case Outcome::absent:
      return "the upstream has it no longer";
    case Outcome::refused:
      return "the upstream refuses this cache's request";
    case Outcome::too_large:
      return "the upstream's answer is too large";
    case Outcome::digest_mismatch:
      return "the upstream's answer does not match its digest";
    case Outcome::storage_failed:
      return "the upstream's answer cannot be stored here";
    default:
      return "the upstream does not answer";
  }
}

}  // namespace

std::optional<std::string_view> Document::bytes() const {
  if (blob) return blob->bytes();
  return *unkept;
}

// ---- what is kept ---------------------------------------------------------------------------

// Pool.
std::optional<Documents::Kept> Documents::look_up(const DocumentName& name) const {
  try {
    const std::shared_ptr<cache::References> references = store_.references();
    if (!references) return std::nullopt;
    std::optional<cache::Reference> reference = references->use(name.key(), unix_time_());
    if (!reference) return std::nullopt;
    // Who asks for a tag asks for its digest next, or has it already: neither outlives the other.
    if (const auto manifest = name.under_digest(reference->digest)) {
      references->use(manifest->key(), unix_time_());
    }
    std::shared_ptr<const cache::Blob> blob = open_blob(store_, reference->digest);
    const int64_t age = unix_time_() - reference->validated_at;
    return Kept{std::move(*reference), std::move(blob), age};
  } catch (const base::IoError& e) {
    LOG(ERROR) << name.key() << " cannot be looked up, so the upstream is asked: " << e.what();
    return std::nullopt;
  }
}

// What was validated in the future was so before the wall clock was put back: nobody knows when.
bool Documents::fresh(const DocumentName& name, const Kept& kept) {
  if (!kept.blob) return false;
  if (name.digest()) return true;
  return kept.age >= 0 && kept.age < whole_seconds(name.upstream->config().image.tag_lifetime);
}

bool Documents::stale_allowed(const DocumentName& name, const Kept& kept) {
  const ImagesConfig& config = name.upstream->config().image;
  return kept.blob &&
         kept.age < whole_seconds(config.tag_lifetime) + whole_seconds(config.stale_if_error);
}

Document Documents::stale(Kept kept, std::string why) {
  return {.reference = std::move(kept.reference),
          .blob = std::move(kept.blob),
          .from = Document::From::stale,
          .age = std::max<int64_t>(0, kept.age),
          .why = std::move(why)};
}

// Pool. False if it was purged meanwhile. A manifest is remembered by its digest before its tag,
// because who learnt the digest from the tag asks by digest next.
bool Documents::remember(Question& question, const cache::Reference& reference) {
  const DocumentName& name = question.name;
  const std::lock_guard lock(question.remembering);
  if (question.purged || question.deleted.contains(reference.digest)) return false;
  const std::shared_ptr<cache::References> references = store_.references();
  if (!references || !name.worth_remembering()) return true;
  try {
    if (const auto manifest = name.under_digest(reference.digest)) {
      references->put(manifest->key(), reference);
    }
    references->put(name.key(), reference);
  } catch (const base::IoError& e) {
    // What was fetched can be served all the same.
    LOG(ERROR) << name.key() << " is not remembered: " << e.what();
  }
  return true;
}

base::Task<void> Documents::forget(DocumentName name) {
  co_await pool_.run([&] {
    const std::shared_ptr<cache::References> references = store_.references();
    if (!references) return;
    try {
      const bool known = references->remove(name.key());
      LOG_IF(INFO, known) << name.key() << " is gone at the upstream, and so here";
    } catch (const base::IoError& e) {
      LOG(ERROR) << name.key() << " is gone at the upstream and cannot be forgotten: " << e.what();
    }
  });
}

// ---- asking ---------------------------------------------------------------------------------

base::Task<Documents::Result> Documents::get(DocumentName name) {
  std::optional<Kept> kept = co_await pool_.run([&] { return look_up(name); });
  if (kept && fresh(name, *kept)) {
    co_return Document{.reference = std::move(kept->reference),
                       .blob = std::move(kept->blob),
                       .age = std::max<int64_t>(0, kept->age)};
  }
  const ImagesConfig& config = name.upstream->config().image;
  const bool fallback = kept && stale_allowed(name, *kept);
  Joined joined;
  std::optional<Result> result;
  do {
    joined = join(name);
    const base::TimePoint deadline =
        fallback ? joined.question->since + config.stale_after : base::kForever;
    result = co_await wait(joined.question, deadline);
    if (!result) {
      VLOG(1) << name.key() << ": the upstream is slow; the older answer is given";
      co_return stale(std::move(*kept), "the upstream is slow");
    }
  } while (refused_for_another(name, joined, *result));
  if (auto* document = std::get_if<Document>(&*result)) {
    document->collapsed = !joined.started;
    co_return std::move(*result);
  }
  const Ending& ending = std::get<Ending>(*result);
  const bool said_no = ending.outcome == Outcome::absent || ending.outcome == Outcome::refused;
  if (fallback && !(said_no && config.follow_deletions)) {
    co_return stale(std::move(*kept), sentence(ending));
  }
  co_return std::move(*result);
}

// Another's request asked, and its CDN-Loop may be why the upstream refused it.
bool Documents::refused_for_another(const DocumentName& name, const Joined& joined,
                                    const Result& result) {
  const auto* ending = std::get_if<Ending>(&result);
  return ending != nullptr && ending->outcome == Outcome::refused && !joined.started &&
         joined.question->name.cdn_loop != name.cdn_loop;
}

Documents::Joined Documents::join(const DocumentName& name) {
  std::shared_ptr<Question> question;
  Worker& here = workers_.here();
  {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Question>& entry = questions_[name.key()];
    if (entry) return {entry, false};
    entry = question = std::make_shared<Question>(name, here.loop.now());
  }
  here.tasks.spawn(run(question, &here));
  return {question, true};
}

base::Task<std::optional<Documents::Result>> Documents::wait(std::shared_ptr<Question> question,
                                                             base::TimePoint deadline) {
  while (true) {
    const base::Signal::Ticket ticket = question->answered.ticket();
    {
      const std::lock_guard lock(question->mutex);
      if (question->result) co_return *question->result;
    }
    if (deadline <= base::EventLoop::current()->now()) co_return std::nullopt;
    const bool woken = co_await question->answered.wait(ticket, deadline);
    if (!woken) co_return std::nullopt;
  }
}

base::Task<void> Documents::run(std::shared_ptr<Question> question, Worker* worker) {
  const DocumentName& name = question->name;
  Result result = Ending{Outcome::storage_failed, "", ""};
  try {
    result = co_await ask(*question, *worker);
  } catch (const base::IoError& e) {
    result = Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (const auto* ending = std::get_if<Ending>(&result)) {
    LOG_IF(WARNING, !is_no(ending->outcome)) << name.key() << ": " << ending->why;
    const std::lock_guard lock(question->remembering);
    if (name.worth_remembering() && !question->purged) {
      name.upstream->remember_no(name.target(), name.cdn_loop, *ending, worker->loop.now());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    questions_.erase(name.key());
  }
  {
    const std::lock_guard lock(question->mutex);
    question->result = std::move(result);
  }
  question->answered.notify();
}

base::Task<Documents::Result> Documents::ask(Question& question, Worker& worker) {
  const DocumentName& name = question.name;
  // Another question may have been answered between the caller's look-up and join().
  std::optional<Kept> kept = co_await pool_.run([&] { return look_up(name); });
  if (kept && fresh(name, *kept)) {
    co_return Document{.reference = std::move(kept->reference),
                       .blob = std::move(kept->blob),
                       .age = std::max<int64_t>(0, kept->age)};
  }
  std::optional<Ending> no =
      name.upstream->known_no(name.target(), name.cdn_loop, worker.loop.now());
  if (no) co_return std::move(*no);
  if (kept && kept->blob) co_return co_await ask_again(question, worker, std::move(*kept));
  std::variant<Fetched, Unchanged, Ending> answer =
      co_await fetch_document(worker.client(name.upstream), pool_, name, std::nullopt);
  if (auto* fetched = std::get_if<Fetched>(&answer)) {
    co_return co_await keep(question, std::move(*fetched));
  }
  const bool gone =
      std::holds_alternative<Ending>(answer) && std::get<Ending>(answer).outcome == Outcome::absent;
  if (gone && kept) co_await forget(name);
  co_return std::get<Ending>(std::move(answer));
}

// Whether the name still leads to what is kept.
base::Task<Documents::Result> Documents::ask_again(Question& question, Worker& worker, Kept kept) {
  const DocumentName& name = question.name;
  UpstreamClient& client = worker.client(name.upstream);
  const bool follow = name.upstream->config().image.follow_deletions;
  if (name.kind == DocumentName::Kind::manifest) {
    std::variant<std::optional<oci::Digest>, Ending> head = co_await fetch_digest(client, name);
    if (auto* ending = std::get_if<Ending>(&head)) {
      if (ending->outcome == Outcome::absent && follow) co_await forget(name);
      co_return std::move(*ending);
    }
    const std::optional<oci::Digest> now = std::get<std::optional<oci::Digest>>(head);
    if (now == kept.reference.digest) co_return co_await confirm(question, std::move(kept));
    if (now) {
      // Moved. Where it leads now may have been pulled by its digest.
      const auto moved = DocumentName::manifest(name.upstream, name.repository, *now);
      std::optional<Kept> there = co_await pool_.run([&] { return look_up(moved); });
      if (there && there->blob) co_return co_await confirm(question, std::move(*there));
    }
  }
  std::variant<Fetched, Unchanged, Ending> answer =
      co_await fetch_document(client, pool_, name, kept.reference);
  if (std::holds_alternative<Unchanged>(answer))
    co_return co_await confirm(question, std::move(kept));
  if (auto* fetched = std::get_if<Fetched>(&answer)) {
    co_return co_await keep(question, std::move(*fetched));
  }
  Ending ending = std::get<Ending>(std::move(answer));
  if (ending.outcome == Outcome::absent && follow) co_await forget(name);
  co_return ending;
}

base::Task<Documents::Result> Documents::confirm(Question& question, Kept kept) {
  kept.reference.validated_at = unix_time_();
  co_await pool_.run([&] { return remember(question, kept.reference); });
  co_return Document{.reference = std::move(kept.reference),
                     .blob = std::move(kept.blob),
                     .from = Document::From::revalidated};
}

// The bytes first, so that no name leads nowhere.
base::Task<Documents::Result> Documents::keep(Question& question, Fetched fetched) {
  const DocumentName& name = question.name;
  const oci::Digest digest = fetched.reference.digest;
  const bool held = store_.contains(digest);
  std::variant<std::shared_ptr<const cache::Blob>, Ending> stored =
      co_await fills_.keep({name.upstream, name.repository, digest, name.cdn_loop}, fetched.bytes);
  fetched.reference.validated_at = unix_time_();
  Document document{.reference = std::move(fetched.reference), .from = Document::From::miss};
  if (const auto* ending = std::get_if<Ending>(&stored)) {
    LOG(WARNING) << name.key() << " is served but not kept: " << ending->why;
    document.unkept = in_memory(std::move(fetched.bytes));
    if (document.unkept) co_return document;
    co_return Ending{Outcome::storage_failed, "too much is served that cannot be kept", ""};
  }
  document.blob = std::get<std::shared_ptr<const cache::Blob>>(std::move(stored));
  co_await pool_.run([&] {
    if (remember(question, document.reference)) return;
    const bool deleted = [&] {
      const std::lock_guard lock(question.remembering);
      return question.deleted.contains(digest);
    }();
    const std::shared_ptr<cache::BlobStore> store = store_.get();
    if (store && (deleted || !held)) store->remove(digest);
  });
  co_return document;
}

// The same bytes, counted until the last one lets go of them; nullptr if they would be too many.
std::shared_ptr<const std::string> Documents::in_memory(std::shared_ptr<const std::string> bytes) {
  const uint64_t size = bytes->size();
  if (unkept_.fetch_add(size) + size > kMostUnkept) {
    unkept_ -= size;
    return nullptr;
  }
  const std::string* held = bytes.get();
  return {held, [this, bytes = std::move(bytes), size](const std::string*) { unkept_ -= size; }};
}

// ---- reading --------------------------------------------------------------------------------

base::Task<std::variant<std::string, Ending>> Documents::read(DocumentName name,
                                                              Document document) {
  for (bool again = false;; again = true) {
    if (const auto bytes = document.bytes()) co_return std::string(*bytes);
    std::optional<std::string> text = co_await pool_.run([&] { return read_file(*document.blob); });
    if (text) co_return std::move(*text);
    if (again) co_return Ending{Outcome::storage_failed, name.key() + " cannot be read", ""};
    Result other = co_await replace(name, std::move(document));
    if (auto* ending = std::get_if<Ending>(&other)) co_return std::move(*ending);
    document = std::get<Document>(std::move(other));
  }
}

base::Task<std::variant<Document, Ending>> Documents::replace(DocumentName name, Document bad) {
  const oci::Digest digest = bad.reference.digest;
  co_await pool_.run([&] { store_.report_bad(digest, *bad.blob); });
  bad.blob.reset();
  // A tag may have moved; the manifest that was begun is the one to end.
  if (name.kind == DocumentName::Kind::manifest) name.reference = digest.str();
  co_return co_await get(std::move(name));
}

// ---- purges ---------------------------------------------------------------------------------

std::vector<std::shared_ptr<Documents::Question>> Documents::questions() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Question>> all;
  all.reserve(questions_.size());
  for (const auto& [key, question] : questions_) all.push_back(question);
  return all;
}

size_t Documents::purge(const std::function<bool(const DocumentName&)>& purged) {
  size_t count = 0;
  for (const std::shared_ptr<Question>& question : questions()) {
    if (!purged(question->name)) continue;
    const std::lock_guard lock(question->remembering);
    count += question->purged ? 0 : 1;
    question->purged = true;
  }
  return count;
}

size_t Documents::purge(const oci::Digest& digest) {
  for (const std::shared_ptr<Question>& question : questions()) {
    const std::lock_guard lock(question->remembering);
    question->deleted.insert(digest);
  }
  return purge([&](const DocumentName& name) { return name.digest() == digest; });
}

}  // namespace proxy
