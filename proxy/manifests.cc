#include "proxy/manifests.h"

#include "http/signed_url.h"
#include "oci/error.h"
#include "oci/manifest.h"
#include "proxy/answer.h"
#include "proxy/error_answer.h"

namespace proxy {
namespace {

using oci::ErrorCode;

// Longer queries of lists are nobody's.
constexpr size_t kMaxQuery = 1024;

// A malformed digest is the client's mistake; a malformed tag just names nothing.
oci::Reference require_reference(const std::string& text) {
  const auto reference = oci::parse_reference(text);
  if (reference) return *reference;
  if (text.find(':') == std::string::npos) throw oci::Error(ErrorCode::manifest_unknown, text);
  throw oci::Error(ErrorCode::digest_invalid, "not a sha256 or sha512 digest");
}

// What the upstream is asked with: all but containerd's `ns` and a signature, which are for us.
std::string forwarded_query(std::string_view query) {
  if (query.size() > kMaxQuery) throw http::StatusError(414, "the query is too long");
  std::string out;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), parameter.size() + 1));
    const std::string_view name = parameter.substr(0, parameter.find('='));
    const std::string plain = http::percent_decode(name);
    if (parameter.empty() || plain == "ns" || plain == http::kSignatureParameter) continue;
    if (!out.empty()) out += '&';
    out += parameter;
  }
  return out;
}

// The upstream is told where the request has passed.
DocumentName on_behalf_of(const http::Request& request, DocumentName name) {
  name.cdn_loop = request.headers.joined("CDN-Loop");
  return name;
}

std::string cache_status(const Document& document) {
  std::string text;
  switch (document.from) {
    case Document::From::hit:
      return "hit";
    case Document::From::miss:
      text = "fwd=uri-miss";
      if (document.collapsed) {
        text += "; collapsed";
      } else if (document.blob) {
        text += "; stored";
      }
      break;
    case Document::From::revalidated:
      text = document.collapsed ? "fwd=stale; collapsed" : "fwd=stale; fwd-status=304";
      break;
    case Document::From::stale:
      text = "fwd=stale; detail=\"" + document.why + "\"";
      break;
  }
  return text;
}

}  // namespace

base::Task<void> Manifests::serve(http::Exchange& exchange, Routing::Destination from,
                                  std::string reference) {
  const DocumentName name = on_behalf_of(
      exchange.request,
      DocumentName::manifest(from.upstream, from.repository, require_reference(reference)));
  const std::optional<Document> document = co_await find(exchange, name);
  if (!document) co_return;
  DocumentSource source(documents_, name, *document);
  co_await http::serve_content(exchange, content(exchange.request, name, *document, source.size()),
                               source);
  const bool pulled = exchange.request.is("GET") && exchange.response.status() == 200;
  // What could not be kept is a sign that its blobs could not be, either.
  if (pulled && document->blob && from.upstream->config().image.prefetch)
    warmer_.prefetch(name, *document);
}

base::Task<void> Manifests::serve_tags(http::Exchange& exchange, Routing::Destination from,
                                       std::string repository) {
  const DocumentName name = on_behalf_of(
      exchange.request,
      DocumentName::tags(from.upstream, from.repository, forwarded_query(exchange.request.query)));
  const std::optional<Document> document = co_await find(exchange, name);
  if (!document) co_return;
  // A valid name has nothing to escape.
  DocumentSource source(documents_, name, *document, R"({"name":")" + repository + R"(","tags":)",
                        "}\n");
  co_await serve_list(exchange, name, *document, source, "/v2/" + repository + "/tags/list");
}

