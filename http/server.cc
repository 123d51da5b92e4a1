#include "http/server.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <unordered_set>

#include "base/error.h"
#include "base/signal.h"
#include "http/accepted_connection.h"
#include "http/listener.h"

namespace http {
namespace {

// Connections accepted before the loop's other work has its turn.
constexpr int kTurnAccepts = 16;
// Connections that are being closed to make room for others are this part of all at most.
constexpr size_t kClosingPart = 16;
// How long to let descriptors become free after accept(2) found none.
constexpr std::chrono::milliseconds kExhaustedPause(100);

Response plain_error(const Request*, const std::exception_ptr& failure) {
  Response response;
  try {
    std::rethrow_exception(failure);
  } catch (const StatusError& e) {
    response.status = e.status();
  } catch (const std::exception&) {
    response.status = 500;  // nothing about our insides for the client
  }
  response.headers.add("Content-Type", "text/plain");
  response.body = std::string(reason_phrase(response.status)) + "\n";
  return response;
}

ServerOptions with_defaults(ServerOptions options) {
  if (!options.on_error) options.on_error = plain_error;
  return options;
}

// One loop's part of the server. Touched on that loop only.
struct LoopPart {
  LoopPart(base::EventLoop& l, ServerState& s) : loop(l), server(s) {}

  base::EventLoop& loop;
  ServerState& server;
  base::TaskScope scope;
  std::unordered_set<base::FdWaiter*> accepting;
  std::unordered_set<Connection*> connections;
  IdleConnections idle;
  bool stopping = false;
  bool paused = false;
  base::Signal changed;  // stopping, or a connection ended while stopping

