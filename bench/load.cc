#include "bench/load.h"

#include <algorithm>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>

#include "bench/clock.h"

namespace bench {

std::atomic<bool> interrupted = false;

namespace {

// A crowd of client threads that get ready, wait for one start and then run. The first exception of
// any of them stops all and is thrown again by finish().
class Crowd {
 public:
  using Work = std::function<void(int index, Client& client)>;

  Crowd(int clients, const Address& address, const Work& ready, const Work& run)
      : ready_(clients), running_(clients) {
    for (int i = 0; i < clients; ++i) {
      threads_.emplace_back([this, i, address, ready, run] {
        std::unique_ptr<Client> client;
        guarded([&] {
          client = std::make_unique<Client>(address, counters);
          ready(i, *client);
        });
        ready_.count_down();
        start_.wait();
        guarded([&] {
          if (client) run(i, *client);
        });
        --running_;
      });
    }
  }

  ~Crowd() {
    counters.stop = true;
    start();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  void wait_ready() {
    while (!ready_.try_wait()) {
      if (interrupted) counters.stop = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void start() {
    if (!start_.try_wait()) start_.count_down();
  }
  bool running() const { return running_ > 0; }

  void finish() {
    for (std::thread& thread : threads_) thread.join();
    if (interrupted) throw Interrupted{};
    if (failure_) std::rethrow_exception(failure_);
  }

  Counters counters;

 private:
  template <typename F>
  void guarded(F&& work) {
    try {
      work();
    } catch (...) {
      counters.stop = true;
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  std::latch ready_;
  std::latch start_{1};
  std::atomic<int> running_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

void watch_until(Crowd& crowd, Clock::time_point start, Clock::time_point end, const Watch& watch) {
  auto next_look = start;
  while (crowd.running() && Clock::now() < end) {
    if (interrupted) crowd.counters.stop = true;
    if (Clock::now() >= next_look) {
      watch(crowd.counters.bytes, since(start));
      next_look = Clock::now() + std::chrono::milliseconds(100);
    }
    std::this_thread::sleep_until(std::min(end, Clock::now() + std::chrono::milliseconds(5)));
  }
}

}  // namespace

HotResult hot_load(const Address& address, const std::vector<Blob>& blobs, const Blob& small,
                   int clients, std::chrono::duration<double> time, const Process& server,
                   const Watch& watch) {
  constexpr size_t kCompareOneIn = 16;
  HotResult result;
  std::mutex mutex;
  Crowd crowd(
      clients, address,
      [&](int, Client& client) {
        client.fetch(small, true);
        const std::lock_guard lock(mutex);
        result.cipher = client.cipher();
      },
      [&](int i, Client& client) {
        // Each starts at another blob, so that together they ask for all of them all the time.
        for (size_t n = static_cast<size_t>(i); !crowd.counters.stop; ++n) {
          if (!client.fetch(blobs[n % blobs.size()], n % kCompareOneIn == 0)) return;
        }
      });
  crowd.wait_ready();
  const uint64_t bytes = crowd.counters.bytes;
  const uint64_t requests = crowd.counters.requests;
  const double cpu = server.cpu_seconds();
  const auto start = Clock::now();
  crowd.start();
  watch_until(crowd, start, start + std::chrono::duration_cast<Clock::duration>(time), watch);
  result.cpu = server.cpu_seconds() - cpu;
  result.bytes = crowd.counters.bytes - bytes;
  result.requests = crowd.counters.requests - requests;
  result.seconds = since(start);
  crowd.counters.stop = true;
  crowd.finish();
  return result;
}

ColdResult cold_load(const Address& address, const Blob& blob, int clients, const Watch& watch) {
  ColdResult result;
  result.first_byte.resize(static_cast<size_t>(clients));
  Crowd crowd(
      clients, address, [](int, Client&) {},
      [&](int i, Client& client) {
        const auto asked = Clock::now();
        const auto first = client.fetch(blob, true);
        if (first) result.first_byte[static_cast<size_t>(i)] = Seconds(*first - asked).count();
      });
  crowd.wait_ready();
  const auto start = Clock::now();
  crowd.start();
  watch_until(crowd, start, Clock::time_point::max(), watch);
  result.seconds = since(start);
  crowd.finish();
  std::ranges::sort(result.first_byte);
  return result;
}

}  // namespace bench
