// blob_bench: how fast, and at what cost in CPU and memory, the edge delivers blobs, beside nginx's
// proxy_cache in the same run on the same machine. bench/README.md says how to read its table.
#include <signal.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/blobs.h"
#include "bench/client.h"
#include "bench/load.h"
#include "bench/progress.h"
#include "bench/servers.h"
#include "bench/table.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

struct Options {
  std::string edge;
  std::string only;
  fs::path temporary = fs::temp_directory_path();
  fs::path json;
  unsigned loops = std::max(1U, std::thread::hardware_concurrency());
  int clients = 16;
  bool quick = false;
};

// What --quick shrinks.
struct Scale {
  size_t small_count, medium_count;
  uint64_t large;
  double seconds;  // per hot cell and server
  int herd;
};
constexpr Scale kFull{
    .small_count = 64, .medium_count = 16, .large = 256 << 20, .seconds = 4, .herd = 50};
constexpr Scale kQuick{
    .small_count = 8, .medium_count = 2, .large = 16 << 20, .seconds = 0.3, .herd = 10};

struct Blobs {
  std::vector<Blob> small, medium, large;
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto* blobs : {&small, &medium, &large}) {
      for (const Blob& blob : *blobs) sum += blob.size();
    }
    return sum;
  }
};

// A directory that goes when this does.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const fs::path& parent) {
    std::string name = parent / "blob_bench-XXXXXX";
    if (!mkdtemp(name.data())) throw base::IoError("mkdtemp " + name);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using Better = Metric::Better;
const Metric kRequests{"requests/s", Better::higher, 0};
const Metric kCpuRequests{"CPU s per 100,000 requests", Better::lower, 2};
const Metric kThroughput{"MiB/s", Better::higher, 0};
const Metric kCpuBytes{"CPU s per GiB", Better::lower, 3};
const Metric kFirstMedian{"first byte, median, ms", Better::lower, 1};
const Metric kFirstLast{"first byte, last, ms", Better::lower, 1};
const Metric kWall{"wall, s", Better::lower, 2};
const Metric kOrigin{"origin bytes / blob bytes", Better::lower, 2};
const Metric kMemory{"anonymous memory, MiB (+)", Better::lower, 1};
const Metric kResident{"resident peak, MiB (+)", Better::lower, 1};

class Run {
 public:
  Run(const Options& options, const Setup& setup)
      : options_(options),
        scale_(options.quick ? kQuick : kFull),
        setup_(setup),
        progress_(count_steps()) {
    if (options.only != "nginx") kinds_.push_back(Kind::edge);
    if (options.only != "edge") kinds_.push_back(Kind::nginx);
  }

  void run() {
    progress_.step("making blobs");
    make_certificate(setup_);
    tls_ = std::make_unique<ClientTls>(setup_.certificate());
    blobs_ = {make_blobs(setup_.blobs(), scale_.small_count, 4 << 10),
              make_blobs(setup_.blobs(), scale_.medium_count, 1 << 20),
              make_blobs(setup_.blobs(), 1, scale_.large)};
    hot();
    for (const bool tls : {false, true}) cold("cold, 1 client", 1, tls);
    const std::string herd = "cold, " + std::to_string(scale_.herd) + " clients";
    for (const bool tls : {false, true}) cold(herd, scale_.herd, tls);
    progress_.clear();
  }

  const Table& table() const { return table_; }
  const std::map<std::string, std::string>& ciphers() const { return ciphers_; }
  // What was promised and not seen; timing is never among it.
  const std::vector<std::string>& broken() const { return broken_; }

 private:
  // A server with an upstream of its own, so that what it fetches is known.
  struct Node {
    Node(Kind of, const Setup& setup)
        : kind(of), upstream(setup), server(of, setup, upstream.port()) {}
    Kind kind;
    Upstream upstream;
    Server server;
  };

  int count_steps() const {
    const int kinds = options_.only.empty() ? 2 : 1;
    constexpr int kHot = 1 + 6, kCold = 4;  // the fill, 3 sizes and 2 loads, each plain and TLS
    return 1 + kinds * (kHot + kCold);
  }

  Address address(Node& node, bool tls) {
    return {node.server.port(tls), tls ? tls_.get() : nullptr};
  }