  void stop_accepting() {
    changed.notify();
    for (base::FdWaiter* waiter : accepting) waiter->cancel();
  }
};

base::Task<void> serve_connection(LoopPart* part, base::UniqueFd socket, Peer peer,
                                  std::shared_ptr<TlsContext> tls) {
  const std::shared_ptr<const ServerLimits> limits = part->server.limits();
  const SendLimits sending{.least = {limits->send_timeout, limits->min_send_rate},
                           .bytes_per_second = limits->connection_bandwidth,
                           .together = &part->server.bandwidth};
  base::ThreadPool& pool = part->server.pool;
  std::unique_ptr<Transport> transport =
      tls ? Transport::tls(part->loop, pool, std::move(socket), sending, tls->current())
          : Transport::plain(part->loop, pool, std::move(socket), sending);
  AcceptedConnection connection(part->loop, part->server, part->idle, limits, std::move(transport),
                                std::move(peer));
  part->connections.insert(&connection);
  co_await connection.run();
  part->connections.erase(&connection);
}

// Counts the connection until its socket is closed.
base::Task<void> count_connection(LoopPart* part, base::UniqueFd socket, Peer peer,
                                  std::optional<AddressLimits::Place> of_address,
                                  std::shared_ptr<TlsContext> tls) {
  co_await serve_connection(part, std::move(socket), std::move(peer), std::move(tls));
  of_address.reset();
  --part->server.connections;
  if (part->stopping) part->changed.notify();
}

// Whether there is room for a connection, that is counted already.
bool has_room(LoopPart* part, size_t connections, size_t most) {
  if (connections <= most) return true;
  return connections <= most + most / kClosingPart + 1 && part->idle.make_room();
}

// Serves the connection, or closes it if there are too many.
void admit(LoopPart* part, base::UniqueFd socket, Peer peer, std::shared_ptr<TlsContext> tls) {
  ServerState& server = part->server;
  const std::shared_ptr<const ServerLimits> limits = server.limits();
  std::optional<AddressLimits::Place> of_address;
  const size_t most = limits->max_connections_per_address;
  if (most > 0 && !contains_address(limits->unlimited, peer.address) &&
      !limits->trusted_proxies.contain(peer)) {
    of_address = server.addresses.connect(peer.address, most);
    if (!of_address) {
      ++server.limited_connections;
      LOG_EVERY_T(WARNING, 10) << "connection from " << peer.address << " closed: it has " << most
                               << " already";
      return;
    }
  }
  if (!has_room(part, ++server.connections, limits->max_connections)) {
    --server.connections;
    return;
  }
  part->scope.spawn(count_connection(part, std::move(socket), std::move(peer),
                                     std::move(of_address), std::move(tls)));
}

base::Task<void> accept_connections(LoopPart* part, base::UniqueFd listener,
                                    std::shared_ptr<TlsContext> tls) {
  base::FdWaiter waiter(part->loop, listener.get());
  part->accepting.insert(&waiter);
  int accepted_in_turn = 0;
  while (!part->stopping && !part->paused) {
    const base::Signal::Ticket ticket = part->changed.ticket();
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    base::UniqueFd socket(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&address), &size,
                                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      admit(part, std::move(socket), peer_of(address), tls);
      if (++accepted_in_turn % kTurnAccepts == 0) co_await part->loop.yield();
    } else if (errno == EAGAIN) {
      co_await waiter.readable();
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The listener stays readable: waiting for it would spin.
      LOG_EVERY_N(WARNING, 100) << "cannot accept connections: " << std::strerror(errno);
      co_await part->changed.wait(ticket, part->loop.after(kExhaustedPause));
    }
    // Anything else is about that one connection, which is gone (accept(2), "Error handling").
  }
  part->accepting.erase(&waiter);
}

// Lets what is open end in order until the deadline.
base::Task<void> drain_part(LoopPart* part, base::Duration limit, std::promise<void>* done) {
  part->stopping = true;
  part->stop_accepting();
  // finish() may end a connection at once, and change the set.
  const std::vector<Connection*> open(part->connections.begin(), part->connections.end());
  for (Connection* connection : open) {
    if (part->connections.contains(connection)) connection->finish();
  }
  const base::TimePoint deadline = part->loop.after(limit);
  bool in_time = limit > base::Duration::zero();
  while (in_time) {
    const base::Signal::Ticket ticket = part->changed.ticket();
    if (part->connections.empty()) break;
    in_time = co_await part->changed.wait(ticket, deadline);
  }
  done->set_value();
}

// Resets what is still open and returns how many that were.
size_t reset_connections(LoopPart* part) {
  const std::vector<Connection*> late(part->connections.begin(), part->connections.end());
  for (Connection* connection : late) {
    if (part->connections.contains(connection)) connection->reset();
  }
  return late.size();
}

base::Task<void> join(LoopPart* part) { co_await part->scope.join(); }

base::UniqueFd copy_of(const base::UniqueFd& fd) {
  base::UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw base::IoError("dup");
  return copy;
}

// "127.0.0.1:5000", with the port that was bound.
std::string describe(const Listen& listen, const BoundSockets& sockets) {
  if (!listen.inherited.empty()) return sockets.name;
  if (sockets.port == 0) return listen.address;
  return listen.address.substr(0, listen.address.rfind(':') + 1) + std::to_string(sockets.port);
}

}  // namespace

ServerState::ServerState(ServerOptions server_options, base::ThreadPool& thread_pool)
    : options(std::move(server_options)), pool(thread_pool) {
  set_limits(options.limits);
}

std::shared_ptr<const ServerLimits> ServerState::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}

void ServerState::set_limits(ServerLimits limits) {
  bandwidth.limit(limits.total_bandwidth);
  auto fresh = std::make_shared<const ServerLimits>(std::move(limits));
  const std::lock_guard lock(mutex_);
  limits_ = std::move(fresh);
}

struct Server::Impl {
  struct Bound {
    BoundSockets sockets;  // until drain()
    std::string configured;
    std::string address;
    std::shared_ptr<TlsContext> tls;
  };

  Impl(base::LoopGroup& l, base::ThreadPool& pool, ServerOptions options)
      : loops(l), state(with_defaults(std::move(options)), pool) {
    for (size_t i = 0; i < loops.size(); ++i) {
      parts.push_back(std::make_unique<LoopPart>(loops.loop(i), state));
    }
  }

  base::LoopGroup& loops;
  ServerState state;
  std::vector<std::unique_ptr<LoopPart>> parts;
  std::vector<Bound> bound;
};

