// A blocking HTTP/1.1 connection that sends exactly the bytes a test writes: plain TCP, a unix
// socket, or TLS. Every wait gives up after two minutes with an exception, so that a broken server
// fails a test instead of hanging it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "http/message.h"

namespace test {

struct RawResponse {
  int status = 0;
  http::Headers headers;
  std::string body;
};

// How a connection ended.
enum class End { clean, reset };

struct TlsClient {
  std::filesystem::path ca;
  std::string server_name = "localhost";
  std::filesystem::path certificate;  // or empty
  std::filesystem::path key;
  int version = 0;                     // 12, 13; 0: any
  std::vector<std::string> protocols;  // ALPN
  bool rsa_only = false;               // offer RSA signatures only
  int receive_buffer = 0;              // as below
};

class RawClient {
 public:
  // To 127.0.0.1. `receive_buffer` bytes of SO_RCVBUF, to be a client that takes little.
  explicit RawClient(uint16_t port, int receive_buffer = 0);
  // std::runtime_error if the handshake fails. `session` resumes an earlier one.
  RawClient(uint16_t port, const TlsClient& tls, const std::string& session = "");
  // From that address of the loopback network.
  static RawClient from(const std::string& address, uint16_t port);
  static RawClient unix_socket(const std::filesystem::path& path);
  RawClient(RawClient&&) noexcept;
  ~RawClient();

  void send(std::string_view bytes);
  // As far as the server takes it; false once it resets the connection.
  bool try_send(std::string_view bytes);
  // What the kernel takes without waiting; returns how much that was. Plain only.
  size_t send_some(std::string_view bytes);
  // At least one byte; empty at the end of the stream. std::runtime_error on a reset.
  std::string receive(size_t limit = 64 << 10);
  // The next response, its body decoded; `head` for the response to a HEAD request. Interim (1xx)
  // responses are returned like others. std::runtime_error if it breaks off.
  RawResponse response(bool head = false);
  RawResponse get(std::string_view target, std::string_view fields = "");
  // Reads to the end of the connection, and says what it was. Bytes that came are in `rest`.
  End wait_for_end(std::string* rest = nullptr);
  // True if there is something to read, or the end, within that time.
  bool readable(int milliseconds = 120'000);

  void shut_down_write();
  // Closes with a reset.
  void reset();

  // TLS only.
  bool resumed() const;
  std::string session() const;  // once a response has been read (tickets follow the handshake)
  int version() const;          // 12, 13
  std::string protocol() const;
  std::string peer_common_name() const;
  bool peer_key_is_rsa() const;

 private:
  struct Tls;
  explicit RawClient(base::UniqueFd fd);

  base::UniqueFd fd_;
  std::unique_ptr<Tls> tls_;
  std::string buffer_;  // received, not yet given out
};

}  // namespace test
