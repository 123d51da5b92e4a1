#include "tests/support/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

namespace test {
namespace {

constexpr int kPatienceSeconds = 120;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

base::UniqueFd make_socket(int family) {
  base::UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("socket");
  const timeval patience{kPatienceSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return fd;
}

base::UniqueFd connect_tcp(uint16_t port, int receive_buffer, const char* from = nullptr) {
  base::UniqueFd fd = make_socket(AF_INET);
  if (from != nullptr) {
    sockaddr_in own{};
    own.sin_family = AF_INET;
    if (inet_pton(AF_INET, from, &own.sin_addr) != 1) fail(from);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) fail("bind");
  }
  if (receive_buffer > 0) {
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  return fd;
}

}  // namespace

struct RawClient::Tls {
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> ssl{nullptr, SSL_free};
  std::string session;
};

namespace {

[[noreturn]] void fail_tls(const std::string& what) {
  const char* reason = ERR_reason_error_string(ERR_get_error());
  throw std::runtime_error(what + ": " + (reason != nullptr ? reason : "TLS"));
}

std::string serialize(SSL_SESSION* session) {
  unsigned char* der = nullptr;
  const int size = i2d_SSL_SESSION(session, &der);
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return text;
}

}  // namespace

RawClient::RawClient(base::UniqueFd fd) : fd_(std::move(fd)) {}
RawClient::RawClient(RawClient&&) noexcept = default;
RawClient::~RawClient() = default;

RawClient::RawClient(uint16_t port, int receive_buffer) : fd_(connect_tcp(port, receive_buffer)) {}

RawClient RawClient::from(const std::string& address, uint16_t port) {
  return RawClient(connect_tcp(port, 0, address.c_str()));
}

RawClient RawClient::unix_socket(const std::filesystem::path& path) {
  base::UniqueFd fd = make_socket(AF_UNIX);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.c_str(), path.string().size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  return RawClient(std::move(fd));
}

RawClient::RawClient(uint16_t port, const TlsClient& options, const std::string& session)
    : fd_(connect_tcp(port, options.receive_buffer)), tls_(std::make_unique<Tls>()) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  ERR_clear_error();
  tls_->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = tls_->context.get();
  SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (options.version != 0) {
    const int version = options.version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
  }
  if (options.rsa_only) SSL_CTX_set1_sigalgs_list(context, "RSA-PSS+SHA256:RSA+SHA256");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_load_verify_file(context, options.ca.c_str()) != 1) fail_tls("CA file");
  if (!options.certificate.empty() &&
      (SSL_CTX_use_certificate_file(context, options.certificate.c_str(), SSL_FILETYPE_PEM) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) != 1)) {
    fail_tls("client certificate");
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_app_data(context, tls_.get());
  SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION* made) {
    static_cast<Tls*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->session = serialize(made);
    return 0;
  });

  tls_->ssl.reset(SSL_new(context));
  SSL* ssl = tls_->ssl.get();
  SSL_set_fd(ssl, fd_.get());
  SSL_set_tlsext_host_name(ssl, options.server_name.c_str());
  SSL_set1_host(ssl, options.server_name.c_str());
  std::string protocols;
  for (const std::string& protocol : options.protocols) {
    protocols += static_cast<char>(protocol.size());
    protocols += protocol;
  }
  if (!protocols.empty()) {
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
  }
  if (!session.empty()) {
    const auto* der = reinterpret_cast<const unsigned char*>(session.data());
    SSL_SESSION* earlier = d2i_SSL_SESSION(nullptr, &der, static_cast<long>(session.size()));
    SSL_set_session(ssl, earlier);
    SSL_SESSION_free(earlier);
  }
  if (SSL_connect(ssl) != 1) fail_tls("TLS handshake");
}

void RawClient::send(std::string_view bytes) {
  if (!try_send(bytes)) fail("send");
}

bool RawClient::try_send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = 0;
    if (tls_) {
      n = SSL_write(tls_->ssl.get(), bytes.data(), static_cast<int>(bytes.size()));
    } else {
      n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    if (n <= 0 && (errno == EPIPE || errno == ECONNRESET)) return false;
    if (n <= 0) fail("send");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

size_t RawClient::send_some(std::string_view bytes) {
  const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN) fail("send");
  return n < 0 ? 0 : static_cast<size_t>(n);
}

