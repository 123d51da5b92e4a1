#include "origin/health.h"

#include <glog/logging.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "base/yaml_config.h"
#include "http/client.h"
#include "http/healthz.h"

namespace origin {
namespace {

// A file's existence is found out on local disks, mostly; it must not wait for ever elsewhere.
constexpr std::chrono::seconds kFileTimeout(5);

// The state of the file system, because this is always asked of an NFS server, while attributes may
// come from the client's memory. A tree that does not exist yet is no failure.
std::string look_at_storage(const std::filesystem::path& root) {
  struct statfs status{};
  if (::statfs(root.c_str(), &status) == 0 || errno == ENOENT) return "";
  return root.string() + ": " + std::strerror(errno);
}

std::string look_for_file(const std::filesystem::path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) == 0) return "file exists";
  return errno == ENOENT || errno == ENOTDIR ? "" : std::strerror(errno);
}

std::string connect_to(const std::string& address, base::Duration timeout) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
  std::string why = error == 0 ? "" : ::gai_strerror(error);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, [](addrinfo* list) {
    if (list != nullptr) ::freeaddrinfo(list);
  });
  // connect(2) gives up when sending would (socket(7), SO_SNDTIMEO).
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(timeout).count();
  const timeval limit{us / 1'000'000, us % 1'000'000};
  for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
    const base::UniqueFd fd(::socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd) {
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      if (::connect(fd.get(), to->ai_addr, to->ai_addrlen) == 0) return "";
    }
    why = std::strerror(errno == EINPROGRESS ? ETIMEDOUT : errno);
  }
  return "connection to " + address + " failed: " + why;
}

base::Task<void> join(base::TaskScope* scope) { co_await scope->join(); }

}  // namespace

// One check; lives on loop 0.
class Health::Check {
 public:
  Check(std::string name, const HealthConfig::Timing& timing, Refuses refuses)
      : name_(std::move(name)), timing_(timing), refuses_(refuses) {}
  virtual ~Check() = default;

  // What is wrong, or "". May throw.
  virtual base::Task<std::string> run(base::EventLoop& loop) = 0;
  // Ends a run in progress.
  virtual void cancel() = 0;

  const std::string& name() const { return name_; }
  bool refuses_all() const { return refuses_ == Refuses::all; }
  base::Duration interval() const { return timing_.interval; }
  // Counts a result; true if it is the last of enough failures.
  bool fails(bool failed) {
    failures_ = failed ? failures_ + 1 : 0;
    return failed && failures_ >= timing_.threshold;
  }

 private:
  const std::string name_;
  const HealthConfig::Timing timing_;
  const Refuses refuses_;
  int64_t failures_ = 0;  // in a row
};

class Health::ProbeCheck : public Check {
 public:
  ProbeCheck(std::string name, const HealthConfig::Timing& timing, base::Duration timeout,
             base::Probe::Look look, Refuses refuses)
      : Check(std::move(name), timing, refuses), probe_(std::move(look)), timeout_(timeout) {}

  base::Task<std::string> run(base::EventLoop& loop) override {
    co_return co_await probe_.look(loop, timeout_);
  }
  void cancel() override { probe_.cancel(); }

 private:
  base::Probe probe_;
  const base::Duration timeout_;
};

class Health::HttpCheck : public Check {
 public:
  HttpCheck(std::string name, const HealthConfig::HttpCheck& config)
      : Check(std::move(name), config.timing, Refuses::all), config_(config) {}

  base::Task<std::string> run(base::EventLoop& loop) override {
    if (!client_) {
      http::ClientOptions options;
      options.connect_timeout = options.first_byte_timeout = config_.timeout;
      options.user_agent = "entrepot-origin/" ENTREPOT_VERSION;
      client_.emplace(loop, std::move(options));
    }
    http::ClientRequest request{"HEAD", config_.uri, config_.headers};
    const auto response = co_await client_->fetch(std::move(request));
    if (response->status() != config_.status) {
      co_return name() +
          ": downstream service returned unexpected status: " + std::to_string(response->status());
    }
    co_return "";
  }
  void cancel() override {
    if (client_) client_->abort();
  }

