#include "origin/auth/demand.h"

#include <variant>

namespace origin::auth {
namespace {

std::vector<Action> actions_of(const http::Request& request, bool upload) {
  if (request.is("DELETE") && !upload) return {Action::remove};
  if (request.is("DELETE") || request.is("POST") || request.is("PUT") || request.is("PATCH")) {
    return {Action::pull, Action::push};
  }
  return {Action::pull};
}

struct Visitor {
  const http::Request& request;

  Demand operator()(const oci::NoRoute&) const { return {}; }
  Demand operator()(const oci::InvalidNameRoute&) const { return {}; }
  Demand operator()(const oci::BaseRoute&) const { return {.kind = Demand::Kind::base}; }
  Demand operator()(const oci::CatalogRoute&) const { return {.kind = Demand::Kind::catalog}; }
  Demand operator()(const oci::UploadRoute& route) const { return of(route.repository, true); }
  Demand operator()(const oci::UploadsRoute& route) const {
    Demand demand = of(route.repository, true);
    const std::string from = request.query_value("from").value_or("");
    if (request.query_value("mount") && oci::valid_repository(from)) demand.mount_from = from;
    return demand;
  }
  Demand operator()(const auto& route) const { return of(route.repository, false); }

  Demand of(const std::string& repository, bool upload) const {
    if (request.is("OPTIONS")) return {.kind = Demand::Kind::base};
    return {Demand::Kind::repository, repository, actions_of(request, upload), ""};
  }
};

// One access record, as text between these pieces. Names need no escaping: they are valid.
std::string record(std::string_view type, std::string_view name, std::string_view action) {
  std::string out = R"({"Type":")";
  out.append(type).append(R"(","Class":"","Name":")").append(name);
  return out.append(R"(","Action":")").append(action).append("\"}");
}

}  // namespace

Demand demand_of(const http::Request& request, const oci::Route& route) {
  return std::visit(Visitor{request}, route);
}

std::string scope_of(const Demand& demand) {
  if (demand.kind == Demand::Kind::catalog) return "registry:catalog:*";
  if (demand.kind != Demand::Kind::repository) return "";
  std::string scope = "repository:" + demand.repository;
  char separator = ':';
  for (const Action action : demand.actions) {
    scope += separator;
    scope += action_name(action);
    separator = ',';
  }
  if (!demand.mount_from.empty()) scope += " repository:" + demand.mount_from + ":pull";
  return scope;
}

std::string detail_of(const Demand& demand) {
  if (demand.kind == Demand::Kind::catalog) return '[' + record("registry", "catalog", "*") + ']';
  if (demand.kind != Demand::Kind::repository) return "null";
  std::string detail;
  for (const Action action : demand.actions) {
    detail += detail.empty() ? '[' : ',';
    detail += record("repository", demand.repository, action_name(action));
  }
  if (!demand.mount_from.empty()) {
    detail += ',' + record("repository", demand.mount_from, action_name(Action::pull));
  }
  return detail + ']';
}

}  // namespace origin::auth
