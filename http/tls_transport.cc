#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/network.h"
#include "http/transport.h"

namespace http {
namespace {

// File bytes in user space while TLS encrypts them; four records.
constexpr size_t kTlsFileBuffer = 64 << 10;
constexpr size_t kTlsRecord = 16 << 10;
// Of HTTP/2 so many bytes may wait in the kernel to be sent; those on their way do not count. By
// itself it takes up to 4 MiB, and what another stream sends comes after them. Less makes more
// turns for the same bytes, which HTTP/1.1 is spared: it has one response at a time.
constexpr int kHttp2Unsent = 512 << 10;

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  if (code == 0) return "the peer ended the connection";
  std::array<char, 256> text;
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// As Peer::certificate_names has it; nullopt for what is never there.
std::optional<std::string> describe_name(const GENERAL_NAME& name) {
  const auto content = [](const ASN1_STRING* value) {
    return std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                            static_cast<size_t>(ASN1_STRING_length(value)));
  };
  switch (name.type) {
    case GEN_DNS:
      return "DNS:" + std::string(content(name.d.dNSName));
    case GEN_EMAIL:
      return "email:" + std::string(content(name.d.rfc822Name));
    case GEN_URI:
      return "URI:" + std::string(content(name.d.uniformResourceIdentifier));
    case GEN_IPADD: {
      const auto address = address_text(content(name.d.iPAddress));
      return address ? std::optional("IP:" + *address) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

void describe_certificate(X509* certificate, Peer& peer) {
  const std::unique_ptr<BIO, int (*)(BIO*)> text(BIO_new(BIO_s_mem()), BIO_free);
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long length = BIO_get_mem_data(text.get(), &data);
  peer.certificate_subject.assign(data, static_cast<size_t>(length));

  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    auto described = describe_name(*sk_GENERAL_NAME_value(names, i));
    if (described) peer.certificate_names.push_back(std::move(*described));
  }
  GENERAL_NAMES_free(names);
}

class TlsTransport : public Transport {
 public:
  TlsTransport(base::EventLoop& loop, base::ThreadPool& pool, base::UniqueFd socket,
               const SendLimits& limits, std::shared_ptr<ssl_ctx_st> context)
      : Transport(loop, pool, std::move(socket), limits),
        context_(std::move(context)),
        ssl_(SSL_new(context_.get())) {
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.get()) != 1) {
      throw ConnectionError("TLS: " + openssl_error());
    }
    SSL_set_accept_state(ssl_.get());
  }

  base::Task<void> handshake(Peer& peer, base::TimePoint deadline) override {
    while (true) {
      ERR_clear_error();
      const int result = SSL_do_handshake(ssl_.get());
      if (result == 1) break;
      const Attempt attempt = failed(result, "TLS handshake");
      if (attempt.want == Want::nothing) throw ConnectionError("the peer left the TLS handshake");
      co_await wait(attempt.want, deadline);
    }
    peer.tls = true;
    if (protocol() == "h2") {
      setsockopt(socket_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kHttp2Unsent, sizeof kHttp2Unsent);
    }
    X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    if (certificate != nullptr && SSL_get_verify_result(ssl_.get()) == X509_V_OK) {
      describe_certificate(certificate, peer);
    }
  }

  std::string_view protocol() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }

  base::Task<void> send_file(int fd, uint64_t offset, uint64_t length, uint64_t& sent) override {
    const auto buffer = std::make_unique_for_overwrite<char[]>(
        static_cast<size_t>(std::min<uint64_t>(length, kTlsFileBuffer)));
    while (length > 0) {
      const auto step = static_cast<size_t>(std::min<uint64_t>(length, kTlsFileBuffer));
      co_await read_file(pool_, fd, offset, buffer.get(), step);
      const Parts parts{std::string_view(buffer.get(), step)};
      co_await write(parts);
      sent += step;
      offset += step;
      length -= step;
    }
  }

 private:
  // Fills the buffer as far as it goes: a record holds 16 KiB, a block of a body much more.
  Attempt try_read(char* out, size_t size) override {
    size_t total = 0;
    while (total < size) {
      ERR_clear_error();
      size_t n = 0;
      const int result = SSL_read_ex(ssl_.get(), out + total, size - total, &n);
      total += n;
      if (result == 1) continue;
      if (total > 0) break;
      return failed(result, "TLS read");
    }
    return {total};
  }

  Attempt try_write(const Parts& parts, bool) override {
    std::string_view data;
    size_t waiting = 0;
    for (const std::string_view part : parts) {
      if (data.empty()) data = part;
      waiting += part.size();
    }
    // A head and the beginning of its body go into one record. OpenSSL wants to see the same bytes
    // again after it had to wait, which is so because `parts` has not changed then.
    std::string joined;
    if (data.size() < kTlsRecord && waiting > data.size()) {
      joined.reserve(std::min(waiting, kTlsRecord));
      for (const std::string_view part : parts) {
        joined += part.substr(0, kTlsRecord - joined.size());
      }
      data = joined;
    }
    ERR_clear_error();
    size_t n = 0;
    const int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &n);
    if (result == 1) return {n};
    const Attempt attempt = failed(result, "TLS write");
    if (attempt.want == Want::nothing) throw ConnectionError("the peer closed its TLS connection");
    return attempt;
  }

  bool buffered() const override { return SSL_has_pending(ssl_.get()) == 1; }

  void end_stream() override {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // close_notify; the answer is not waited for
  }

  // What an OpenSSL call that returned `result` waits for; nothing at the end of the stream.
  Attempt failed(int result, const char* what) {
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return {0, Want::read};
      case SSL_ERROR_WANT_WRITE:
        return {0, Want::write};
      case SSL_ERROR_ZERO_RETURN:
        return {};
      case SSL_ERROR_SYSCALL:
        if (errno != 0) throw ConnectionError(std::string(what) + ": " + std::strerror(errno));
        return {};
      default:
        throw ConnectionError(what + (": " + openssl_error()));
    }
  }

  const std::shared_ptr<ssl_ctx_st> context_;  // its callbacks' data must outlive ssl_
  const std::unique_ptr<SSL, SslDeleter> ssl_;
};

}  // namespace

std::unique_ptr<Transport> Transport::tls(base::EventLoop& loop, base::ThreadPool& pool,
                                          base::UniqueFd socket, const SendLimits& limits,
                                          std::shared_ptr<ssl_ctx_st> context) {
  return std::make_unique<TlsTransport>(loop, pool, std::move(socket), limits, std::move(context));
}

}  // namespace http
