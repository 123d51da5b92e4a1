#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

namespace http {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
void free_chain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }

using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using ChainPtr = std::unique_ptr<STACK_OF(X509), Deleter<free_chain>>;

struct Identity {
  CertificatePtr certificate;
  KeyPtr key;
  ChainPtr chain;
};
using Identities = std::vector<Identity>;

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  std::string text = file.string() + ": " + what;
  if (const unsigned long code = ERR_get_error(); code != 0) {
    const char* reason = ERR_reason_error_string(code);
    if (reason != nullptr) text += std::string(" (") + reason + ")";
  }
  ERR_clear_error();
  throw std::runtime_error(text);
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in || text.empty()) fail(file, "cannot be read or is empty");
  return text;
}

BioPtr memory_bio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Identity load_identity(const TlsOptions::Certificate& files) {
  ERR_clear_error();
  Identity identity;
  const std::string certificate_text = read_text(files.certificate);
  const BioPtr certificates = memory_bio(certificate_text);
  identity.certificate.reset(PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr));
  if (!identity.certificate) fail(files.certificate, "no PEM certificate in it");
  identity.chain.reset(sk_X509_new_null());
  while (X509* next = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr)) {
    sk_X509_push(identity.chain.get(), next);
  }
  ERR_clear_error();  // the end of the file is an error to OpenSSL

  const std::string key_text = read_text(files.key);
  const BioPtr key = memory_bio(key_text);
  // Without a callback OpenSSL would ask for a pass phrase on the terminal.
  const auto no_pass_phrase = [](char*, int, int, void*) { return -1; };
  identity.key.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, no_pass_phrase, nullptr));
  if (!identity.key) fail(files.key, "no PEM private key without pass phrase in it");
  if (X509_check_private_key(identity.certificate.get(), identity.key.get()) != 1) {
    fail(files.key, "is not the key of " + files.certificate.string());
  }
  return identity;
}

bool use(SSL* ssl, const Identity& identity) {
  return SSL_use_cert_and_key(ssl, identity.certificate.get(), identity.key.get(),
                              identity.chain.get(), /*override=*/1) == 1;
}

// Presents the certificates whose names the client asked for: several, if they differ in the kind
// of key, and OpenSSL takes the one the client can verify. The first identity if none fits.
int choose_certificate(SSL* ssl, void* arg) {
  const Identities& identities = *static_cast<const Identities*>(arg);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  bool found = false;
  if (name != nullptr) {
    for (const Identity& identity : identities) {
      if (X509_check_host(identity.certificate.get(), name, 0, 0, nullptr) != 1) continue;
      if (!found) SSL_certs_clear(ssl);
      if (!use(ssl, identity)) return 0;
      found = true;
    }
  }
  return 1;
}

// In the server's order of preference, as ALPN writes lists. Not constants: OpenSSL hands them on
// as pointers to what may be changed.
std::string_view both_versions = "\x02h2\x08http/1.1";
std::string_view only_http1 = "\x08http/1.1";

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned in_size, void* arg) {
  const std::string_view protocols = *static_cast<const std::string_view*>(arg);
  unsigned char* chosen = nullptr;
  const int result = SSL_select_next_proto(&chosen, out_size,
                                           reinterpret_cast<const unsigned char*>(protocols.data()),
                                           static_cast<unsigned>(protocols.size()), in, in_size);
  *out = chosen;
  // RFC 7301 §3.2: a client that speaks nothing of ours is told so.
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void set_client_authorities(SSL_CTX* context, const TlsOptions& options) {
  if (options.client_cas.empty()) return;
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
  SSL_CTX_set_client_CA_list(context, names);  // owned by the context from here
  for (const std::filesystem::path& file : options.client_cas) {
    const std::string text = read_text(file);
    const BioPtr bio = memory_bio(text);
    int count = 0;
    while (true) {
      const CertificatePtr ca(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
      if (!ca) break;
      X509_STORE_add_cert(store, ca.get());
      sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(ca.get())));
      ++count;
    }
    if (count == 0) fail(file, "no PEM certificate in it");
    ERR_clear_error();
  }
  SSL_CTX_set_verify(context,
                     options.require_client_certificate
                         ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                         : SSL_VERIFY_PEER,
                     nullptr);
}

