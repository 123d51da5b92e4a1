// Every key of the configuration file, what this registry does with it, and the environment
// variables that stand in for keys. Pure; the table in conf/configuration-keys.md is made of it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/yaml_config.h"

namespace origin {

enum class KeyUse {
  works,    // as in Distribution, or as the note says
  ignored,  // accepted, without effect; harmless
  refused,  // not served with: ignoring it would lose data, weaken security, or serve nothing
  ours,     // no key of Distribution's
};

struct ConfigKey {
  // "http.tls.clientcas[]": "[]" is any element of a list, "*" any one key, "**" all that is below.
  std::string_view path;
  KeyUse use;
  std::string_view note;  // may be empty for what works just as in Distribution
};

std::span<const ConfigKey> config_keys();

// The entry of a key as ConfigFile names it ("http.tls.clientcas[0]"); for a section that is not
// itself in the table, the first entry below it. nullptr for what is neither Distribution's nor
// ours.
const ConfigKey* find_config_key(std::string_view path);

// Distribution's environment variables: REGISTRY_HTTP_TLS_KEY=value stands for http.tls.key, its
// value is YAML, numbers are positions in lists. `environment` has elements "NAME=value".
struct Environment {
  std::vector<base::Override> overrides;  // the shorter path first, as in Distribution
  std::vector<std::string> unknown;       // names that begin with REGISTRY_ but lead nowhere
};
Environment read_environment(const std::vector<std::string>& environment);

// The table as Markdown.
std::string config_keys_markdown();

}  // namespace origin
