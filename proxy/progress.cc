#include "proxy/progress.h"

#include <glog/logging.h>

#include <algorithm>

#include "cache/blob_store.h"

namespace proxy {

uint64_t last_block(uint64_t size) {
  return size == 0 ? 0 : (size - 1) / cache::kBlockSize * cache::kBlockSize;
}

void Progress::start(uint64_t size, const std::vector<Span>& present, bool doubtful) {
  {
    const std::lock_guard lock(mutex_);
    CHECK(!size_) << "a fill starts once";
    // At once, or a reader who knows the size would have fetched anew what is there.
    size_ = size;
    for (const Span& span : present) insert_locked(span);
    if (doubtful) doubtful_ = present;
  }
  changed_.notify();
}

std::optional<uint64_t> Progress::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

Claim::~Claim() {
  if (progress_ != nullptr) progress_->release(span_);
}

Claim Progress::claim(uint64_t begin, uint64_t limit) {
  const std::lock_guard lock(mutex_);
  if (closed_ || claims_.size() >= kMaxClaims) return {};
  if (present_locked(begin) != 0 || claimed_locked(begin)) return {};
  const uint64_t end = std::min(limit, gap_end_locked(begin));
  if (end <= begin) return {};
  claims_[begin] = end;
  return {*this, {begin, end}};
}

void Progress::publish(Span bytes) {
  if (bytes.size() == 0) return;
  {
    const std::lock_guard lock(mutex_);
    insert_locked(bytes);
  }
  changed_.notify();
}

// Merged with every span it touches, so that present() is one look-up.
void Progress::insert_locked(Span bytes) {
  if (bytes.size() == 0) return;
  auto it = spans_.upper_bound(bytes.begin);
  if (it != spans_.begin() && std::prev(it)->second >= bytes.begin) --it;
  while (it != spans_.end() && it->first <= bytes.end) {
    bytes.begin = std::min(bytes.begin, it->first);
    bytes.end = std::max(bytes.end, it->second);
    it = spans_.erase(it);
  }
  spans_[bytes.begin] = bytes.end;
}

void Progress::release(Span claim) {
  {
    const std::lock_guard lock(mutex_);
    claims_.erase(claim.begin);
  }
  changed_.notify();
}

uint64_t Progress::present_locked(uint64_t offset) const {
  auto it = spans_.upper_bound(offset);
  if (it == spans_.begin()) return 0;
  --it;
  return it->second > offset ? it->second - offset : 0;
}

bool Progress::claimed_locked(uint64_t offset) const {
  auto it = claims_.upper_bound(offset);
  return it != claims_.begin() && std::prev(it)->second > offset;
}

uint64_t Progress::present(uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  return present_locked(offset);
}

uint64_t Progress::stored() const {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [begin, end] : spans_) bytes += end - begin;
  return bytes;
}

bool Progress::covers(Span bytes) const { return present(bytes.begin) >= bytes.size(); }

void Progress::extend(Claim& claim, uint64_t limit) {
  const std::lock_guard lock(mutex_);
  Span& span = claim.span_;
  if (limit <= span.end || present_locked(span.end) != 0 || claimed_locked(span.end)) return;
  span.end = std::min(limit, gap_end_locked(span.end));
  claims_[span.begin] = span.end;
}

uint64_t Progress::gap_end(uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  return gap_end_locked(offset);
}

uint64_t Progress::gap_end_locked(uint64_t offset) const {
  uint64_t end = *size_;
  if (auto next = spans_.upper_bound(offset); next != spans_.end())
    end = std::min(end, next->first);
  if (auto next = claims_.upper_bound(offset); next != claims_.end()) {
    end = std::min(end, next->first);
  }
  return end;
}

bool Progress::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return claims_.empty();
}

void Progress::verify() {
  {
    const std::lock_guard lock(mutex_);
    verified_ = true;
  }
  changed_.notify();
}

bool Progress::verified() const {
  const std::lock_guard lock(mutex_);
  return verified_;
}

void Progress::end(Ending ending) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_.outcome != Outcome::filling) return;
    ending_ = std::move(ending);
  }
  changed_.notify();
}

Ending Progress::ending() const {
  const std::lock_guard lock(mutex_);
  return ending_;
}

Progress::Readable Progress::readable(uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  Readable result;
  result.over = ending_.outcome != Outcome::filling;
  if (!size_) return result;
  // Verified bytes stay readable however the commit goes; unverified ones do not outlive a failure.
  if (result.over && !verified_) return result;
  uint64_t closed = verified_ ? *size_ : last_block(*size_);
  if (!verified_) {
    for (const Span& span : doubtful_) {
      if (span.end > offset) closed = std::min(closed, span.begin);
    }
  }
  if (offset < closed) result.bytes = std::min(present_locked(offset), closed - offset);
  result.claimed = claimed_locked(offset);
  return result;
}

}  // namespace proxy
