// entrepot-edge: reads its configuration, opens the cache, serves until SIGTERM.
#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/service.h"
#include "proxy/config.h"
#include "proxy/edge.h"

namespace {

// SIGHUP: a file that is wrong changes nothing.
void reload(proxy::Edge& edge, const std::string& path) {
  try {
    edge.reload(proxy::read_edge_config(path));
  } catch (const std::exception& e) {
    LOG(ERROR) << "the configuration stays as it was: " << e.what();
  }
}

int serve(const std::string& path) {
  try {
    proxy::EdgeConfig config = proxy::read_edge_config(path);
    base::set_log_level(config.log_level);
    http::Service service;
    config.sockets = service.sockets();
    proxy::Edge edge(std::move(config));
    edge.start();
    service.run(
        edge.loops(),
        {.reload = [&] { reload(edge, path); }, .leave = {}, .drain = [&] { edge.stop(); }});
    return http::kExitOk;
  } catch (const base::ConfigError& e) {
    LOG(ERROR) << e.what();
    return http::kExitUsage;
  } catch (const std::exception& e) {
    LOG(ERROR) << "entrepot-edge cannot serve: " << e.what();
    return http::kExitFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  base::init_logging("entrepot-edge");
  CLI::App app(
      "Caching CDN node for container registries: serves blobs, verified against their "
      "digests, and fetches what it does not hold from its origins.",
      "entrepot-edge");
  app.set_version_flag("--version", "entrepot-edge " ENTREPOT_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  std::string path;
  CLI::App* command = app.add_subcommand("serve", "Serve until SIGTERM");
  command->add_option("config", path, "The configuration file (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  command->footer(
      "SIGHUP reads the certificates and the keys of signatures again. SIGTERM ends transfers in "
      "flight first, "
      "for at most server.draintimeout; a second one ends them at once.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? http::kExitOk : http::kExitUsage;
  }
  return serve(path);
}
