#include "origin/api/catalog.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "origin/api/pagination.h"

namespace origin::api {
namespace {

// Distribution's page size without "n".
constexpr size_t kDefaultEntries = 100;

}  // namespace

base::Task<void> catalog(const Context& context, http::Exchange& exchange) {
  const size_t most = context.config.max_catalog_entries;
  const Page page = read_page(exchange.request);
  const size_t count = page.count.value_or(std::min(kDefaultEntries, most));
  if (count > most) {
    throw oci::Error(oci::ErrorCode::pagination_number_invalid, "at most " + std::to_string(most));
  }
  std::vector<std::string> names = co_await context.list_pool.run([&] {
    return context.storage.catalog.list(page.last, count + 1, [&](const std::string& name) {
      return context.identity.may_list(name);
    });
  });

  http::Response answer = context.json("");
  paginate(names, count, context.public_path("/v2/_catalog"), answer);
  nlohmann::ordered_json body;
  body["repositories"] = names;
  answer.body = body.dump() + '\n';
  co_await exchange.response.send(std::move(answer));
}

}  // namespace origin::api