  void step(Kind kind, const std::string& cell) {
    if (interrupted) throw Interrupted{};
    progress_.step(std::string(kind_name(kind)) + " " + cell);
  }

  static std::string cell_name(const std::string& what, bool tls) {
    return what + (tls ? ", TLS" : ", HTTP");
  }

  // Every size on every server in turn, so that what changes on the machine changes for both.
  void hot() {
    std::vector<std::unique_ptr<Node>> nodes;
    for (const Kind kind : kinds_) {
      nodes.push_back(std::make_unique<Node>(kind, setup_));
      step(kind, "filling");
      for (const auto* blobs : {&blobs_.small, &blobs_.medium, &blobs_.large}) {
        for (const Blob& blob : *blobs)
          cold_load(address(*nodes.back(), false), blob, 1, [](auto, auto) {});
      }
    }
    for (const bool tls : {false, true}) {
      for (auto& node : nodes) hot_requests("hot 4 KiB", blobs_.small, tls, *node);
    }
    const std::string large = "hot " + std::to_string(scale_.large >> 20) + " MiB";
    for (const bool tls : {false, true}) {
      for (auto& node : nodes) hot_bytes("hot 1 MiB", blobs_.medium, tls, *node);
    }
    for (const bool tls : {false, true}) {
      for (auto& node : nodes) hot_bytes(large, blobs_.large, tls, *node);
    }
    for (auto& node : nodes) {
      node->server.process().stop();
      origin("hot, all blobs", node->kind, node->upstream.stop(), blobs_.bytes());
    }
  }

  HotResult hot_cell(const std::string& cell, const std::vector<Blob>& blobs, bool tls,
                     Node& node) {
    step(node.kind, cell);
    const auto watch = [&](uint64_t bytes, double seconds) {
      progress_.update(bytes, seconds, seconds / scale_.seconds);
    };
    HotResult result =
        hot_load(address(node, tls), blobs, blobs_.small.front(), options_.clients,
                 std::chrono::duration<double>(scale_.seconds), node.server.process(), watch);
    if (tls) ciphers_[kind_name(node.kind)] = result.cipher;
    return result;
  }

