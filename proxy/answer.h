// What the edge's answers have in common. Pure.
#pragma once

#include <string>

#include "http/message.h"

namespace proxy {

// An error as clients need it: OCI JSON that no cache keeps. `name` is the edge's, for Via.
http::Response error_response(const std::string& name, int status, std::string json);

// Of every answer with content, a 416 for it too: Cache-Status (RFC 9211) with what is said there
// behind the edge's name, Via, and the registry that the request was routed by
// (distribution-spec "Registry proxying").
http::Headers content_fields(const std::string& name, const http::Request& request,
                             const std::string& cache_status);

// For content that is what it is for ever, or may change under its name. What a signed URL gives is
// for who has it: no cache between may keep it for others.
std::string cache_control(const http::Request& request, bool immutable);

}  // namespace proxy
