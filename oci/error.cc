#include "oci/error.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace oci {
namespace {

struct Row {
  ErrorCode code;
  int status;
  std::string_view name;
  std::string_view message;
};

// In the order of ErrorCode. Statuses and messages are Distribution's, word for word.
constexpr std::array kTable = std::to_array<Row>({
    {ErrorCode::unknown, 500, "UNKNOWN", "unknown error"},
    {ErrorCode::unsupported, 405, "UNSUPPORTED", "The operation is unsupported."},
    {ErrorCode::unauthorized, 401, "UNAUTHORIZED", "authentication required"},
    {ErrorCode::denied, 403, "DENIED", "requested access to the resource is denied"},
    {ErrorCode::unavailable, 503, "UNAVAILABLE", "service unavailable"},
    {ErrorCode::too_many_requests, 429, "TOOMANYREQUESTS", "too many requests"},
    {ErrorCode::digest_invalid, 400, "DIGEST_INVALID",
     "provided digest did not match uploaded content"},
    {ErrorCode::size_invalid, 400, "SIZE_INVALID", "provided length did not match content length"},
    {ErrorCode::range_invalid, 416, "RANGE_INVALID", "invalid content range"},
    {ErrorCode::name_invalid, 400, "NAME_INVALID", "invalid repository name"},
    {ErrorCode::tag_invalid, 400, "TAG_INVALID", "manifest tag did not match URI"},
    {ErrorCode::name_unknown, 404, "NAME_UNKNOWN", "repository name not known to registry"},
    {ErrorCode::manifest_unknown, 404, "MANIFEST_UNKNOWN", "manifest unknown"},
    {ErrorCode::manifest_invalid, 400, "MANIFEST_INVALID", "manifest invalid"},
    {ErrorCode::manifest_unverified, 400, "MANIFEST_UNVERIFIED",
     "manifest failed signature verification"},
    {ErrorCode::manifest_blob_unknown, 400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"},
    {ErrorCode::blob_unknown, 404, "BLOB_UNKNOWN", "blob unknown to registry"},
    {ErrorCode::blob_upload_unknown, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"},
    {ErrorCode::blob_upload_invalid, 404, "BLOB_UPLOAD_INVALID", "blob upload invalid"},
    {ErrorCode::pagination_number_invalid, 400, "PAGINATION_NUMBER_INVALID",
     "invalid number of results requested"},
});

consteval bool in_order() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (std::to_underlying(kTable[i].code) != static_cast<int>(i)) return false;
  }
  return std::to_underlying(ErrorCode::pagination_number_invalid) + 1 == kTable.size();
}
static_assert(in_order());

const Row& row(ErrorCode code) { return kTable[static_cast<size_t>(code)]; }

}  // namespace

std::string_view error_name(ErrorCode code) { return row(code).name; }
int error_status(ErrorCode code) { return row(code).status; }
std::string_view error_message(ErrorCode code) { return row(code).message; }

std::string detail_string(std::string_view text) {
  // Text that came from a client may not be UTF-8; what is not becomes U+FFFD.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string error_json(const std::vector<ErrorEntry>& entries) {
  std::string out = R"({"errors":[)";
  for (const ErrorEntry& entry : entries) {
    if (&entry != &entries.front()) out += ',';
    // Names and messages are those of the table above, which need no escaping.
    out.append(R"({"code":")").append(error_name(entry.code));
    out.append(R"(","message":")").append(error_message(entry.code)).append("\"");
    if (!entry.detail.empty()) out.append(R"(,"detail":)").append(entry.detail);
    out += '}';
  }
  out += "]}\n";
  return out;
}

Error::Error(ErrorCode code, std::string_view detail)
    : Error({ErrorEntry{code, detail.empty() ? "" : detail_string(detail)}}) {}

Error::Error(std::vector<ErrorEntry> entries) : entries_(std::move(entries)) {
  const ErrorEntry& first = entries_.front();
  what_ = error_name(first.code);
  if (!first.detail.empty()) what_.append(": ").append(first.detail);
  if (entries_.size() > 1) what_ += " and " + std::to_string(entries_.size() - 1) + " more";
}

ErrorCode code_for_status(int status) {
  switch (status) {
    case 401:
      return ErrorCode::unauthorized;
    case 403:
      return ErrorCode::denied;
    case 404:
      return ErrorCode::name_unknown;
    case 405:
    case 415:
    case 501:
      return ErrorCode::unsupported;
    case 416:
      return ErrorCode::range_invalid;
    case 429:
      return ErrorCode::too_many_requests;
    case 502:
    case 503:
    case 504:
    case 508:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::unknown;
  }
}

}  // namespace oci
