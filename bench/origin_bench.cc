// origin_bench: what the origin costs beside Debian's docker-registry, on the same directory and in
// the same run: manifests by tag over TLS, and the memory of a thousand clients that read slowly or
// not at all. bench/README.md says how to read its table.

#include <signal.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "bench/load.h"
#include "bench/program.h"
#include "bench/progress.h"
#include "bench/servers.h"
#include "bench/table.h"
#include "bench/temporary_directory.h"
#include "oci/digest.h"
#include "origin/storage/storage.h"

namespace bench::origin_bench {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1 << 20;
constexpr const char* kRepository = "library/bench";

struct Options {
  std::string origin;
  fs::path temporary = fs::temp_directory_path();
  fs::path json;
  double seconds = 5;
  int clients = 32;
  int crowd = 1000;
  bool quick = false;
};

using Better = Metric::Better;
const Metric kRequests{"requests/s", Better::higher, 0};
const Metric kCpu{"CPU s per 100,000 requests", Better::lower, 2};
const Metric kAnonymous{"anonymous memory, MiB (+)", Better::lower, 1};
const Metric kResident{"resident memory, MiB (+)", Better::lower, 1};

// A registry's directory with one tagged image of one large layer.
struct Content {
  explicit Content(const fs::path& directory, uint64_t layer_size)
      : root(directory / "registry"), layer(directory / "blobs", 1, layer_size) {
    origin::Storage storage(root);
    const std::string name = layer.target().substr(layer.target().rfind('/') + 1);
    const auto digest = *oci::Digest::parse(name);
    storage.blobs.adopt(directory / "blobs" / layer.target().substr(1), layer.size(), kRepository,
                        digest);
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    constexpr int kLayers = 10;  // about as many as images have
    for (int i = 0; i < kLayers; ++i) {
      layers.push_back({{"mediaType", "application/vnd.oci.image.layer.v1.tar+gzip"},
                        {"digest", name},
                        {"size", layer.size()}});
    }
    const nlohmann::ordered_json json{{"schemaVersion", 2},
                                      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                                      {"config",
                                       {{"mediaType", "application/vnd.oci.image.config.v1+json"},
                                        {"digest", name},
                                        {"size", layer.size()}}},
                                      {"layers", layers}};
    const std::string bytes = json.dump();
    const auto manifest_digest = oci::Digest::of(oci::Algorithm::sha256, bytes);
    storage.manifests.put(kRepository, manifest_digest, bytes, std::nullopt);
    storage.tags.put(kRepository, "latest", manifest_digest);
    manifest =
        std::make_unique<Blob>(std::string("/v2/") + kRepository + "/manifests/latest", bytes);
  }

  const fs::path root;
  Blob layer;
  std::unique_ptr<Blob> manifest;
};

// A registry serving the directory over TLS.
std::unique_ptr<Process> start(Column column, const Options& options, const Setup& setup,
                               const fs::path& root, uint16_t port) {
  const bool ours = column == Column::ours;
  const fs::path config = setup.directory / (ours ? "ours.yml" : "theirs.yml");
  std::ofstream out(config);
  out << "version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: " << root
      << "}\n  cache: {blobdescriptor: inmemory}\nhttp:\n  addr: 127.0.0.1:" << port
      << "\n  tls: {certificate: " << setup.certificate() << ", key: " << setup.key() << "}\n";
  out.close();
  if (!out) throw base::IoError("writing " + config.string());
  const std::string program = ours ? options.origin : find_program("docker-registry");
  const fs::path log = setup.directory / (ours ? "ours.log" : "theirs.log");
  auto process =
      std::make_unique<Process>(std::vector<std::string>{program, "serve", config}, log, SIGTERM);
  process->wait_listening(port);
  return process;
}

class Run {
 public:
  Run(const Options& options, const fs::path& directory)
      : options_(options), setup_{.directory = directory}, progress_(6) {}

  void run() {
    make_certificate(setup_);
    tls_ = std::make_unique<ClientTls>(setup_.certificate());
    const Content content(setup_.directory, options_.quick ? 16 << 20 : 256 << 20);
    for (const Column column : {Column::ours, Column::theirs}) {
      manifests(column, content);
      crowd("idle connections", column, content,
            [&](Client& client) { client.fetch(*content.manifest, true); });
      crowd("slow readers", column, content, [&](Client& client) { client.begin(content.layer); });
    }
    progress_.clear();
  }

