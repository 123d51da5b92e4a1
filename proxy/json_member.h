// Members of the JSON objects that the administration API takes. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "http/body.h"

namespace proxy {

// Empty if it is not there; 400 if it is no text.
inline std::string text_member(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  if (!found->is_string()) throw http::StatusError(400, "\"" + key + "\" must be a text");
  return found->get<std::string>();
}

}  // namespace proxy
