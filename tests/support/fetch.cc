#include "tests/support/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <csignal>
#include <memory>
#include <stdexcept>

#include "base/error.h"
#include "base/unique_fd.h"

namespace test {
namespace {

// Plain or TLS, blocking.
class ClientConnection {
 public:
  ClientConnection(uint16_t port, const std::string& ca_file)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw base::IoError("connect");
    }
    if (ca_file.empty()) return;
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    if (SSL_CTX_load_verify_file(context_.get(), ca_file.c_str()) != 1) {
      throw std::runtime_error("cannot read " + ca_file);
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set1_host(ssl_.get(), "localhost");
    SSL_set_tlsext_host_name(ssl_.get(), "localhost");
    SSL_set_fd(ssl_.get(), socket_.get());
    if (SSL_connect(ssl_.get()) != 1) throw std::runtime_error("TLS handshake failed");
  }

  void write(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = 0;
      if (ssl_) {
        n = SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()));
      } else {
        n = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      }
      if (n <= 0) return;  // the answer may be there all the same
      data.remove_prefix(static_cast<size_t>(n));
    }
  }

  // 0 at the end of the stream, however it came.
  size_t read(char* out, size_t size) {
    if (ssl_) {
      const int n = SSL_read(ssl_.get(), out, static_cast<int>(size));
      return n > 0 ? static_cast<size_t>(n) : 0;
    }
    const ssize_t n = ::recv(socket_.get(), out, size, 0);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }

 private:
  base::UniqueFd socket_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
};

// Parses "<line>\r\n<fields>\r\n\r\n" that is complete.
void parse_head(std::string_view head, Fetched& result) {
  result.status = std::stoi(std::string(head.substr(9, 3)));
  size_t at = head.find("\r\n") + 2;
  while (at < head.size()) {
    const size_t end = head.find("\r\n", at);
    const std::string_view line = head.substr(at, end - at);
    if (line.empty()) break;
    const size_t colon = line.find(':');
    size_t value = colon + 1;
    while (value < line.size() && line[value] == ' ') ++value;
    result.headers.add(line.substr(0, colon), line.substr(value));
    at = end + 2;
  }
}

// Decodes a chunked body; sets complete if the last chunk is there.
void decode_chunked(Fetched& result) {
  const std::string coded = std::move(result.body);
  result.body.clear();
  size_t at = 0;
  while (true) {
    const size_t line = coded.find("\r\n", at);
    if (line == std::string::npos) return;
    const size_t size = std::stoul(coded.substr(at, line - at), nullptr, 16);
    if (size == 0) {
      result.complete = true;
      return;
    }
    if (line + 2 + size + 2 > coded.size()) return;
    result.body += coded.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
}

}  // namespace

Fetched fetch(uint16_t port, const std::string& target, const FetchOptions& options) {
  ClientConnection connection(port, options.ca_file);
  std::string request = options.method + " " + target +
                        " HTTP/1.1\r\nHost: localhost:" + std::to_string(port) +
                        "\r\nConnection: close\r\n";
  for (const auto& [name, value] : options.headers) request += name + ": " + value + "\r\n";
  const bool with_body = options.method != "GET" && options.method != "HEAD";
  if (with_body && !options.headers.has("Content-Length")) {
    request += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
  }
  connection.write(request + "\r\n" + options.body);

  Fetched result;
  std::string received;
  const size_t buffer_size = 256 << 10;
  const auto buffer = std::make_unique<char[]>(buffer_size);
  size_t body_begin = std::string::npos;
  std::optional<uint64_t> length;
  while (true) {
    const size_t n = connection.read(buffer.get(), buffer_size);
    if (n == 0) break;
    received.append(buffer.get(), n);
    while (body_begin == std::string::npos) {
      const size_t end = received.find("\r\n\r\n");
      if (end == std::string::npos) break;
      if (received.compare(9, 3, "100") == 0) {
        received.erase(0, end + 4);
        continue;
      }
      body_begin = end + 4;
      parse_head(std::string_view(received).substr(0, body_begin), result);
      if (const auto field = result.headers.get("Content-Length")) {
        length = std::stoull(std::string(*field));
      }
    }
    if (body_begin == std::string::npos) continue;
    const uint64_t have = received.size() - body_begin;
    if (options.on_progress && have > 0 && !options.on_progress(have)) break;
    if (length && have >= *length) break;
  }
  if (body_begin == std::string::npos) return result;
  result.body = received.substr(body_begin);
  if (options.method == "HEAD" || result.status == 204 || result.status == 304) {
    result.complete = result.body.empty();
  } else if (length) {
    result.complete = result.body.size() == *length;
  } else if (result.headers.has_token("Transfer-Encoding", "chunked")) {
    decode_chunked(result);
  }
  return result;
}

}  // namespace test
