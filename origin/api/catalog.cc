#include "origin/api/catalog.h"

#include <nlohmann/json.hpp>

#include "origin/api/pagination.h"

namespace origin::api {
namespace {

// Distribution's page sizes: without "n", and the most that may be asked for.
constexpr size_t kDefaultEntries = 100;
constexpr size_t kMaxEntries = 1000;

}  // namespace

base::Task<void> catalog(const Context& context, http::Exchange& exchange) {
  if (!exchange.request.is("GET") && !exchange.request.is("HEAD")) {
    co_return co_await refuse_method(context, exchange, "GET, HEAD");
  }
  const Page page = read_page(exchange.request);
  const size_t count = page.count.value_or(kDefaultEntries);
  if (count > kMaxEntries) {
    throw oci::Error(oci::ErrorCode::pagination_number_invalid,
                     "at most " + std::to_string(kMaxEntries));
  }
  std::vector<std::string> names = co_await context.pool.run([&] {
    return context.storage.catalog.list(page.last, count + 1, [&](const std::string& name) {
      return context.identity.may_list(name);
    });
  });

  http::Response answer = context.json("");
  paginate(names, count, "/v2/_catalog", answer);
  nlohmann::ordered_json body;
  body["repositories"] = names;
  answer.body = body.dump() + '\n';
  co_await exchange.response.send(std::move(answer));
}

}  // namespace origin::api
