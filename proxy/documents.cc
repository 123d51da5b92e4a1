#include "proxy/documents.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"

namespace proxy {
namespace {

int64_t seconds(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

// Pool. The bytes of a blob that is small enough to be a document.
std::shared_ptr<const std::string> read_blob(const Store& store, const oci::Digest& digest) {
  const std::shared_ptr<const cache::Blob> blob = store.open(digest);
  if (!blob || blob->size() > kMaxDocument) return nullptr;
  if (const auto inside = blob->bytes()) return std::make_shared<const std::string>(*inside);
  std::string bytes(blob->size(), '\0');
  try {
    if (base::read_at(blob->fd(), 0, bytes.data(), bytes.size()) == bytes.size()) {
      return std::make_shared<const std::string>(std::move(bytes));
    }
  } catch (const base::IoError& e) {
    LOG(ERROR) << digest.str() << " cannot be read: " << e.what();
  }
  store.report_bad(digest, *blob);
  return nullptr;
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
    case Outcome::digest_mismatch:
      return "the upstream's answer does not match its digest";
    default:
      return "the upstream does not answer";
  }
}

}  // namespace

// ---- what is kept ---------------------------------------------------------------------------

// Pool.
std::optional<Documents::Kept> Documents::look_up(const DocumentName& name) const {
  try {
    const std::shared_ptr<cache::References> references = store_.references();
    if (!references) return std::nullopt;
    std::optional<cache::Reference> reference = references->find(name.key());
    if (!reference) return std::nullopt;
    std::shared_ptr<const std::string> bytes = read_blob(store_, reference->digest);
    const int64_t age = unix_time_() - reference->validated_at;
    return Kept{std::move(*reference), std::move(bytes), age};
  } catch (const base::IoError& e) {
    LOG(ERROR) << name.key() << " cannot be looked up, so the upstream is asked: " << e.what();
    return std::nullopt;
  }
}

// What was validated in the future was so before the wall clock was put back: nobody knows when.
bool Documents::fresh(const DocumentName& name, const Kept& kept) {
  if (!kept.bytes) return false;
  if (name.digest()) return true;
  return kept.age >= 0 && kept.age < seconds(name.upstream->config().image.tag_lifetime);
}

bool Documents::stale_allowed(const DocumentName& name, const Kept& kept) {
  const ImagesConfig& config = name.upstream->config().image;
  return kept.bytes && kept.age < seconds(config.tag_lifetime) + seconds(config.stale_if_error);
}

Document Documents::stale(Kept kept, std::string why) {
  return {.reference = std::move(kept.reference),
          .bytes = std::move(kept.bytes),
          .from = Document::From::stale,
          .age = std::max<int64_t>(0, kept.age),
          .why = std::move(why)};
}

base::Task<void> Documents::remember(DocumentName name, cache::Reference reference) {
  co_await pool_.run([&] {
    const std::shared_ptr<cache::References> references = store_.references();
    if (!references) return;
    try {
      references->put(name.key(), reference);
    } catch (const base::IoError& e) {
      // What was fetched can be served all the same.
      LOG(ERROR) << name.key() << " is not remembered: " << e.what();
    }
  });
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
                       .bytes = std::move(kept->bytes),
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
         joined.question->cdn_loop != name.cdn_loop;
}

Documents::Joined Documents::join(const DocumentName& name) {
  std::shared_ptr<Question> question;
  Worker& here = workers_.here();
  {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Question>& entry = questions_[name.key()];
    if (entry) return {entry, false};
    entry = question = std::make_shared<Question>();
    question->since = here.loop.now();
    question->cdn_loop = name.cdn_loop;
  }
  here.tasks.spawn(run(question, name, &here));
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

base::Task<void> Documents::run(std::shared_ptr<Question> question, DocumentName name,
                                Worker* worker) {
  Result result = Ending{Outcome::storage_failed, "", ""};
  try {
    result = co_await ask(name, *worker);
  } catch (const base::IoError& e) {
    result = Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (const auto* ending = std::get_if<Ending>(&result)) {
    LOG_IF(WARNING, ending->outcome != Outcome::absent) << name.key() << ": " << ending->why;
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

base::Task<Documents::Result> Documents::ask(DocumentName name, Worker& worker) {
  // Another question may have been answered between the caller's look-up and join().
  std::optional<Kept> kept = co_await pool_.run([&] { return look_up(name); });
  if (kept && fresh(name, *kept)) {
    co_return Document{.reference = std::move(kept->reference),
                       .bytes = std::move(kept->bytes),
                       .age = std::max<int64_t>(0, kept->age)};
  }
  if (kept && kept->bytes) co_return co_await ask_again(name, worker, std::move(*kept));
  if (name.upstream->known_absent(name.key(), worker.loop.now())) {
    co_return Ending{Outcome::absent, name.upstream->name() + " said so a moment ago", ""};
  }
  std::variant<Fetched, Unchanged, Ending> answer =
      co_await fetch_document(worker.client(name.upstream), pool_, name, std::nullopt);
  if (auto* fetched = std::get_if<Fetched>(&answer)) {
    co_return co_await keep(name, std::move(*fetched));
  }
  const bool gone =
      std::holds_alternative<Ending>(answer) && std::get<Ending>(answer).outcome == Outcome::absent;
  if (gone) name.upstream->remember_absent(name.key(), worker.loop.now());
  if (gone && kept) co_await forget(name);
  co_return std::get<Ending>(std::move(answer));
}

// Whether the name still leads to what is kept.
base::Task<Documents::Result> Documents::ask_again(DocumentName name, Worker& worker, Kept kept) {
  UpstreamClient& client = worker.client(name.upstream);
  const bool follow = name.upstream->config().image.follow_deletions;
  if (name.kind == DocumentName::Kind::manifest) {
    std::variant<std::optional<oci::Digest>, Ending> head = co_await fetch_digest(client, name);
    if (auto* ending = std::get_if<Ending>(&head)) {
      if (ending->outcome == Outcome::absent && follow) co_await forget(name);
      co_return std::move(*ending);
    }
    const std::optional<oci::Digest> now = std::get<std::optional<oci::Digest>>(head);
    if (now == kept.reference.digest) co_return co_await confirm(name, std::move(kept));
    if (now) {
      // Moved. Where it leads now may have been pulled by its digest.
      const auto moved = DocumentName::manifest(name.upstream, name.repository, *now);
      std::optional<Kept> there = co_await pool_.run([&] { return look_up(moved); });
      if (there && there->bytes) co_return co_await confirm(name, std::move(*there));
    }
  }
  std::variant<Fetched, Unchanged, Ending> answer =
      co_await fetch_document(client, pool_, name, kept.reference);
  if (std::holds_alternative<Unchanged>(answer)) co_return co_await confirm(name, std::move(kept));
  if (auto* fetched = std::get_if<Fetched>(&answer)) {
    co_return co_await keep(name, std::move(*fetched));
  }
  Ending ending = std::get<Ending>(std::move(answer));
  if (ending.outcome == Outcome::absent && follow) co_await forget(name);
  co_return ending;
}

base::Task<Documents::Result> Documents::confirm(DocumentName name, Kept kept) {
  kept.reference.validated_at = unix_time_();
  co_await remember(name, kept.reference);
  co_return Document{.reference = std::move(kept.reference),
                     .bytes = std::move(kept.bytes),
                     .from = Document::From::revalidated};
}

// The bytes first, so that no name leads nowhere; and a manifest under its digest before its tag,
// because who learnt the digest from the tag asks by digest next.
base::Task<Documents::Result> Documents::keep(DocumentName name, Fetched fetched) {
  const oci::Digest& digest = fetched.reference.digest;
  const Ending stored =
      co_await fills_.keep({name.upstream, name.repository, digest, name.cdn_loop}, fetched.bytes);
  fetched.reference.validated_at = unix_time_();
  if (stored.outcome == Outcome::verified) {
    if (name.kind == DocumentName::Kind::manifest && !name.digest()) {
      co_await remember(DocumentName::manifest(name.upstream, name.repository, digest),
                        fetched.reference);
    }
    co_await remember(name, fetched.reference);
  } else {
    LOG(WARNING) << name.key() << " is served but not kept: " << stored.why;
  }
  co_return Document{.reference = std::move(fetched.reference),
                     .bytes = std::move(fetched.bytes),
                     .from = Document::From::miss};
}

}  // namespace proxy
