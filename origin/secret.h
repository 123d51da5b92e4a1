// The secret that signs upload tokens when http.secret is not configured: a file in the storage,
// made by the first replica that comes and shared by all. Blocks; for start-up. IoError.
#pragma once

#include <filesystem>
#include <string>

namespace origin {

// Reads the file, or makes it with mode 0600. However many replicas start at once, all return the
// same secret. Where it may not be made, which is logged, each has a random one of its own.
std::string shared_secret(const std::filesystem::path& path);

}  // namespace origin
