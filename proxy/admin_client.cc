#include "proxy/admin_client.h"

#include "base/durable_file.h"
#include "base/yaml_config.h"
#include "proxy/config.h"

namespace proxy {
namespace {

constexpr uint64_t kMaxToken = 4096;
constexpr size_t kMaxReply = 64 << 20;
// A large purge, or a slow upstream that an image is asked of, takes its time; whoever waits can
// leave.
constexpr auto kPatience = std::chrono::minutes(10);

http::ClientOptions client_options(const CommandOptions& options) {
  http::ClientOptions client;
  client.first_byte_timeout = kPatience;
  client.stall_timeout = kPatience;
  client.ca_file = options.ca;
  client.certificate = options.certificate;
  client.key = options.key;
  client.user_agent = "entrepot-edge/" ENTREPOT_VERSION;
  return client;
}

// An address to listen on as one to connect to: all addresses of this host become its loopback one.
std::string connectable(const std::string& address) {
  if (address.starts_with(':')) return "localhost" + address;
  if (address.starts_with("0.0.0.0:")) return "localhost" + address.substr(7);
  if (address.starts_with("[::]:")) return "localhost" + address.substr(4);
  return address;
}

// Takes the whole lines off the beginning of the text.
void take_lines(std::string& text, const AdminClient::OnLine& line) {
  size_t end = 0;
  while ((end = text.find('\n')) != std::string::npos) {
    const auto json = nlohmann::json::parse(text.substr(0, end), nullptr, false);
    text.erase(0, end + 1);
    if (json.is_object()) line(json);
  }
}

base::Task<AdminClient::Reply> fetch(http::Client* client, http::ClientRequest request,
                                     const AdminClient::OnLine* line) {
  const std::unique_ptr<http::ClientResponse> response = co_await client->fetch(std::move(request));
  const bool in_lines = line != nullptr && response->status() == 200;
  std::string body;
  while (body.size() < kMaxReply) {
    const std::string_view bytes = co_await response->read();
    if (bytes.empty()) break;
    body += bytes;
    if (in_lines) take_lines(body, *line);
  }
  if (in_lines) co_return AdminClient::Reply{response->status(), nullptr};
  co_return AdminClient::Reply{response->status(), nlohmann::json::parse(body, nullptr, false)};
}

http::ClientRequest json_post(const std::string& path, const nlohmann::json& body) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = path;
  request.headers.set("Content-Type", "application/json");
  request.body = body.dump();
  return request;
}

}  // namespace

AdminClient::AdminClient(const CommandOptions& options)
    : url_(options.url), client_(loop_, client_options(options)) {
  if (!options.token_file.empty()) {
    const auto token = base::read_file(options.token_file, kMaxToken);
    if (!token) throw std::runtime_error("there is no file " + options.token_file.string());
    token_ = token->substr(0, token->find_last_not_of(" \t\r\n") + 1);
  }
  if (!url_.empty()) {
    while (url_.ends_with('/')) url_.pop_back();
    return;
  }
  const AdminConfig config = read_edge_config(options.config).admin;
  if (config.address.empty()) {
    throw std::runtime_error(options.config.string() +
                             " has no section `admin`: the edge cannot be administered");
  }
  url_ = (config.tls ? "https://" : "http://") + connectable(config.address);
  if (token_.empty()) token_ = config.token;
}

AdminClient::Reply AdminClient::ask(http::ClientRequest request, const OnLine* line) {
  request.url.insert(0, url_);
  if (!token_.empty()) request.headers.set("Authorization", "Bearer " + token_);
  Reply reply;
  try {
    reply = base::run_task(loop_, fetch(&client_, std::move(request), line));
  } catch (const http::TransferError& e) {
    throw std::runtime_error("no answer from " + url_ + ": " + e.what());
  }
  if (reply.body.is_discarded()) {
    throw std::runtime_error(url_ + " answered " + std::to_string(reply.status) +
                             ", but not with JSON: is it an edge's administration?");
  }
  return reply;
}

AdminClient::Reply AdminClient::get(const std::string& path) {
  http::ClientRequest request;
  request.url = path;
  return ask(std::move(request));
}

AdminClient::Reply AdminClient::post(const std::string& path, const nlohmann::json& body) {
  return ask(json_post(path, body));
}

AdminClient::Reply AdminClient::post(const std::string& path, const nlohmann::json& body,
                                     const OnLine& line) {
  return ask(json_post(path, body), &line);
}

}  // namespace proxy
