// A benchmark client: one keep-alive HTTP/1.1 connection over plain TCP or TLS, blocking. It knows
// just enough HTTP to fetch a blob and to refuse anything else, so that it costs little beside the
// server. One thread at a time.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "base/unique_fd.h"
#include "bench/blobs.h"

namespace bench {

// The server answered wrongly or not at all.
class BadAnswer : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The client side of TLS: trusts one certificate, asks for the ciphers that clients with AES
// instructions ask for. Thread-safe.
class ClientTls {
 public:
  explicit ClientTls(const std::filesystem::path& certificate);
  SSL_CTX* context() const { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

struct Address {
  uint16_t port;
  const ClientTls* tls;  // null: plain
};

// What the client threads and the thread that watches them share.
struct Counters {
  std::atomic<uint64_t> bytes = 0;     // of bodies
  std::atomic<uint64_t> requests = 0;  // answered completely
  std::atomic<bool> stop = false;      // clients break off what they are doing
};

class Client {
 public:
  // Connects; throws BadAnswer or base::IoError.
  Client(const Address& address, Counters& counters);

  // Fetches the blob and checks status and length; if `compare`, every byte. Returns when the first
  // byte of the body came; nullopt if it was stopped midway, after which the client is of no use.
  // Throws BadAnswer, also when nothing at all arrives for two minutes.
  std::optional<std::chrono::steady_clock::time_point> fetch(const Blob& blob, bool compare);

  // Asks for the blob, takes the first bytes of the answer and leaves it at that.
  void begin(const Blob& blob);

  // "TLSv1.3 TLS_AES_128_GCM_SHA256", or "" without TLS.
  std::string cipher() const;

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  void send(std::string_view bytes);
  void ask(const Blob& blob);
  // At least one byte into the buffer at `at`; 0 if stopped.
  size_t receive(size_t at);
  // How many bytes of the head are at the front of the buffer of `filled` bytes; 0: not all yet.
  size_t head_length(size_t filled) const;
  void check_head(std::string_view head, const Blob& blob) const;

  Counters& counters_;
  base::UniqueFd fd_;
  std::unique_ptr<SSL, Free> ssl_;
  std::string buffer_;
};

}  // namespace bench
