#include "proxy/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <thread>

#include "base/yaml_config.h"
#include "http/service.h"
#include "proxy/admin_client.h"
#include "proxy/status_page.h"

namespace proxy {
namespace {

using nlohmann::json;
using Reply = AdminClient::Reply;

// Runs a command's work and turns what it throws into a message and an exit code.
int guarded(const std::function<int()>& work) {
  try {
    return work();
  } catch (const base::ConfigError& e) {
    std::cerr << e.what() << "\n";
    return http::kExitUsage;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return http::kExitFailure;
  }
}

// The exit code of a reply that is not what was asked for, after saying why.
int refused(const Reply& reply) {
  std::cerr << reply.body.value("error", "status " + std::to_string(reply.status)) << "\n";
  if (reply.status == 404) return kExitNotHeld;
  return reply.status == 400 ? http::kExitUsage : http::kExitFailure;
}

double number(const json& from, const std::string& pointer) {
  const json::json_pointer at(pointer);
  return from.contains(at) && from[at].is_number() ? from[at].get<double>() : 0;
}

std::string percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

void print_stats(const json& stats) {
  const auto line = [](std::string_view name, const std::string& value) {
    fmt::print("{:<16}{}\n", name, value);
  };
  line("edge", fmt::format("{} {}, up {}", stats.value("name", ""), stats.value("version", ""),
                           human_time(number(stats, "/uptime_seconds"))));
  line("hit ratio",
       fmt::format("{} of requests, {} of bytes; {} of requests in the last minute",
                   percent(number(stats, "/hit_ratio")), percent(number(stats, "/byte_hit_ratio")),
                   percent(number(stats, "/last_minute/hit_ratio"))));
  line("to clients", fmt::format("{}/s, {:.1f} requests/s",
                                 human_bytes(number(stats, "/last_minute/sent_bytes_per_second")),
                                 number(stats, "/last_minute/requests_per_second")));
  line("from upstreams",
       human_bytes(number(stats, "/last_minute/received_bytes_per_second")) + "/s");
  line("cache",
       fmt::format("{} blobs, {} and {} being filled, of {}; {} evicted",
                   number(stats, "/cache/blobs"), human_bytes(number(stats, "/cache/blob_bytes")),
                   human_bytes(number(stats, "/cache/reserved_bytes")),
                   human_bytes(number(stats, "/cache/capacity")), number(stats, "/cache/evicted")));
  line("now", fmt::format("{} connections, {} requests, {} fills", number(stats, "/connections"),
                          stats.value("serving", json::array()).size(),
                          stats.value("fills", json::array()).size()));
}

// The rate since the last look, where there was one; on average since it began, else.
double rate(const json& entry, const json& before, const std::string& key, const std::string& bytes,
            double interval) {
  const double all = number(entry, "/" + bytes);
  for (const json& old : before) {
    if (interval > 0 && old.value(key, "") == entry.value(key, "")) {
      return std::max(0.0, all - number(old, "/" + bytes)) / interval;
    }
  }
  const double seconds = number(entry, "/seconds");
  return seconds > 0 ? all / seconds : 0;
}

void print_top(const json& stats, const json& before) {
  const double interval = number(stats, "/uptime_seconds") - number(before, "/uptime_seconds");
  print_stats(stats);
  const json none = json::array();
  const json fills = stats.value("fills", none);
  fmt::print("\n{:<20} {:>9} {:>9} {:>6} {:>11}  {}\n", "FILLS", "STORED", "SIZE", "", "RATE",
             "REPOSITORY");
  for (const json& fill : fills) {
    const double size = number(fill, "/size");
    const double stored = number(fill, "/stored");
    fmt::print("{:<20} {:>9} {:>9} {:>6} {:>9}/s  {} {}\n", fill.value("digest", "").substr(0, 19),
               human_bytes(stored), size > 0 ? human_bytes(size) : "?",
               size > 0 ? fmt::format("{:.0f} %", 100 * stored / size) : "",
               human_bytes(rate(fill, before.value("fills", none), "digest", "stored", interval)),
               fill.value("upstream", ""), fill.value("repository", ""));
  }
  fmt::print("\n{:<20} {:>9} {:>9} {:>6} {:>11}  {}\n", "CLIENTS", "SENT", "FOR", "", "RATE",
             "REQUEST");
  for (const json& each : stats.value("serving", none)) {
    fmt::print("{:<20} {:>9} {:>9} {:>6} {:>9}/s  {} {}\n", each.value("client", ""),
               human_bytes(number(each, "/bytes")), human_time(number(each, "/seconds")),
               each.value("status", 0), human_bytes(rate(each, none, "", "bytes", 0)),
               each.value("method", ""), each.value("path", ""));
  }
}

}  // namespace

int command_stats(const CommandOptions& options) {
  return guarded([&] {
    AdminClient client(options);
    const Reply reply = client.get("/stats");
    if (reply.status != 200) return refused(reply);
    if (options.json) {
      std::cout << reply.body.dump(2) << "\n";
    } else {
      print_stats(reply.body);
    }
    return http::kExitOk;
  });
}

int command_inspect(const CommandOptions& options, const std::string& digest) {
  return guarded([&] {
    AdminClient client(options);
    const Reply reply = client.get("/blobs/" + digest);
    if (reply.status != 200) return refused(reply);
    if (options.json) {
      std::cout << reply.body.dump(2) << "\n";
      return http::kExitOk;
    }
    for (const auto& [key, value] : reply.body.items()) {
      fmt::print("{:<16}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    }
    return http::kExitOk;
  });
}

int command_purge(const CommandOptions& options, const std::string& digest) {
  return guarded([&] {
    AdminClient client(options);
    const Reply reply = client.post("/purge", {{"digest", digest}});
    if (reply.status != 200) return refused(reply);
    if (options.json) {
      std::cout << reply.body.dump(2) << "\n";
    } else {
      fmt::print("purged {} blobs, {}\n", number(reply.body, "/purged"),
                 human_bytes(number(reply.body, "/bytes")));
    }
    return http::kExitOk;
  });
}

int command_top(const CommandOptions& options) {
  return guarded([&] {
    AdminClient client(options);
    const bool once = options.json || ::isatty(STDOUT_FILENO) == 0;
    json before;
    while (true) {
      const Reply reply = client.get("/stats");
      if (reply.status != 200) return refused(reply);
      if (options.json) {
        std::cout << reply.body.dump(2) << "\n";
      } else {
        if (!once) fmt::print("\x1b[H\x1b[2J");  // the cursor to the top, the screen empty
        print_top(reply.body, before);
        std::fflush(stdout);
      }
      if (once) return http::kExitOk;
      before = reply.body;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  });
}

}  // namespace proxy
