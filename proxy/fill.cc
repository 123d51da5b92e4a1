#include "proxy/fill.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

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
// A transfer that gave so much before it broke was worth its connection: the count of failures
// begins again. Less, and an upstream that cuts after every few bytes is given up.
constexpr uint64_t kWorthwhile = 64 << 10;

uint64_t align_down(uint64_t offset) { return offset / cache::kBlockSize * cache::kBlockSize; }

std::vector<Span> present_spans(const cache::BlobWriter& writer) {
  std::vector<Span> spans;
  for (uint64_t block = 0; block < writer.blocks(); ++block) {
    if (!writer.has(block)) continue;
    const uint64_t begin = block * cache::kBlockSize;
    spans.push_back({begin, std::min(begin + cache::kBlockSize, writer.size())});
  }
  return spans;
}

// A file without a name, as long as the blob.
base::UniqueFd unkept_file(const std::filesystem::path& directory, uint64_t size) {
  base::UniqueFd file = base::open_file(directory, O_RDWR | O_TMPFILE);
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    throw base::IoError("a file in " + directory.string());
  }
  return file;
}

// Puts a copy of the file, which is not kept, in its place, also for those who are reading it.
void leave_file(const base::UniqueFd& file, const std::filesystem::path& directory, uint64_t size) {
  const base::UniqueFd copy = unkept_file(directory, size);
  const auto end = static_cast<off_t>(size);
  off_t at = ::lseek(file.get(), 0, SEEK_DATA);
  while (at >= 0 && at < end) {
    const off_t hole = ::lseek(file.get(), at, SEEK_HOLE);
    if (hole < 0) throw base::IoError("seek");
    off_t to = at;
    while (at < hole) {
      const ssize_t n =
          ::copy_file_range(file.get(), &at, copy.get(), &to, static_cast<size_t>(hole - at), 0);
      if (n <= 0) throw base::IoError("copy");
    }
    at = ::lseek(file.get(), at, SEEK_DATA);
  }
  if (::dup3(copy.get(), file.get(), O_CLOEXEC) < 0) throw base::IoError("dup");
}

}  // namespace

// One run's state over its retries.
struct Fills::Run {
  std::optional<Transfer> transfer;  // at the run's position
  size_t url = 0;                    // who is asked next
  size_t failures = 0;               // since the last worthwhile transfer
  size_t refusals = 0;               // answers in a row that say no (absent, refused, throttled)
  uint64_t received = 0;             // by the transfer
  oci::Hasher* hasher = nullptr;     // the digest cursor; the front run has it

  // Reads to the transfer's end, where it stands, so that its connection can be used again.
  base::Task<void> close_transfer() {
    if (!transfer) co_return;
    try {
      co_await transfer->response->read();
    } catch (const http::TransferError&) {
      VLOG(1) << "the connection broke after the last byte";
    }
    transfer.reset();
  }
};

Fills::Joined Fills::join(const BlobName& name) {
  std::shared_ptr<Fill> fill;
  {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Fill>& entry = fills_[name.digest];
    if (entry) return {entry, false};
    entry = fill = std::make_shared<Fill>(name, base::EventLoop::current()->now());
  }
  Worker& here = workers_.here();
  here.tasks.spawn(run(fill, &here));
  return {fill, true};
}

std::shared_ptr<Fill> Fills::find(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = fills_.find(digest);
  return found == fills_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Fill>> Fills::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Fill>> all;
  all.reserve(fills_.size());
  for (const auto& [digest, fill] : fills_) all.push_back(fill);
  return all;
}

// ---- the fill itself ------------------------------------------------------------------------

