// entrepot-origin: reads its configuration, opens the storage, serves until SIGTERM.
#include <glog/logging.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/service.h"
#include "http/tls.h"
#include "origin/config.h"
#include "origin/config_keys.h"
#include "origin/registry.h"

namespace {

std::vector<std::string> environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

// The configuration, with certificates that can be used. Throws what is wrong with either.
origin::Config read_checked(const std::string& path) {
  origin::Config config = origin::read_config(path, environment());
  if (config.tls) http::TlsContext context(*config.tls);
  return config;
}

// The same, and it rules the log.
origin::Config configure(const std::string& path) {
  origin::Config config = read_checked(path);
  base::set_log_level(config.log_level);
  base::set_log_format(config.log_format);
  return config;
}

// Prints what would be in force, or says what is wrong.
int check(const std::string& path) {
  try {
    const origin::Config config = read_checked(path);
    std::cout << config.effective;
    return http::kExitOk;
  } catch (const std::exception& e) {
    LOG(ERROR) << e.what();
    return http::kExitUsage;
  }
}

// SIGHUP: a file that is wrong changes nothing, nor does a certificate.
void reload(origin::Registry& registry, const std::string& path) {
  try {
    registry.reload(configure(path));
  } catch (const std::exception& e) {
    LOG(ERROR) << "the configuration stays as it was: " << e.what();
  }
}

int serve(const std::string& path) {
  try {
    origin::Config config = configure(path);
    http::Service service;
    config.sockets = service.sockets();
    origin::Registry registry(std::move(config));
    service.run(registry.loops(),
                {.start = [&] { registry.start(); },
                 .reload = [&] { reload(registry, path); },
                 .leave = [&] { return registry.leave(); },
                 .end_within = [&] { return registry.drain_timeout() + http::kEndTime; },
                 .drain = [&] { registry.stop(); },
                 .waits_for = [&] { return registry.waits_for(); }});
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
  const auto add_path = [&path](CLI::App* to) {
    to->add_option("config", path, "The configuration file (YAML, as Distribution's)")
        ->envname("REGISTRY_CONFIGURATION_PATH")
        ->required()
        ->check(CLI::ExistingFile);
  };
  CLI::App* command = app.add_subcommand("serve", "Serve until SIGTERM");
  add_path(command);
  CLI::App* config = app.add_subcommand("config", "About the configuration file");
  config->require_subcommand(1);
  CLI::App* check_command = config->add_subcommand(
      "check",
      "Print the configuration that would be in force, with the environment's REGISTRY_* "
      "and all defaults, secrets hidden; exit status 2 if it is wrong");
  add_path(check_command);
  CLI::App* keys_command =
      config->add_subcommand("keys", "Print every key and what becomes of it, as Markdown");
  command->footer(
      "SIGHUP reads the configuration and the certificates again. SIGTERM ends requests in flight "
      "first, for at most http.draintimeout; a second one ends them at once.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? http::kExitOk : http::kExitUsage;
  }
  if (keys_command->parsed()) {
    std::cout << origin::config_keys_markdown();
    return http::kExitOk;
  }
  return check_command->parsed() ? check(path) : serve(path);
}
