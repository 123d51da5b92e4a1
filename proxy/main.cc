// entrepot-edge: reads its configuration, opens the cache, serves until SIGTERM.
#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/service.h"
#include "http/takeover.h"
#include "http/tls.h"
#include "proxy/commands.h"
#include "proxy/config.h"
#include "proxy/edge.h"

namespace {

// The configuration, with certificates that can be used. Throws what is wrong with either.
proxy::EdgeConfig read_checked(const std::string& path) {
  proxy::EdgeConfig config = proxy::read_edge_config(path);
  for (const proxy::EdgeListener& listener : config.listeners) {
    if (listener.tls) http::TlsContext context(*listener.tls);
  }
  if (config.admin.tls) http::TlsContext context(*config.admin.tls);
  return config;
}

// The same, and it rules the log.
proxy::EdgeConfig configure(const std::string& path) {
  proxy::EdgeConfig config = read_checked(path);
  base::set_log_level(config.log_level);
  return config;
}

// Prints what would be in force, or says what is wrong.
int check(const std::string& path) {
  try {
    const proxy::EdgeConfig config = read_checked(path);
    std::cout << config.effective;
    return http::kExitOk;
  } catch (const std::exception& e) {
    LOG(ERROR) << e.what();
    return http::kExitUsage;
  }
}

// SIGHUP: a file that is wrong changes nothing, nor does a certificate.
void reload(proxy::Edge& edge, const std::string& path) {
  try {
    edge.reload(configure(path));
  } catch (const std::exception& e) {
    LOG(ERROR) << "the configuration stays as it was: " << e.what();
  }
}

// What happens when another process takes the place of this one.
http::ServedBy successor_calls(proxy::Edge& edge, http::Service& service) {
  return {.sockets = [&] { return edge.listening(); },
          .release = [&] { edge.release(); },
          .resume = [&] { edge.resume(); },
          .leave =
              [&](pid_t successor) {
                edge.leave_sockets();
                service.leave_to(successor);
              }};
}

// SIGUSR2.
void upgrade(const std::filesystem::path& takeover) {
  try {
    if (takeover.empty()) throw std::runtime_error("server.takeover is not set");
    http::start_successor();
  } catch (const std::exception& e) {
    LOG(ERROR) << "SIGUSR2: " << e.what();
  }
}

int serve(const std::string& path) {
  try {
    proxy::EdgeConfig config = configure(path);
    http::Service service;
    config.sockets = service.sockets();
    const std::filesystem::path takeover = config.takeover;
    std::optional<http::Takeover> former;
    std::vector<http::ListeningSockets> taken_over;
    if (!takeover.empty()) former = http::Takeover::ask(takeover);
    if (former) {
      taken_over = std::move(former->sockets());
      former->release();
    }
    proxy::Edge edge(std::move(config), taken_over);
    taken_over.clear();
    std::optional<http::TakeoverPoint> point;
    const auto start = [&] {
      edge.start();
      if (former) former->ready();
      if (!takeover.empty()) point.emplace(takeover, successor_calls(edge, service));
    };
    service.run(edge.loops(), {.start = start,
                               .reload = [&] { reload(edge, path); },
                               .upgrade = [&] { upgrade(takeover); },
                               .leave = [&] { return edge.leave(); },
                               .end_within = [&] { return edge.drain_timeout() + http::kEndTime; },
                               .drain = [&] { edge.stop(); },
                               .waits_for = [&] { return edge.waits_for(); }});
    return http::kExitOk;
  } catch (const base::ConfigError& e) {
    LOG(ERROR) << e.what();
    return http::kExitUsage;
  } catch (const std::exception& e) {
    LOG(ERROR) << "entrepot-edge cannot serve: " << e.what();
    return http::kExitFailure;
  }
}

// The options of the commands that talk to a running edge.
void add_options(CLI::App* command, proxy::CommandOptions& options) {
  command->add_option("--config", options.config, "The edge's configuration file")
      ->capture_default_str();
  command->add_option("--url", options.url,
                      "The administration of another edge, such as https://edge.example:5002");
  command->add_option("--token-file", options.token_file, "A file with that edge's token");
  command->add_option("--ca", options.ca, "The authority of its certificate (PEM)");
  command->add_option("--certificate", options.certificate, "A client certificate to show (PEM)");
  command->add_option("--key", options.key, "The key of the client certificate");
  command->add_flag("--json", options.json, "Print JSON, for scripts");
  command->footer("Exit status: 0 done, 1 no answer or refused, 2 wrong usage, 3 not held.");
}

}  // namespace

