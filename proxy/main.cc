// entrepot-edge: reads its configuration, opens the cache, serves until SIGTERM.
#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "base/log.h"
#include "base/yaml_config.h"
#include "http/service.h"
#include "proxy/commands.h"
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
    service.run(edge.loops(), {.start = [&] { edge.start(); },
                               .reload = [&] { reload(edge, path); },
                               .leave = {},
                               .drain = [&] { edge.stop(); }});
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
      "digests, and fetches what it does not hold from its origins.",
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
      "SIGHUP reads the certificates and the keys of signatures again. SIGTERM ends transfers in "
      "flight first, for at most server.draintimeout; a second one ends them at once.");

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
  warm->add_option("--platform", wanted.platforms,
                   "Only this one of an index, such as linux/amd64; can be given several times");
  warm->add_flag("--all-tags", wanted.all_tags, "Every tag of the repository");
  warm->add_option("--upstream", wanted.upstream, "The upstream that has it");
  warm->callback([&] { status = proxy::command_warm(options, wanted); });

  for (CLI::App* command : {stats, top, inspect, pin, unpin, purge, warm}) {
    add_options(command, options);
  }
  serve_command->callback([&] { status = serve(path); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? http::kExitOk : http::kExitUsage;
  }
  return status;
}
