// The input is a request's query.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "http/signed_url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<http::SigningKey> keys = {{"fuzz", "0123456789abcdef"}};
  static const std::string parameter =
      http::sign_path(keys[0], "/v2/a", 1'764'081'200, http::Network::parse("192.0.2.0/24"));
  static const std::string value = parameter.substr(parameter.find('=') + 1);
  const auto good = [](const http::Request& request) {
    return http::verify_signature(keys, request, "192.0.2.1", 1'764'080'000) ==
           http::SignatureVerdict::good;
  };
  http::Request request;
  request.path = "/v2/a";
  request.query.assign(reinterpret_cast<const char*>(data), size);
  // Nothing is good but the one value that was signed, and only if it comes once.
  const bool genuine =
      request.query_values(http::kSignatureParameter) == std::vector<std::string>{value};
  if (good(request) != genuine) std::abort();
  // What a log shows of it is of no use, and hides nothing more the next time.
  request.query = http::hide_signature(request.query);
  if (good(request) || http::hide_signature(request.query) != request.query) std::abort();
  return 0;
}
