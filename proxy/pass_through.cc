#include "proxy/pass_through.h"

#include <glog/logging.h>

#include <algorithm>

#include "cache/blob_store.h"
#include "http/transport.h"

namespace proxy {

PassThrough::PassThrough(base::ThreadPool& pool, LastBlocks& last_blocks,
                         std::shared_ptr<Fill> fill, Download download)
    : pool_(pool),
      last_blocks_(last_blocks),
      fill_(std::move(fill)),
      size_(*fill_->progress.size()),
      closed_(last_block(size_)),
      file_good_(fill_->file.fd() >= 0),
      download_(std::move(download)) {}

base::Task<std::optional<Ending>> PassThrough::open(uint64_t offset, uint64_t length) {
  // Nothing is sent of it, so nothing would be verified.
  const oci::Digest& digest = fill_->name.digest;
  if (size_ == 0 && oci::Hasher(digest.algorithm()).digest() != digest) {
    co_return Ending{Outcome::digest_mismatch, "an empty answer is not the blob", ""};
  }
  if (fill_->file.fd() >= 0) co_return std::nullopt;  // it may well begin with what is there
  const Span span{offset, offset + length};
  if (remembered(span)) co_return std::nullopt;
  std::optional<Ending> failed =
      co_await open_transfer(span.end <= closed_ ? span : Span{0, size_});
  co_return failed;
}

base::Task<void> PassThrough::send(http::ResponseWriter& response, uint64_t offset,
                                   uint64_t length) {
  const Span span{offset, offset + length};
  const bool into_last_block = span.end > closed_;
  // A transfer that is left open is of the whole blob; another one would be so, too.
  const bool whole_again = forwarded_ && download_.is_open() && span.begin < at_;
  if (hashing_ || (forwarded_ && into_last_block) || whole_again) {
    throw http::ConnectionError("another part would be of another transfer");
  }
  const std::shared_ptr<const std::string> known = remembered(span);
  (into_last_block ? hashing_ : forwarded_) = true;
  if (known) {
    download_.close();  // it told the size
    co_await response.write(std::string_view(*known).substr(offset - closed_, length));
  } else if (into_last_block) {
    co_await forward_and_verify(response, span);
  } else {
    co_await forward(response, span);
  }
}

// The last block, if it is remembered and this part of it is all that the client gets.
std::shared_ptr<const std::string> PassThrough::remembered(Span span) const {
  if (span.begin < closed_ || forwarded_ || sent_end_ > 0) return nullptr;
  const std::optional<LastBlock> found =
      last_blocks_.find(fill_->name.digest.str(), base::EventLoop::current()->now());
  return found && found->blob_size == size_ ? found->bytes : nullptr;
}

// Nothing of the file is used: what an earlier process left in it is proved by the digest alone.
base::Task<void> PassThrough::forward(http::ResponseWriter& response, Span span) {
  while (span.begin < span.end) {
    const std::string_view bytes = co_await fetch(span.begin, span.end);
    co_await response.write(bytes);
    span.begin += bytes.size();
  }
  // What was not asked for may be what the next part is.
  const bool more_to_come = download_.is_open() && download_.whole();
  if (!more_to_come) end_transfer();
}

base::Task<void> PassThrough::forward_and_verify(http::ResponseWriter& response, Span span) {
  oci::Hasher hasher(fill_->name.digest.algorithm());
  auto last_block = std::make_shared<std::string>();
  while (hasher.length() < size_) {
    const uint64_t at = hasher.length();
    const std::string_view bytes = co_await next(at, size_);
    co_await pool_.run([&] { hasher.update(bytes); });
    const Span open{std::max(at, span.begin), std::min(at + bytes.size(), closed_)};
    if (open.begin < open.end) {
      co_await response.write(bytes.substr(open.begin - at, open.size()));
    } else if (response.client_left()) {
      throw http::ConnectionError("the client left before the bytes that it waited for");
    }
    const uint64_t end = at + bytes.size();
    if (end > closed_) *last_block += bytes.substr(std::max(at, closed_) - at);
  }
  end_transfer();
  if (hasher.digest() != fill_->name.digest) {
    LOG(ERROR) << fill_->name.digest.str() << " passed through has the digest "
               << hasher.digest().str() << "; the client was cut off before its end";
    throw http::ConnectionError("the upstream's bytes do not match the digest");
  }
  // All that came before was fetched to verify the end alone, which is asked for again.
  if (closed_ > 0 && span.begin >= closed_) {
    last_blocks_.remember(fill_->name.digest.str(), base::EventLoop::current()->now(),
                          {size_, last_block});
  }
  const uint64_t begin = std::max(span.begin, closed_);
  co_await response.write(std::string_view(*last_block).substr(begin - closed_, span.end - begin));
}

// The next bytes from `at` on, at most to `end`: from the fill's file while that can be read, or
// from the upstream.
base::Task<std::string_view> PassThrough::next(uint64_t at, uint64_t end) {
  const uint64_t there = file_good_ ? fill_->progress.present(at) : 0;
  if (there > 0) {
    end_transfer();
    from_file_.resize(std::min({there, end - at, cache::kBlockSize}));
    try {
      co_await http::read_file(pool_, fill_->file.fd(), at, from_file_.data(), from_file_.size());
    } catch (const http::FileError& e) {
      LOG(ERROR) << fill_->name.digest.str()
                 << ": nothing more is read from its partial blob: " << e.what();
      file_good_ = false;
    }
    if (!fill_->progress.verified() && fill_->file.lost()) file_good_ = false;
    if (!file_good_ && at < sent_end_ && !fill_->progress.verified()) {
      throw http::ConnectionError("what was sent cannot be read again, and so not be verified");
    }
    if (file_good_) co_return from_file_;
  }
  const uint64_t gap = file_good_ ? fill_->progress.gap_end(at) : size_;
  const std::string_view bytes = co_await fetch(at, std::min(end, gap));
  co_return bytes;
}

// The next bytes from the upstream, at most to `end`.
base::Task<std::string_view> PassThrough::fetch(uint64_t at, uint64_t end) {
  while (true) {
    const std::optional<Ending> failed = co_await open_transfer({at, end});
    if (failed) throw http::ConnectionError("the upstream failed: " + failed->why);
    if (unread_.empty()) unread_ = co_await download_.read(at_);
    take(std::min<uint64_t>(at - at_, unread_.size()));
    if (!unread_.empty()) co_return take(std::min<uint64_t>(end - at, unread_.size()));
  }
}

// What the transfer brought from where it stands on.
std::string_view PassThrough::take(size_t size) {
  const std::string_view bytes = unread_.substr(0, size);
  unread_.remove_prefix(size);
  at_ += size;
  return bytes;
}

// Has a transfer open that stands where the span begins, or before if it is of the whole blob. It
// may bring more than the span, or less.
base::Task<std::optional<Ending>> PassThrough::open_transfer(Span span) {
  if (!slot_) {
    Upstream& upstream = *fill_->name.upstream;
    const base::TimePoint deadline =
        base::EventLoop::current()->after(upstream.config().queue_timeout);
    std::optional<Slot> slot = upstream.passing_slots().try_take();
    if (!slot) {
      download_.close();  // who waits here holds no request of the upstream's
      slot = co_await upstream.passing_slots().take(deadline);
    }
    if (!slot) {
      co_return Ending{Outcome::busy, upstream.name() + ": too many are being passed through", ""};
    }
    slot_ = std::move(slot);
  }
  if (download_.is_open()) {
    const bool leads_there = at_ == span.begin || (at_ < span.begin && download_.whole());
    if (leads_there && at_ < download_.end()) co_return std::nullopt;
    end_transfer();
  }
  at_ = span.begin;
  std::optional<Ending> failed = co_await download_.open(span, size_);
  co_return failed;
}

// One that has brought all its bytes leaves its connection for others.
void PassThrough::end_transfer() {
  if (download_.is_open() && at_ == download_.end()) download_.finish();
  download_.close();
  unread_ = {};
}

}  // namespace proxy
