// cold_bench: what the first clients of a blob get while the upstream is slow. A herd on a small
// blob, beside nginx's proxy_cache in the same run; and a lazy pull: a client that reads a few
// percent of a large layer in many small ranges. bench/README.md says how to read it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <numeric>
#include <random>

#include "base/event_loop.h"
#include "bench/clock.h"
#include "bench/load.h"
#include "bench/paced_upstream.h"
#include "bench/program.h"
#include "bench/temporary_directory.h"
#include "http/client.h"

namespace bench::cold_bench {
namespace {

namespace fs = std::filesystem;
struct Options {
  fs::path edge;
  fs::path temporary = fs::temp_directory_path();
  int herds = 20;
  uint64_t layer_mib = 1024;
  uint64_t mib_per_second = 64;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double quantile(std::vector<double>& sorted, double q) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

// ---- fifty clients on a cold 4 KiB blob

constexpr int kHerd = 50;
constexpr std::chrono::milliseconds kDelay{100};

void herd(const Options& options, const Setup& setup) {
  const std::vector<Blob> blobs =
      make_blobs(setup.blobs(), static_cast<size_t>(options.herds), 4 << 10);
  fmt::print("{} clients at once on a cold 4 KiB blob, upstream takes {} ms, {} blobs\n", kHerd,
             kDelay.count(), options.herds);
  fmt::print("{:<16}{:>22}{:>22}{:>20}\n", "", "slowest, median ms", "slowest, worst ms",
             "upstream requests");
  for (const Kind kind : {Kind::edge, Kind::nginx}) {
    PacedUpstream upstream(setup, blobs, {.delay = kDelay});
    Server server(kind, setup, upstream.port());
    const Address address{server.port(false), nullptr};
    std::vector<double> slowest;
    for (const Blob& blob : blobs) {
      const ColdResult result = cold_load(address, blob, kHerd, [](uint64_t, double) {});
      slowest.push_back(1000 * result.first_byte.back());
    }
    fmt::print("{:<16}{:>22.1f}{:>22.1f}{:>20}\n", kind_name(kind), median(slowest),
               std::ranges::max(slowest), upstream.requests());
  }
  fmt::print("\n");
}

// ---- a lazy pull

struct Range {
  uint64_t begin;
  uint64_t end;
};

// What a snapshotter reads of a layer to start a container: files here and there, each in small
// pieces; every fifth request asks for four pieces at once.
std::vector<std::vector<Range>> lazy_requests(uint64_t size) {
  constexpr uint64_t kFile = 512 << 10;
  constexpr uint64_t kPiece = 64 << 10;
  std::mt19937_64 random(7);
  std::vector<std::vector<Range>> requests;
  const uint64_t files = size * 6 / 100 / kFile;
  for (uint64_t file = 0; file < files; ++file) {
    // Not the last block, which is closed until the digest is verified.
    uint64_t at = random() % (size - kFile - (2 << 20));
    const uint64_t end = at + kFile;
    while (at < end) {
      std::vector<Range>& request = requests.emplace_back();
      const bool several = requests.size() % 5 == 0;
      const uint64_t piece = several ? kPiece / 4 : kPiece;
      for (int part = 0; part < (several ? 4 : 1) && at < end; ++part, at += piece) {
        request.push_back({at, std::min(end, at + piece)});
      }
    }
  }
  return requests;
}

std::string range_field(const std::vector<Range>& ranges) {
  std::string field = "bytes=";
  for (const Range& range : ranges) {
    if (field.back() != '=') field += ",";
    field += fmt::format("{}-{}", range.begin, range.end - 1);
  }
  return field;
}

// True if the answer's body has these parts of the blob, in this order.
bool has_parts(std::string_view body, const std::vector<Range>& ranges, std::string_view blob) {
  if (ranges.size() == 1)
    return body == blob.substr(ranges[0].begin, ranges[0].end - ranges[0].begin);
  for (const Range& range : ranges) {
    const size_t head = body.find("\r\n\r\n");
    if (head == std::string_view::npos) return false;
    body.remove_prefix(head + 4);
    const std::string_view part = blob.substr(range.begin, range.end - range.begin);
    if (!body.starts_with(part)) return false;
    body.remove_prefix(part.size());
  }
  return true;
}

// Milliseconds until the whole answer is there. BadAnswer for wrong bytes.
base::Task<double> fetch_range(http::Client* client, std::string url,
                               const std::vector<Range>* ranges, std::string_view blob) {
  const auto began = Clock::now();
  http::ClientRequest request;
  request.url = std::move(url);
  request.headers.set("Range", range_field(*ranges));
  const std::unique_ptr<http::ClientResponse> response = co_await client->fetch(std::move(request));
  std::string body;
  while (true) {
    const std::string_view bytes = co_await response->read();
    if (bytes.empty()) break;
    body += bytes;
  }
  const std::chrono::duration<double, std::milli> took = Clock::now() - began;
  if (response->status() != 206 || !has_parts(body, *ranges, blob)) {
    throw BadAnswer(fmt::format("status {} or wrong bytes for a range", response->status()));
  }
  co_return took.count();
}

void lazy(const Options& options, const Setup& setup) {
  std::vector<Blob> blobs = make_blobs(setup.blobs() / "lazy", 1, options.layer_mib << 20);
  const Blob& blob = blobs.front();
  PacedUpstream upstream(setup, blobs, {.bytes_per_second = options.mib_per_second << 20});
  Server server(Kind::edge, setup, upstream.port());
  base::EventLoop loop;
  std::vector<double> times;
  uint64_t read = 0;
  const std::string url = fmt::format("http://127.0.0.1:{}{}", server.port(false), blob.target());
  const auto began = Clock::now();
  {
    http::Client client(loop, {});
    for (const std::vector<Range>& request : lazy_requests(blob.size())) {
      times.push_back(base::run_task(loop, fetch_range(&client, url, &request, blob.bytes())));
      for (const Range& range : request) read += range.end - range.begin;
    }
    const std::chrono::duration<double> took = Clock::now() - began;
    const auto share = [&](uint64_t bytes) {
      return 100 * static_cast<double>(bytes) / static_cast<double>(blob.size());
    };
    const uint64_t fetched = upstream.bytes_sent();
    fmt::print("a lazy pull of a cold layer of {} MiB, upstream {} MiB/s for each request\n",
               options.layer_mib, options.mib_per_second);
    fmt::print(
        "{} requests for {:.1f} % of it in {:.2f} s; the whole layer takes the upstream {:.1f} s\n",
        times.size(), share(read), took.count(),
        static_cast<double>(options.layer_mib) / static_cast<double>(options.mib_per_second));
    const double first = times.front();
    std::ranges::sort(times);
    fmt::print("ms for each: first {:.1f}, median {:.2f}, 90 % {:.1f}, 99 % {:.1f}, worst {:.1f}\n",
               first, quantile(times, 0.5), quantile(times, 0.9), quantile(times, 0.99),
               times.back());
    fmt::print("fetched from the upstream by then: {:.1f} % of the layer\n", share(fetched));

    // The last bytes, which only a verified blob gives: the end of the fill.
    const std::vector<Range> footer{{blob.size() - 51, blob.size()}};
    const double wait = base::run_task(loop, fetch_range(&client, url, &footer, blob.bytes()));
    fmt::print(
        "the last 51 bytes, asked for then, came {:.0f} ms later, with the digest verified; "
        "fetched in all: {:.3f} × the layer in {} requests\n",
        wait, share(upstream.bytes_sent()) / 100, upstream.requests());
  }
}

int run_bench(const Options& options) {
  const TemporaryDirectory directory(options.temporary, "cold_bench");
  const Setup setup{.directory = directory.path(),
                    .edge = options.edge,
                    .nginx = find_program("nginx"),
                    .workers = std::max(1U, std::thread::hardware_concurrency())};
  make_certificate(setup);
  herd(options, setup);
  lazy(options, setup);
  return 0;
}

}  // namespace
}  // namespace bench::cold_bench

int main(int argc, char** argv) {
  bench::cold_bench::Options options;
  CLI::App app{
      "Measures what the first clients of a blob get while the upstream is slow.\n"
      "Exit status 1 for wrong bytes or a failure, never for being slow."};
  app.add_option("--edge", options.edge, "The program entrepot-edge")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--herds", options.herds, "Cold small blobs")->capture_default_str();
  app.add_option("--layer", options.layer_mib, "Size of the lazily read layer, in MiB")
      ->check(CLI::Range(16, 65536))
      ->capture_default_str();
  app.add_option("--rate", options.mib_per_second, "Of the upstream, in MiB/s")
      ->capture_default_str();
  app.add_option("--directory", options.temporary, "Where blobs and caches go while it runs")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return bench::run_program([&] { return bench::cold_bench::run_bench(options); });
}
