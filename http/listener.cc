#include "http/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace http {
namespace {

constexpr int kBacklog = 4096;  // cut by net.core.somaxconn

sockaddr* generic(void* address) { return static_cast<sockaddr*>(address); }

base::UniqueFd make_socket(int family) {
  base::UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw base::IoError("cannot make a socket");
  return fd;
}

void listen_on(const base::UniqueFd& fd, const std::string& address) {
  if (::listen(fd.get(), kBacklog) != 0) throw base::IoError("cannot listen on " + address);
}

base::UniqueFd bind_tcp(sockaddr_storage& to, socklen_t size, bool share,
                        const std::string& address) {
  base::UniqueFd fd = make_socket(to.ss_family);
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (share) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  // "Every address" takes IPv4 on the same socket.
  if (to.ss_family == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(fd.get(), generic(&to), size) != 0) {
    throw base::IoError("cannot listen on " + address);
  }
  return fd;
}

bool ipv6_available() {
  return base::UniqueFd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)).get() >= 0;
}

// "host:port" as the first address it resolves to.
socklen_t resolve(const std::string& address, sockaddr_storage& out) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    throw base::IoError(EINVAL, "listen address \"" + address + "\" is not host:port");
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) host = ipv6_available() ? "::" : "0.0.0.0";
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) {
    throw base::IoError(EINVAL, "listen address \"" + address + "\": " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  std::memcpy(&out, found->ai_addr, found->ai_addrlen);
  return found->ai_addrlen;
}

uint16_t& port_of(sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in&>(address).sin_port;
}

BoundSockets bind_shared(const std::string& address, size_t count) {
  sockaddr_storage to{};
  const socklen_t size = resolve(address, to);
  BoundSockets bound;
  // SO_REUSEPORT would let a second server of the same user take half of our connections without
  // a word. So ask first, as a socket that shares with nobody, whether the port is free.
  if (port_of(to) != 0) bind_tcp(to, size, /*share=*/false, address);
  for (size_t i = 0; i < count; ++i) {
    bound.sockets.push_back(bind_tcp(to, size, /*share=*/true, address));
    socklen_t length = size;
    if (getsockname(bound.sockets.back().get(), generic(&to), &length) != 0) {
      throw base::IoError("getsockname");
    }
  }
  for (const base::UniqueFd& fd : bound.sockets) listen_on(fd, address);
  bound.port = ntohs(port_of(to));
  return bound;
}

BoundSockets bind_unix(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof to.sun_path) {
    throw base::IoError(ENAMETOOLONG, "cannot listen on unix:" + path);
  }
  std::memcpy(to.sun_path, path.data(), path.size());
  // What an earlier run left behind stands in the way, unless somebody still serves it.
  struct stat status{};
  const base::UniqueFd probe = make_socket(AF_UNIX);
  if (lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) &&
      ::connect(probe.get(), generic(&to), sizeof to) != 0 && errno == ECONNREFUSED) {
    ::unlink(path.c_str());
  }
  BoundSockets bound;
  bound.sockets.push_back(make_socket(AF_UNIX));
  if (::bind(bound.sockets[0].get(), generic(&to), sizeof to) != 0) {
    throw base::IoError("cannot listen on unix:" + path);
  }
  bound.unix_path = path;
  listen_on(bound.sockets[0], "unix:" + path);
  return bound;
}

}  // namespace

BoundSockets bind_listener(const std::string& address, size_t count) {
  if (address.starts_with("unix:")) return bind_unix(address.substr(5));
  return bind_shared(address, count);
}

BoundSockets adopt_listener(const std::vector<int>& sockets, size_t count) {
  for (const int socket : sockets) {
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
      throw base::IoError(EINVAL, "inherited descriptor " + std::to_string(socket) +
                                      " is not a listening stream socket");
    }
    // The mode belongs to the socket, not to the descriptor.
    if (::fcntl(socket, F_SETFL, O_NONBLOCK) != 0) throw base::IoError("inherited socket");
  }
  BoundSockets bound;
  for (size_t i = 0; i < std::max(count, sockets.size()); ++i) {
    bound.sockets.emplace_back(::fcntl(sockets[i % sockets.size()], F_DUPFD_CLOEXEC, 0));
    if (!bound.sockets.back()) throw base::IoError("inherited socket");
  }
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(sockets.front(), generic(&address), &size) != 0)
    throw base::IoError("getsockname");
  if (address.ss_family == AF_UNIX) {
    bound.name = std::string("unix:") + reinterpret_cast<const sockaddr_un&>(address).sun_path;
  } else {
    const Peer self = peer_of(address);
    const bool v6 = self.address.find(':') != std::string::npos;
    bound.port = self.port;
    bound.name = (v6 ? '[' + self.address + ']' : self.address) + ':' + std::to_string(self.port);
  }
  return bound;
}

Peer peer_of(const sockaddr_storage& address) {
  Peer peer;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    peer.address = text.data();
    peer.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
    peer.address = text.data();
    peer.port = ntohs(v6.sin6_port);
  } else {
    peer.address = kUnixPeer;
  }
  return peer;
}

}  // namespace http
