#include "bench/client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "bench/clock.h"

namespace bench {
namespace {

constexpr size_t kBuffer = 256 << 10;
constexpr timeval kLookUp{.tv_sec = 0, .tv_usec = 200'000};  // how often a waiting client looks up
constexpr auto kPatience = std::chrono::minutes(2);

[[noreturn]] void tls_failed(const std::string& what) {
  char text[256] = "";
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  throw BadAnswer(what + ": " + text);
}

}  // namespace

ClientTls::ClientTls(const std::filesystem::path& certificate)
    : context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX* context = context_.get();
  if (!context || SSL_CTX_load_verify_locations(context, certificate.c_str(), nullptr) != 1 ||
      SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1) {
    tls_failed("setting up TLS");
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, size_t{64} << 10);
}

Client::Client(const Address& address, Counters& counters)
    : counters_(counters),
      fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      buffer_(kBuffer, 0) {
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(address.port);
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!fd_ || connect(fd_.get(), reinterpret_cast<sockaddr*>(&peer), sizeof peer) != 0) {
    throw base::IoError("connecting to the server");
  }
  const int on = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (address.tls) {
    ssl_.reset(SSL_new(address.tls->context()));
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), "127.0.0.1");
    SSL_set_fd(ssl_.get(), fd_.get());
    if (SSL_connect(ssl_.get()) != 1) tls_failed("TLS handshake");
  }
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kLookUp, sizeof kLookUp);
}

std::string Client::cipher() const {
  if (!ssl_) return "";
  return std::string(SSL_get_version(ssl_.get())) + " " + SSL_get_cipher_name(ssl_.get());
}

void Client::send(std::string_view bytes) {
  const bool sent =
      ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0
           : ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == ssize_t(bytes.size());
  if (!sent) throw BadAnswer("the server closed a connection before the request");
}

size_t Client::receive(size_t at) {
  const auto deadline = Clock::now() + kPatience;
  while (!counters_.stop.load(std::memory_order_relaxed)) {
    char* to = buffer_.data() + at;
    const size_t room = buffer_.size() - at;
    bool nothing_yet = false;
    ssize_t got = 0;
    if (ssl_) {
      got = SSL_read(ssl_.get(), to, static_cast<int>(room));
      nothing_yet =
          got <= 0 && SSL_get_error(ssl_.get(), static_cast<int>(got)) == SSL_ERROR_WANT_READ;
    } else {
      got = recv(fd_.get(), to, room, 0);
      nothing_yet = got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    if (got > 0) return static_cast<size_t>(got);
    if (!nothing_yet) throw BadAnswer("the server closed a connection within an answer");
    if (Clock::now() > deadline) throw BadAnswer("the server sent nothing for two minutes");
  }
  return 0;
}

size_t Client::head_length(size_t filled) const {
  const size_t end = std::string_view(buffer_).substr(0, filled).find("\r\n\r\n");
  return end == std::string_view::npos ? 0 : end + 4;
}

void Client::check_head(std::string_view head, const Blob& blob) const {
  constexpr std::string_view kStatus = "HTTP/1.1 200";
  constexpr std::string_view kLength = "\r\ncontent-length:";
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
  const auto length = std::search(head.begin(), head.end(), kLength.begin(), kLength.end(), same);
  if (!head.starts_with(kStatus) || length == head.end() ||
      std::strtoull(&*length + kLength.size(), nullptr, 10) != blob.size()) {
    throw BadAnswer("not the answer to " + blob.target() + ":\n" + std::string(head));
  }
}

void Client::ask(const Blob& blob) {
  // docker-registry gives an OCI manifest only to those who say they take one.
  send("GET " + blob.target() +
       " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n"
       "Accept: application/vnd.oci.image.manifest.v1+json, */*\r\n\r\n");
}

void Client::begin(const Blob& blob) {
  ask(blob);
  const size_t filled = receive(0);
  if (const size_t head = head_length(filled)) {
    check_head(std::string_view(buffer_).substr(0, head), blob);
  }
}

std::optional<Clock::time_point> Client::fetch(const Blob& blob, bool compare) {
  ask(blob);
  size_t filled = 0;
  size_t head = 0;
  while (head == 0) {
    const size_t got = receive(filled);
    if (got == 0) return std::nullopt;
    filled += got;
    head = head_length(filled);
    if (head == 0 && filled == buffer_.size()) throw BadAnswer("a head that does not end");
  }
  check_head(std::string_view(buffer_).substr(0, head), blob);

  Clock::time_point first{};
  uint64_t done = 0;
  size_t at = head;
  for (;;) {
    const std::string_view piece(buffer_.data() + at, filled - at);
    if (done == 0 && !piece.empty()) first = Clock::now();
    if (piece.size() > blob.size() - done) throw BadAnswer("more bytes than " + blob.target());
    if (compare && std::memcmp(piece.data(), blob.bytes().data() + done, piece.size()) != 0) {
      throw BadAnswer("wrong bytes in " + blob.target());
    }
    done += piece.size();
    counters_.bytes.fetch_add(piece.size(), std::memory_order_relaxed);
    if (done == blob.size()) break;
    at = 0;
    filled = receive(0);
    if (filled == 0) return std::nullopt;
  }
  counters_.requests.fetch_add(1, std::memory_order_relaxed);
  return first;
}

}  // namespace bench
