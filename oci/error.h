// The error table of the distribution-spec ("Error Codes") and of Distribution's errcode package:
// one row per code with its HTTP status and message, and the JSON body clients expect.
// Expected outcomes are in types; oci::Error is for a request that cannot go on.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace oci {

enum class ErrorCode {
  unknown,
  unsupported,
  unauthorized,
  denied,
  unavailable,
  too_many_requests,
  digest_invalid,
  size_invalid,
  range_invalid,
  name_invalid,
  tag_invalid,
  name_unknown,
  manifest_unknown,
  manifest_invalid,
  manifest_unverified,
  manifest_blob_unknown,
  blob_unknown,
  blob_upload_unknown,
  blob_upload_invalid,
  pagination_number_invalid,
};

// "BLOB_UNKNOWN", 404, "blob unknown to registry".
std::string_view error_name(ErrorCode code);
int error_status(ErrorCode code);
std::string_view error_message(ErrorCode code);

// One entry of the "errors" array. `detail` is well-formed JSON text, put in as it is, or empty for
// none; detail_string() makes one from plain text of any bytes.
struct ErrorEntry {
  ErrorCode code;
  std::string detail;
};
std::string detail_string(std::string_view text);

// {"errors":[{"code":…,"message":…,"detail":…}]} and a newline.
std::string error_json(const std::vector<ErrorEntry>& entries);

// Thrown by handlers, caught where the connection's handler begins. The status is that of the first
// entry.
class Error : public std::exception {
 public:
  // `detail` is plain text for people; it becomes a JSON string.
  explicit Error(ErrorCode code, std::string_view detail = "");
  // At least one entry.
  explicit Error(std::vector<ErrorEntry> entries);

  ErrorCode code() const { return entries_.front().code; }
  int status() const { return error_status(code()); }
  const std::vector<ErrorEntry>& entries() const { return entries_; }
  std::string json() const { return error_json(entries_); }
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::vector<ErrorEntry> entries_;
  std::string what_;
};

// The code that says best what an HTTP status means when only the status is known, as for a request
// refused before any handler saw it or an upstream's answer: 401 UNAUTHORIZED, 403 DENIED, 404
// NAME_UNKNOWN (a path that is no route names nothing here; a handler that knows what is missing
// says so itself), 405, 415 and 501 UNSUPPORTED, 416 RANGE_INVALID, 429 TOOMANYREQUESTS, 502, 503
// and 504 UNAVAILABLE, everything else UNKNOWN. The answer keeps its own status, which need not be
// error_status() of this code: a body carries no status.
ErrorCode code_for_status(int status);

}  // namespace oci
