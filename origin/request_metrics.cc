#include "origin/request_metrics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <variant>

namespace origin {
namespace {

// Distribution's names of its handlers, "referrers", which it does not have, and "other" for what
// belongs to none of them.
constexpr std::array<std::string_view, 9> kKindNames = {
    "base", "blob",      "blob_upload", "blob_upload_chunk", "catalog", "manifest",
    "tags", "referrers", "other"};
constexpr size_t kOther = kKindNames.size() - 1;

struct Method {
  std::string_view name;
  const char* label;
};
// The last is for every method that is not listed: clients must not make up labels.
constexpr std::array<Method, 8> kMethodNames = {{{"GET", "get"},
                                                 {"HEAD", "head"},
                                                 {"POST", "post"},
                                                 {"PUT", "put"},
                                                 {"PATCH", "patch"},
                                                 {"DELETE", "delete"},
                                                 {"OPTIONS", "options"},
                                                 {"", "unknown"}}};

std::string_view kind_of(const oci::Route& route) {
  if (std::holds_alternative<oci::BaseRoute>(route)) return kKindNames[0];
  if (std::holds_alternative<oci::BlobRoute>(route)) return kKindNames[1];
  if (std::holds_alternative<oci::UploadsRoute>(route)) return kKindNames[2];
  if (std::holds_alternative<oci::UploadRoute>(route)) return kKindNames[3];
  if (std::holds_alternative<oci::CatalogRoute>(route)) return kKindNames[4];
  if (std::holds_alternative<oci::ManifestRoute>(route)) return kKindNames[5];
  if (std::holds_alternative<oci::TagsRoute>(route)) return kKindNames[6];
  if (std::holds_alternative<oci::ReferrersRoute>(route)) return kKindNames[7];
  return kKindNames[kOther];
}

size_t kind_index(std::string_view kind) {
  const auto found = std::ranges::find(kKindNames, kind);
  return found == kKindNames.end() ? kOther : static_cast<size_t>(found - kKindNames.begin());
}

size_t method_index(std::string_view method) {
  const auto found = std::ranges::find(kMethodNames, method, &Method::name);
  return found == kMethodNames.end() ? kMethodNames.size() - 1
                                     : static_cast<size_t>(found - kMethodNames.begin());
}

const base::Buckets kSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60};

// 1 KiB, doubled up to 2 GiB.
base::Buckets size_buckets() {
  base::Buckets buckets;
  for (int power = 10; power <= 31; ++power) buckets.push_back(std::ldexp(1, power));
  return buckets;
}

// As Distribution counts it: the head, about, and the body.
double request_size(const http::AccessRecord& record) {
  const http::Request& request = record.request;
  size_t head = request.method.size() + request.target.size() + std::string_view("HTTP/1.1").size();
  for (const http::Headers::Field& field : request.headers) {
    head += field.name.size() + field.value.size();
  }
  return static_cast<double>(head + record.request_bytes);
}

}  // namespace

RequestMetrics::RequestMetrics(base::Metrics& metrics)
    : metrics_(metrics),
      uploads_(metrics.gauge("entrepot_uploads_in_flight",
                             "Requests that are writing to an upload or finishing it.")),
      received_(metrics.counter("entrepot_http_received_bytes_total",
                                "Bytes of request bodies that were read.")),
      sent_(metrics.counter("entrepot_http_sent_bytes_total", "Bytes of response bodies sent.")),
      redirects_(metrics.counter("entrepot_redirects_total",
                                 "Blob requests that were redirected to the edge.")),
      broken_(metrics.counter("entrepot_http_incomplete_responses_total",
                              "Responses whose client left, or was reset, before their end.")) {
  static_assert(kKindNames.size() == kKinds && kMethodNames.size() == kMethods);
  for (size_t i = 0; i < kKinds; ++i) {
    const base::Labels labels{{"handler", std::string(kKindNames[i])}};
    in_flight_[i] =
        &metrics.gauge("registry_http_in_flight_requests", "The in-flight HTTP requests", labels);
    request_sizes_[i] =
        &metrics.histogram("registry_http_request_size_bytes", "The HTTP request sizes in bytes.",
                           size_buckets(), labels);
    response_sizes_[i] =
        &metrics.histogram("registry_http_response_size_bytes", "The HTTP response sizes in bytes.",
                           size_buckets(), labels);
  }
}

RequestMetrics::InFlight::InFlight(RequestMetrics& metrics, http::Request& request,
                                   const oci::Route& route)
    : requests_(*metrics.in_flight_[kind_index(kind_of(route))]), uploads_(nullptr) {
  request.kind = kind_of(route);
  const bool upload = std::holds_alternative<oci::UploadsRoute>(route) ||
                      std::holds_alternative<oci::UploadRoute>(route);
  if (upload && (request.is("POST") || request.is("PATCH") || request.is("PUT"))) {
    uploads_ = &metrics.uploads_;
    uploads_->Increment();
  }
  requests_.Increment();
}

RequestMetrics::InFlight::~InFlight() {
  requests_.Decrement();
  if (uploads_ != nullptr) uploads_->Decrement();
}

base::Counter& RequestMetrics::requests(size_t kind, size_t method, int status) {
  const auto code = static_cast<size_t>(std::clamp(status, 100, 599));
  auto& slot = requests_[(kind * kMethods + method) * kStatuses + code - 100];
  if (base::Counter* known = slot.load(std::memory_order_acquire)) return *known;
  base::Counter& made =
      metrics_.counter("registry_http_requests_total", "Total number of HTTP requests made.",
                       {{"code", std::to_string(code)},
                        {"handler", std::string(kKindNames[kind])},
                        {"method", kMethodNames[method].label}});
  slot.store(&made, std::memory_order_release);
  return made;
}

base::Histogram& RequestMetrics::durations(size_t kind, size_t method) {
  auto& slot = durations_[kind * kMethods + method];
  if (base::Histogram* known = slot.load(std::memory_order_acquire)) return *known;
  base::Histogram& made = metrics_.histogram(
      "registry_http_request_duration_seconds", "The HTTP request latencies in seconds.", kSeconds,
      {{"handler", std::string(kKindNames[kind])}, {"method", kMethodNames[method].label}});
  slot.store(&made, std::memory_order_release);
  return made;
}

void RequestMetrics::record(const http::AccessRecord& record) {
  const size_t kind = kind_index(record.request.kind);
  const size_t method = method_index(record.request.method);
  requests(kind, method, record.status).Increment();
  durations(kind, method).Observe(std::chrono::duration<double>(record.duration).count());
  request_sizes_[kind]->Observe(request_size(record));
  response_sizes_[kind]->Observe(static_cast<double>(record.body_bytes));
  received_.Increment(static_cast<double>(record.request_bytes));
  sent_.Increment(static_cast<double>(record.body_bytes));
  if (!record.complete) broken_.Increment();
  const bool redirect = record.status == 302 || record.status == 307;
  if (redirect && record.request.kind == kKindNames[1]) redirects_.Increment();
}

}  // namespace origin
