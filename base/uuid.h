// Random UUIDs: version 4 of RFC 9562. Any thread.
#pragma once

#include <string>

namespace base {

// 36 characters, lower case. IoError if the system has no random bytes.
std::string random_uuid();

}  // namespace base
