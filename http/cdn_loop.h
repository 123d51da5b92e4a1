// CDN-Loop (RFC 8586): the nodes that a request has passed. Pure.
#pragma once

#include <string_view>

namespace http {

// True if the field's value names this node. Names are compared case-insensitively.
bool has_passed(std::string_view cdn_loop, std::string_view id);

// False for what a server on the way may refuse as malformed: bytes that are no text, or more of it
// than any chain of nodes makes. Each node adds its name, so the next may see what is too long.
bool can_go_on(std::string_view cdn_loop);

// Whether text can be a node's name: a token (RFC 9110 §5.6.2), as in Via and Cache-Status.
bool is_token(std::string_view text);

}  // namespace http
