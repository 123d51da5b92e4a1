#include "tests/support/certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdio>
#include <stdexcept>

namespace test {
namespace {

struct Deleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(FILE* file) const { std::fclose(file); }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter>;
using Certificate = std::unique_ptr<X509, Deleter>;

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("test certificate: ") + what);
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  check(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value.c_str());
  X509_EXTENSION_free(extension);
}

// Unsigned: serial number, validity, subject, key.
Certificate make_certificate(const std::string& common_name, EVP_PKEY* key) {
  static std::atomic<long> serial = 1;
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24 * 3600);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>("Test"), -1, -1, 0);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

void write_files(const CertificateFiles& files, X509* certificate, EVP_PKEY* key) {
  const std::unique_ptr<FILE, Deleter> out(std::fopen(files.certificate.c_str(), "w"));
  check(out && PEM_write_X509(out.get(), certificate) == 1, files.certificate.c_str());
  const std::unique_ptr<FILE, Deleter> key_out(std::fopen(files.key.c_str(), "w"));
  check(key_out &&
            PEM_write_PrivateKey(key_out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        files.key.c_str());
}

}  // namespace

struct CertificateAuthority::Impl {
  Key key;
  Certificate certificate;
};

CertificateAuthority::CertificateAuthority(std::filesystem::path directory, const std::string& name)
    : directory_(std::move(directory)),
      certificate_(directory_ / (name + ".pem")),
      impl_(std::make_unique<Impl>()) {
  impl_->key.reset(EVP_EC_gen("P-256"));
  check(impl_->key != nullptr, "key");
  impl_->certificate = make_certificate(name, impl_->key.get());
  X509* ca = impl_->certificate.get();
  X509_set_issuer_name(ca, X509_get_subject_name(ca));
  add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(ca, ca, NID_subject_key_identifier, "hash");
  check(X509_sign(ca, impl_->key.get(), EVP_sha256()) > 0, "sign");
  write_files({certificate_, directory_ / (name + ".key")}, ca, impl_->key.get());
}

CertificateAuthority::~CertificateAuthority() = default;

CertificateFiles CertificateAuthority::issue(const std::string& file_name,
                                             const CertificateRequest& request) {
  const Key key(request.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  check(key != nullptr, "key");
  const Certificate certificate = make_certificate(request.common_name, key.get());
  X509* issuer = impl_->certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
  add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  std::string names;
  for (const std::string& name : request.dns_names) names += ",DNS:" + name;
  for (const std::string& address : request.addresses) names += ",IP:" + address;
  for (const std::string& name : request.names) names += ',' + name;
  if (!names.empty()) {
    add_extension(certificate.get(), issuer, NID_subject_alt_name, names.substr(1));
  }
  check(X509_sign(certificate.get(), impl_->key.get(), EVP_sha256()) > 0, "sign");
  const CertificateFiles files{directory_ / (file_name + ".pem"),
                               directory_ / (file_name + ".key")};
  write_files(files, certificate.get(), key.get());
  return files;
}

CertificateFiles CertificateAuthority::issue_server(const std::string& file_name) {
  return issue(
      file_name,
      {.common_name = "localhost", .dns_names = {"localhost"}, .addresses = {"127.0.0.1"}});
}

}  // namespace test
