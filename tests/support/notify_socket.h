// A service manager's ear: the socket that NOTIFY_SOCKET names, as sd_notify(3) sends to it.
#pragma once

#include <filesystem>
#include <string>

#include "base/unique_fd.h"

namespace test {

class NotifySocket {
 public:
  explicit NotifySocket(std::filesystem::path path);

  std::string path() const { return path_.string(); }
  // The next message. std::runtime_error if none comes within two minutes.
  std::string receive();
  // Takes messages until one contains the text, and returns it.
  std::string wait_for(const std::string& text);

 private:
  const std::filesystem::path path_;
  base::UniqueFd fd_;
};

}  // namespace test
