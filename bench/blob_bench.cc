// blob_bench: how fast, and at what cost in CPU and memory, the edge delivers blobs, beside nginx's
// proxy_cache in the same run on the same machine. bench/README.md says how to read its table.
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "bench/measurement.h"
#include "bench/program.h"
#include "bench/temporary_directory.h"

namespace bench::blob_bench {
namespace {

namespace fs = std::filesystem;

struct Options {
  Plan plan;
  std::string edge;
  std::string only;
  fs::path temporary = fs::temp_directory_path();
  fs::path json;
  unsigned loops = std::max(1U, std::thread::hardware_concurrency());
};

void report(const Run& run, const Options& options) {
  const unsigned cores = std::thread::hardware_concurrency();
  utsname system{};
  uname(&system);
  std::cout << "\n"
            << cores << " cores, " << options.loops << " loops or workers, " << options.plan.clients
            << " clients on hot blobs, Linux " << system.release
            << (options.plan.quick ? ", --quick: too short to compare" : "") << "\n";
  for (const auto& [server, cipher] : run.ciphers()) std::cout << server << ": " << cipher << "\n";
  std::cout << "\n";
  run.table().print(std::cout);
  std::cout << "\n(+) beyond its size when idle; all processes of the server together\n";
  const nlohmann::json results{{"cores", cores},
                               {"workers", options.loops},
                               {"clients", options.plan.clients},
                               {"kernel", system.release},
                               {"quick", options.plan.quick},
                               {"tls", run.ciphers()},
                               {"results", run.table().json()}};
  write_json(options.json, results.dump(2));
}

int run_bench(const Options& options) {
  const TemporaryDirectory directory(options.temporary, "blob_bench");
  const Setup setup{.directory = directory.path(),
                    .edge = options.edge,
                    .nginx = find_program("nginx"),
                    .workers = options.loops};
  Run run(options.plan, setup);
  run.run();
  report(run, options);
  for (const std::string& what : run.broken()) std::cerr << "FAILED: " << what << "\n";
  return run.broken().empty() ? 0 : 1;
}

}  // namespace
}  // namespace bench::blob_bench

int main(int argc, char** argv) {
  bench::blob_bench::Options options;
  bench::Plan& plan = options.plan;
  CLI::App app{
      "Measures the edge's blob delivery beside nginx proxy_cache, on loopback.\n"
      "Exit status 1 for wrong bytes or a failure, never for being slow."};
  app.add_option("--edge", options.edge, "The program entrepot-edge")->check(CLI::ExistingFile);
  app.add_option("--only", options.only, "Measure only this one")
      ->check(CLI::IsMember({"edge", "nginx"}));
  app.add_option("--case", plan.only_case, "Only cases with this in their name: \"4 KiB, TLS\"");
  app.add_option("--seconds", plan.seconds, "For each hot case and server")
      ->check(CLI::PositiveNumber);
  app.add_option("--clients", plan.clients, "Clients on hot blobs")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--loops", options.loops, "Loops of the edge, workers of nginx; default: cores")
      ->check(CLI::Range(1, 256));
  app.add_option("--directory", options.temporary, "Where blobs and caches go while it runs")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--json", options.json, "Also write the results to this file");
  app.add_flag("--quick", plan.quick, "A few seconds: to see that it works, not to compare");
  CLI11_PARSE(app, argc, argv);
  if (options.only == "edge") plan.servers = {bench::Kind::edge};
  if (options.only == "nginx") plan.servers = {bench::Kind::nginx};
  if (options.edge.empty() && options.only != "nginx") {
    std::cerr << "--edge is missing: the path of entrepot-edge (or --only nginx)\n";
    return 2;
  }

  return bench::run_program([&] { return bench::blob_bench::run_bench(options); });
}
