#include "proxy/fill.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"

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

// One run: the front one, or that of a range.
struct Fill::Run {
  Download download;
  oci::Hasher* hasher = nullptr;  // the digest cursor; the front run has it
};

Fill::Common::Common(Workers& on, base::ThreadPool& blocking, Store& into,
                     std::function<bool(Fill&)> write)
    : workers(on),
      pool(blocking),
      store(into),
      may_write(std::move(write)),
      current_store([this] { return letting_go ? nullptr : store.get(); }),
      sizes(kSizeLifetime, kMostSizes),
      last_blocks(kLastBlockLifetime, kMostLastBlocks) {}

Fill::Fill(Common& common, Worker& worker, BlobName blob, std::shared_ptr<const std::string> bytes,
           bool ranges)
    : name(std::move(blob)),
      began(worker.loop.now()),
      given(std::move(bytes)),
      file(name.digest, name.upstream->name()),
      common_(common),
      worker_(worker),
      by_ranges_(ranges) {}

// ---- the fill itself ------------------------------------------------------------------------

base::Task<Ending> Fill::run(std::weak_ptr<FirstAnswer> answer) {
  Ending ending;
  try {
    ending = co_await fill_blob(answer);
  } catch (const base::IoError& e) {
    ending = {Outcome::storage_failed, e.what(), ""};
  }
  if (common_.stopping && ending.outcome != Outcome::verified) ending.outcome = Outcome::cancelled;
  name.upstream->remember_no(name, ending, worker_.loop.now());
  log(ending);

  // Range runs still use the writer. They are waited for, and the writer goes, before the fill
  // leaves the table, because the next fill of this digest opens a writer of its own.
  while (true) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    if (progress.close()) break;
    co_await progress.changed().wait(ticket);
  }
  const bool discard =
      ending.outcome == Outcome::digest_mismatch || ending.outcome == Outcome::storage_failed;
  co_await common_.pool.run([&] { file.leave(discard); });
  co_return ending;
}

void Fill::log(const Ending& ending) const {
  if (ending.outcome == Outcome::digest_mismatch) {
    LOG(ERROR) << name.digest.str() << ": " << ending.why
               << "; the bytes were thrown away and every client still reading them was cut off";
  } else if (passes_through(ending.outcome)) {
    LOG(WARNING) << name.digest.str() << " is not stored, only passed through: " << ending.why;
  } else if (ending.outcome != Outcome::verified && ending.outcome != Outcome::absent &&
             ending.outcome != Outcome::refused && ending.outcome != Outcome::overtaken) {
    LOG(WARNING) << name.digest.str() << " of " << name.repository
                 << " could not be fetched: " << ending.why;
  }
}

base::Task<Ending> Fill::fill_blob(const std::weak_ptr<FirstAnswer>& answer) {
  base::crash_point("fill.started");
  // Another fill may have stored the blob between the caller's look-up and join().
  std::optional<Ending> unstorable = co_await open_stored();
  if (progress.size()) co_return Ending{Outcome::verified, "", ""};
  if (given && unstorable) co_return std::move(*unstorable);
  if (given) co_return co_await store_given();
  std::optional<Ending> no = name.upstream->known_no(name, worker_.loop.now());
  if (no) co_return std::move(*no);

  Run first{Download(worker_, name, common_.stopping)};
  std::optional<uint64_t> size = known_size();
  if (!size) {
    std::optional<Ending> failed = co_await open_first(first.download);
    if (failed) co_return std::move(*failed);
    size = first.download.blob_size();
  }
  if (!common_.may_write(*this)) co_return Ending{Outcome::overtaken, "", ""};
  if (!unstorable) unstorable = co_await open_writer(*size);
  if (unstorable) {
    // The readers go on without the store; for that they need to know the size.
    no_ranges_ = true;
    if (!progress.size()) progress.start(*size);
    if (first.download.is_open()) {
      common_.sizes.remember(size_key(name), worker_.loop.now(), *size);
      if (const auto left = answer.lock()) left->emplace(std::move(first.download));
    }
    co_return std::move(*unstorable);
  }
  co_return co_await fetch_front(std::move(first));
}

// As a partial blob of a former process tells it, or what came of a blob that could not be stored a
// moment ago; else the first answer is to tell it.
std::optional<uint64_t> Fill::known_size() const {
  const base::TimePoint now = worker_.loop.now();
  if (const auto partial = common_.store.partial_size(name.digest)) return partial;
  if (const auto last = common_.last_blocks.find(name.digest.str(), now)) return last->blob_size;
  return common_.sizes.find(size_key(name), now);
}

