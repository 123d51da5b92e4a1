#include "origin/config_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>

#include "base/yaml_config.h"
#include "origin/config.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigKeysTest : public ::testing::Test {
 protected:
  // What reading a file with this text, and only the address beside it, complains of.
  std::string complaint(const std::string& text, const std::vector<std::string>& environment = {}) {
    ::testing::internal::CaptureStderr();
    std::string thrown;
    try {
      read_config(dir_.write("config.yml", text), environment);
    } catch (const base::ConfigError& e) {
      thrown = e.what();
    }
    return ::testing::internal::GetCapturedStderr() + thrown;
  }

  // YAML for a key of the table, with this value: "a.b[].*" as {a: {b: [{x: value}]}}.
  static std::string yaml(std::string_view path, const std::string& value) {
    if (path.empty()) return value;
    if (path.starts_with("[]")) {
      path.remove_prefix(path.starts_with("[].") ? 3 : 2);
      return '[' + yaml(path, value) + ']';
    }
    const size_t end = std::min(path.find_first_of(".["), path.size());
    std::string key(path.substr(0, end));
    if (key == "*" || key == "**") key = "x";
    path.remove_prefix(end);
    if (path.starts_with('.')) path.remove_prefix(1);
    return '{' + key + ": " + yaml(path, value) + '}';
  }

  test::TempDir dir_;
};

TEST_F(ConfigKeysTest, TheTableInTheDocumentationIsThisOne) {
  std::ifstream file(CONFIGURATION_KEYS_MD);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, config_keys_markdown())
      << "make it anew: entrepot-origin config keys > conf/configuration-keys.md";
}

TEST_F(ConfigKeysTest, WhatIsIgnoredIsNamedWithTheReason) {
  for (const ConfigKey& key : config_keys()) {
    if (key.use != KeyUse::ignored) continue;
    std::string text = yaml(key.path, "1");
    text = "http: {addr: ':1'}\n" + text.substr(1, text.size() - 2) + "\n";
    // The section http cannot be given twice.
    if (key.path.starts_with("http.")) {
      text = "http: {addr: ':1', " + yaml(key.path.substr(5), "1").substr(1) + "\n";
    }
    EXPECT_THAT(complaint(text), HasSubstr(std::string(key.note))) << text;
  }
}

TEST_F(ConfigKeysTest, WhatIsRefusedIsNamedWithTheReason) {
  for (const ConfigKey& key : config_keys()) {
    if (key.use != KeyUse::refused) continue;
    std::string text = yaml(key.path, "1");
    text = "http: {addr: ':1'}\n" + text.substr(1, text.size() - 2) + "\n";
    if (key.path.starts_with("http.")) {
      text = "http: {addr: ':1', " + yaml(key.path.substr(5), "1").substr(1) + "\n";
    }
    const std::string said = complaint(text);
    EXPECT_THAT(said, HasSubstr("config.yml:")) << text;
    EXPECT_THAT(said, ::testing::AnyOf(HasSubstr(std::string(key.note)), HasSubstr("silly lets in"),
                                       HasSubstr("filesystem, the only storage there is")))
        << text;
  }
}

// What works, and what is ours, is asked for by somebody; and nothing is asked for that the table
// does not have.
TEST_F(ConfigKeysTest, TheTableHasJustTheKeysThatAreRead) {
  const Config config = read_config(dir_.write("config.yml", "http: {addr: ':1'}\n"));
  for (const std::string& path : config.read_paths) {
    EXPECT_NE(find_config_key(path), nullptr) << path << " is read, and not in the table";
  }
  for (const ConfigKey& key : config_keys()) {
    if (key.use != KeyUse::works && key.use != KeyUse::ours) continue;
    std::string text = yaml(key.path, "1");
    text = "http: {addr: ':1'}\n" + text.substr(1, text.size() - 2) + "\n";
    if (key.path.starts_with("http.")) {
      text = "http: {" + yaml(key.path.substr(5), "1").substr(1) + "\n";
    }
    EXPECT_THAT(complaint(text), ::testing::Not(HasSubstr("unknown key"))) << text;
  }
}

TEST_F(ConfigKeysTest, DisabledMiddlewareMayStay) {
  EXPECT_EQ(complaint("http: {addr: ':1'}\n"
                      "middleware: {storage: [{name: cloudfront, disabled: true}]}\n"),
            "");
}

TEST_F(ConfigKeysTest, EnvironmentVariablesLeadToKeys) {
  const Environment environment = read_environment(
      {"HOME=/root", "REGISTRY_HTTP_TLS_CLIENTCAS_0=ca.pem", "REGISTRY_HTTP_ADDR=:5001",
       "REGISTRY_REDIRECT_EXCEPT_BEARER_FILE=f", "REGISTRY_LOG_FIELDS_SERVICE=a=b",
       "REGISTRY_STORAGE={filesystem: {rootdirectory: /x}}", "REGISTRY_NO_SUCH=1",
       "REGISTRY_CONFIGURATION_PATH=p", "REGISTRY_VERSION=0.2", "REGISTRY_HTTP_HEADERS_VARY=[A]"});
  std::map<std::string, std::vector<std::string>> paths;
  for (const base::Override& value : environment.overrides) paths[value.source] = value.path;
  EXPECT_THAT(paths["REGISTRY_HTTP_TLS_CLIENTCAS_0"], ElementsAre("http", "tls", "clientcas", "0"));
  EXPECT_THAT(paths["REGISTRY_HTTP_ADDR"], ElementsAre("http", "addr"));
  EXPECT_THAT(paths["REGISTRY_REDIRECT_EXCEPT_BEARER_FILE"],
              ElementsAre("redirect", "except", "bearer_file"));
  EXPECT_THAT(paths["REGISTRY_LOG_FIELDS_SERVICE"], ElementsAre("log", "fields", "service"));
  EXPECT_THAT(paths["REGISTRY_STORAGE"], ElementsAre("storage"));
  EXPECT_THAT(paths["REGISTRY_HTTP_HEADERS_VARY"], ElementsAre("http", "headers", "vary"));
  EXPECT_EQ(paths.size(), 6U);
  EXPECT_THAT(environment.unknown, ElementsAre("REGISTRY_NO_SUCH", "REGISTRY_VERSION"));
}

