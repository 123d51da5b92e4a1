#include "proxy/purger.h"

#include <algorithm>
#include <set>
#include <span>

#include "proxy/known_names.h"

namespace proxy {
namespace {

// Blobs, names or manifests that one step on the pool deals with, so that a large purge takes turns
// with the clients' work.
constexpr size_t kStep = 64;

// The next step of a list.
template <typename T>
std::span<const T> step(const std::vector<T>& all, size_t at) {
  return std::span(all).subspan(at, std::min(kStep, all.size() - at));
}

}  // namespace

base::Task<Purged> Purger::remove(std::vector<oci::Digest> digests, std::vector<std::string> names,
                                  size_t asked) {
  Purged purged{.references = asked};
  // The names first: none leads to what is gone already.
  for (size_t at = 0; at < names.size(); at += kStep) {
    co_await pool_.run(
        [&] { purged.references += store_.held().references->remove(step(names, at)); });
  }
  for (size_t at = 0; at < digests.size(); at += kStep) {
    co_await pool_.run([&] {
      // The fills first: what one of them has stored by then is removed from the store.
      for (const oci::Digest& digest : step(digests, at)) {
        if (fills_.purge(digest)) ++purged.blobs;
      }
      const cache::BlobStore::Removed removed = store_.held().blobs->remove(step(digests, at));
      purged.blobs += removed.blobs;
      purged.bytes += removed.bytes;
    });
  }
  co_return purged;
}

// In all that follows the questions under way come first: what one of them has remembered by then
// is among the names.

base::Task<Purged> Purger::blob(oci::Digest digest) {
  const size_t asked = co_await pool_.run([&] { return documents_.purge(digest); });
  co_return co_await remove({digest}, {}, asked);
}

base::Task<Purged> Purger::upstream(std::string name) {
  size_t asked = 0;
  std::vector<std::string> names;
  std::vector<oci::Digest> digests;
  co_await pool_.run([&] {
    const Store::Held held = store_.held();
    asked =
        documents_.purge([&](const DocumentName& each) { return each.upstream->name() == name; });
    for (KnownName& each : known_names(*held.references)) {
      if (each.upstream == name) names.push_back(std::move(each.key));
    }
    digests = held.blobs->blobs_of(name);
    for (const std::shared_ptr<Fill>& fill : fills_.all()) {
      if (fill->name.upstream->name() == name) digests.push_back(fill->name.digest);
    }
  });
  co_return co_await remove(std::move(digests), std::move(names), asked);
}

base::Task<Purged> Purger::repository(std::string upstream, std::string repository) {
  size_t asked = 0;
  std::vector<std::string> names;
  std::set<oci::Digest> going;
  std::set<oci::Digest> staying;
  co_await pool_.run([&] {
    asked = documents_.purge([&](const DocumentName& each) {
      return each.upstream->name() == upstream && each.repository == repository;
    });
    for (KnownName& each : known_names(*store_.held().references)) {
      const bool its = each.upstream == upstream && each.repository == repository;
      (its ? going : staying).insert(each.digest);
      if (its) names.push_back(std::move(each.key));
    }
  });
  if (names.empty()) co_return Purged{.references = asked};
  for (std::set<oci::Digest>* all : {&going, &staying}) {
    const std::vector<oci::Digest> manifests(all->begin(), all->end());
    for (size_t at = 0; at < manifests.size(); at += kStep) {
      co_await pool_.run([&] {
        const Store::Held held = store_.held();
        for (const oci::Digest& manifest : step(manifests, at)) {
          const std::vector<oci::Digest> more = referred_by(*held.blobs, manifest);
          all->insert(more.begin(), more.end());
        }
      });
    }
  }
  std::vector<oci::Digest> digests;
  std::ranges::set_difference(going, staying, std::back_inserter(digests));
  co_return co_await remove(std::move(digests), std::move(names), asked);
}

base::Task<Purged> Purger::reference(DocumentName name) {
  const std::string key = name.key();
  const size_t asked = co_await pool_.run([&] {
    return documents_.purge([&](const DocumentName& each) { return each.key() == key; });
  });
  co_return co_await remove({}, {key}, asked);
}

base::Task<Purged> Purger::deleted(std::shared_ptr<Upstream> upstream, std::string repository,
                                   oci::Digest digest) {
  const DocumentName manifest = DocumentName::manifest(upstream, repository, digest);
  size_t asked = 0;
  std::vector<std::string> names;
  co_await pool_.run([&] {
    asked = documents_.purge(digest);
    // Whatever tag leads to a manifest, its digest does too: most deletes are no manifest's.
    const Store::Held held = store_.held();
    if (!held.references->find(manifest.key())) return;
    for (KnownName& each : known_names(*held.references)) {
      const bool its = each.upstream == upstream->name() && each.repository == repository;
      if (its && each.digest == digest) names.push_back(std::move(each.key));
    }
  });
  co_return co_await remove({digest}, std::move(names), asked);
}

base::Task<void> Purger::expire(DocumentName name, int64_t now) {
  const base::Duration lifetime = name.upstream->config().image.tag_lifetime;
  const int64_t old = now - std::chrono::duration_cast<std::chrono::seconds>(lifetime).count();
  co_await pool_.run([&] {
    // What is being asked now may bring an answer from before the event.
    documents_.purge([&](const DocumentName& each) { return each.key() == name.key(); });
    const Store::Held held = store_.held();
    std::optional<cache::Reference> reference = held.references->find(name.key());
    if (!reference || reference->validated_at <= old) return;
    reference->validated_at = old;
    held.references->put(name.key(), *reference);
  });
}

}  // namespace proxy