base::Task<void> Manifests::serve_referrers(http::Exchange& exchange, Routing::Destination from,
                                            oci::ReferrersRoute route) {
  const auto subject = oci::Digest::parse(route.digest);
  if (!subject) throw oci::Error(ErrorCode::digest_invalid, "not a sha256 or sha512 digest");
  const DocumentName name = on_behalf_of(
      exchange.request, DocumentName::referrers(from.upstream, from.repository, *subject,
                                                forwarded_query(exchange.request.query)));
  const std::optional<Document> document = co_await find(exchange, name);
  if (!document) co_return;
  DocumentSource source(documents_, name, *document);
  co_await serve_list(exchange, name, *document, source,
                      "/v2/" + route.repository + "/referrers/" + route.digest);
}

base::Task<std::optional<Document>> Manifests::find(http::Exchange& exchange, DocumentName name) {
  const base::TimePoint asked = base::EventLoop::current()->now();
  std::variant<Document, Ending> found = co_await documents_.get(name);
  auto* document = std::get_if<Document>(&found);
  if (!document || document->from != Document::From::hit) {
    exchange.request.upstream_wait = base::EventLoop::current()->now() - asked;
  }
  if (document) co_return std::move(*document);
  co_await serve_ending(exchange, name, std::get<Ending>(std::move(found)));
  co_return std::nullopt;
}

// The next page is asked of us, of the same upstream.
base::Task<void> Manifests::serve_list(http::Exchange& exchange, const DocumentName& name,
                                       const Document& document, DocumentSource& source,
                                       std::string path) {
  http::ContentInfo info = content(exchange.request, name, document, source.size());
  info.headers.remove("Docker-Content-Digest");
  if (std::string next = forwarded_query(field_of(document.reference, kNextPage)); !next.empty()) {
    if (const auto ns = exchange.request.query_value("ns")) {
      next += "&ns=" + http::percent_encode(*ns);
    }
    info.headers.set("Link", "<" + path + "?" + next + ">; rel=\"next\"");
  }
  if (const auto filters = field_of(document.reference, kFiltersApplied); !filters.empty()) {
    info.headers.set(kFiltersApplied, filters);
  }
  co_await http::serve_content(exchange, std::move(info), source);
}

base::Task<void> Manifests::serve_ending(http::Exchange& exchange, const DocumentName& name,
                                         Ending ending) {
  const ErrorAnswer answer = document_error(name.kind, ending.outcome);
  http::Response response = error_response(
      name_, answer.status,
      oci::error_json(
          {{answer.code, oci::detail_string(std::string(answer.detail) + ": " + name.target())}}));
  response.headers.set("Cache-Status", name_ + "; fwd=uri-miss");
  if (const auto ns = exchange.request.query_value("ns")) {
    response.headers.set("OCI-Namespace", *ns);
  }
  if (!ending.retry_after.empty()) response.headers.set("Retry-After", ending.retry_after);
  co_await exchange.response.send(std::move(response));
}

http::ContentInfo Manifests::content(const http::Request& request, const DocumentName& name,
                                     const Document& document, uint64_t size) const {
  http::Headers each = content_fields(name_, request, cache_status(document));
  each.set("Docker-Distribution-Api-Version", "registry/2.0");
  http::ContentInfo info{.size = size,
                         .etag = "\"" + document.reference.digest.str() + "\"",
                         .headers = each,
                         .unsatisfiable = std::move(each)};
  info.unsatisfiable.set("Cache-Control", "no-store");
  http::Headers& headers = info.headers;
  headers.set("Content-Type", document.reference.media_type);
  headers.set("Docker-Content-Digest", document.reference.digest.str());
  headers.set("Cache-Control", cache_control(request, name.digest().has_value()));
  if (document.from != Document::From::miss) headers.set("Age", std::to_string(document.age));
  if (document.from == Document::From::stale) {
    // The first is HTTP's (RFC 7234 §5.5.1), the second the one that registry clients show.
    headers.add("Warning", "110 - \"Response is Stale\"");
    headers.add("Warning", "299 - \"" + document.why + "; this is what it said " +
                               std::to_string(document.age) + " s ago\"");
  }
  return info;
}

}  // namespace proxy
