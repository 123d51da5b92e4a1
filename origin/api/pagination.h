// The query parameters "n" and "last" and the Link field of lists (distribution-spec "Listing
// Tags", "Listing Referrers").
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace origin::api {

struct Page {
  std::optional<size_t> count;  // "n"; nullopt without it
  std::string last;             // entries after this one; empty: from the first
};

// PAGINATION_NUMBER_INVALID for an "n" that is not a whole number of 0 or more.
Page read_page(const http::Request& request);

// Adds the Link to the page of `path` after `last`, with further query parameters as "&name=value".
void link_next(const std::string& path, std::string_view last, const std::string& parameters,
               http::Response& answer);

// Cuts the entries to `count` and, if there were more, adds the Link to the next page of `path`.
void paginate(std::vector<std::string>& entries, size_t count, const std::string& path,
              http::Response& answer);

}  // namespace origin::api
