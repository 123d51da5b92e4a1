#include "origin/api/tags.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "origin/api/pagination.h"

namespace origin::api {
base::Task<void> tags(const Context& context, http::Exchange& exchange,
                      const oci::TagsRoute& route) {
  const Page page = read_page(exchange.request);
  // More than the most is cut to it, with a Link to the rest, as Distribution 3.1 does. Without "n"
  // all tags are sent.
  const size_t count = page.count ? std::min(*page.count, context.config.max_tags)
                                  : std::numeric_limits<size_t>::max() - 1;
  std::vector<std::string> names;
  const bool exists = co_await context.list_pool.run([&] {
    if (!context.storage.catalog.exists(route.repository)) return false;
    names = context.storage.tags.list(route.repository, page.last, count + 1);
    return true;
  });
  if (!exists) throw oci::Error(oci::ErrorCode::name_unknown, route.repository);

  http::Response answer = context.json("");
  paginate(names, count, context.public_path("/v2/" + route.repository + "/tags/list"), answer);
  nlohmann::ordered_json body;
  body["name"] = route.repository;
  body["tags"] = names;
  answer.body = body.dump() + '\n';
  co_await exchange.response.send(std::move(answer));
}

}  // namespace origin::api
