#include "origin/auth/identity.h"

#include <algorithm>

namespace origin::auth {
namespace {

const Caller kAnybody;

}  // namespace

bool Identity::granted(std::string_view type, std::string_view name,
                       std::string_view action) const {
  if (!grants_) return true;
  return std::ranges::any_of(*grants_, [&](const Grant& grant) {
    return grant.type == type && grant.name == name &&
           std::ranges::any_of(grant.actions, [&](auto& a) { return a == action || a == "*"; });
  });
}

bool Identity::may(std::string_view repository, Action action) const {
  return rules_ && rules_->allows(caller_, repository, action) &&
         (granted("repository", repository, action_name(action)) ||
          rules_->allows(kAnybody, repository, action));
}

bool Identity::may_pull_everywhere() const {
  return rules_ && rules_->allows_everywhere(grants_ ? kAnybody : caller_, Action::pull);
}

bool Identity::may_list() const {
  return rules_ && ((rules_->allows_something(caller_) && granted("registry", "catalog", "*")) ||
                    rules_->allows_something(kAnybody));
}

bool Identity::may_list(std::string_view repository) const {
  if (!rules_) return false;
  return rules_->allows(granted("registry", "catalog", "*") ? caller_ : kAnybody, repository,
                        Action::pull);
}

bool Identity::token_lacks(const Demand& demand) const {
  if (demand.kind == Demand::Kind::catalog) return !granted("registry", "catalog", "*");
  return std::ranges::any_of(demand.actions, [&](Action action) {
    return !granted("repository", demand.repository, action_name(action));
  });
}

}  // namespace origin::auth