int main(int argc, char** argv) {
  base::init_logging("entrepot-edge");
  CLI::App app(
      "Caching CDN node for container registries: serves blobs, verified against their "
      "digests, and fetches what it does not hold from its upstreams.",
      "entrepot-edge");
  app.set_version_flag("--version", "entrepot-edge " ENTREPOT_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);

  std::string path;
  CLI::App* serve_command = app.add_subcommand("serve", "Serve until SIGTERM");
  serve_command->add_option("config", path, "The configuration file (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  serve_command->footer(
      "SIGHUP reads the configuration and the certificates again. SIGTERM ends transfers in flight "
      "first, for at most server.draintimeout; a second one ends them at once. SIGUSR2 starts the "
      "program anew in its place, by server.takeover.");

  CLI::App* config_command = app.add_subcommand("config", "About the configuration file");
  config_command->require_subcommand(1);
  CLI::App* check_command = config_command->add_subcommand(
      "check",
      "Print the configuration that would be in force, with all defaults, secrets hidden; exit "
      "status 2 if it is wrong");
  check_command->add_option("config", path, "The configuration file (YAML)")
      ->required()
      ->check(CLI::ExistingFile);

  proxy::CommandOptions options{.config = "/etc/entrepot/edge.yml"};
  std::string digest;
  int status = http::kExitOk;
  CLI::App* stats = app.add_subcommand("stats", "Print a running edge's figures");
  stats->callback([&] { status = proxy::command_stats(options); });
  CLI::App* top = app.add_subcommand("top", "Show what is fetched and served now");
  top->callback([&] { status = proxy::command_top(options); });
  CLI::App* inspect = app.add_subcommand("inspect", "Print what is known of a blob");
  inspect->add_option("digest", digest)->required();
  inspect->callback([&] { status = proxy::command_inspect(options, digest); });
  CLI::App* pin = app.add_subcommand("pin", "Never evict a blob");
  pin->add_option("digest", digest)->required();
  pin->callback([&] { status = proxy::command_pin(options, digest, true); });
  CLI::App* unpin = app.add_subcommand("unpin", "Let a pinned blob be evicted again");
  unpin->add_option("digest", digest)->required();
  unpin->callback([&] { status = proxy::command_pin(options, digest, false); });

  proxy::PurgeTarget target;
  CLI::App* purge = app.add_subcommand("purge", "Remove a blob, a repository or an upstream");
  purge->add_option("digest", target.digest, "A blob or a manifest");
  purge->add_option("--repository", target.repository,
                    "What only this repository's manifests refer to: [registry/]repository");
  purge->add_option("--upstream", target.upstream,
                    "Everything of this upstream; with --repository, whose that is");
  purge->callback([&] { status = proxy::command_purge(options, target); });

  proxy::WarmTarget wanted;
  CLI::App* warm = app.add_subcommand("warm", "Fetch whole images before clients ask for them");
  warm->add_option("image", wanted.images, "[registry/]repository[:tag|@digest]")->required();
  warm->add_option(
      "--platform", wanted.platforms,
      "Only this one of an index: <os>/<architecture>[/<variant>]; can be given several times");
  warm->add_flag("--all-tags", wanted.all_tags, "Every tag of the repository");
  warm->add_option("--upstream", wanted.upstream, "The upstream that has it");
  warm->callback([&] { status = proxy::command_warm(options, wanted); });

  for (CLI::App* command : {stats, top, inspect, pin, unpin, purge, warm}) {
    add_options(command, options);
  }
  serve_command->callback([&] { status = serve(path); });
  check_command->callback([&] { status = check(path); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? http::kExitOk : http::kExitUsage;
  }
  return status;
}
