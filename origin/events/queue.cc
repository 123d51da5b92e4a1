#include "origin/events/queue.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "oci/digest.h"

namespace origin {
namespace {

// An event lists at most what is in one manifest.
constexpr uint32_t kMaxEvent = 32 << 20;
// As much may wait in memory for a disk that is slow.
constexpr uint64_t kMaxAdded = 32 << 20;
// A journal is written anew when more than this of it, and more than half, is of the past.
constexpr uint64_t kMinCompaction = 1 << 20;

constexpr size_t kLengthBytes = sizeof(uint32_t);
constexpr size_t kChecksumBytes = 8;
constexpr size_t kHeaderBytes = kLengthBytes + kChecksumBytes;

std::string header_of(std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  std::string header(kLengthBytes, '\0');
  std::memcpy(header.data(), &length, kLengthBytes);
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, text);
  return header.append(digest.bytes().substr(0, kChecksumBytes));
}

uint32_t length_in(std::string_view header) {
  uint32_t length = 0;
  std::memcpy(&length, header.data(), kLengthBytes);
  return length;
}

}  // namespace

EventQueue::EventQueue(std::filesystem::path directory, uint64_t limit)
    : directory_(std::move(directory)), limit_(limit) {
  base::create_directories_durably(directory_);
  lock();
  open_journal();
}

void EventQueue::lock() {
  const std::filesystem::path path = directory_ / "lock";
  lock_ = base::open_file(path, O_RDWR | O_CREAT, 0600);
  if (!lock_) throw base::IoError(ENOENT, "open " + path.string());
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return;
  if (errno != EWOULDBLOCK) throw base::IoError("lock " + path.string());
  throw base::IoError(EWOULDBLOCK, "the queue " + directory_.string() +
                                       " is used by another process; each needs its own "
                                       "notifications.queue.directory");
}

// Reads the journal from its start. What follows the last whole record is the end of a write that a
// crash broke off.
void EventQueue::open_journal() {
  journal_ = base::open_file(journal_path(), O_RDWR | O_CREAT, 0600);
  if (!journal_) throw base::IoError(ENOENT, "open " + journal_path().string());
  std::string header(kHeaderBytes, '\0');
  while (base::read_at(journal_.get(), end_, header.data(), kHeaderBytes) == kHeaderBytes) {
    const Record record{end_ + kHeaderBytes, length_in(header)};
    if (!read(record)) break;
    end_ = record.offset + record.length;
    if (record.length != 0) {
      records_.push_back(record);
      bytes_ += kHeaderBytes + record.length;
    } else if (!records_.empty()) {
      forget_oldest();
    }
  }
  waiting_ = records_.size();
  const off_t size = ::lseek(journal_.get(), 0, SEEK_END);
  if (size < 0) throw base::IoError("size of " + journal_path().string());
  if (std::cmp_equal(size, end_)) return;
  LOG(WARNING) << journal_path().string() << ": cut from " << size << " to " << end_
               << " bytes, because what follows is not a whole record";
  if (::ftruncate(journal_.get(), static_cast<off_t>(end_)) != 0) {
    throw base::IoError("truncate " + journal_path().string());
  }
}

// The record's text, if the record is whole.
std::optional<std::string> EventQueue::read(const Record& record) const {
  if (record.length > kMaxEvent) return std::nullopt;
  std::string bytes(kHeaderBytes + record.length, '\0');
  const uint64_t start = record.offset - kHeaderBytes;
  if (base::read_at(journal_.get(), start, bytes.data(), bytes.size()) != bytes.size()) {
    return std::nullopt;
  }
  std::string text = bytes.substr(kHeaderBytes);
  if (!bytes.starts_with(header_of(text))) return std::nullopt;
  return text;
}

void EventQueue::add(std::string event) {
  CHECK(!event.empty());
  const uint64_t size = event.size();
  const std::lock_guard lock(adding_mutex_);
  if (size > kMaxEvent || added_bytes_ + size > kMaxAdded) {
    return lost(1, "the disk is too slow, or the event too large");
  }
  added_bytes_ += size;
  added_.push_back(std::move(event));
  ++waiting_;
}

void EventQueue::flush() {
  const std::lock_guard lock(journal_mutex_);
  flush_added();
}

