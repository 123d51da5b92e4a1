// One connection of the server, whatever version of HTTP it speaks. Lives on one loop; must outlive
// run(), and the socket is closed with it.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

#include "base/task.h"
#include "base/thread_pool.h"
#include "http/address_limits.h"
#include "http/bandwidth.h"
#include "http/server.h"

namespace http {

// What all connections of a server share, on all loops.
struct ServerState {
  ServerState(ServerOptions server_options, base::ThreadPool& thread_pool);

  // Those in force; they never change, others take their place.
  std::shared_ptr<const ServerLimits> limits() const;
  void set_limits(ServerLimits limits);

  const ServerOptions options;  // but for the limits
  base::ThreadPool& pool;
  std::atomic<size_t> connections = 0;
  std::atomic<size_t> requests_in_flight = 0;
  std::atomic<uint64_t> failed_handshakes = 0;
  AddressLimits addresses;
  std::atomic<uint64_t> limited_connections = 0;
  std::atomic<uint64_t> limited_requests = 0;
  Bandwidth bandwidth;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ServerLimits> limits_;  // guarded by mutex_
};

class Connection {
 public:
  Connection() = default;
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Serves the connection to its end. Throws nothing.
  virtual base::Task<void> run() = 0;
  // Ends the connection now if it is idle, else after the exchanges in progress.
  virtual void finish() = 0;
  // Ends it, for it is idle and its place is needed. False if that takes a while, for its client
  // has yet to take much of what was sent.
  virtual bool make_room() = 0;
  // Ends it at once, by a reset. An exchange in progress fails at its next read or write.
  virtual void reset() = 0;
};

// Those of one loop's connections that wait for a request. Lives on that loop.
class IdleConnections {
 public:
  // One connection's wait, for as long as this lives; must not outlive the IdleConnections.
  class Wait {
   public:
    Wait(IdleConnections& all, Connection& connection);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    friend class IdleConnections;
    IdleConnections& all_;
    Connection& connection_;
    const std::list<Wait*>::iterator at_;
    bool listed_ = true;
  };

  // Ends the connection that has waited longest, of those that can end now. False if there is none.
  bool make_room();

 private:
  std::list<Wait*> waits_;  // the longest first
};

}  // namespace http
