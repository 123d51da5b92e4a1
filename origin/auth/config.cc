#include "origin/auth/config.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "http/credentials.h"
#include "origin/auth/glob.h"

namespace origin::auth {
namespace {

using Groups = std::map<std::string, std::vector<std::string>>;

// Text that goes into a header field.
std::string field_text(const base::Section& section, std::string_view key) {
  std::string text = section.required_string(key);
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
    section.fail(key, "text without control characters");
  }
  return text;
}

HtpasswdConfig read_htpasswd(const base::Section& section) {
  HtpasswdConfig config;
  config.realm = field_text(section, "realm");
  const std::string path = section.required_string("path");
  try {
    config.file = std::make_shared<HtpasswdFile>(path);
  } catch (const base::IoError& e) {
    section.fail("path", std::string("a file that can be read (") + e.what() +
                             "); make one with: htpasswd -B -c <path> <user>");
  }
  return config;
}

std::shared_ptr<const TrustedKeys> read_keys(const base::Section& section) {
  const std::string bundle = section.string("rootcertbundle");
  const std::string set = section.string("jwks");
  if (bundle.empty() && set.empty()) {
    section.fail("rootcertbundle", "a file of certificates here, or a key set as jwks");
  }
  const auto keys = std::make_shared<TrustedKeys>();
  try {
    if (!bundle.empty()) keys->add_certificates(bundle);
  } catch (const std::exception& e) {
    section.fail("rootcertbundle", std::string("a file of PEM certificates (") + e.what() + ")");
  }
  try {
    if (!set.empty()) keys->add_key_set(set);
  } catch (const std::exception& e) {
    section.fail("jwks", std::string("a file with a JWK set (") + e.what() + ")");
  }
  return keys;
}

std::vector<std::string> read_algorithms(const base::Section& section) {
  const std::vector<std::string>& known = signing_algorithms();
  std::vector<std::string> chosen = section.strings("signingalgorithms");
  for (const std::string& name : chosen) {
    if (std::ranges::find(known, name) != known.end()) continue;
    std::string all;
    for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
    section.fail("signingalgorithms",
                 "some of " + all + "; never HS*, whose keys are no secret here, and never none");
  }
  return chosen.empty() ? known : chosen;
}

TokenConfig read_token(const base::Section& section) {
  TokenConfig config;
  config.realm = field_text(section, "realm");
  config.service = field_text(section, "service");
  config.issuer = section.required_string("issuer");
  config.algorithms = read_algorithms(section);
  config.auto_redirect = section.boolean("autoredirect", false);
  config.auto_redirect_path = section.string("autoredirectpath", "/auth/token");
  if (!config.auto_redirect_path.starts_with('/')) {
    section.fail("autoredirectpath", "a path that begins with /");
  }
  config.keys = read_keys(section);
  return config;
}

void read_scheme(const base::Section& root, AuthConfig& config) {
  const base::Section section = root.section("auth");
  const std::vector<std::string> schemes = section.keys();
  if (schemes.size() > 1) root.fail("auth", "one scheme only");
  if (schemes.empty()) return;
  const std::string& scheme = schemes.front();
  if (scheme == "htpasswd") {
    config.htpasswd = read_htpasswd(section.section(scheme));
  } else if (scheme == "token") {
    config.token = read_token(section.section(scheme));
  } else if (scheme == "silly") {
    section.fail(scheme, "htpasswd or token: silly lets in whoever sends any Authorization at all");
  } else if (scheme == "none") {
    section.has(scheme);
  } else {
    section.fail(scheme, "htpasswd or token: whom another scheme would keep out is not known here");
  }
}

void read_certificates(const base::Section& root, AuthConfig& config) {
  const base::Section access = root.section("access");
  for (const base::Section& entry : access.sections("certificates")) {
    CertificateUser user{entry.string("subject"), entry.string("san"),
                         entry.required_string("user")};
    if (user.subject.empty() == user.alternative_name.empty()) {
      entry.fail("subject", "either a subject or a san");
    }
    if (!http::alternative_name(user.alternative_name)) {
      entry.fail("san", "a DNS name, email:…, URI:… or IP:… with an address");
    }
    config.certificates.push_back(std::move(user));
  }
  if (!config.certificates.empty() &&
      root.section("http").section("tls").strings("clientcas").empty()) {
    access.fail("certificates", "http.tls.clientcas too, without which nobody shows a certificate");
  }
}

Groups read_groups(const base::Section& section) {
  Groups groups;
  for (const std::string& name : section.keys()) groups[name] = section.strings(name);
  return groups;
}

std::vector<Action> read_actions(const base::Section& section) {
  if (!section.has("actions")) section.fail("actions", "a list of pull, push, delete; [] for none");
  std::vector<Action> actions;
  for (const std::string& name : section.strings("actions")) {
    if (name == "pull") {
      actions.push_back(Action::pull);
    } else if (name == "push") {
      actions.push_back(Action::push);
    } else if (name == "delete") {
      actions.push_back(Action::remove);
    } else {
      section.fail("actions", "a list of pull, push, delete");
    }
  }
  return actions;
}

Rule read_rule(const base::Section& section, const Groups& groups) {
  Rule rule;
  rule.repositories = section.strings("repositories");
  if (rule.repositories.empty() || !std::ranges::all_of(rule.repositories, valid_glob)) {
    section.fail("repositories", R"(globs of repository names, such as "fedora/*" or "**")");
  }
  rule.users = section.strings("users");
  for (const std::string& name : section.strings("groups")) {
    const auto group = groups.find(name);
    if (group == groups.end()) section.fail("groups", "groups that access.groups defines");
    rule.users.insert(rule.users.end(), group->second.begin(), group->second.end());
  }
  const std::string clients = section.choice("clients", {"authenticated", "anonymous"}, "");
  rule.anonymous = clients == "anonymous";
  rule.authenticated = clients == "authenticated";
  if (!section.has("users") && !section.has("groups") && clients.empty()) {
    section.fail("users", "users, groups or clients (authenticated or anonymous)");
  }
  rule.actions = read_actions(section);
  return rule;
}

std::shared_ptr<const AccessList> read_rules(const base::Section& access) {
  const Groups groups = read_groups(access.section("groups"));
  std::vector<Rule> rules;
  for (const base::Section& section : access.sections("rules")) {
    rules.push_back(read_rule(section, groups));
  }
  return std::make_shared<const AccessList>(std::move(rules));
}

}  // namespace

AuthConfig read_auth(const base::Section& root) {
  AuthConfig config;
  read_scheme(root, config);
  const base::Section access = root.section("access");
  read_certificates(root, config);
  if (access.has("rules")) {
    config.rules = read_rules(access);
  } else if (config.htpasswd || config.token || !config.certificates.empty()) {
    config.rules = AccessList::closed();
  }
  config.base_authenticated =
      access.choice("base", {"anonymous", "authenticated"}, "anonymous") == "authenticated";
  return config;
}

}  // namespace origin::auth
