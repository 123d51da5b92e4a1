// Registries whose "auth" and "access" sections a test writes, and what they log meanwhile.
#pragma once

#include <crypt.h>

#include <string>

#include "base/base64.h"
#include "origin/auth/config.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/log_capture.h"

namespace origin {

inline std::string bcrypt(const std::string& password) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  crypt_gensalt_rn("$2y$", 4, nullptr, 0, setting, sizeof setting);
  crypt_data data{};
  return crypt_r(password.c_str(), setting, &data);
}

inline std::string basic(const std::string& user, const std::string& password) {
  return "Basic " + base::encode_base64(user + ":" + password, base::Base64::standard);
}
inline const std::string kAnn = basic("ann", "secret");

class AuthTest : public RegistryTest {
 protected:
  // The default configuration with these sections.
  Config with(const std::string& sections) const {
    Config c = config();
    c.auth = auth::read_auth(base::ConfigFile(files_.write("config.yml", sections)).root());
    return c;
  }
  std::string file(std::string_view name, std::string_view content) const {
    return files_.write(name, content).string();
  }
  // auth.htpasswd with ann, whose password is "secret", and bob, whose is "word".
  std::string htpasswd() const {
    return "auth: {htpasswd: {realm: 'The \"realm\"', path: " +
           file("htpasswd", "ann:" + bcrypt("secret") + "\nbob:" + bcrypt("word") + "\n") + "}}\n";
  }
  const test::TempDir& files() const { return files_; }

 private:
  test::TempDir files_;
};

inline test::Fetched ask(uint16_t port, const std::string& method, const std::string& target,
                         const std::string& authorization = "", std::string body = "") {
  http::Headers headers;
  if (!authorization.empty()) headers.add("Authorization", authorization);
  return call(port, method, target, std::move(body), std::move(headers));
}

}  // namespace origin
