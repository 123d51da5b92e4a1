// What a request asks for and of whom, whatever version of HTTP carried it: the target is split and
// decoded here and nowhere else. Pure.
#pragma once

#include <string_view>

#include "http/message.h"

namespace http {

// True if Host or an :authority may have this value: a name or address, with or without a port.
bool is_valid_host(std::string_view host);
// Without its port; an IPv6 address keeps its brackets.
std::string_view without_port(std::string_view host);

// Fills target, path and query (RFC 9112 §3.2) of a request that has its method and Host.
// StatusError: 400 for a target that is malformed, 405 for a method that is never served, 421 for
// one of another server.
void set_target(std::string_view target, Request& request);

}  // namespace http
