#include "proxy/edge_health.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/durable_file.h"
#include "cache/layout.h"
#include "http/healthz.h"

namespace proxy {
namespace {

// Written through to the disk: a file system's state alone may come from memory.
std::string write_to(const std::filesystem::path& file) {
  const base::UniqueFd fd = base::open_file(file, O_WRONLY);
  if (fd && ::pwrite(fd.get(), "\n", 1, 0) == 1 && ::fdatasync(fd.get()) == 0) return "";
  return file.string() + ": " + std::strerror(errno);
}

base::Task<void> join(base::TaskScope* scope) { co_await scope->join(); }

}  // namespace

EdgeHealth::EdgeHealth(base::LoopGroup& loops, const EdgeHealthConfig& config,
                       const std::filesystem::path& cache)
    : loops_(loops),
      config_(config),
      probe_([file = cache::Layout(cache).lock()] { return write_to(file); }) {}

EdgeHealth::~EdgeHealth() { stop(); }

void EdgeHealth::start() {
  started_ = true;
  loops_.call(0, [this] { scope_.spawn(watch(this)); });
}

void EdgeHealth::stop() {
  if (!std::exchange(started_, false)) return;
  stopping_ = true;
  stopped_.notify();
  probe_.cancel();
  loops_.await(0, [this] { return join(&scope_); });
}

base::Task<void> EdgeHealth::watch(EdgeHealth* health) {
  base::EventLoop& loop = health->loops_.loop(0);
  while (true) {
    const base::Signal::Ticket ticket = health->stopped_.ticket();
    if (health->stopping_) break;
    std::string trouble;
    try {
      trouble = co_await health->probe_.look(loop, health->config_.timeout);
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    if (!health->stopping_) health->update(trouble);
    co_await health->stopped_.wait(ticket, loop.after(health->config_.interval));
  }
}

void EdgeHealth::update(const std::string& trouble) {
  const bool before = failing_.exchange(!trouble.empty());
  if (failing_ && !before) {
    LOG(ERROR) << "the cache's disk does not take a write, /healthz says 503: " << trouble;
  } else if (before && !failing_) {
    LOG(INFO) << "the cache's disk takes writes again";
  }
}

http::Response EdgeHealth::healthz(const http::Request& request) const {
  if (leaving_) return http::healthz(request, "ending");
  return http::healthz(request, failing_ ? "the cache's disk fails" : "");
}

}  // namespace proxy
