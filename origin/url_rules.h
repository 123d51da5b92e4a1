// UrlRules: which URLs a layer may name as places to get its bytes from, Distribution's
// "validation.manifests.urls". The expressions are RE2's, as Distribution's are: they take linear
// time and little stack on whatever a client sends. Any thread; copies share the expressions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/yaml_config.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace origin {

class UrlRules {
 public:
  // The lists "allow" and "deny" of the section: base::ConfigError for an expression that cannot be
  // read.
  explicit UrlRules(const base::Section& urls);

  // Whether the URL is http or https, has no fragment, is matched by an expression of "allow" if
  // there are any, and by none of "deny". Where both lists are empty, no URL is allowed.
  bool allows(const std::string& url) const;

 private:
  using Expressions = std::vector<std::shared_ptr<const re2::RE2>>;

  static Expressions read(const base::Section& urls, const std::string& key);

  Expressions allow_;
  Expressions deny_;
};

}  // namespace origin