base::Task<void> Fills::run(std::shared_ptr<Fill> fill, Worker* worker) {
  Ending ending;
  try {
    ending = co_await fill_blob(*fill, *worker);
  } catch (const base::IoError& e) {
    ending = {Outcome::storage_failed, e.what(), ""};
  }
  if (stopping_ && ending.outcome != Outcome::verified) ending.outcome = Outcome::cancelled;

  if (ending.outcome == Outcome::digest_mismatch) {
    LOG(ERROR) << fill->name.digest.str() << ": " << ending.why
               << "; the bytes were thrown away and every client still reading them was cut off";
  } else if (ending.outcome != Outcome::verified && ending.outcome != Outcome::absent) {
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
  co_await pool_.run([f, discard] {
    const std::lock_guard lock(f->writer_mutex);
    if (f->writer && discard) f->writer->discard();
    f->writer.reset();
    f->store.reset();
  });
  {
    const std::lock_guard lock(mutex_);
    fills_.erase(fill->name.digest);
  }
  fill->progress.end(std::move(ending));
}

base::Task<Ending> Fills::fill_blob(Fill& fill, Worker& worker) {
  base::crash_point("fill.started");
  // Another fill may have stored the blob between the caller's look-up and join().
  fill.blob = co_await pool_.run([&] { return store_.open(fill.name.digest); });
  if (fill.blob) {
    fill.file.reset(::fcntl(fill.blob->fd(), F_DUPFD_CLOEXEC, 0));
    if (!fill.file) throw base::IoError("dup");
    fill.progress.start(fill.blob->size(), {{0, fill.blob->size()}});
    fill.progress.verify();
    co_return Ending{Outcome::verified, "", ""};
  }

  // A partial blob of a former process tells the size; else the first answer does.
  Run first;
  std::optional<uint64_t> size = store_.partial_size(fill.name.digest);
  if (!size) {
    std::optional<Ending> failed = co_await open_transfer(fill, worker, first, {0, UINT64_MAX});
    if (failed) co_return std::move(*failed);
    size = first.transfer->blob_size;
  }
  std::optional<Ending> refused = co_await open_file(fill, *size);
  if (refused) co_return std::move(*refused);
  co_return co_await fetch_front(fill, worker, std::move(first));
}

base::Task<std::optional<Ending>> Fills::open_file(Fill& fill, uint64_t size) {
  const auto present = co_await pool_.run([&] { return begin_storing(fill, size); });
  if (!present) {
    co_return Ending{Outcome::no_space,
                     "no room for " + std::to_string(size) + " bytes beside what is in use", ""};
  }
  fill.progress.start(size, *present);
  co_return std::nullopt;
}

// Opens the file that the bytes go to and says what of them is there; nullopt if there is no room.
std::optional<std::vector<Span>> Fills::begin_storing(Fill& fill, uint64_t size) {
  const std::lock_guard lock(fill.writer_mutex);
  fill.store = store_.get();
  if (!fill.store) {
    fill.file = unkept_file(store_.directory(), size);
    return std::vector<Span>();
  }
  auto writer = fill.store->write(fill.name.digest, size);
  if (!writer) return std::nullopt;
  fill.writer = std::move(*writer);
  fill.file.reset(::fcntl(fill.writer->fd(), F_DUPFD_CLOEXEC, 0));
  if (!fill.file) throw base::IoError("dup");
  return present_spans(*fill.writer);
}

void Fills::let_go_of_store() {
  for (const std::shared_ptr<Fill>& fill : all()) {
    const std::lock_guard lock(fill->writer_mutex);
    if (!fill->writer) continue;
    try {
      // What the process that takes over resumes is the old file, so ours must be another.
      if (!fill->blob) leave_file(fill->file, store_.directory(), fill->writer->size());
    } catch (const base::IoError& e) {
      LOG(ERROR) << fill->name.digest.str() << " cannot be fetched to its end: " << e.what();
      fill->lost = true;
    }
    fill->writer.reset();
    fill->store.reset();
  }
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
        if (base::read_at(fill.file.get(), at, block.data(), length) != length) {
          throw base::IoError(EIO, "partial blob " + fill.name.digest.str() + " is too short");
        }
        hasher.update(block);
      });
      run.transfer.reset();  // whatever was open began before these bytes
      continue;
    }
    Claim claim = fill.progress.claim(at, at + kFrontReach);
    if (!claim) {
      co_await fill.progress.changed().wait(ticket);  // a range run is fetching them
      continue;
    }
    std::optional<Ending> failed = co_await fetch(fill, worker, run, claim);
    if (failed) co_return std::move(*failed);
  }
  co_await run.close_transfer();
  co_return co_await finish(fill, hasher.digest());
}