void EventQueue::sync() {
  int fd = -1;
  {
    const std::lock_guard lock(journal_mutex_);
    flush_added();
    if (!std::exchange(unsynced_, false)) return;
    // A descriptor of its own, so that nobody waits for this sync.
    fd = ::fcntl(journal_.get(), F_DUPFD_CLOEXEC, 0);
  }
  const base::UniqueFd journal(fd);
  if (!journal || ::fdatasync(journal.get()) != 0) {
    LOG(ERROR) << "syncing " << journal_path().string() << ": " << std::strerror(errno);
  }
}

void EventQueue::flush_added() {
  std::vector<std::string> events;
  {
    const std::lock_guard lock(adding_mutex_);
    events.swap(added_);
    added_bytes_ = 0;
  }
  if (events.empty()) return;
  try {
    write(events);
  } catch (const base::IoError& e) {
    waiting_ -= events.size();
    lost(events.size(), e.what());
    // What was written of them must not be found behind what is written next.
    if (::ftruncate(journal_.get(), static_cast<off_t>(end_)) != 0) {
      LOG(ERROR) << "truncate " << journal_path().string() << ": " << std::strerror(errno);
    }
  }
}

void EventQueue::write(const std::vector<std::string>& events) {
  std::string batch;
  std::vector<Record> records;
  for (const std::string& event : events) {
    batch += header_of(event);
    records.push_back({end_ + batch.size(), static_cast<uint32_t>(event.size())});
    batch += event;
  }
  base::write_at(journal_.get(), end_, batch);
  end_ += batch.size();
  bytes_ += batch.size();
  records_.insert(records_.end(), records.begin(), records.end());
  unsynced_ = true;

  uint64_t pushed_out = 0;
  for (; bytes_ > limit_ && !records_.empty(); ++pushed_out) forget_oldest();
  if (pushed_out == 0) return;
  waiting_ -= pushed_out;
  lost(pushed_out, "the queue is full");
  remember_done(pushed_out);
}

std::optional<EventQueue::Entry> EventQueue::front() {
  const std::lock_guard lock(journal_mutex_);
  flush_added();
  while (!records_.empty()) {
    if (auto event = read(records_.front())) return Entry{first_, std::move(*event)};
    lost(1, "the journal is damaged");
    --waiting_;
    forget_oldest();
    remember_done(1);
  }
  return std::nullopt;
}

void EventQueue::done(uint64_t number) {
  const std::lock_guard lock(journal_mutex_);
  if (records_.empty() || number != first_) return;
  --waiting_;
  forget_oldest();
  remember_done(1);
}

void EventQueue::forget_oldest() {
  bytes_ -= kHeaderBytes + records_.front().length;
  records_.pop_front();
  ++first_;
}

// On disk, what forget_oldest() did in memory. Should it fail, a restart sends an event again.
void EventQueue::remember_done(uint64_t count) {
  try {
    if (records_.empty()) {
      if (::ftruncate(journal_.get(), 0) != 0) throw base::IoError("truncate");
      end_ = 0;
      return;
    }
    std::string marks;
    for (; count > 0; --count) marks += header_of("");
    base::write_at(journal_.get(), end_, marks);
    end_ += marks.size();
    if (end_ - bytes_ > std::max(kMinCompaction, bytes_)) compact();
  } catch (const base::IoError& e) {
    LOG(ERROR) << journal_path().string() << ": " << e.what();
  }
}

// Replaces the journal by one that has only the events that wait.
void EventQueue::compact() {
  std::string content;
  content.reserve(bytes_);
  std::deque<Record> records;
  for (const Record& record : records_) {
    const size_t start = content.size();
    content.resize(start + kHeaderBytes + record.length);
    base::read_at(journal_.get(), record.offset - kHeaderBytes, content.data() + start,
                  kHeaderBytes + record.length);
    records.push_back({start + kHeaderBytes, record.length});
  }
  base::write_file_durably(journal_path(), content, 0600);
  base::UniqueFd journal = base::open_file(journal_path(), O_RDWR);
  if (!journal) throw base::IoError(ENOENT, "open");
  journal_ = std::move(journal);
  records_ = std::move(records);
  end_ = content.size();
}

// Says so at the first, second, fourth, eighth … event, so that a log is not flooded.
void EventQueue::lost(uint64_t count, const std::string& why) {
  const uint64_t before = dropped_.fetch_add(count);
  const uint64_t now = before + count;
  if (std::bit_floor(now) > before) {
    LOG(WARNING) << "queue " << directory_.string() << ": events lost so far: " << now << " ("
                 << why << ")";
  }
}

}  // namespace origin
