#include "http/takeover.h"

#include <glog/logging.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "base/error.h"
#include "base/thread_signals.h"

namespace http {
namespace {

constexpr size_t kMaxText = 4096;
constexpr size_t kMaxSockets = 250;  // in one message (SCM_MAX_FD is 253)
constexpr int kAnswerTime = 60'000;  // ms, for what a live process does at once
constexpr int kForever = -1;         // for opening the storage: an end is seen anyway
constexpr const char* kEnd = "end";  // of the sockets; an address never is that
constexpr const char* kRelease = "release";
constexpr const char* kReleased = "released";
constexpr const char* kReadyMessage = "ready";

base::UniqueFd make_socket() {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) throw base::IoError("cannot make a socket");
  return fd;
}

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) throw base::IoError(ENAMETOOLONG, text);
  text.copy(address.sun_path, text.size());
  return address;
}

template <typename Address>
const sockaddr* generic(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// One message: a text, and descriptors with it.
void send_message(const base::UniqueFd& peer, const std::string& text,
                  const std::vector<base::UniqueFd>& fds = {}) {
  iovec data{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxSockets * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(head) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  if (::sendmsg(peer.get(), &message, MSG_NOSIGNAL) < 0) throw base::IoError("takeover: send");
}

// The text of the next message; empty at the end of the connection.
std::string receive_message(const base::UniqueFd& peer, std::vector<base::UniqueFd>* fds) {
  std::string text(kMaxText, '\0');
  iovec data{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxSockets * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(peer.get(), &message, MSG_CMSG_CLOEXEC);
  if (n < 0) throw base::IoError("takeover: receive");
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
      base::UniqueFd owned(fd);
      if (fds != nullptr) fds->push_back(std::move(owned));
    }
  }
  text.resize(static_cast<size_t>(n));
  return text;
}

bool may_take_over(const base::UniqueFd& peer, pid_t& pid) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  pid = who.pid;
  return who.uid == 0 || who.uid == ::geteuid();
}

// Binds beside the path and renames, so that whoever asks finds the one or the other process.
base::UniqueFd listen_at(const std::filesystem::path& path) {
  const std::filesystem::path fresh = path.string() + ".new";
  base::UniqueFd fd = make_socket();
  ::unlink(fresh.c_str());
  const sockaddr_un address = address_of(fresh);
  const mode_t old = ::umask(0177);
  const int bound = ::bind(fd.get(), generic(address), sizeof address);
  const int error = errno;
  ::umask(old);
  if (bound != 0) throw base::IoError(error, "cannot listen on " + fresh.string());
  if (::listen(fd.get(), 1) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    throw base::IoError("cannot listen on " + path.string());
  }
  return fd;
}

}  // namespace

TakeoverPoint::TakeoverPoint(const std::filesystem::path& path, ServedBy old)
    : old_(std::move(old)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      listener_(listen_at(path)),
      thread_([this] { serve(); }) {}

TakeoverPoint::~TakeoverPoint() {
  const uint64_t one = 1;
  PCHECK(::write(stop_.get(), &one, sizeof one) == sizeof one);
}

// False once the point is to stop, or at the time-out.
bool TakeoverPoint::wait_readable(const base::UniqueFd& fd, int milliseconds) const {
  std::array<pollfd, 2> fds{{{fd.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  int ready = 0;
  do {
    ready = ::poll(fds.data(), fds.size(), milliseconds);
  } while (ready < 0 && errno == EINTR);
  return ready > 0 && fds[1].revents == 0;
}

bool TakeoverPoint::stopping() const {
  pollfd stop{stop_.get(), POLLIN, 0};
  return ::poll(&stop, 1, 0) > 0;
}

std::string TakeoverPoint::receive(const base::UniqueFd& peer, int milliseconds) const {
  return wait_readable(peer, milliseconds) ? receive_message(peer, nullptr) : "";
}

void TakeoverPoint::serve() {
  base::leave_signals_to_main_thread();
  while (wait_readable(listener_, kForever)) {
    const base::UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer) continue;
    try {
      if (hand_over(peer)) return;
    } catch (const std::exception& e) {
      LOG(ERROR) << "no takeover: " << e.what();
    }
  }
}

bool TakeoverPoint::hand_over(const base::UniqueFd& peer) {
  pid_t successor = 0;
  if (!may_take_over(peer, successor)) {
    LOG(WARNING) << "process " << successor << " of another user may not take over";
    return false;
  }
  for (const ListeningSockets& each : old_.sockets()) {
    send_message(peer, each.address, each.sockets);
  }
  send_message(peer, kEnd);
  if (receive(peer, kAnswerTime) != kRelease) return false;
  LOG(INFO) << "process " << successor << " takes over: new connections wait for it";
  bool taken = false;
  try {
    old_.release();
    send_message(peer, kReleased);
    taken = receive(peer, kForever) == kReadyMessage;
  } catch (const std::exception& e) {
    LOG(ERROR) << "takeover: " << e.what();
  }
  if (taken) {
    LOG(INFO) << "process " << successor << " serves in our place";
    old_.leave(successor);
  } else if (stopping()) {
    LOG(INFO) << "ending while process " << successor << " takes over";
  } else {
    LOG(ERROR) << "process " << successor << " has failed to take over: going on as before";
    old_.resume();
  }
  return taken;
}

void start_successor() {
  std::ifstream file("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // The service manager's watchdog will be the successor's.
  std::vector<char*> environment;
  for (char** each = environ; *each != nullptr; ++each) {
    if (!std::string_view(*each).starts_with("WATCHDOG_PID=")) environment.push_back(*each);
  }
  environment.push_back(nullptr);
  ::signal(SIGCHLD, SIG_IGN);  // one that fails leaves nothing behind
  pid_t pid = 0;
  const int error =
      ::posix_spawnp(&pid, argv.front(), nullptr, nullptr, argv.data(), environment.data());
  if (error != 0) throw base::IoError(error, "cannot start " + arguments.front());
  LOG(INFO) << "process " << pid << " is to take over";
}

std::optional<Takeover> Takeover::ask(const std::filesystem::path& path) {
  base::UniqueFd fd = make_socket();
  const sockaddr_un address = address_of(path);
  if (::connect(fd.get(), generic(address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::nullopt;
    throw base::IoError("cannot take over at " + path.string());
  }
  const timeval limit{kAnswerTime / 1000, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  Takeover takeover(std::move(fd));
  while (true) {
    ListeningSockets next;
    next.address = receive_message(takeover.peer_, &next.sockets);
    if (next.address.empty()) throw base::IoError(EPERM, "the process to follow does not let us");
    if (next.address == kEnd) return takeover;
    takeover.sockets_.push_back(std::move(next));
  }
}

void Takeover::release() {
  send_message(peer_, kRelease);
  if (receive_message(peer_, nullptr) != kReleased) {
    throw base::IoError(EBUSY, "the process to follow does not give up its storage");
  }
}

void Takeover::ready() {
  try {
    send_message(peer_, kReadyMessage);
  } catch (const base::IoError& e) {
    LOG(WARNING) << "the process to follow has ended by itself: " << e.what();
  }
  peer_.reset();
}

}  // namespace http