Server::Server(base::LoopGroup& loops, base::ThreadPool& pool, ServerOptions options,
               const std::vector<Listen>& listens)
    : impl_(std::make_unique<Impl>(loops, pool, std::move(options))) {
  for (const Listen& listen : listens) {
    BoundSockets sockets = listen.inherited.empty()
                               ? bind_listener(listen.address, loops.size())
                               : adopt_listener(listen.inherited, loops.size());
    std::string address = describe(listen, sockets);
    impl_->bound.push_back({std::move(sockets), listen.address, std::move(address), listen.tls});
  }
}

Server::~Server() {
  drain(base::Duration::zero());
  for (const Impl::Bound& bound : impl_->bound) {
    if (!bound.sockets.unix_path.empty()) ::unlink(bound.sockets.unix_path.c_str());
  }
}

void Server::start() {
  for (const Impl::Bound& bound : impl_->bound) {
    for (size_t i = 0; i < bound.sockets.sockets.size(); ++i) {
      base::UniqueFd socket = copy_of(bound.sockets.sockets[i]);
      const size_t loop = i % impl_->parts.size();
      LoopPart* part = impl_->parts[loop].get();
      impl_->loops.call(
          loop, [&] { part->scope.spawn(accept_connections(part, std::move(socket), bound.tls)); });
    }
  }
}

void Server::pause() {
  for (size_t i = 0; i < impl_->parts.size(); ++i) {
    impl_->loops.call(i, [part = impl_->parts[i].get()] {
      part->paused = true;
      part->stop_accepting();
    });
  }
}

void Server::resume() {
  for (size_t i = 0; i < impl_->parts.size(); ++i) {
    impl_->loops.call(i, [part = impl_->parts[i].get()] { part->paused = false; });
  }
  start();
}

std::vector<ListeningSockets> Server::listening() const {
  std::vector<ListeningSockets> all;
  for (const Impl::Bound& bound : impl_->bound) {
    ListeningSockets& copies = all.emplace_back(bound.configured);
    for (const base::UniqueFd& socket : bound.sockets.sockets) {
      copies.sockets.push_back(copy_of(socket));
    }
  }
  return all;
}

void Server::leave_sockets() {
  for (Impl::Bound& bound : impl_->bound) bound.sockets.unix_path.clear();
}

void Server::set_limits(ServerLimits limits) { impl_->state.set_limits(std::move(limits)); }

size_t Server::drain(std::chrono::nanoseconds limit, const std::function<void()>& at_deadline) {
  for (Impl::Bound& bound : impl_->bound) bound.sockets.sockets.clear();
  std::vector<std::promise<void>> drained(impl_->parts.size());
  for (size_t i = 0; i < drained.size(); ++i) {
    LoopPart* part = impl_->parts[i].get();
    std::promise<void>* done = &drained[i];
    impl_->loops.loop(i).post(
        [part, limit, done] { part->scope.spawn(drain_part(part, limit, done)); });
  }
  for (std::promise<void>& done : drained) done.get_future().wait();
  if (connections() > 0 && at_deadline) at_deadline();
  size_t reset = 0;
  for (size_t i = 0; i < impl_->parts.size(); ++i) {
    impl_->loops.call(i, [&] { reset += reset_connections(impl_->parts[i].get()); });
  }
  for (size_t i = 0; i < impl_->parts.size(); ++i) {
    LoopPart* part = impl_->parts[i].get();
    impl_->loops.await(i, [part] { return join(part); });
  }
  return reset;
}

uint16_t Server::port(size_t i) const { return impl_->bound.at(i).sockets.port; }

std::string Server::address(size_t i) const { return impl_->bound.at(i).address; }

size_t Server::connections() const { return impl_->state.connections; }

uint64_t Server::failed_handshakes() const { return impl_->state.failed_handshakes; }

uint64_t Server::limited_connections() const { return impl_->state.limited_connections; }

uint64_t Server::limited_requests() const { return impl_->state.limited_requests; }

}  // namespace http
