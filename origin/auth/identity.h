// Identity: who sent a request, and what it may do. An immutable value that a request carries; it
// stays good when the configuration changes meanwhile. Any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "origin/auth/access_list.h"
#include "origin/auth/demand.h"

namespace origin::auth {

// An entry of a token's claim "access".
struct Grant {
  std::string type;
  std::string name;
  std::vector<std::string> actions;  // "*": all
};

class Identity {
 public:
  // Nobody, who may do nothing.
  Identity() = default;
  Identity(Caller caller, std::shared_ptr<const AccessList> rules)
      : caller_(std::move(caller)), rules_(std::move(rules)) {}
  // Of a token: the rules must allow, and so must the grants, but for what anybody may do.
  Identity(Caller caller, std::shared_ptr<const AccessList> rules, std::vector<Grant> grants)
      : caller_(std::move(caller)), rules_(std::move(rules)), grants_(std::move(grants)) {}

  bool authenticated() const { return caller_.authenticated; }
  const std::string& user() const { return caller_.user; }

  bool may(std::string_view repository, Action action) const;
  // Whether a mount may take a blob wherever it is.
  bool may_pull_everywhere() const;
  // Whether there is a catalog for it, and whether it is to see this repository there.
  bool may_list() const;
  bool may_list(std::string_view repository) const;
  // Whether it is a token that lacks what is demanded: another token may have it.
  bool token_lacks(const Demand& demand) const;

 private:
  bool granted(std::string_view type, std::string_view name, std::string_view action) const;

  Caller caller_;
  std::shared_ptr<const AccessList> rules_;
  std::optional<std::vector<Grant>> grants_;
};

}  // namespace origin::auth
