// A throw-away certificate authority, made with OpenSSL while the test runs.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace test {

struct CertificateFiles {
  std::filesystem::path certificate;  // PEM
  std::filesystem::path key;          // PEM
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> dns_names;
  std::vector<std::string> addresses;  // "127.0.0.1"
  std::vector<std::string> names;      // more of them, as OpenSSL writes them: "URI:spiffe://a/b"
  bool rsa = false;                    // else ECDSA P-256
};

class CertificateAuthority {
 public:
  // Writes <name>.pem into the directory, and later the certificates it issues.
  CertificateAuthority(std::filesystem::path directory, const std::string& name);
  ~CertificateAuthority();

  const std::filesystem::path& certificate() const { return certificate_; }
  // Good for servers and clients. Overwrites files of that name.
  CertificateFiles issue(const std::string& file_name, const CertificateRequest& request);
  // For "localhost" and 127.0.0.1.
  CertificateFiles issue_server(const std::string& file_name = "server");

 private:
  struct Impl;
  const std::filesystem::path directory_;
  std::filesystem::path certificate_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace test