std::string RawClient::receive(size_t limit) {
  if (!buffer_.empty()) {
    std::string given = buffer_.substr(0, limit);
    buffer_.erase(0, given.size());
    return given;
  }
  std::string bytes(limit, '\0');
  ssize_t n = 0;
  if (tls_) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_read(tls_->ssl.get(), bytes.data(), static_cast<int>(limit));
    n = result;
    if (result <= 0) {
      const int error = SSL_get_error(tls_->ssl.get(), result);
      if (error == SSL_ERROR_ZERO_RETURN) {
        n = 0;
      } else if (error == SSL_ERROR_SYSCALL && errno != 0) {
        n = -1;
      } else {
        fail_tls("TLS read");
      }
    }
  } else {
    n = ::recv(fd_.get(), bytes.data(), limit, 0);
  }
  if (n < 0) fail("recv");
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

RawResponse RawClient::response(bool head) {
  const auto more = [this](std::string& text) {
    const std::string bytes = receive();
    if (bytes.empty()) throw std::runtime_error("the response breaks off after: " + text);
    text += bytes;
  };
  std::string text;
  size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) more(text);
  RawResponse response;
  response.status = std::stoi(text.substr(9, 3));
  size_t line = text.find("\r\n") + 2;
  while (line < end + 2) {
    const size_t line_end = text.find("\r\n", line);
    const size_t colon = text.find(": ", line);
    response.headers.add(text.substr(line, colon - line),
                         text.substr(colon + 2, line_end - colon - 2));
    line = line_end + 2;
  }
  text.erase(0, end + 4);

  const bool bodiless =
      head || response.status / 100 == 1 || response.status == 204 || response.status == 304;
  if (bodiless) {
    buffer_ = text + buffer_;
  } else if (response.headers.has_token("Transfer-Encoding", "chunked")) {
    while (true) {
      size_t size_end = 0;
      while ((size_end = text.find("\r\n")) == std::string::npos) more(text);
      const size_t size = std::stoul(text.substr(0, size_end), nullptr, 16);
      while (text.size() < size_end + 2 + size + 2) more(text);
      response.body += text.substr(size_end + 2, size);
      text.erase(0, size_end + 2 + size + 2);
      if (size == 0) break;
    }
    buffer_ = text + buffer_;
  } else if (const auto length = response.headers.get("Content-Length")) {
    const size_t size = std::stoul(std::string(*length));
    while (text.size() < size) more(text);
    response.body = text.substr(0, size);
    buffer_ = text.substr(size) + buffer_;
  } else {
    response.body = std::move(text);
    while (true) {
      const std::string bytes = receive();
      if (bytes.empty()) break;
      response.body += bytes;
    }
  }
  return response;
}

RawResponse RawClient::get(std::string_view target, std::string_view fields) {
  send("GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields) +
       "\r\n");
  return response();
}

End RawClient::wait_for_end(std::string* rest) {
  while (true) {
    std::string bytes;
    try {
      bytes = receive();
    } catch (const std::runtime_error&) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) throw;
      return End::reset;
    }
    if (bytes.empty()) return End::clean;
    if (rest != nullptr) *rest += bytes;
  }
}

bool RawClient::readable(int milliseconds) {
  if (!buffer_.empty()) return true;
  pollfd wanted{fd_.get(), POLLIN, 0};
  return ::poll(&wanted, 1, milliseconds) > 0;
}

void RawClient::shut_down_write() { ::shutdown(fd_.get(), SHUT_WR); }

void RawClient::reset() {
  const linger none{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  tls_.reset();
  fd_.reset();
}

bool RawClient::resumed() const { return SSL_session_reused(tls_->ssl.get()) == 1; }

std::string RawClient::session() const { return tls_->session; }

int RawClient::version() const { return SSL_version(tls_->ssl.get()) == TLS1_3_VERSION ? 13 : 12; }

std::string RawClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(tls_->ssl.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string RawClient::peer_common_name() const {
  X509* certificate = SSL_get0_peer_certificate(tls_->ssl.get());
  std::array<char, 256> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name.data(),
                            static_cast<int>(name.size()));
  return name.data();
}

bool RawClient::peer_key_is_rsa() const {
  return EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(tls_->ssl.get()))) ==
         EVP_PKEY_RSA;
}

}  // namespace test
