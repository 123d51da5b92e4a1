// entrepot-origin: reads its configuration, opens the storage, serves until SIGTERM.
#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/service.h"
#include "origin/config.h"
#include "origin/registry.h"

namespace {

// SIGHUP: a file that is wrong changes nothing.
void reload(origin::Registry& registry, const std::string& path) {
  try {
    origin::Config config = origin::read_config(path);
    base::set_log_level(config.log_level);
    registry.reload(std::move(config));
  } catch (const std::exception& e) {
    LOG(ERROR) << "the configuration stays as it was: " << e.what();
  }
}

int serve(const std::string& path) {
  try {
    origin::Config config = origin::read_config(path);
    base::set_log_level(config.log_level);
    http::Service service;
    config.sockets = service.sockets();
    origin::Registry registry(std::move(config));
    registry.start();
    service.run(registry.loops(), {.reload = [&] { reload(registry, path); },
                                   .leave = [&] { return registry.leave(); },
                                   .drain = [&] { registry.stop(); }});
    return http::kExitOk;
  } catch (const base::ConfigError& e) {
    LOG(ERROR) << e.what();
    return http::kExitUsage;
  } catch (const std::exception& e) {
    LOG(ERROR) << "entrepot-origin cannot serve: " << e.what();
    return http::kExitFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  base::init_logging("entrepot-origin");
  CLI::App app(
      "Container registry on the storage of CNCF Distribution: serves manifests, tags and uploads, "
      "and sends blob downloads to the edge.",
      "entrepot-origin");
  app.set_version_flag("--version", "entrepot-origin " ENTREPOT_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  std::string path;
  CLI::App* command = app.add_subcommand("serve", "Serve until SIGTERM");
  command->add_option("config", path, "The configuration file (YAML, as Distribution's)")
      ->required()
      ->check(CLI::ExistingFile);
  command->footer(
      "SIGHUP reads the configuration and the certificates again. SIGTERM ends requests in flight "
      "first, for at most http.draintimeout; a second one ends them at once.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? http::kExitOk : http::kExitUsage;
  }
  return serve(path);
}