 private:
  const HealthConfig::HttpCheck config_;
  std::optional<http::Client> client_;
};

Health::Health(base::LoopGroup& loops, const HealthConfig& config,
               const std::filesystem::path& root)
    : loops_(loops) {
  const Refuses refuses = config.storage.enabled ? Refuses::all : Refuses::by_healthz;
  const auto look = [root] { return look_at_storage(root); };
  add("storagedriver_filesystem", config.storage.timing, config.storage.timeout, look, refuses);
  for (const HealthConfig::FileCheck& check : config.files) {
    add(check.file.string(), check.timing, kFileTimeout,
        [file = check.file] { return look_for_file(file); });
  }
  for (const HealthConfig::TcpCheck& check : config.addresses) {
    add(check.address, check.timing, check.timeout,
        [check] { return connect_to(check.address, check.timeout); });
  }
  for (const HealthConfig::HttpCheck& check : config.uris) {
    checks_.push_back(
        std::make_unique<HttpCheck>(unused_name(base::without_password(check.uri)), check));
  }
}

Health::~Health() { stop(); }

void Health::add(const std::string& name, const HealthConfig::Timing& timing,
                 base::Duration timeout, base::Probe::Look look, Refuses refuses) {
  checks_.push_back(
      std::make_unique<ProbeCheck>(unused_name(name), timing, timeout, std::move(look), refuses));
}

std::string Health::unused_name(const std::string& name) const {
  std::string unused = name;
  const auto taken = [&](const auto& check) { return check->name() == unused; };
  for (int n = 2; std::ranges::any_of(checks_, taken); ++n) {
    unused = name + " (" + std::to_string(n) + ")";
  }
  return unused;
}

void Health::start() {
  started_ = true;
  loops_.call(0, [this] {
    for (const auto& check : checks_) scope_.spawn(watch(this, check.get()));
  });
}

void Health::stop() {
  if (!std::exchange(started_, false)) return;
  loops_.call(0, [this] {
    stopping_ = true;
    stopped_.notify();
    for (const auto& check : checks_) check->cancel();
  });
  loops_.await(0, [this] { return join(&scope_); });
  loops_.call(0, [this] { checks_.clear(); });
}

base::Task<void> Health::watch(Health* health, Check* check) {
  base::EventLoop& loop = health->loops_.loop(0);
  while (!health->stopping_) {
    std::string error;
    try {
      error = co_await check->run(loop);
    } catch (const std::exception& e) {
      error = e.what();
    }
    if (health->stopping_) break;
    health->update(*check, std::move(error));
    const base::Signal::Ticket ticket = health->stopped_.ticket();
    co_await health->stopped_.wait(ticket, loop.after(check->interval()));
  }
}

void Health::update(Check& check, std::string error) {
  const bool failed = check.fails(!error.empty());
  const std::lock_guard lock(mutex_);
  const bool before = errors_.contains(check.name());
  if (failed && !before) {
    LOG(ERROR) << "health check " << check.name() << " fails, "
               << (check.refuses_all() ? "requests get 503: " : "/healthz says 503: ") << error;
  } else if (!failed && before) {
    LOG(INFO) << "health check " << check.name() << " is well again";
  }
  if (failed) {
    errors_[check.name()] = std::move(error);
  } else {
    errors_.erase(check.name());
  }
  unhealthy_ = !errors_.empty();
  failing_ = std::ranges::any_of(checks_, [this](const auto& one) {
    return one->refuses_all() && errors_.contains(one->name());
  });
}

std::map<std::string, std::string> Health::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_;
}

http::Response Health::healthz(const http::Request& request) const {
  if (leaving_) return http::healthz(request, "ending");
  return http::healthz(request, unhealthy_ ? "health check failed" : "");
}

}  // namespace origin