  const Table& table() const { return table_; }

 private:
  void manifests(Column column, const Content& content) {
    step("manifests by tag");
    const uint16_t port = free_port();
    const auto process = start(column, options_, setup_, content.root, port);
    std::vector<Blob> targets;
    targets.emplace_back(content.manifest->target(), content.manifest->bytes());
    const HotResult result =
        hot_load({port, tls_.get()}, targets, targets.front(), options_.clients,
                 std::chrono::duration<double>(options_.seconds), *process,
                 [&](uint64_t bytes, double seconds) {
                   progress_.update(bytes, seconds, seconds / options_.seconds);
                 });
    const auto requests = static_cast<double>(result.requests);
    table_.set("manifest by tag, TLS", kRequests, column, requests / result.seconds);
    table_.set("manifest by tag, TLS", kCpu, column, result.cpu / requests * 100'000);
  }

  // What a server's memory grows by when so many clients have connected, one after the other, and
  // done that.
  void crowd(const std::string& what, Column column, const Content& content,
             const std::function<void(Client&)>& act) {
    step(what);
    const uint16_t port = free_port();
    const auto process = start(column, options_, setup_, content.root, port);
    Counters counters;
    std::vector<std::unique_ptr<Client>> clients;
    const uint64_t anonymous = process->anonymous_bytes();
    const uint64_t resident = process->resident_bytes();
    for (int i = 0; i < options_.crowd; ++i) {
      if (interrupted) throw Interrupted{};
      clients.push_back(std::make_unique<Client>(Address{port, tls_.get()}, counters));
      act(*clients.back());
      progress_.update(counters.bytes, 0, static_cast<double>(i) / options_.crowd);
    }
    const std::string name = std::to_string(options_.crowd) + " " + what + ", TLS";
    MemorySampler memory(*process);
    std::this_thread::sleep_for(std::chrono::seconds(1));  // until buffers are full
    const uint64_t peak = memory.finish();
    const auto beyond = [](uint64_t now, uint64_t before) {
      return (static_cast<double>(now) - static_cast<double>(before)) / kMiB;
    };
    table_.set(name, kAnonymous, column, beyond(peak, anonymous));
    table_.set(name, kResident, column, beyond(process->resident_bytes(), resident));
    clients.clear();
  }

  void step(const std::string& name) {
    if (interrupted) throw Interrupted{};
    progress_.step(name);
  }

  const Options options_;
  const Setup setup_;
  Progress progress_;
  std::unique_ptr<ClientTls> tls_;
  Table table_{"entrepot-origin", "docker-registry"};
};

int run_bench(const Options& options) {
  const TemporaryDirectory directory(options.temporary, "origin_bench");
  Run run(options, directory.path());
  run.run();
  std::cout << "\n"
            << std::thread::hardware_concurrency() << " cores, " << options.clients
            << " clients on the manifest"
            << (options.quick ? ", --quick: too short to compare" : "") << "\n\n";
  run.table().print(std::cout);
  std::cout << "\n(+) beyond its size when idle\n";
  write_json(options.json, run.table().json().dump(2));
  return 0;
}

}  // namespace
}  // namespace bench::origin_bench

int main(int argc, char** argv) {
  bench::origin_bench::Options options;
  CLI::App app{
      "Measures entrepot-origin beside docker-registry, on loopback.\n"
      "Exit status 1 for wrong bytes or a failure, never for being slow."};
  app.add_option("--origin", options.origin, "The program entrepot-origin")
      ->check(CLI::ExistingFile)
      ->required();
  app.add_option("--seconds", options.seconds, "For the manifests of each server")
      ->check(CLI::PositiveNumber);
  app.add_option("--clients", options.clients, "Clients on the manifest")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--crowd", options.crowd, "Clients that are idle, or slow")
      ->check(CLI::Range(1, 5000))
      ->capture_default_str();
  app.add_option("--directory", options.temporary, "Where the registry's directory goes")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--json", options.json, "Also write the results to this file");
  app.add_flag("--quick", options.quick, "A few seconds: to see that it works, not to compare");
  CLI11_PARSE(app, argc, argv);
  if (options.quick) {
    options.seconds = 0.5;
    options.crowd = 50;
  }
  bench::raise_descriptor_limit();
  return bench::run_program([&] { return bench::origin_bench::run_bench(options); });
}
