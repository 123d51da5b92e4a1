#include "proxy/commands.h"

#include <fmt/chrono.h>
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
#include "proxy/warm_progress.h"

namespace proxy {
namespace {

using nlohmann::json;

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
int refused(const AdminClient::Reply& reply) {
  std::cerr << reply.body.value("error", "status " + std::to_string(reply.status)) << "\n";
  if (reply.status == 404) return kExitNotHeld;
  return reply.status == 400 || reply.status == 409 ? http::kExitUsage : http::kExitFailure;
}

double number(const json& from, const std::string& pointer) {
  const json::json_pointer at(pointer);
  return from.contains(at) && from[at].is_number() ? from[at].get<double>() : 0;
}

void print_upstream(const json& upstream) {
  const double quota = number(upstream, "/quota_bytes");
  fmt::print("{:<16}{}: {}{} held\n", "upstream", upstream.value("name", ""),
             human_bytes(number(upstream, "/held_bytes")),
             quota > 0 ? " of " + human_bytes(quota) : "");
  for (const json& url : upstream.value("urls", json::array())) {
    const double left_out = number(url, "/ejected_for_seconds");
    fmt::print("{:<16}{}: {} requests, {} failed, {} received, first byte after {:.0f} ms{}\n", "",
               url.value("url", ""), number(url, "/requests"), number(url, "/failures"),
               human_bytes(number(url, "/received_bytes")),
               1000 * number(url, "/first_byte_seconds"),
               left_out > 0 ? ", left out for " + human_time(left_out) : "");
  }
}

void print_stats(const json& stats) {
  const auto line = [](std::string_view name, const std::string& value) {
    fmt::print("{:<16}{}\n", name, value);
  };
  line("edge", fmt::format("{} {}, up {}", stats.value("name", ""), stats.value("version", ""),
                           human_time(number(stats, "/uptime_seconds"))));
  line("hit ratio", fmt::format("{} of requests, {} of bytes; {} of requests in the last minute",
                                human_percent(number(stats, "/hit_ratio")),
                                human_percent(number(stats, "/byte_hit_ratio")),
                                human_percent(number(stats, "/last_minute/hit_ratio"))));
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
  for (const json& upstream : stats.value("upstreams", json::array())) {
    print_upstream(upstream);
  }
  line("now", fmt::format("{} connections, {} requests, {} fills", number(stats, "/connections"),
                          stats.value("serving", json::array()).size(),
                          stats.value("fills", json::array()).size()));
}

std::string date(double unix_seconds) {
  const auto seconds = static_cast<time_t>(unix_seconds);
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(seconds));
}

void print_blob(const json& blob) {
  const auto line = [](const std::string& name, const std::string& value) {
    fmt::print("{:<16}{}\n", name, value);
  };
  for (const auto& [key, value] : blob.items()) {
    if (key == "names") continue;
    const bool time = key == "stored_at" || key == "last_used";
    line(key, time                ? date(value.get<double>())
              : value.is_string() ? value.get<std::string>()
                                  : value.dump());
  }
  for (const json& name : blob.value("names", json::array())) {
    line("named by", name.value("upstream", "") + " " + name.value("path", ""));
  }
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
    const AdminClient::Reply reply = client.get("/stats");
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
    const AdminClient::Reply reply = client.get("/blobs/" + digest);
    if (reply.status != 200) return refused(reply);
    if (options.json) {
      std::cout << reply.body.dump(2) << "\n";
      return http::kExitOk;
    }
    print_blob(reply.body);
    return http::kExitOk;
  });
}

int command_pin(const CommandOptions& options, const std::string& digest, bool pinned) {
  return guarded([&] {
    AdminClient client(options);
    const AdminClient::Reply reply = client.post("/pin", {{"digest", digest}, {"pinned", pinned}});
    if (reply.status != 200) return refused(reply);
    if (options.json) std::cout << reply.body.dump(2) << "\n";
    return http::kExitOk;
  });
}

int command_purge(const CommandOptions& options, const PurgeTarget& target) {
  return guarded([&] {
    json what = json::object();
    if (!target.digest.empty()) what["digest"] = target.digest;
    if (!target.repository.empty()) what["repository"] = target.repository;
    if (!target.upstream.empty()) what["upstream"] = target.upstream;
    if (what.empty() || (!target.digest.empty() && what.size() > 1)) {
      std::cerr << "what is to be purged: a digest, --repository or --upstream?\n";
      return http::kExitUsage;
    }
    AdminClient client(options);
    const AdminClient::Reply reply = client.post("/purge", what);
    if (reply.status != 200) return refused(reply);
    if (options.json) {
      std::cout << reply.body.dump(2) << "\n";
    } else {
      fmt::print("purged {} blobs, {}, and {} references\n", number(reply.body, "/purged"),
                 human_bytes(number(reply.body, "/bytes")), number(reply.body, "/references"));
    }
    return http::kExitOk;
  });
}

int command_warm(const CommandOptions& options, const WarmTarget& target) {
  return guarded([&] {
    AdminClient client(options);
    int status = http::kExitOk;
    for (const std::string& image : target.images) {
      json what{{"image", image}, {"all_tags", target.all_tags}};
      if (!target.platforms.empty()) what["platforms"] = target.platforms;
      if (!target.upstream.empty()) what["upstream"] = target.upstream;
      WarmProgress progress(!options.json && ::isatty(STDOUT_FILENO) == 1);
      const AdminClient::Reply reply = client.post("/warm", what, [&](const json& line) {
        const WarmProgress::Text text = progress.add(line);
        std::cout << (options.json ? line.dump() + "\n" : text.out) << std::flush;
        if (!options.json) std::cerr << text.error << std::flush;
      });
      if (reply.status != 200) return refused(reply);
      if (!progress.good()) status = http::kExitFailure;
    }
    return status;
  });
}

int command_top(const CommandOptions& options) {
  return guarded([&] {
    AdminClient client(options);
    const bool once = options.json || ::isatty(STDOUT_FILENO) == 0;
    json before;
    while (true) {
      const AdminClient::Reply reply = client.get("/stats");
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
