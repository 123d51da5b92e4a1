// Listening sockets from addresses as configuration files write them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "http/message.h"

namespace http {

struct BoundSockets {
  std::vector<base::UniqueFd> sockets;  // listening, non-blocking
  uint16_t port = 0;                    // 0 for a unix socket
  std::string unix_path;                // to be removed at the end; empty for TCP
};

// Binds `count` sockets that share the address by SO_REUSEPORT ("host:port", ":port" for every
// address, "[::1]:port"), or one for "unix:/path". base::IoError if the address is taken or wrong.
BoundSockets bind_listener(const std::string& address, size_t count);

// Who connected, from what accept(2) says.
Peer peer_of(const sockaddr_storage& address);

}  // namespace http