TEST_F(ConfigKeysTest, WhatIsHeldForOtherPlacesGuardsNothing) {
  EXPECT_THAT(complaint("http: {addr: ':1'}\n.auth: {htpasswd: {path: x, realm: y}}\n"),
              HasSubstr("unknown key, ignored"));
}

TEST_F(ConfigKeysTest, AVariableOfAGuardThatLeadsNowhereIsAMistake) {
  const std::string file = "http: {addr: ':1'}\n";
  for (const std::string name :
       {"REGISTRY_AUTH_HTPASSWRD_PATH", "REGISTRY_ATUH_HTPASSWD_PATH", "REGISTRY_ACCESS_RULE",
        "REGISTRY_ACCES_RULES", "REGISTRY_HTTP_TLS_CLIENTCA_0", "REGISTRY_HTTP_TSL_KEY",
        "REGISTRY_HTTTP_TLS_KEY", "REGISTRY_REDIRECT_EXCEPTION_VIA"}) {
    EXPECT_THAT(complaint(file, {name + "=x"}), HasSubstr(name + ": unknown key")) << name;
    EXPECT_THROW(read_config(dir_.write("config.yml", file), {name + "=x"}), base::ConfigError);
  }
  // What Kubernetes says of its services and Docker of its links, one of them called registry-auth.
  for (const std::string name :
       {"REGISTRY_PORT", "REGISTRY_PORT_5000_TCP_ADDR", "REGISTRY_SERVICE_HOST",
        "REGISTRY_SERVICE_PORT_HTTP", "REGISTRY_AUTH_SERVICE_HOST", "REGISTRY_AUTH_SERVICE_PORT",
        "REGISTRY_AUTH_PORT", "REGISTRY_AUTH_PORT_5001_TCP", "REGISTRY_HTTP_PORT",
        "REGISTRY_AUTH_NAME", "REGISTRY_AUTH_ENV_PATH", "REGISTRY_NO_SUCH"}) {
    EXPECT_THAT(complaint(file, {name + "=x"}), HasSubstr("no such key, ignored")) << name;
  }
}

TEST_F(ConfigKeysTest, AWordAloneIsATypeWithoutParameters) {
  const std::string users = dir_.write("users", "").string();
  const auto path =
      dir_.write("config.yml", "http: {addr: ':1'}\nstorage: filesystem\nauth: htpasswd\n");
  const Config config =
      read_config(path, {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/elsewhere",
                         "REGISTRY_AUTH_HTPASSWD_REALM=r", "REGISTRY_AUTH_HTPASSWD_PATH=" + users});
  EXPECT_EQ(config.root, "/elsewhere");
  EXPECT_TRUE(config.auth.htpasswd);
  const Config given =
      read_config(dir_.write("config.yml", "http: {addr: ':1'}\n"),
                  {"REGISTRY_STORAGE=filesystem", "REGISTRY_AUTH=htpasswd",
                   "REGISTRY_AUTH_HTPASSWD_REALM=r", "REGISTRY_AUTH_HTPASSWD_PATH=" + users});
  EXPECT_EQ(given.root, "/var/lib/registry");
  EXPECT_TRUE(given.auth.htpasswd);
  EXPECT_EQ(complaint("http: {addr: ':1'}\nauth: none\n"), "");
  // What a word stood for is not forgotten when a variable adds to it.
  EXPECT_THAT(
      complaint("http: {addr: ':1'}\nstorage: s3\n", {"REGISTRY_STORAGE_DELETE_ENABLED=true"}),
      HasSubstr("filesystem, the only storage there is"));
  EXPECT_THAT(complaint("http: {addr: ':1'}\nauth: token\n"), HasSubstr("auth.token.realm"));
}

TEST_F(ConfigKeysTest, TheEnvironmentGoesBeforeTheFile) {
  const auto path = dir_.write("config.yml", "http: {addr: ':1'}\nlog: {level: info}\n");
  const Config config = read_config(
      path, {"REGISTRY_HTTP_ADDR=127.0.0.1:2", "REGISTRY_STORAGE_DELETE_ENABLED=true",
             "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/elsewhere", "REGISTRY_LOG_LEVEL=error"});
  EXPECT_EQ(config.address, "127.0.0.1:2");
  EXPECT_TRUE(config.delete_enabled);
  EXPECT_EQ(config.root, "/elsewhere");
  EXPECT_EQ(config.log_level, base::LogLevel::error);
  EXPECT_THAT(config.effective, HasSubstr("rootdirectory: /elsewhere"));
  EXPECT_THAT(complaint("http: {addr: ':1'}\n", {"REGISTRY_STORAGE_DELETE_ENABLED=perhaps"}),
              HasSubstr("REGISTRY_STORAGE_DELETE_ENABLED: storage.delete.enabled: expected true"));
  EXPECT_THAT(complaint("http: {addr: ':1'}\n", {"REGISTRY_PROXY_REMOTEURL=https://x"}),
              HasSubstr("proxy: a pull-through cache"));
}

}  // namespace
}  // namespace origin
