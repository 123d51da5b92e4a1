#include "tests/support/reserved_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"

namespace test {

ReservedPort::ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  void* generic = &address;
  socklen_t length = sizeof address;
  if (!socket_ || ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(socket_.get(), static_cast<sockaddr*>(generic), length) != 0 ||
      ::getsockname(socket_.get(), static_cast<sockaddr*>(generic), &length) != 0) {
    throw base::IoError("reserving a port");
  }
  number_ = ntohs(address.sin_port);
}

}  // namespace test
