#include "tests/support/notify_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <stdexcept>

#include "base/error.h"

namespace test {

NotifySocket::NotifySocket(std::filesystem::path path)
    : path_(std::move(path)), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.string().copy(address.sun_path, sizeof address.sun_path - 1);
  if (!fd_ || ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    throw base::IoError("notify socket");
  }
}

std::string NotifySocket::receive() {
  pollfd waiting{fd_.get(), POLLIN, 0};
  if (::poll(&waiting, 1, 120'000) != 1) throw std::runtime_error("no notification came");
  char buffer[4096];
  const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (size < 0) throw base::IoError("notify socket");
  return {buffer, static_cast<size_t>(size)};
}

std::string NotifySocket::wait_for(const std::string& text) {
  std::string message;
  while (message.find(text) == std::string::npos) message = receive();
  return message;
}

}  // namespace test