base::Task<Ending> Fills::finish(Fill& fill, const oci::Digest& found) {
  if (found != fill.name.digest) {
    co_return Ending{Outcome::digest_mismatch, "the upstream's bytes have digest " + found.str(),
                     ""};
  }
  base::crash_point("fill.verified");
  // Readers get their last block now; making the blob durable is not their business.
  fill.progress.verify();
  co_await pool_.run([&] {
    const std::lock_guard lock(fill.writer_mutex);
    if (fill.writer) fill.blob = fill.writer->commit();
  });
  co_return Ending{Outcome::verified, "", ""};
}

// ---- runs -----------------------------------------------------------------------------------

// Asks the upstreams in turn until one gives bytes from span.begin on. An Ending when all of them
// say no or none has given a byte for `rounds` rounds.
base::Task<std::optional<Ending>> Fills::open_transfer(Fill& fill, Worker& worker, Run& run,
                                                       Span span) {
  const UpstreamConfig& upstream = fill.name.upstream->config();
  const size_t urls = upstream.urls.size();
  while (true) {
    if (stopping_) co_return Ending{Outcome::cancelled, "the edge is stopping", ""};
    if (run.failures > 0 && run.failures % urls == 0) {
      co_await worker.loop.sleep(upstream.round_delay * (1 << (run.failures / urls - 1)));
    }
    const std::optional<uint64_t> size = fill.progress.size();
    const std::optional<uint64_t> end = size ? std::optional(span.end) : std::nullopt;
    std::variant<Transfer, Ending> answer =
        co_await worker.client(fill.name.upstream).get(run.url, fill.name, span.begin, end, size);
    if (auto* transfer = std::get_if<Transfer>(&answer)) {
      run.transfer = std::move(*transfer);
      run.received = 0;
      run.refusals = 0;
      co_return std::nullopt;
    }
    Ending ending = std::get<Ending>(std::move(answer));
    run.url = (run.url + 1) % urls;
    ++run.failures;
    run.refusals = ending.outcome == Outcome::unreachable ? 0 : run.refusals + 1;
    if (run.refusals == urls || run.failures == urls * upstream.rounds) co_return ending;
    VLOG(1) << fill.name.digest.str() << ": " << ending.why << "; trying the next upstream";
  }
}

// Fetches what is claimed into the partial blob; the front run lengthens its claim as it goes.
// nullopt when all of it is there.
base::Task<std::optional<Ending>> Fills::fetch(Fill& fill, Worker& worker, Run& run, Claim& claim) {
  const UpstreamConfig& upstream = fill.name.upstream->config();
  const bool front = run.hasher != nullptr;
  uint64_t at = claim.span().begin;
  while (true) {
    if (front) fill.progress.extend(claim, at + kFrontReach);
    if (at == claim.span().end) co_return std::nullopt;
    if (!run.transfer) {
      const Span wanted{at, front ? fill.progress.gap_end(at) : claim.span().end};
      std::optional<Ending> failed = co_await open_transfer(fill, worker, run, wanted);
      if (failed) co_return failed;
    }
    if (run.transfer->skip > 0 && !front) {
      co_return Ending{Outcome::unreachable, "the upstream does not answer ranges", ""};
    }

    std::string_view bytes;
    std::string broken = "the answer ended early";
    try {
      bytes = co_await run.transfer->response->read();
    } catch (const http::TransferError& e) {
      broken = e.what();
    }
    if (bytes.empty()) {
      const std::string url = upstream.urls[run.url];
      LOG(INFO) << fill.name.digest.str() << ": " << url << ": " << broken << " before byte " << at
                << "; resuming there";
      run.failures = run.received >= kWorthwhile ? 1 : run.failures + 1;
      run.url = (run.url + 1) % upstream.urls.size();
      run.transfer.reset();
      if (run.failures >= upstream.urls.size() * upstream.rounds) {
        broken.insert(0, url + ": ");
        co_return Ending{Outcome::unreachable, broken, ""};
      }
      continue;
    }
    run.received += bytes.size();

    const uint64_t skipped = std::min<uint64_t>(run.transfer->skip, bytes.size());
    run.transfer->skip -= skipped;
    bytes.remove_prefix(skipped);
    if (front) fill.progress.extend(claim, at + bytes.size());
    const bool beyond = bytes.size() > claim.span().end - at;
    bytes = bytes.substr(0, claim.span().end - at);
    if (bytes.empty()) continue;
    co_await pool_.run([&] { store_bytes(fill, at, bytes, run.hasher); });
    at += bytes.size();
    // The rest of what was read is another run's, so this transfer is out of step with its claim.
    if (beyond) run.transfer.reset();
  }
}