// Takes the blob from the store if it is there after all. An Ending if the store cannot be read.
base::Task<std::optional<Ending>> Fill::open_stored() {
  std::shared_ptr<const cache::Blob> blob;
  try {
    co_await common_.pool.run([&] {
      blob = common_.store.open(name.digest);
      if (blob) file.hold(blob);
    });
  } catch (const base::IoError& e) {
    co_return Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (blob) {
    no_ranges_ = true;  // or they would be written into it
    progress.start(blob->size(), {{0, blob->size()}});
    progress.verify();
  }
  co_return std::nullopt;
}

// The transfer that tells the size. If ranges are wanted it brings no more than a run of blocks.
base::Task<std::optional<Ending>> Fill::open_first(Download& download) {
  if (by_ranges_) {
    const std::optional<Ending> failed = co_await download.open({0, kRangeRun}, std::nullopt);
    if (!failed) {
      // The whole blob came instead: other runs would get no ranges either.
      const uint64_t asked = std::min(kRangeRun, download.blob_size());
      no_ranges_ = download.end() > asked;
      co_return std::nullopt;
    }
    // An empty blob has no range (416).
    if (failed->outcome != Outcome::digest_mismatch) co_return failed;
  }
  const std::optional<Ending> failed =
      co_await download.open({0, Download::kToTheEnd}, std::nullopt);
  co_return failed;
}

base::Task<std::optional<Ending>> Fill::open_writer(uint64_t size) {
  std::expected<FillFile::Present, Ending> present;
  try {
    present = co_await common_.pool.run([&] { return file.begin(common_.current_store, size); });
  } catch (const base::IoError& e) {
    co_return Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (!present) co_return std::move(present.error());
  progress.start(size, present->spans, present->doubtful);
  co_return std::nullopt;
}

base::Task<Ending> Fill::store_given() {
  if (!common_.may_write(*this)) co_return Ending{Outcome::overtaken, "", ""};
  std::optional<Ending> refused = co_await open_writer(given->size());
  if (refused) co_return std::move(*refused);
  const oci::Digest found = co_await common_.pool.run([&] {
    oci::Hasher hasher(name.digest.algorithm());
    store_bytes(0, *given, &hasher);
    return hasher.digest();
  });
  co_return co_await finish(found);
}

base::Task<Ending> Fill::fetch_front(Run run) {
  oci::Hasher hasher(name.digest.algorithm());
  run.hasher = &hasher;
  const uint64_t size = *progress.size();

  while (hasher.length() < size) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    const uint64_t at = hasher.length();
    const uint64_t there = progress.present(at);
    if (there > 0) {
      // Bytes of a former process or of a range run: hashed from the file, a block at a time.
      const uint64_t length = std::min(there, cache::kBlockSize);
      co_await common_.pool.run([&] {
        std::string block(length, '\0');
        if (base::read_at(file.fd(), at, block.data(), length) != length) {
          throw base::IoError(EIO, "partial blob " + name.digest.str() + " is too short");
        }
        hasher.update(block);
      });
      run.download.close();  // whatever was open began before these bytes
      continue;
    }
    Claim claim = progress.claim(at, at + (by_ranges_ ? kRangeRun : kFrontReach));
    if (!claim) {
      // A range run is fetching them; it may be waiting for the place of this transfer, which would
      // be of no use afterwards.
      run.download.close();
      co_await progress.changed().wait(ticket);
      continue;
    }
    std::optional<Ending> failed = co_await fetch(run, claim);
    if (failed) co_return std::move(*failed);
  }
  run.download.finish();
  co_return co_await finish(hasher.digest());
}

base::Task<Ending> Fill::finish(const oci::Digest& found) {
  if (found != name.digest) {
    co_return wrong_bytes(found);
  }
  base::crash_point("fill.verified");
  // Readers get their last block now; making the blob durable is not their business.
  progress.verify();
  co_await common_.pool.run([&] { file.commit(common_.current_store); });
  co_return Ending{Outcome::verified, "", ""};
}

// Whose bytes they were, as far as this process fetched them, is asked last for a while.
Ending Fill::wrong_bytes(const oci::Digest& found) {
  Upstream& upstream = *name.upstream;
  const std::string why = "bytes of digest " + found.str() + " instead of " + name.digest.str();
  std::string from;
  for (size_t url = 0; url < upstream.config().urls.size(); ++url) {
    if ((sources_ >> url & 1) == 0) continue;
    upstream.health().failed(url, Failure::wrong_bytes, why, worker_.loop.now());
    from += (from.empty() ? "" : ", ") + upstream.config().urls[url];
  }
  upstream.suspect(name.digest, sources_, worker_.loop.now());
  return {Outcome::digest_mismatch,
          "the bytes have digest " + found.str() + "; they came from " +
              (from.empty() ? "an earlier process" : from),
          ""};
}

// ---- runs -----------------------------------------------------------------------------------

// Fetches what is claimed into the partial blob; the front run lengthens its claim as it goes, as
// far as its transfer brings bytes. nullopt when all of it is there.
base::Task<std::optional<Ending>> Fill::fetch(Run& run, Claim& claim) {
  Download& download = run.download;
  const bool front = run.hasher != nullptr;
  uint64_t at = claim.span().begin;
  while (true) {
    if (front && download.is_open()) {
      progress.extend(claim, std::min(at + kFrontReach, download.end()));
    }
    if (at == claim.span().end) break;
    if (!download.is_open()) {
      const bool all = front && !by_ranges_;
      const Span wanted{at, all ? progress.gap_end(at) : claim.span().end};
      std::optional<Ending> failed = co_await download.open(wanted, progress.size());
      if (failed) co_return failed;
      continue;
    }
    if (download.whole() && !front) {
      no_ranges_ = true;
      co_return Ending{Outcome::unreachable, "the upstream does not answer ranges", ""};
    }

    const size_t url = download.url();
    std::string_view bytes = co_await download.read(at);
    if (bytes.empty()) continue;
    if (front) progress.extend(claim, at + bytes.size());
    const bool beyond = bytes.size() > claim.span().end - at;
    bytes = bytes.substr(0, claim.span().end - at);
    if (bytes.empty()) continue;
    sources_ |= UrlSet{1} << url;
    co_await common_.pool.run([&] { store_bytes(at, bytes, run.hasher); });
    at += bytes.size();
    // The rest of what was read is another run's, so this transfer is out of step with its claim.
    if (beyond) download.close();
  }
  if (download.is_open() && at == download.end()) download.finish();
  co_return std::nullopt;
}

// One write, on the pool: to the file, to the readers, to the digest, to the block map.
void Fill::store_bytes(uint64_t offset, std::string_view bytes, oci::Hasher* hasher) {
  const Span span{offset, offset + bytes.size()};
  file.write(offset, bytes);
  progress.publish(span);
  if (hasher != nullptr) hasher->update(bytes);
  file.mark(progress, span);
  base::crash_point("fill.block_written");
}

// What a range run is to fetch for a reader; empty if none is to be started now.
Claim Fill::claim_range(uint64_t offset, uint64_t end, base::TimePoint now) {
  base::TimePoint from = ranges_from_;
  if (from > now) return {};
  // Whole blocks, because only those survive in the block map.
  const uint64_t block = align_down(offset);
  const uint64_t begin = block + progress.present(block);
  const uint64_t limit = std::min(align_down(end + cache::kBlockSize - 1), block + kRangeRun);
  Claim claim = progress.claim(begin, limit);
  // Whoever is first tries it for all.
  if (claim && from != kAlways && !ranges_from_.compare_exchange_strong(from, now + kRangePause)) {
    return {};
  }
  return claim;
}

base::Task<void> Fill::fetch_range(std::shared_ptr<Fill> fill, Worker* worker, Claim claim) {
  Run run{Download(*worker, fill->name, fill->common_.stopping)};
  std::optional<Ending> failed;
  try {
    failed = co_await fill->fetch(run, claim);
  } catch (const base::IoError& e) {
    failed = Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (failed) {
    // What is missing stays missing: the front run fetches it when it comes there, or another range
    // run after a while.
    fill->ranges_from_ = worker->loop.now() + kRangePause;
    LOG(INFO) << fill->name.digest.str() << ": a range from byte " << claim.span().begin
              << " could not be fetched on its own: " << failed->why;
  } else {
    fill->ranges_from_ = kAlways;
    run.download.finish();
  }
}

// ---- readers --------------------------------------------------------------------------------

base::TimePoint Fill::patience(const BlobName& reader) const {
  if (writes || name.upstream == reader.upstream) return base::kForever;
  return began + kUpstreamPatience;
}

base::Task<std::expected<uint64_t, Ending>> Fill::size(const BlobName& reader) {
  while (true) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    Ending ending = progress.ending();  // before the size, which it may have had then
    const std::optional<uint64_t> size = progress.size();
    if (size) co_return *size;
    if (ending.outcome != Outcome::filling) co_return std::unexpected(std::move(ending));
    const bool woken = co_await progress.changed().wait(ticket, patience(reader));
    if (!woken) co_return std::unexpected(std::move(ending));
  }
}

base::Task<Ending> Fill::ended(const BlobName& reader) {
  while (true) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    Ending ending = progress.ending();
    if (ending.outcome != Outcome::filling) co_return ending;
    const bool woken = co_await progress.changed().wait(ticket, patience(reader));
    if (!woken) co_return ending;
  }
}

base::Task<uint64_t> Fill::readable(uint64_t offset, uint64_t end, base::TimePoint deadline) {
  while (true) {
    const base::Signal::Ticket ticket = progress.changed().ticket();
    const Progress::Readable now = progress.readable(offset);
    if (now.bytes > 0 || now.over) co_return now.bytes;

    const bool far = offset > progress.front() + kFrontReach && progress.present(offset) == 0;
    base::TimePoint until = deadline;
    if (far && !now.claimed && !no_ranges_ && !common_.stopping) {
      Worker& here = common_.workers.here();
      Claim claim = claim_range(offset, end, here.loop.now());
      if (claim) {
        by_ranges_ = true;
        here.tasks.spawn(fetch_range(shared_from_this(), &here, std::move(claim)));
      } else if (const base::TimePoint from = ranges_from_; from > here.loop.now()) {
        until = std::min(deadline, from);
      }
    }
    const bool woken = co_await progress.changed().wait(ticket, until);
    if (!woken && until == deadline) co_return 0;
  }
}

}  // namespace proxy
