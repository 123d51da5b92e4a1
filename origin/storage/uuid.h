// Names that nobody else has: of uploads, and of files that only their maker knows. Any thread.
#pragma once

#include <string>

namespace origin {

// A version 4 UUID (RFC 9562): Distribution's upload purger knows uploads by this form.
std::string random_uuid();

}  // namespace origin
