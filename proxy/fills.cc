#include "proxy/fills.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "proxy/download.h"
#include "proxy/pass_through.h"

namespace proxy {

Fills::Fills(Workers& workers, base::ThreadPool& pool, Store& store)
    : common_(workers, pool, store, [this](Fill& fill) { return may_write(fill); }) {}

Fills::Joined Fills::join(const BlobName& name, bool by_ranges) {
  return join(name, by_ranges, nullptr);
}

Fills::Joined Fills::join(const BlobName& name, bool by_ranges,
                          std::shared_ptr<const std::string> given) {
  Worker& here = common_.workers.here();
  const base::TimePoint now = here.loop.now();
  std::shared_ptr<Fill> slow;
  std::shared_ptr<Fill> fill;
  {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Fill>>& fills = fills_[name.digest];
    for (const std::shared_ptr<Fill>& each : fills) {
      if (now < each->patience(name)) return {.fill = each};
    }
    if (!fills.empty()) slow = fills.back();
    fill = fills.emplace_back(
        std::make_shared<Fill>(common_, here, name, std::move(given), by_ranges));
  }
  LOG_IF(INFO, slow != nullptr) << name.digest.str() << ": " << slow->name.upstream->name()
                                << " has brought nothing yet, so " << name.upstream->name()
                                << " is asked too";
  const auto answer = std::make_shared<Fill::FirstAnswer>();
  here.tasks.spawn(run(fill, answer));
  return {fill, true, answer};
}

base::Task<void> Fills::run(std::shared_ptr<Fill> fill, std::weak_ptr<Fill::FirstAnswer> answer) {
  Ending ending = co_await fill->run(std::move(answer));
  // Before its readers are told: those who join again get another one.
  {
    const std::lock_guard lock(mutex_);
    const auto found = fills_.find(fill->name.digest);
    if (found != fills_.end() && std::erase(found->second, fill) > 0 && found->second.empty()) {
      fills_.erase(found);
    }
  }
  fill->progress.end(std::move(ending));
}

// Whether the fill, which has an answer, is to be the one that writes; the others give way then.
bool Fills::may_write(Fill& fill) {
  std::vector<std::shared_ptr<Fill>> others;
  {
    const std::lock_guard lock(mutex_);
    const auto found = fills_.find(fill.name.digest);
    if (found == fills_.end()) return false;
    std::vector<std::shared_ptr<Fill>>& fills = found->second;
    const auto self = std::ranges::find(fills, &fill, &std::shared_ptr<Fill>::get);
    if (self == fills.end()) return false;
    fill.writes = true;
    std::swap(*self, fills.front());
    others.assign(fills.begin() + 1, fills.end());
    fills.resize(1);
  }
  for (const std::shared_ptr<Fill>& other : others) {
    other->progress.end({Outcome::overtaken, fill.name.upstream->name() + " was faster", ""});
  }
  return true;
}

bool Fills::another_may_do(const Fill& fill, const Ending& ending, const BlobName& name) {
  if (ending.outcome == Outcome::verified || ending.outcome == Outcome::cancelled) return false;
  if (ending.outcome == Outcome::filling || ending.outcome == Outcome::overtaken) return true;
  if (fill.given) return true;
  const bool other_name =
      fill.name.upstream != name.upstream || fill.name.repository != name.repository;
  // What another's CDN-Loop was refused for.
  const bool other_way = ending.outcome == Outcome::refused && fill.name.cdn_loop != name.cdn_loop;
  return (other_name || other_way) && !passes_through(ending.outcome);
}

std::shared_ptr<Fill> Fills::find(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = fills_.find(digest);
  return found == fills_.end() ? nullptr : found->second.front();
}

// The one, of those that it joins or starts, that has ended with what holds for this name too.
base::Task<std::shared_ptr<Fill>> Fills::last_fill(BlobName name,
                                                   std::shared_ptr<const std::string> given) {
  while (true) {
    std::shared_ptr<Fill> fill = join(name, false, given).fill;
    const Ending ending = co_await fill->ended(name);
    // Who has the bytes needs no upstream, which others' fills may have failed for.
    const bool was_own = given && fill->given && ending.outcome != Outcome::filling &&
                         ending.outcome != Outcome::overtaken;
    const bool failed = ending.outcome != Outcome::verified && ending.outcome != Outcome::cancelled;
    const bool again = given ? failed && !was_own : another_may_do(*fill, ending, name);
    if (!again) co_return fill;
  }
}

base::Task<Ending> Fills::fetch(BlobName name) {
  const std::shared_ptr<Fill> fill = co_await last_fill(std::move(name), nullptr);
  co_return fill->progress.ending();
}

base::Task<std::variant<std::shared_ptr<const cache::Blob>, Ending>> Fills::keep(
    BlobName name, std::shared_ptr<const std::string> bytes) {
  const std::shared_ptr<Fill> fill = co_await last_fill(std::move(name), std::move(bytes));
  if (auto blob = fill->file.blob()) co_return blob;
  Ending ending = fill->progress.ending();
  if (ending.outcome == Outcome::verified) {
    ending = {Outcome::no_space, "it was purged, or another process has the cache now", ""};
  }
  co_return ending;
}

std::vector<std::shared_ptr<Fill>> Fills::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Fill>> all;
  all.reserve(fills_.size());
  for (const auto& [digest, fills] : fills_) all.insert(all.end(), fills.begin(), fills.end());
  return all;
}

bool Fills::purge(const oci::Digest& digest) {
  std::vector<std::shared_ptr<Fill>> fills;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = fills_.find(digest); found != fills_.end()) fills = found->second;
  }
  size_t purged = 0;
  for (const std::shared_ptr<Fill>& fill : fills) purged += fill->file.purge() ? 1 : 0;
  return purged > 0;
}

base::Task<std::variant<uint64_t, Ending>> Fills::head(BlobName name) {
  Worker& here = common_.workers.here();
  Upstream& upstream = *name.upstream;
  std::optional<Ending> no = upstream.known_no(name, here.loop.now());
  if (no) co_return std::move(*no);
  std::variant<uint64_t, Ending> size = co_await here.client(name.upstream).head(name);
  const auto* ending = std::get_if<Ending>(&size);
  if (ending != nullptr) upstream.remember_no(name, *ending, here.loop.now());
  co_return size;
}

std::unique_ptr<PassThrough> Fills::pass_through(const Joined& joined) {
  Download download(common_.workers.here(), joined.fill->name, common_.stopping);
  if (joined.answer && *joined.answer) {
    download = *std::exchange(*joined.answer, std::nullopt);
  }
  return std::make_unique<PassThrough>(common_.pool, common_.last_blocks, joined.fill,
                                       std::move(download));
}

void Fills::let_go_of_store() {
  common_.letting_go = true;
  for (const std::shared_ptr<Fill>& fill : all()) fill->file.let_go();
}

}  // namespace proxy
