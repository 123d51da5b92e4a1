#include "origin/auth/access_list.h"

#include <algorithm>

#include "origin/auth/glob.h"

namespace origin::auth {
namespace {

bool contains(const auto& range, const auto& value) {
  return std::ranges::find(range, value) != std::ranges::end(range);
}

bool fits(const Rule& rule, const Caller& caller) {
  if (rule.anonymous) return true;
  if (!caller.authenticated) return false;
  return rule.authenticated || (!caller.user.empty() && contains(rule.users, caller.user));
}

bool fits(const Rule& rule, std::string_view repository) {
  return std::ranges::any_of(rule.repositories,
                             [&](auto& glob) { return glob_matches(glob, repository); });
}

}  // namespace

std::string_view action_name(Action action) {
  switch (action) {
    case Action::pull:
      return "pull";
    case Action::push:
      return "push";
    case Action::remove:
      break;
  }
  return "delete";
}

std::shared_ptr<const AccessList> AccessList::open() {
  static const auto list = std::make_shared<const AccessList>(
      std::vector<Rule>{{{"**"}, {}, false, true, {Action::pull, Action::push, Action::remove}}});
  return list;
}

std::shared_ptr<const AccessList> AccessList::closed() {
  static const auto list = std::make_shared<const AccessList>(
      std::vector<Rule>{{{"**"}, {}, true, false, {Action::pull, Action::push, Action::remove}}});
  return list;
}

bool AccessList::allows(const Caller& caller, std::string_view repository, Action action) const {
  for (const Rule& rule : rules_) {
    if (fits(rule, caller) && fits(rule, repository)) {
      return contains(rule.actions, action);
    }
  }
  return false;
}

bool AccessList::allows_everywhere(const Caller& caller, Action action) const {
  for (const Rule& rule : rules_) {
    if (!fits(rule, caller)) continue;
    if (!contains(rule.actions, action)) return false;
    if (contains(rule.repositories, "**")) return true;
  }
  return false;
}

bool AccessList::allows_something(const Caller& caller) const {
  return std::ranges::any_of(
      rules_, [&](const Rule& rule) { return fits(rule, caller) && !rule.actions.empty(); });
}

}  // namespace origin::auth