// A session resumes only where it was made: same certificates, same client authorities
// (CVE-2025-23419).
void bind_sessions(SSL_CTX* context, const TlsOptions& options) {
  std::string name = options.require_client_certificate ? "required" : "optional";
  for (const TlsOptions::Certificate& files : options.certificates) {
    name += '\n' + files.certificate.string();
  }
  for (const std::filesystem::path& file : options.client_cas) name += '\n' + read_text(file);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(name.data(), name.size(), digest.data(), &size, EVP_sha256(), nullptr);
  SSL_CTX_set_session_id_context(context, digest.data(), size);
}

std::shared_ptr<SSL_CTX> load(const TlsOptions& options) {
  if (options.certificates.empty()) throw std::runtime_error("TLS without a certificate");
  auto identities = std::make_shared<Identities>();
  for (const TlsOptions::Certificate& files : options.certificates) {
    identities->push_back(load_identity(files));
  }
  // The deleter keeps the identities for choose_certificate().
  const std::shared_ptr<SSL_CTX> shared(SSL_CTX_new(TLS_server_method()),
                                        [identities](SSL_CTX* c) { SSL_CTX_free(c); });
  SSL_CTX* const context = shared.get();
  if (context == nullptr) throw std::runtime_error("OpenSSL cannot make a TLS context");

  SSL_CTX_set_min_proto_version(context,
                                options.minimum_version >= 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  // TLS 1.2 with forward secrecy and AEAD only; 1.3 has nothing else.
  const bool chosen = !options.ciphers.empty() || !options.cipher_suites.empty();
  if (!chosen) SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
  if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context, options.ciphers.c_str());
  if (!options.cipher_suites.empty()) {
    SSL_CTX_set_ciphersuites(context, options.cipher_suites.c_str());
    // No suite of an older version has been named.
    if (options.ciphers.empty()) SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  }
  // A stream that ends without close_notify counts as ended: message lengths show what is missing.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // a record by one call instead of two
  const Identity& first = identities->front();
  if (SSL_CTX_use_cert_and_key(context, first.certificate.get(), first.key.get(), first.chain.get(),
                               1) != 1) {
    fail(options.certificates.front().certificate, "OpenSSL does not accept it");
  }
  SSL_CTX_set_cert_cb(context, choose_certificate, identities.get());
  SSL_CTX_set_alpn_select_cb(context, choose_protocol,
                             options.http2 ? &both_versions : &only_http1);
  set_client_authorities(context, options);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(context, 4096);
  SSL_CTX_set_timeout(context, 3600);  // seconds; a revoked client certificate lives on so long
  bind_sessions(context, options);
  return shared;
}

}  // namespace

bool TlsOptions::add_cipher_suite(const std::string& name) {
  const std::string openssl_name = OPENSSL_cipher_name(name.c_str());
  if (openssl_name == "(NONE)") return false;
  // Those of TLS 1.3 have one name.
  std::string& list = openssl_name == name ? cipher_suites : ciphers;
  list += (list.empty() ? "" : ":") + openssl_name;
  return true;
}

TlsContext::TlsContext(const TlsOptions& options) : context_(load(options)) {}

TlsContext::~TlsContext() = default;

void TlsContext::reload(const TlsOptions& options) {
  std::shared_ptr<SSL_CTX> fresh = load(options);
  const std::lock_guard lock(mutex_);
  context_.swap(fresh);
}

std::shared_ptr<ssl_ctx_st> TlsContext::current() const {
  const std::lock_guard lock(mutex_);
  return context_;
}

}  // namespace http
