// CDN-Loop (RFC 8586): the nodes that a request has passed. Pure.
#pragma once

#include <string_view>

namespace http {

// True if the field's value names this node. Names are compared case-insensitively.
bool has_passed(std::string_view cdn_loop, std::string_view id);

// Whether text can be a node's name: a token (RFC 9110 §5.6.2), as in Via and Cache-Status.
bool is_token(std::string_view text);

}  // namespace http