  void hot_requests(const std::string& what, const std::vector<Blob>& blobs, bool tls, Node& node) {
    const std::string cell = cell_name(what, tls);
    const HotResult result = hot_cell(cell, blobs, tls, node);
    const auto requests = static_cast<double>(result.requests);
    table_.set(cell, kRequests, node.kind, requests / result.seconds);
    table_.set(cell, kCpuRequests, node.kind, result.cpu / requests * 100'000);
  }

  void hot_bytes(const std::string& what, const std::vector<Blob>& blobs, bool tls, Node& node) {
    const std::string cell = cell_name(what, tls);
    const HotResult result = hot_cell(cell, blobs, tls, node);
    const auto bytes = static_cast<double>(result.bytes);
    table_.set(cell, kThroughput, node.kind, bytes / kMiB / result.seconds);
    table_.set(cell, kCpuBytes, node.kind, result.cpu / (bytes / kGiB));
  }

  // Each server anew with an empty cache: nothing of one measurement is in the next.
  void cold(const std::string& what, int clients, bool tls) {
    const std::string cell = cell_name(what, tls);
    for (const Kind kind : kinds_) {
      step(kind, cell);
      Node node(kind, setup_);
      Process& process = node.server.process();
      const Blob& blob = blobs_.large.front();
      const double delivered = static_cast<double>(blob.size()) * clients;
      const double idle_cpu = process.cpu_seconds();
      const uint64_t idle_anonymous = process.anonymous_bytes();
      const uint64_t idle_resident = process.resident_bytes();
      MemorySampler memory(process);
      const ColdResult result =
          cold_load(address(node, tls), blob, clients, [&](uint64_t bytes, double seconds) {
            progress_.update(bytes, seconds, static_cast<double>(bytes) / delivered);
          });
      const uint64_t anonymous = memory.finish();
      const uint64_t resident = process.peak_resident_bytes();
      const double cpu = process.stop() - idle_cpu;

      if (clients > 1) {
        table_.set(cell, kFirstMedian, kind, result.first_byte[result.first_byte.size() / 2] * 1e3);
      }
      table_.set(cell, kFirstLast, kind, result.first_byte.back() * 1e3);
      table_.set(cell, kWall, kind, result.seconds);
      table_.set(cell, kCpuBytes, kind, cpu / (delivered / kGiB));
      table_.set(cell, kMemory, kind, beyond(anonymous, idle_anonymous));
      table_.set(cell, kResident, kind, beyond(resident, idle_resident));
      origin(cell, kind, node.upstream.stop(), blob.size());
    }
  }

  static double beyond(uint64_t peak, uint64_t idle) {
    return (static_cast<double>(peak) - static_cast<double>(idle)) / kMiB;
  }

  void origin(const std::string& cell, Kind kind, uint64_t sent, uint64_t once) {
    table_.set(cell, kOrigin, kind, static_cast<double>(sent) / static_cast<double>(once));
    if (kind == Kind::edge && sent != once) {
      broken_.push_back(cell + ": the edge fetched " + std::to_string(sent) + " bytes instead of " +
                        std::to_string(once));
    }
  }

  const Options& options_;
  const Scale scale_;
  const Setup setup_;
  Progress progress_;
  std::vector<Kind> kinds_;
  Blobs blobs_;
  std::unique_ptr<ClientTls> tls_;
  Table table_;
  std::map<std::string, std::string> ciphers_;
  std::vector<std::string> broken_;
};

void report(const Run& run, const Options& options, const Setup& setup) {
  utsname system{};
  uname(&system);
  std::cout << "\n"
            << std::thread::hardware_concurrency() << " cores, " << setup.workers
            << " loops or workers, " << options.clients << " clients on hot blobs, Linux "
            << system.release << (options.quick ? ", --quick: too short to compare" : "") << "\n";
  for (const auto& [server, cipher] : run.ciphers()) std::cout << server << ": " << cipher << "\n";
  std::cout << "\n";
  run.table().print(std::cout);
  std::cout << "\n(+) beyond its size when idle; all processes of the server together\n";
  if (!options.json.empty()) {
    std::ofstream out(options.json);
    out << nlohmann::json{{"cores", std::thread::hardware_concurrency()},
                          {"workers", setup.workers},
                          {"clients", options.clients},
                          {"kernel", system.release},
                          {"quick", options.quick},
                          {"tls", run.ciphers()},
                          {"results", run.table().json()}}
               .dump(2)
        << "\n";
    out.close();
    if (!out) throw base::IoError("writing " + options.json.string());
  }
}

int run_bench(const Options& options) {
  const TemporaryDirectory directory(options.temporary);
  const Setup setup{.directory = directory.path(),
                    .edge = options.edge,
                    .nginx = find_program("nginx"),
                    .workers = options.loops};
  Run run(options, setup);
  run.run();
  report(run, options, setup);
  for (const std::string& what : run.broken()) std::cerr << "FAILED: " << what << "\n";
  return run.broken().empty() ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::Options options;
  CLI::App app{
      "Measures the edge's blob delivery beside nginx proxy_cache, on loopback.\n"
      "Exit status 1 for wrong bytes or a failure, never for being slow."};
  app.add_option("--edge", options.edge, "The program entrepot-edge")->check(CLI::ExistingFile);
  app.add_option("--only", options.only, "Measure only this one")
      ->check(CLI::IsMember({"edge", "nginx"}));
  app.add_option("--loops", options.loops, "Loops of the edge, workers of nginx; default: cores")
      ->check(CLI::Range(1, 256));
  app.add_option("--clients", options.clients, "Clients on hot blobs")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--directory", options.temporary, "Where blobs and caches go while it runs")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--json", options.json, "Also write the results to this file");
  app.add_flag("--quick", options.quick, "A few seconds: to see that it works, not to compare");
  CLI11_PARSE(app, argc, argv);
  if (options.edge.empty() && options.only != "nginx") {
    std::cerr << "--edge is missing: the path of entrepot-edge (or --only nginx)\n";
    return 2;
  }

  const auto interrupt = [](int) { bench::interrupted = true; };
  signal(SIGINT, interrupt);
  signal(SIGTERM, interrupt);
  signal(SIGHUP, interrupt);
  signal(SIGPIPE, SIG_IGN);
  try {
    return bench::run_bench(options);
  } catch (const bench::Interrupted&) {
    std::cerr << "\ninterrupted\n";
    return 130;
  } catch (const std::exception& failure) {
    std::cerr << "\nFAILED: " << failure.what() << "\n";
    return 1;
  }
}
