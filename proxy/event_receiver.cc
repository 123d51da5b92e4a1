#include "proxy/event_receiver.h"

#include <glog/logging.h>

namespace proxy {

base::Task<EventReceiver::Effects> EventReceiver::receive(std::shared_ptr<Upstream> upstream,
                                                          RegistryEvents events) {
  Effects effects;
  for (const RegistryEvent& event : events.events) {
    if (event.action == RegistryEvent::Action::push) {
      const bool warming = co_await pushed(upstream, event);
      effects.warming += warming ? 1 : 0;
      continue;
    }
    const Purged purged = co_await removed(upstream, event);
    effects.purged.blobs += purged.blobs;
    effects.purged.bytes += purged.bytes;
    effects.purged.references += purged.references;
  }
  co_return effects;
}

// Whether it is going to be warmed.
base::Task<bool> EventReceiver::pushed(std::shared_ptr<Upstream> upstream, RegistryEvent event) {
  // Who asked for it before it was pushed was told that there is none.
  upstream->forget_no({upstream, event.repository, *event.digest});
  if (!event.manifest) co_return false;
  upstream->forget_no(DocumentName::manifest(upstream, event.repository, *event.digest).target());
  const oci::Reference reference =
      event.tag.empty() ? oci::Reference(*event.digest) : oci::Reference(event.tag);
  const auto manifest = DocumentName::manifest(upstream, event.repository, reference);
  if (!event.tag.empty()) {
    const int64_t now = unix_time_();
    const auto tags = DocumentName::tags(upstream, event.repository, "");
    upstream->forget_no(manifest.target());
    upstream->forget_no(tags.target());
    co_await purger_.expire(manifest, now);
    co_await purger_.expire(tags, now);
  }
  co_return warm_&& queue_.add(manifest);
}

base::Task<Purged> EventReceiver::removed(std::shared_ptr<Upstream> upstream, RegistryEvent event) {
  Purged purged;
  std::string what;
  if (event.digest) {
    what = event.digest->str();
    purged = co_await purger_.deleted(upstream, event.repository, *event.digest);
  } else if (!event.tag.empty()) {
    what = "the tag " + event.tag;
    purged =
        co_await purger_.reference(DocumentName::manifest(upstream, event.repository, event.tag));
    co_await purger_.expire(DocumentName::tags(upstream, event.repository, ""), unix_time_());
  } else {
    what = "the repository";
    purged = co_await purger_.repository(upstream->name(), event.repository);
  }
  LOG_IF(INFO, !purged.none()) << upstream->name() << ": " << what << " of " << event.repository
                               << " was deleted, and is gone here: " << purged.blobs << " blobs, "
                               << purged.references << " references";
  co_return purged;
}

}  // namespace proxy
