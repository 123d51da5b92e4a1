// bcrypt by libcrypt. Blocks for tens of milliseconds and more: run it on the pool. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace origin::auth {

// Whether the text is a bcrypt hash ($2a$, $2b$, $2y$) of a cost that can be afforded: a cost of 16
// takes seconds, and each step more doubles it.
bool valid_bcrypt(std::string_view hash);
// The cost in a valid hash.
unsigned bcrypt_cost(std::string_view hash);
// A hash of that cost that no password has.
std::string impossible_bcrypt(unsigned cost);

// Only the first 72 bytes of a password count, as in every bcrypt. base::IoError if it fails.
bool bcrypt_matches(const std::string& password, const std::string& hash);

}  // namespace origin::auth
