#include "proxy/warm.h"

#include <simdjson.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace proxy {
namespace {

using nlohmann::json;

constexpr auto kProgressEvery = std::chrono::seconds(1);
// Pages of a list of tags; a registry that always has a new next one ends here.
constexpr size_t kMaxPages = 1000;

struct Totals {
  uint64_t images = 0;
  uint64_t failed_images = 0;
  uint64_t held = 0;
  uint64_t fetched = 0;
  uint64_t failed = 0;
  uint64_t bytes = 0;
};

// The answer to one request. Lives in serve_warm's frame.
class WarmAnswer {
 public:
  WarmAnswer(WarmParts parts, http::ResponseWriter& response, const WarmRequest& request)
      : parts_(parts), response_(response), request_(request) {}

  base::Task<void> tell(json line) {
    const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    co_await response_.write(text);
  }

  // Each of the repository's tags, or why they are not known.
  base::Task<std::variant<std::vector<std::string>, Ending>> tags();
  // False if the edge is stopping.
  base::Task<bool> image(oci::Reference reference, int64_t now);
  const Totals& totals() const { return totals_; }

 private:
  base::Task<std::variant<Image, Ending>> resolve(const DocumentName& name, int64_t now);
  base::Task<bool> fill(const DocumentName& name, Image image);
  base::Task<void> tell_blob(const BlobFills::Ended& ended);

  const WarmParts parts_;
  http::ResponseWriter& response_;
  const WarmRequest& request_;
  Totals totals_;
};

// Adds those of one page, which is kept as an array; false if it is none.
bool add_tags(const std::string& page, std::vector<std::string>& tags) {
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  if (parser.parse(page).get(array) != simdjson::SUCCESS) return false;
  for (const auto element : array) {
    std::string_view tag;
    if (element.get(tag) != simdjson::SUCCESS || !oci::valid_tag(tag)) return false;
    tags.emplace_back(tag);
  }
  return true;
}

base::Task<std::variant<std::vector<std::string>, Ending>> WarmAnswer::tags() {
  std::vector<std::string> tags;
  std::string query;
  std::set<std::string> asked;
  while (asked.size() < kMaxPages && asked.insert(query).second) {
    const auto name = DocumentName::tags(request_.upstream, request_.repository, query);
    std::variant<Document, Ending> found = co_await parts_.documents.get(name);
    if (auto* ending = std::get_if<Ending>(&found)) co_return std::move(*ending);
    const auto& document = std::get<Document>(found);
    std::variant<std::string, Ending> read = co_await parts_.documents.read(name, document);
    if (auto* ending = std::get_if<Ending>(&read)) co_return std::move(*ending);
    const std::string& page = std::get<std::string>(read);
    const bool good =
        co_await parts_.pool.run_sized(page.size(), [&] { return add_tags(page, tags); });
    if (!good) {
      co_return Ending{Outcome::unreachable, "the list of tags is none", ""};
    }
    query = field_of(document.reference, kNextPage);
    if (query.empty()) break;
  }
  co_return tags;
}

base::Task<std::variant<Image, Ending>> WarmAnswer::resolve(const DocumentName& name, int64_t now) {
  try {
    if (!name.digest()) co_await parts_.purger.expire(name, now);
    std::variant<Image, Ending> image = co_await parts_.warmer.resolve(name, request_.platforms);
    co_return image;
  } catch (const base::IoError& e) {
    co_return Ending{Outcome::storage_failed, e.what(), ""};
  }
}

base::Task<bool> WarmAnswer::image(oci::Reference reference, int64_t now) {
  const std::string text = oci::to_string(reference);
  const std::string what =
      request_.repository + (std::holds_alternative<oci::Digest>(reference) ? "@" : ":") + text;
  const auto name = DocumentName::manifest(request_.upstream, request_.repository, reference);
  std::variant<Image, Ending> found = co_await resolve(name, now);
  ++totals_.images;
  if (const auto* ending = std::get_if<Ending>(&found)) {
    ++totals_.failed_images;
    co_await tell({{"event", "image"}, {"image", what}, {"error", ending->why}});
    co_return ending->outcome != Outcome::cancelled;
  }
  Image image = std::get<Image>(std::move(found));
  uint64_t bytes = 0;
  for (const oci::Descriptor& blob : image.blobs) bytes += blob.size;
  co_await tell({{"event", "image"},
                 {"image", what},
                 {"digest", image.digest.str()},
                 {"manifests", image.manifests.size()},
                 {"blobs", image.blobs.size()},
                 {"bytes", bytes}});
  co_return co_await fill(name, std::move(image));
}

base::Task<void> WarmAnswer::tell_blob(const BlobFills::Ended& ended) {
  const auto& [blob, ending, held] = ended;
  const bool good = ending.outcome == Outcome::verified;
  json line{{"event", "blob"},
            {"digest", blob.digest.str()},
            {"size", blob.size},
            {"result", !good  ? "failed"
                       : held ? "held"
                              : "fetched"}};
  if (!good) line["error"] = ending.why;
  if (good && !held) totals_.bytes += blob.size;
  ++(!good ? totals_.failed : held ? totals_.held : totals_.fetched);
  co_await tell(std::move(line));
}

base::Task<bool> WarmAnswer::fill(const DocumentName& name, Image image) {
  base::EventLoop& loop = *base::EventLoop::current();
  uint64_t blobs_there = 0;
  uint64_t bytes_there = 0;
  BlobFills fills = parts_.warmer.fill(name, std::move(image));
  while (true) {
    const std::optional<BlobFills::Ended> ended = co_await fills.next(loop.after(kProgressEvery));
    if (ended) {
      ++blobs_there;
      bytes_there += ended->blob.size;
      co_await tell_blob(*ended);
      if (ended->ending.outcome == Outcome::cancelled) co_return false;
    } else if (fills.done()) {
      co_return true;
    } else {
      co_await tell(
          {{"event", "progress"}, {"blobs", blobs_there}, {"bytes", bytes_there + fills.stored()}});
    }
  }
}

}  // namespace

base::Task<void> serve_warm(WarmParts parts, http::Exchange& exchange, WarmRequest request,
                            int64_t now) {
  http::Headers headers;
  headers.set("Content-Type", "application/x-ndjson");
  headers.set("Cache-Control", "no-store");
  co_await exchange.response.begin(200, std::move(headers), std::nullopt);
  WarmAnswer answer(parts, exchange.response, request);
  std::vector<oci::Reference> references;
  std::string failure;
  if (request.reference) {
    references.push_back(*request.reference);
  } else {
    std::variant<std::vector<std::string>, Ending> tags = co_await answer.tags();
    if (const auto* ending = std::get_if<Ending>(&tags)) {
      failure = ending->why;
    } else {
      for (std::string& tag : std::get<std::vector<std::string>>(tags)) {
        references.emplace_back(std::move(tag));
      }
    }
  }
  for (const oci::Reference& reference : references) {
    const bool going_on = co_await answer.image(reference, now);
    if (!going_on) break;
  }
  const Totals& totals = answer.totals();
  json end{
      {"event", "end"},       {"images", totals.images},   {"failed_images", totals.failed_images},
      {"held", totals.held},  {"fetched", totals.fetched}, {"failed", totals.failed},
      {"bytes", totals.bytes}};
  if (!failure.empty()) end["error"] = failure;
  co_await answer.tell(std::move(end));
  co_await exchange.response.finish();
}

}  // namespace proxy
