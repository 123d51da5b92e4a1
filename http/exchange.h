// What the server does with every request whose head it has read, whatever version of HTTP brought
// it.
#pragma once

#include "base/event_loop.h"
#include "http/connection.h"
#include "http/server_response.h"

namespace http {

// True if the client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
bool expects_continue(const Request& request);

// Runs the handler, or refuses to, and turns what it throws into a response if it still can. The
// request counts as in flight meanwhile unless it is refused. Throws nothing: see whether the
// response is complete.
base::Task<void> answer(ServerState& server, Request& request, BodyReader& body,
                        ServerResponse& response);

// Tells ServerOptions::on_access; `request_bytes` is what came of the request's body.
void record(const ServerState& server, const Request& request, uint64_t request_bytes,
            const ServerResponse& response, base::Duration duration);

}  // namespace http