// One write, on the pool: to the file, to the readers, to the digest, to the block map.
void Fills::store_bytes(Fill& fill, uint64_t offset, std::string_view bytes, oci::Hasher* hasher) {
  const uint64_t end = offset + bytes.size();
  {
    const std::lock_guard lock(fill.writer_mutex);
    if (fill.lost) throw base::IoError(ENOSPC, "the store is another process's");
    if (fill.writer) {
      fill.writer->write(offset, bytes);
    } else {
      base::write_at(fill.file.get(), offset, bytes);
    }
  }
  fill.progress.publish({offset, end});
  if (hasher != nullptr) hasher->update(bytes);
  {
    const std::lock_guard lock(fill.writer_mutex);
    for (uint64_t begin = align_down(offset); fill.writer && begin < end;
         begin += cache::kBlockSize) {
      const Span block{begin, std::min(begin + cache::kBlockSize, fill.writer->size())};
      if (fill.progress.covers(block)) fill.writer->mark(begin / cache::kBlockSize);
    }
  }
  base::crash_point("fill.block_written");
}

base::Task<void> Fills::fetch_range(std::shared_ptr<Fill> fill, Worker* worker, Claim claim) {
  Run run;
  std::optional<Ending> failed;
  try {
    failed = co_await fetch(*fill, *worker, run, claim);
  } catch (const base::IoError& e) {
    failed = Ending{Outcome::storage_failed, e.what(), ""};
  }
  if (failed) {
    // What is missing stays missing: the front run fetches it when it comes there.
    fill->ranges_failed = true;
    LOG(INFO) << fill->name.digest.str() << ": a range from byte " << claim.span().begin
              << " could not be fetched on its own: " << failed->why;
  } else {
    co_await run.close_transfer();
  }
}

// ---- readers --------------------------------------------------------------------------------

base::Task<std::optional<uint64_t>> Fills::size(Fill& fill) {
  while (true) {
    const base::Signal::Ticket ticket = fill.progress.changed().ticket();
    const std::optional<uint64_t> size = fill.progress.size();
    if (size || fill.progress.ending().outcome != Outcome::filling) co_return size;
    co_await fill.progress.changed().wait(ticket);
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
    if (far && !now.claimed && !fill->ranges_failed && !stopping_) {
      // Whole blocks, because only those survive in the block map.
      const uint64_t block = align_down(offset);
      const uint64_t begin = block + progress.present(block);
      const uint64_t limit = std::min(align_down(end + cache::kBlockSize - 1), block + kRangeRun);
      Claim claim = progress.claim(begin, limit);
      if (claim) {
        Worker& here = workers_.here();
        here.tasks.spawn(fetch_range(fill, &here, std::move(claim)));
      }
    }
    const bool woken = co_await progress.changed().wait(ticket, deadline);
    if (!woken) co_return 0;
  }
}

base::Task<void> FillSource::send(http::ResponseWriter& response, uint64_t offset,
                                  uint64_t length) {
  const uint64_t end = offset + length;
  while (offset < end) {
    const uint64_t ready = co_await fills_.readable(fill_, offset, end, base::kForever);
    if (ready == 0) {
      throw http::ConnectionError("the fill failed: " + fill_->progress.ending().why);
    }
    const uint64_t step = std::min(ready, end - offset);
    co_await response.write_file(fill_->file.get(), offset, step);
    offset += step;
  }
}

base::Task<std::variant<uint64_t, Ending>> Fills::head(BlobName name) {
  UpstreamClient& client = workers_.here().client(name.upstream);
  const size_t urls = name.upstream->config().urls.size();
  Ending last;
  for (size_t url = 0; url < urls; ++url) {
    std::variant<uint64_t, Ending> answer = co_await client.head(url, name);
    if (std::holds_alternative<uint64_t>(answer)) co_return answer;
    last = std::get<Ending>(std::move(answer));
  }
  co_return last;
}

}  // namespace proxy
