// Listening sockets from addresses as configuration files write them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "http/message.h"

namespace http {

// Sockets that listen on one address, as the configuration writes it.
struct ListeningSockets {
  std::string address;
  std::vector<base::UniqueFd> sockets;
};

struct BoundSockets {
  std::vector<base::UniqueFd> sockets;  // listening, non-blocking
  uint16_t port = 0;                    // 0 for a unix socket
  std::string unix_path;                // to be removed at the end; empty for TCP
  std::string name;                     // of an adopted socket: "127.0.0.1:5000", "unix:/path"
};

// Binds `count` sockets that share the address by SO_REUSEPORT ("host:port", ":port" for every
// address, "[::1]:port"), or one for "unix:/path". base::IoError if the address is taken or wrong.
BoundSockets bind_listener(const std::string& address, size_t count);

// The same of listening sockets that somebody else made: descriptors of them, `count` or more, each
// of the sockets once at least. If one socket serves several loops, all of them see a connection
// come and the first one takes it. base::IoError if it is not a listening stream socket.
// REQUIRES: there is one at least.
BoundSockets adopt_listener(const std::vector<int>& sockets, size_t count);

// Who connected, from what accept(2) says.
Peer peer_of(const sockaddr_storage& address);

}  // namespace http
