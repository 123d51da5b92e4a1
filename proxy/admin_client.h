// AdminClient: asks the administration of a running edge. Blocks; for commands. One thread.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/event_loop.h"
#include "http/client.h"
#include "proxy/commands.h"

namespace proxy {

class AdminClient {
 public:
  // Reads the configuration file unless the options say all: base::ConfigError; std::runtime_error
  // if there is no administration.
  explicit AdminClient(const CommandOptions& options);

  struct Reply {
    int status = 0;
    nlohmann::json body;
  };
  // std::runtime_error, which names the address, if there is no answer or it is not JSON.
  Reply get(const std::string& path);
  Reply post(const std::string& path, const nlohmann::json& body);
  // The same for an answer in lines of JSON: each is given to `line` as it comes, and the Reply has
  // no body. An answer that is not 200 has no lines.
  using OnLine = std::function<void(const nlohmann::json&)>;
  Reply post(const std::string& path, const nlohmann::json& body, const OnLine& line);

  const std::string& url() const { return url_; }

 private:
  Reply ask(http::ClientRequest request, const OnLine* line = nullptr);

  std::string url_;
  std::string token_;
  base::EventLoop loop_;
  http::Client client_;
};

}  // namespace proxy
