#include "base/yaml_override.h"

namespace base {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// The node with the override's value in it, below the first `depth` parts of its path.
YAML::Node overridden_below(YAML::Node node, const Override& value, size_t depth) {
  if (depth == value.path.size()) return YAML::Load(value.value);
  const std::string& part = value.path[depth];
  if (!is_number(part)) {
    if (!node.IsMap()) node = YAML::Node(YAML::NodeType::Map);
    node[part] = overridden_below(node[part], value, depth + 1);
    return node;
  }
  if (!node.IsSequence()) node = YAML::Node(YAML::NodeType::Sequence);
  const size_t index = part.size() > 4 ? node.size() + 1 : std::stoul(part);
  if (index > node.size()) {
    throw ConfigError(value.source + ": " + override_path(value) + ": the list has only " +
                      std::to_string(node.size()) + " elements");
  }
  const YAML::Node element = index < node.size() ? node[index] : YAML::Node();
  const YAML::Node changed = overridden_below(element, value, depth + 1);
  if (index < node.size()) {
    node[index] = changed;
  } else {
    node.push_back(changed);
  }
  return node;
}

}  // namespace

std::string override_path(const Override& value) {
  std::string text;
  for (const std::string& part : value.path) {
    if (is_number(part)) {
      text += '[' + part + ']';
    } else {
      text += (text.empty() ? "" : ".") + part;
    }
  }
  return text;
}

YAML::Node overridden(const YAML::Node& root, const Override& value) {
  return overridden_below(root, value, 0);
}

}  // namespace base
