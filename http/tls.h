// TLS by OpenSSL for the server side: one context per listener, reloadable.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct ssl_ctx_st;

namespace http {

struct TlsOptions {
  struct Certificate {
    std::filesystem::path certificate;  // PEM, leaf first, chain after
    std::filesystem::path key;
  };
  // The first is the default; others are chosen by SNI against their subjectAltNames.
  std::vector<Certificate> certificates;
  std::vector<std::filesystem::path> client_cas;  // empty: client certificates are not asked for
  bool require_client_certificate = false;        // else they are optional
  int minimum_version = 12;                       // 12: TLS 1.2, 13: TLS 1.3
  bool http2 = true;                              // offered beside HTTP/1.1 (ALPN)

  // Allows this cipher suite, named as IANA does (TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256); with none
  // named, OpenSSL's choice is in force. False if there is no such suite.
  bool add_cipher_suite(const std::string& name);
  std::string ciphers;        // up to TLS 1.2, OpenSSL's names separated by ':'
  std::string cipher_suites;  // of TLS 1.3, likewise
};

// A server context that connections take a reference to; reload() swaps it for the connections that
// come after. Sessions resume by tickets and by id, bound to this context's name and its client
// authorities (CVE-2025-23419). Thread-safe.
class TlsContext {
 public:
  // std::runtime_error naming the file and what is wrong with it.
  explicit TlsContext(const TlsOptions& options);
  ~TlsContext();

  // Reads the files again, or others. On failure throws and the old certificates stay in use.
  void reload(const TlsOptions& options);
  std::shared_ptr<ssl_ctx_st> current() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<ssl_ctx_st> context_;  // guarded by mutex_
};

}  // namespace http
