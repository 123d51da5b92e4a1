// Takeover: a new process of the same program takes the place of the old one without a connection
// being refused or a transfer being cut: it gets the listening sockets, which stay open all the
// time, over a unix socket (SCM_RIGHTS). Connections that come meanwhile wait in their backlog.
//
//   old                                        new
//   TakeoverPoint listens on the path          reads and checks its configuration
//                                       <----  Takeover::ask
//   gives its listening sockets         ---->
//                                       <----  release(): asks for what only one can have
//   ServedBy::release: stops accepting,
//   lets go of its storage              ---->
//                                              opens the storage, accepts
//                                       <----  ready()
//   ServedBy::leave: drains and ends           listens on the path
//
// A new process that fails before it is ready leaves the old one serving (ServedBy::resume). Only
// the same user, or root, is let in. Everything blocks, on threads that run no loop.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "http/listener.h"

namespace http {

// What the old process does; called one after the other, on the point's thread.
struct ServedBy {
  std::function<std::vector<ListeningSockets>()> sockets;  // copies of those it listens on
  std::function<void()> release;
  std::function<void()> resume;  // undoes release, also one that threw
  std::function<void(pid_t successor)> leave;
};

// The old process's end.
class TakeoverPoint {
 public:
  // Listens on the path, in place of whoever did before. base::IoError.
  TakeoverPoint(const std::filesystem::path& path, ServedBy old);
  ~TakeoverPoint();
  TakeoverPoint(const TakeoverPoint&) = delete;

 private:
  void serve();
  // True if the other process serves now.
  bool hand_over(const base::UniqueFd& peer);
  bool stopping() const;
  bool wait_readable(const base::UniqueFd& fd, int milliseconds) const;
  std::string receive(const base::UniqueFd& peer, int milliseconds) const;

  const ServedBy old_;
  const base::UniqueFd stop_;  // an eventfd
  base::UniqueFd listener_;
  std::jthread thread_;
};

// Starts the program's file anew, with the same arguments, so that it takes the place of this
// process. base::IoError.
void start_successor();

// The new process's end.
class Takeover {
 public:
  // nullopt if no process is there to be followed. base::IoError.
  static std::optional<Takeover> ask(const std::filesystem::path& path);

  // What the old process listens on.
  std::vector<ListeningSockets>& sockets() { return sockets_; }
  // Returns when the old process has let go of everything. base::IoError if it has not.
  void release();
  // Tells the old process that it is not needed any more.
  void ready();

 private:
  explicit Takeover(base::UniqueFd peer) : peer_(std::move(peer)) {}

  base::UniqueFd peer_;
  std::vector<ListeningSockets> sockets_;
};

}  // namespace http
