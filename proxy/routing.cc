#include "proxy/routing.h"

#include <algorithm>

#include "http/request_target.h"

namespace proxy {
namespace {

bool lists(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::any_of(names,
                             [name](const std::string& each) { return http::iequals(each, name); });
}

// What follows "<prefix>/" in the name, if anything does.
std::optional<std::string> below(const std::string& prefix, const std::string& repository) {
  if (prefix.empty() || repository.size() <= prefix.size() + 1) return std::nullopt;
  if (!repository.starts_with(prefix) || repository[prefix.size()] != '/') return std::nullopt;
  return repository.substr(prefix.size() + 1);
}

}  // namespace

std::optional<Routing::Destination> Routing::find(const http::Request& request,
                                                  const std::string& repository) const {
  if (const auto ns = request.query_value("ns")) {
    for (const auto& upstream : upstreams_) {
      if (lists(upstream->config().namespaces, *ns)) return Destination{upstream, repository};
    }
    const auto minds = [](const std::shared_ptr<Upstream>& upstream) {
      return upstream->config().images || !upstream->config().namespaces.empty();
    };
    if (std::ranges::any_of(upstreams_, minds)) return std::nullopt;
  }
  const std::string_view host = http::without_port(request.headers.get("Host").value_or(""));
  for (const auto& upstream : upstreams_) {
    if (lists(upstream->config().hosts, host)) return Destination{upstream, repository};
  }
  // The longest prefix counts, whatever the order of the list.
  std::optional<Destination> best;
  for (const auto& upstream : upstreams_) {
    std::optional<std::string> rest = below(upstream->config().prefix, repository);
    if (rest && (!best || rest->size() < best->repository.size())) {
      best = Destination{upstream, std::move(*rest)};
    }
  }
  if (best) return best;
  for (const auto& upstream : upstreams_) {
    if (upstream->config().takes_the_rest()) return Destination{upstream, repository};
  }
  return std::nullopt;
}

}  // namespace proxy
