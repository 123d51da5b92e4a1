// AccessList: who may do what in which repository. An immutable value; any thread.
//
// Rules are looked at in order. The first that fits both the repository and who asks decides: what
// it lists is allowed, and nothing else, whatever later rules say. Where none fits, nothing is
// allowed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace origin::auth {

enum class Action { pull, push, remove };
std::string_view action_name(Action action);  // "pull", "push", "delete"

// Who asks, as far as that was shown and verified.
struct Caller {
  bool authenticated = false;
  std::string user;  // may be empty: a token that names nobody
};

struct Rule {
  std::vector<std::string> repositories;  // globs
  std::vector<std::string> users;         // those of its groups among them
  bool authenticated = false;             // fits everybody who showed good credentials
  bool anonymous = false;                 // fits everybody: credentials can be left out
  std::vector<Action> actions;            // what it allows; empty: nothing
};

class AccessList {
 public:
  // Allows nothing.
  AccessList() = default;
  explicit AccessList(std::vector<Rule> rules) : rules_(std::move(rules)) {}
  // Allows everything in every repository, to everybody or to who showed good credentials.
  static std::shared_ptr<const AccessList> open();
  static std::shared_ptr<const AccessList> closed();

  bool allows(const Caller& caller, std::string_view repository, Action action) const;
  // Whether it certainly allows the action in every repository there is or will be.
  bool allows_everywhere(const Caller& caller, Action action) const;
  // Whether it allows anything at all, in some repository.
  bool allows_something(const Caller& caller) const;

 private:
  std::vector<Rule> rules_;
};

}  // namespace origin::auth
