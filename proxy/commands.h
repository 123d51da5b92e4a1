// The commands with which an operator administers a running edge. Each is a client of its
// administration (admin.h), whose address and token it takes from the edge's own configuration
// file, or from the command line.
//
// Exit codes: 0 done, 1 the edge did not answer or refused, 2 wrong usage, 3 not held.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "http/message.h"
#include "proxy/admin_config.h"

namespace proxy {

inline constexpr int kExitNotHeld = 3;

struct CommandOptions {
  std::filesystem::path config;
  std::string url;                    // instead of the one the configuration leads to
  std::filesystem::path token_file;   // likewise
  std::filesystem::path ca;           // with which the administration's certificate is verified
  std::filesystem::path certificate;  // and what it is shown, if it asks for that
  std::filesystem::path key;
  bool json = false;
};

// They write to standard output, errors to standard error, and return the exit code.
int command_stats(const CommandOptions& options);
int command_inspect(const CommandOptions& options, const std::string& digest);
int command_pin(const CommandOptions& options, const std::string& digest, bool pinned);
// One of: a digest, an upstream, a repository with the name of its upstream or without.
struct PurgeTarget {
  std::string digest;
  std::string repository;
  std::string upstream;
};
int command_purge(const CommandOptions& options, const PurgeTarget& target);
// Fetches the images, one after the other, and shows how far it is. 1 if any part of them cannot be
// had.
struct WarmTarget {
  std::vector<std::string> images;
  std::vector<std::string> platforms;  // all, if none
  std::string upstream;
  bool all_tags = false;
};
int command_warm(const CommandOptions& options, const WarmTarget& target);
// Shows what is fetched and served now, every second until the program is interrupted; once if
// standard output is no terminal or JSON is wanted.
int command_top(const CommandOptions& options);

}  // namespace proxy
