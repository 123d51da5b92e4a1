#include "proxy/fill.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "proxy/download.h"
#include "proxy/pass_through.h"

namespace proxy {
namespace {

// How far the front run claims ahead of what it has. A reader within that waits for it; beyond, a
// range run of its own is faster.
constexpr uint64_t kFrontReach = 4 * cache::kBlockSize;
// What one range run fetches at most: clients often drop an open-ended range early, and the front
// comes along anyway (RangeAmp).
constexpr uint64_t kRangeRun = 8 * cache::kBlockSize;
// The size of a digest's blob never changes, but an upstream may have been wrong about it.
constexpr base::Duration kSizeLifetime = std::chrono::seconds(10);
constexpr size_t kMostSizes = 1000;
// A last block is the digest's for ever; the time and the number bound the memory, 64 MiB at most.
constexpr base::Duration kLastBlockLifetime = std::chrono::minutes(10);
constexpr size_t kMostLastBlocks = 64;

// How long a fill that has brought nothing yet holds up those who have another upstream. Clients
// give up on a head after 30 seconds (containerd).
constexpr base::Duration kUpstreamPatience = std::chrono::seconds(5);

// How long a fill starts no range run after one of its has failed.
constexpr base::Duration kRangePause = std::chrono::seconds(5);

uint64_t align_down(uint64_t offset) { return offset / cache::kBlockSize * cache::kBlockSize; }

// Of one upstream: if it is wrong, that is not another's fault.
std::string size_key(const BlobName& name) {
  return name.upstream->name() + ' ' + name.digest.str();
}

}  // namespace

struct Fills::FirstAnswer {
  std::optional<Download> download;
};

// One run: the front one, or that of a range.
struct Fills::Run {
  Download download;
  oci::Hasher* hasher = nullptr;  // the digest cursor; the front run has it
};

Fills::Fills(Workers& workers, base::ThreadPool& pool, Store& store)
    : workers_(workers),
      pool_(pool),
      store_(store),
      current_store_([this] { return letting_go_ ? nullptr : store_.get(); }),
      sizes_(kSizeLifetime, kMostSizes),
      last_blocks_(kLastBlockLifetime, kMostLastBlocks) {}

Fills::Joined Fills::join(const BlobName& name, bool by_ranges) {
  return join(name, by_ranges, nullptr);
}

Fills::Joined Fills::join(const BlobName& name, bool by_ranges,
                          std::shared_ptr<const std::string> given) {
  const base::TimePoint now = base::EventLoop::current()->now();
  std::shared_ptr<Fill> slow;
  std::shared_ptr<Fill> fill;
  {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Fill>>& fills = fills_[name.digest];
    for (const std::shared_ptr<Fill>& each : fills) {
      if (now < patience(*each, name)) return {.fill = each};
    }
    if (!fills.empty()) slow = fills.back();
    fill = fills.emplace_back(std::make_shared<Fill>(name, now, std::move(given)));
    fill->by_ranges = by_ranges;
  }
  LOG_IF(INFO, slow != nullptr) << name.digest.str() << ": " << slow->name.upstream->name()
                                << " has brought nothing yet, so " << name.upstream->name()
                                << " is asked too";
  Worker& here = workers_.here();
  const auto answer = std::make_shared<FirstAnswer>();
  here.tasks.spawn(run(fill, &here, answer));
  return {fill, true, answer};
}

// How long the fill is worth waiting for in this name.
base::TimePoint Fills::patience(const Fill& fill, const BlobName& name) {
  if (fill.writes || fill.name.upstream == name.upstream) return base::kForever;
  return fill.began + kUpstreamPatience;
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

base::Task<Ending> Fills::ended(std::shared_ptr<Fill> fill, BlobName name) {
  while (true) {
    const base::Signal::Ticket ticket = fill->progress.changed().ticket();
    Ending ending = fill->progress.ending();
    if (ending.outcome != Outcome::filling) co_return ending;
    const bool woken = co_await fill->progress.changed().wait(ticket, patience(*fill, name));
    if (!woken) co_return ending;
  }
}

// The one, of those that it joins or starts, that has ended with what holds for this name too.
base::Task<std::shared_ptr<Fill>> Fills::last_fill(BlobName name,
                                                   std::shared_ptr<const std::string> given) {
  while (true) {
    std::shared_ptr<Fill> fill = join(name, false, given).fill;
    const Ending ending = co_await ended(fill, name);
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

// ---- the fill itself ------------------------------------------------------------------------

base::Task<void> Fills::run(std::shared_ptr<Fill> fill, Worker* worker,
                            std::shared_ptr<FirstAnswer> answer) {
  Ending ending;
  try {
    ending = co_await fill_blob(*fill, *worker, answer);
  } catch (const base::IoError& e) {
    ending = {Outcome::storage_failed, e.what(), ""};
  }
  if (stopping_ && ending.outcome != Outcome::verified) ending.outcome = Outcome::cancelled;

  fill->name.upstream->remember_no(fill->name, ending, worker->loop.now());
  if (ending.outcome == Outcome::digest_mismatch) {
    LOG(ERROR) << fill->name.digest.str() << ": " << ending.why
               << "; the bytes were thrown away and every client still reading them was cut off";
  } else if (passes_through(ending.outcome)) {
    LOG(WARNING) << fill->name.digest.str()
                 << " is not stored, only passed through: " << ending.why;
  } else if (ending.outcome != Outcome::verified && ending.outcome != Outcome::absent &&
             ending.outcome != Outcome::refused && ending.outcome != Outcome::overtaken) {
    LOG(WARNING) << fill->name.digest.str() << " of " << fill->name.repository
                 << " could not be fetched: " << ending.why;
  }

  // Range runs still use the writer. They are waited for, and the writer goes, before the entry
  // leaves the table, because the next fill of this digest opens a writer of its own.
  while (true) {
    const base::Signal::Ticket ticket = fill->progress.changed().ticket();
    if (fill->progress.close()) break;
    co_await fill->progress.changed().wait(ticket);
  }
  Fill* f = fill.get();
  const bool discard =
      ending.outcome == Outcome::digest_mismatch || ending.outcome == Outcome::storage_failed;
  co_await pool_.run([f, discard] { f->file.leave(discard); });
  {
    const std::lock_guard lock(mutex_);
    const auto found = fills_.find(fill->name.digest);
    if (found != fills_.end() && std::erase(found->second, fill) > 0 && found->second.empty()) {
      fills_.erase(found);
    }
  }
  fill->progress.end(std::move(ending));
}

base::Task<Ending> Fills::fill_blob(Fill& fill, Worker& worker,
                                    const std::shared_ptr<FirstAnswer>& answer) {
  base::crash_point("fill.started");
  // Another fill may have stored the blob between the caller's look-up and join().
  std::optional<Ending> unstorable = co_await open_stored(fill);
  if (fill.progress.size()) co_return Ending{Outcome::verified, "", ""};
  if (fill.given && unstorable) co_return std::move(*unstorable);
  if (fill.given) co_return co_await store_given(fill, worker);
  std::optional<Ending> no = fill.name.upstream->known_no(fill.name, worker.loop.now());
  if (no) co_return std::move(*no);

  Run first{Download(worker, fill.name, stopping_)};
  std::optional<uint64_t> size = known_size(fill.name, worker.loop.now());
  if (!size) {
    std::optional<Ending> failed = co_await open_first(fill, first.download);
    if (failed) co_return std::move(*failed);
    size = first.download.blob_size();
  }
  if (!may_write(fill)) co_return Ending{Outcome::overtaken, "", ""};
  if (!unstorable) unstorable = co_await open_writer(fill, *size);
  if (unstorable) {
    // The readers go on without the store; for that they need to know the size.
    fill.no_ranges = true;
    if (!fill.progress.size()) fill.progress.start(*size);
    if (first.download.is_open()) {
      sizes_.remember(size_key(fill.name), worker.loop.now(), *size);
      // Only if who started the fill holds it on.
      if (answer.use_count() > 1) answer->download.emplace(std::move(first.download));
    }
    co_return std::move(*unstorable);
  }
  co_return co_await fetch_front(fill, worker, std::move(first));
}

// As a partial blob of a former process tells it, or what came of a blob that could not be stored a
// moment ago; else the first answer is to tell it.
std::optional<uint64_t> Fills::known_size(const BlobName& name, base::TimePoint now) const {
  if (const auto partial = store_.partial_size(name.digest)) return partial;
  if (const auto last = last_blocks_.find(name.digest.str(), now)) return last->blob_size;
  return sizes_.find(size_key(name), now);
}

// Takes the blob from the store if it is there after all. An Ending if the store cannot be read.
base::Task<std::optional<Ending>> Fills::open_stored(Fill& fill) {
  std::shared_ptr<const cache::Blob> blob;
  try {
    co_await pool_.run([&] {
      blob = store_.open(fill.name.digest);
      if (blob) fill.file.hold(blob);
    });
  } catch (const base::IoError& e) {
    co_return Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (blob) {
    fill.no_ranges = true;  // or they would be written into it
    fill.progress.start(blob->size(), {{0, blob->size()}});
    fill.progress.verify();
  }
  co_return std::nullopt;
}

// The transfer that tells the size. If ranges are wanted it brings no more than a run of blocks.
base::Task<std::optional<Ending>> Fills::open_first(Fill& fill, Download& download) {
  if (fill.by_ranges) {
    const std::optional<Ending> failed = co_await download.open({0, kRangeRun}, std::nullopt);
    if (!failed) {
      // The whole blob came instead: other runs would get no ranges either.
      const uint64_t asked = std::min(kRangeRun, download.blob_size());
      fill.no_ranges = download.end() > asked;
      co_return std::nullopt;
    }
    // An empty blob has no range (416).
    if (failed->outcome != Outcome::digest_mismatch) co_return failed;
  }
  const std::optional<Ending> failed =
      co_await download.open({0, Download::kToTheEnd}, std::nullopt);
  co_return failed;
}

base::Task<std::optional<Ending>> Fills::open_writer(Fill& fill, uint64_t size) {
  std::expected<FillFile::Present, Ending> present;
  try {
    present = co_await pool_.run([&] { return fill.file.begin(current_store_, size); });
  } catch (const base::IoError& e) {
    co_return Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (!present) co_return std::move(present.error());
  fill.progress.start(size, present->spans, present->doubtful);
  co_return std::nullopt;
}

void Fills::let_go_of_store() {
  letting_go_ = true;
  for (const std::shared_ptr<Fill>& fill : all()) fill->file.let_go();
}

base::Task<Ending> Fills::store_given(Fill& fill, Worker& worker) {
  if (!may_write(fill)) co_return Ending{Outcome::overtaken, "", ""};
  std::optional<Ending> refused = co_await open_writer(fill, fill.given->size());
  if (refused) co_return std::move(*refused);
  const oci::Digest found = co_await pool_.run([&] {
    oci::Hasher hasher(fill.name.digest.algorithm());
    store_bytes(fill, 0, *fill.given, &hasher);
    return hasher.digest();
  });
  co_return co_await finish(fill, worker, found);
}

base::Task<Ending> Fills::fetch_front(Fill& fill, Worker& worker, Run run) {
  oci::Hasher hasher(fill.name.digest.algorithm());
  run.hasher = &hasher;
  const uint64_t size = *fill.progress.size();

  while (hasher.length() < size) {
    const base::Signal::Ticket ticket = fill.progress.changed().ticket();
    const uint64_t at = hasher.length();
    const uint64_t there = fill.progress.present(at);
    if (there > 0) {
      // Bytes of a former process or of a range run: hashed from the file, a block at a time.
      const uint64_t length = std::min(there, cache::kBlockSize);
      co_await pool_.run([&] {
        std::string block(length, '\0');
        if (base::read_at(fill.file.fd(), at, block.data(), length) != length) {
          throw base::IoError(EIO, "partial blob " + fill.name.digest.str() + " is too short");
        }
        hasher.update(block);
      });
      run.download.close();  // whatever was open began before these bytes
      continue;
    }
    Claim claim = fill.progress.claim(at, at + (fill.by_ranges ? kRangeRun : kFrontReach));
    if (!claim) {
      // A range run is fetching them; it may be waiting for the place of this transfer, which would
      // be of no use afterwards.
      run.download.close();
      co_await fill.progress.changed().wait(ticket);
      continue;
    }
    std::optional<Ending> failed = co_await fetch(fill, run, claim);
    if (failed) co_return std::move(*failed);
  }
  run.download.finish();
  co_return co_await finish(fill, worker, hasher.digest());
}

base::Task<Ending> Fills::finish(Fill& fill, Worker& worker, const oci::Digest& found) {
  if (found != fill.name.digest) {
    co_return wrong_bytes(fill, worker, found);
  }
  base::crash_point("fill.verified");
  // Readers get their last block now; making the blob durable is not their business.
  fill.progress.verify();
  co_await pool_.run([&] { fill.file.commit(current_store_); });
  co_return Ending{Outcome::verified, "", ""};
}

// Whose bytes they were, as far as this process fetched them, is asked last for a while.
Ending Fills::wrong_bytes(Fill& fill, Worker& worker, const oci::Digest& found) {
  Upstream& upstream = *fill.name.upstream;
  const std::string why =
      "bytes of digest " + found.str() + " instead of " + fill.name.digest.str();
  std::string from;
  for (size_t url = 0; url < upstream.config().urls.size(); ++url) {
    if ((fill.sources >> url & 1) == 0) continue;
    upstream.health().failed(url, Failure::wrong_bytes, why, worker.loop.now());
    from += (from.empty() ? "" : ", ") + upstream.config().urls[url];
  }
  upstream.suspect(fill.name.digest, fill.sources, worker.loop.now());
  return {Outcome::digest_mismatch,
          "the bytes have digest " + found.str() + "; they came from " +
              (from.empty() ? "an earlier process" : from),
          ""};
}

// ---- runs -----------------------------------------------------------------------------------

// Fetches what is claimed into the partial blob; the front run lengthens its claim as it goes, as
// far as its transfer brings bytes. nullopt when all of it is there.
base::Task<std::optional<Ending>> Fills::fetch(Fill& fill, Run& run, Claim& claim) {
  Download& download = run.download;
  const bool front = run.hasher != nullptr;
  uint64_t at = claim.span().begin;
  while (true) {
    if (front && download.is_open()) {
      fill.progress.extend(claim, std::min(at + kFrontReach, download.end()));
    }
    if (at == claim.span().end) break;
    if (!download.is_open()) {
      const bool all = front && !fill.by_ranges;
      const Span wanted{at, all ? fill.progress.gap_end(at) : claim.span().end};
      std::optional<Ending> failed = co_await download.open(wanted, fill.progress.size());
      if (failed) co_return failed;
      continue;
    }
    if (download.whole() && !front) {
      fill.no_ranges = true;
      co_return Ending{Outcome::unreachable, "the upstream does not answer ranges", ""};
    }

    const size_t url = download.url();
    std::string_view bytes = co_await download.read(at);
    if (bytes.empty()) continue;
    if (front) fill.progress.extend(claim, at + bytes.size());
    const bool beyond = bytes.size() > claim.span().end - at;
    bytes = bytes.substr(0, claim.span().end - at);
    if (bytes.empty()) continue;
    fill.sources |= UrlSet{1} << url;
    co_await pool_.run([&] { store_bytes(fill, at, bytes, run.hasher); });
    at += bytes.size();
    // The rest of what was read is another run's, so this transfer is out of step with its claim.
    if (beyond) download.close();
  }
  if (download.is_open() && at == download.end()) download.finish();
  co_return std::nullopt;
}

// One write, on the pool: to the file, to the readers, to the digest, to the block map.
void Fills::store_bytes(Fill& fill, uint64_t offset, std::string_view bytes, oci::Hasher* hasher) {
  const Span span{offset, offset + bytes.size()};
  fill.file.write(offset, bytes);
  fill.progress.publish(span);
  if (hasher != nullptr) hasher->update(bytes);
  fill.file.mark(fill.progress, span);
  base::crash_point("fill.block_written");
}

// What a range run is to fetch for a reader; empty if none is to be started now.
Claim Fills::claim_range(Fill& fill, uint64_t offset, uint64_t end) {
  const base::TimePoint now = workers_.here().loop.now();
  base::TimePoint from = fill.ranges_from;
  if (from > now) return {};
  // Whole blocks, because only those survive in the block map.
  const uint64_t block = align_down(offset);
  const uint64_t begin = block + fill.progress.present(block);
  const uint64_t limit = std::min(align_down(end + cache::kBlockSize - 1), block + kRangeRun);
  Claim claim = fill.progress.claim(begin, limit);
  // Whoever is first tries it for all.
  if (claim && from != Fill::kAlways &&
      !fill.ranges_from.compare_exchange_strong(from, now + kRangePause)) {
    return {};
  }
  return claim;
}

base::Task<void> Fills::fetch_range(std::shared_ptr<Fill> fill, Worker* worker, Claim claim) {
  Run run{Download(*worker, fill->name, stopping_)};
  std::optional<Ending> failed;
  try {
    failed = co_await fetch(*fill, run, claim);
  } catch (const base::IoError& e) {
    failed = Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (failed) {
    // What is missing stays missing: the front run fetches it when it comes there, or another range
    // run after a while.
    fill->ranges_from = worker->loop.now() + kRangePause;
    LOG(INFO) << fill->name.digest.str() << ": a range from byte " << claim.span().begin
              << " could not be fetched on its own: " << failed->why;
  } else {
    fill->ranges_from = Fill::kAlways;
    run.download.finish();
  }
}

// ---- readers --------------------------------------------------------------------------------

base::Task<std::expected<uint64_t, Ending>> Fills::size(Fill& fill, const BlobName& name) {
  while (true) {
    const base::Signal::Ticket ticket = fill.progress.changed().ticket();
    Ending ending = fill.progress.ending();  // before the size, which it may have had then
    const std::optional<uint64_t> size = fill.progress.size();
    if (size) co_return *size;
    if (ending.outcome != Outcome::filling) co_return std::unexpected(std::move(ending));
    const bool woken = co_await fill.progress.changed().wait(ticket, patience(fill, name));
    if (!woken) co_return std::unexpected(std::move(ending));
  }
}

base::Task<uint64_t> Fills::readable(std::shared_ptr<Fill> fill, uint64_t offset, uint64_t end,
                                     base::TimePoint deadline) {
  Progress& progress = fill->progress;
  while (true) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    const Progress::Readable now = progress.readable(offset);
    if (now.bytes > 0 || now.over) co_return now.bytes;

    const bool far = offset > progress.front() + kFrontReach && progress.present(offset) == 0;
    base::TimePoint until = deadline;
    if (far && !now.claimed && !fill->no_ranges && !stopping_) {
      Worker& here = workers_.here();
      Claim claim = claim_range(*fill, offset, end);
      if (claim) {
        fill->by_ranges = true;
        here.tasks.spawn(fetch_range(fill, &here, std::move(claim)));
      } else if (const base::TimePoint from = fill->ranges_from; from > here.loop.now()) {
        until = std::min(deadline, from);
      }
    }
    const bool woken = co_await progress.changed().wait(ticket, until);
    if (!woken && until == deadline) co_return 0;
  }
}

std::unique_ptr<PassThrough> Fills::pass_through(const Joined& joined) {
  Worker& here = workers_.here();
  Download download(here, joined.fill->name, stopping_);
  if (joined.answer && joined.answer->download) {
    download = *std::exchange(joined.answer->download, std::nullopt);
  }
  return std::make_unique<PassThrough>(pool_, last_blocks_, joined.fill, std::move(download));
}

base::Task<std::variant<uint64_t, Ending>> Fills::head(BlobName name) {
  Worker& here = workers_.here();
  Upstream& upstream = *name.upstream;
  std::optional<Ending> no = upstream.known_no(name, here.loop.now());
  if (no) co_return std::move(*no);
  std::variant<uint64_t, Ending> size = co_await here.client(name.upstream).head(name);
  const auto* ending = std::get_if<Ending>(&size);
  if (ending != nullptr) upstream.remember_no(name, *ending, here.loop.now());
  co_return size;
}

}  // namespace proxy
