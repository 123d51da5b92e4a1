#include "proxy/download.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace proxy {
namespace {

// How long, and how often for one answer, an upstream may ask to be left alone by what clients are
// in the middle of, which would fail otherwise; and how often it is seen whether the edge stops.
constexpr base::Duration kThrottlePatience = std::chrono::seconds(30);
constexpr int kMostThrottleWaits = 5;
constexpr base::Duration kThrottlePause = std::chrono::seconds(1);

// Holds what the transfer belongs to.
base::Task<void> wait_for_end([[maybe_unused]] std::shared_ptr<Upstream> upstream,
                              Transfer transfer) {
  co_await transfer.wait_for_end();
}

}  // namespace

Download::Download(Worker& worker, BlobName name, const std::atomic<bool>& stopping)
    : worker_(&worker), name_(std::move(name)), stopping_(&stopping), attempts_(attempts()) {}

base::Task<std::optional<Ending>> Download::open(Span span, std::optional<uint64_t> size) {
  const base::TimePoint patience = worker_->loop.after(kThrottlePatience);
  int waits = 0;
  while (!transfer_) {
    if (*stopping_) co_return Ending{Outcome::cancelled, "the edge is stopping", ""};
    const std::variant<Attempts::Next, Ending> next = attempts_.next(worker_->loop.now());
    if (const auto* ending = std::get_if<Ending>(&next)) {
      if (!began_ || ending->outcome != Outcome::throttled || ++waits > kMostThrottleWaits) {
        co_return *ending;
      }
      const bool over = co_await throttling_ends(patience);
      if (!over) co_return *ending;
      attempts_ = attempts();
      continue;
    }
    const auto [url, delay] = std::get<Attempts::Next>(next);
    if (delay > base::Duration::zero()) co_await worker_->loop.sleep(delay);

    const std::optional<uint64_t> end =
        span.end == kToTheEnd ? std::nullopt : std::optional(span.end);
    std::variant<Transfer, Ending> answer =
        co_await worker_->client(name_.upstream).get(url, name_, span.begin, end, size, began_);
    if (auto* transfer = std::get_if<Transfer>(&answer)) {
      transfer_.emplace(std::move(*transfer));
    } else {
      Ending ending = std::get<Ending>(std::move(answer));
      VLOG(1) << name_.digest.str() << ": " << ending.why;
      attempts_.failed(std::move(ending));
    }
  }
  co_return std::nullopt;
}

// Waits until one of the URLs may be asked again; false if that is too late.
base::Task<bool> Download::throttling_ends(base::TimePoint patience) {
  while (!*stopping_) {
    const base::TimePoint now = worker_->loop.now();
    const std::optional<base::Duration> wait = name_.upstream->health().throttled(now);
    if (!wait) break;
    if (*wait > patience - now) co_return false;
    co_await worker_->loop.sleep(std::min(*wait, kThrottlePause));
  }
  co_return true;
}

Attempts Download::attempts() const {
  return Attempts(*name_.upstream, name_.upstream->config().rounds, &name_.digest);
}

base::Task<std::string_view> Download::read(uint64_t at) {
  std::string broken = "the answer brought no more";
  try {
    const std::string_view bytes = co_await transfer_->read();
    began_ = began_ || !bytes.empty();
    if (!bytes.empty()) co_return bytes;
  } catch (const http::TransferError& e) {
    broken = e.what();
  }
  broken.insert(0, name_.upstream->config().urls[transfer_->url()] + ": ");
  LOG(INFO) << name_.digest.str() << ": " << broken << " before byte " << at << "; resuming there";
  attempts_.failed({Outcome::unreachable, broken, ""}, transfer_->worthwhile());
  transfer_.reset();
  co_return std::string_view();
}

void Download::finish() {
  if (!transfer_) return;
  worker_->tasks.spawn(wait_for_end(name_.upstream, *std::exchange(transfer_, std::nullopt)));
}

}  // namespace proxy
