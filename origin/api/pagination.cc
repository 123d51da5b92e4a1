#include "origin/api/pagination.h"

#include <charconv>

#include "oci/error.h"

namespace origin::api {

Page read_page(const http::Request& request) {
  Page page;
  page.last = request.query_value("last").value_or("");
  const std::string n = request.query_value("n").value_or("");
  if (n.empty()) return page;
  size_t count = 0;
  const auto [end, error] = std::from_chars(n.data(), n.data() + n.size(), count);
  if (error != std::errc() || end != n.data() + n.size()) {
    throw oci::Error(oci::ErrorCode::pagination_number_invalid, n);
  }
  page.count = count;
  return page;
}

void link_next(const std::string& path, std::string_view last, const std::string& parameters,
               http::Response& answer) {
  answer.headers.set(
      "Link", "<" + path + "?last=" + http::percent_encode(last) + parameters + ">; rel=\"next\"");
}

void paginate(std::vector<std::string>& entries, size_t count, const std::string& path,
              http::Response& answer) {
  if (entries.size() <= count) return;
  entries.resize(count);
  if (entries.empty()) return;
  link_next(path, entries.back(), "&n=" + std::to_string(count), answer);
}

}  // namespace origin::api
