// How an Override (base/yaml_config.h) gets into a file's YAML. Pure. Seen by yaml_config.cc only.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

#include "base/yaml_config.h"

namespace base {

// The node with the override's value at the end of its path, which is made where it is missing.
// Changes what the node refers to. ConfigError for a position beyond a list's end, YAML::Exception
// for a value that is not YAML.
YAML::Node overridden(const YAML::Node& root, const Override& value);

// Its path as errors name it: "http.tls.clientcas[0]".
std::string override_path(const Override& value);

}  // namespace base
