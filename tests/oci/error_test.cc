#include "oci/error.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace oci {
namespace {

using namespace std::string_literals;

struct Expected {
  ErrorCode code;
  int status;
  std::string_view name;
  std::string_view message;
};
constexpr Expected kAll[] = {
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
};

TEST(ErrorTable, EveryCode) {
  for (const Expected& expected : kAll) {
    EXPECT_EQ(error_name(expected.code), expected.name);
    EXPECT_EQ(error_status(expected.code), expected.status) << expected.name;
    EXPECT_EQ(error_message(expected.code), expected.message) << expected.name;
    EXPECT_EQ(error_json({{expected.code, ""}}),
              "{\"errors\":[{\"code\":\"" + std::string(expected.name) + "\",\"message\":\"" +
                  std::string(expected.message) + "\"}]}\n");
  }
  EXPECT_EQ(std::size(kAll),
            static_cast<size_t>(std::to_underlying(ErrorCode::pagination_number_invalid)) + 1);
}

TEST(ErrorJson, DetailsAreJsonAsGiven) {
  EXPECT_EQ(error_json({{ErrorCode::blob_unknown, detail_string("sha256:x")},
                        {ErrorCode::name_unknown, R"({"name":"a/b"})"},
                        {ErrorCode::unauthorized, "null"}}),
            R"({"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry",)"
            R"("detail":"sha256:x"},{"code":"NAME_UNKNOWN",)"
            R"("message":"repository name not known to registry","detail":{"name":"a/b"}},)"
            R"({"code":"UNAUTHORIZED","message":"authentication required","detail":null}]})"
            "\n");
}

TEST(ErrorJson, DetailStringTakesAnyBytes) {
  EXPECT_EQ(detail_string(""), "\"\"");
  EXPECT_EQ(detail_string("a \"quoted\" \\ path"), R"("a \"quoted\" \\ path")");
  EXPECT_EQ(detail_string("line\r\n\t\0end"s), R"("line\r\n\t\u0000end")");
  EXPECT_EQ(detail_string("Entrepôt"), "\"Entrepôt\"");
  EXPECT_EQ(detail_string("\xff\xfe"), "\"\uFFFD\uFFFD\"");
  EXPECT_EQ(detail_string("cut \xe2\x82"), "\"cut \uFFFD\"");
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  EXPECT_TRUE(nlohmann::json::accept(detail_string(every_byte)));
}

TEST(Error, CarriesCodeStatusAndBody) {
  const Error error(ErrorCode::digest_invalid, "digest \"x\" is malformed");
  EXPECT_EQ(error.code(), ErrorCode::digest_invalid);
  EXPECT_EQ(error.status(), 400);
  const auto body = nlohmann::json::parse(error.json());
  EXPECT_EQ(body["errors"][0]["detail"], "digest \"x\" is malformed");
  EXPECT_STREQ(error.what(), R"(DIGEST_INVALID: "digest \"x\" is malformed")");
}

TEST(Error, WithoutDetail) {
  const Error error(ErrorCode::unavailable);
  EXPECT_FALSE(nlohmann::json::parse(error.json())["errors"][0].contains("detail"));
  EXPECT_STREQ(error.what(), "UNAVAILABLE");
}

TEST(Error, FirstOfSeveralGivesTheStatus) {
  const Error error({{ErrorCode::manifest_blob_unknown, detail_string("a")},
                     {ErrorCode::manifest_blob_unknown, detail_string("b")},
                     {ErrorCode::unavailable, ""}});
  EXPECT_EQ(error.status(), 400);
  EXPECT_EQ(nlohmann::json::parse(error.json())["errors"].size(), 3U);
  EXPECT_STREQ(error.what(), "MANIFEST_BLOB_UNKNOWN: \"a\" and 2 more");
}

TEST(Error, CodeForEveryStatus) {
  const std::pair<ErrorCode, std::vector<int>> table[] = {
      {ErrorCode::unauthorized, {401}},
      {ErrorCode::denied, {403}},
      {ErrorCode::name_unknown, {404}},
      {ErrorCode::unsupported, {405, 415, 501}},
      {ErrorCode::range_invalid, {416}},
      {ErrorCode::too_many_requests, {429}},
      {ErrorCode::unavailable, {502, 503, 504, 508}},
  };
  for (int status = -1; status <= 1000; ++status) {
    ErrorCode expected = ErrorCode::unknown;
    for (const auto& [code, statuses] : table) {
      for (const int listed : statuses) {
        if (listed == status) expected = code;
      }
    }
    EXPECT_EQ(code_for_status(status), expected) << status;
  }
}

}  // namespace
}  // namespace oci
