// One run of the benchmark: every case of the plan on every server, into one table. Main thread
// only.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/blobs.h"
#include "bench/client.h"
#include "bench/curl_load.h"
#include "bench/load.h"
#include "bench/progress.h"
#include "bench/servers.h"
#include "bench/table.h"

namespace bench {

struct Plan {
  std::vector<Kind> servers{Kind::edge, Kind::nginx};
  std::string only_case;          // only cases with this in their name
  int clients = 16;               // on hot blobs
  std::optional<double> seconds;  // for each hot case and server
  bool quick = false;             // fewer, smaller, shorter
};

class Run {
 public:
  Run(const Plan& plan, const Setup& setup);

  // Throws what clients and servers throw: BadAnswer, base::IoError, std::runtime_error, or
  // Interrupted.
  void run();

  const Table& table() const { return table_; }
  // By server: protocol and cipher of the hot TLS cases.
  const std::map<std::string, std::string>& ciphers() const { return ciphers_; }
  // What was promised and not seen; timing is never among it.
  const std::vector<std::string>& broken() const { return broken_; }

 private:
  // What Plan::quick shrinks.
  struct Scale {
    size_t small_count, medium_count;
    uint64_t large;
    double seconds;
    int herd;
  };
  struct Blobs {
    std::vector<Blob> small, medium, large;
    uint64_t bytes() const;
  };
  struct HotCase {
    std::string name;
    const std::vector<Blob>* blobs;
    bool tls;
    bool small;  // what counts is requests, not bytes
  };
  // The large blob by one client over TLS, in either version of HTTP.
  struct VersionCase {
    std::string name;
    HttpVersion version;
  };
  struct ColdCase {
    std::string name;
    int clients;
    bool tls;
  };
  struct Contender;

  static Scale scale(bool quick);
  bool wanted(const std::string& name) const;
  std::vector<HotCase> hot_cases() const;
  std::vector<VersionCase> version_cases() const;
  std::vector<ColdCase> cold_cases() const;
  int count_steps() const;

  void hot();
  void hot_case(const HotCase& hot_case, Contender& contender);
  void version_case(const VersionCase& version_case, Contender& contender);
  void cold_case(const ColdCase& cold_case, Kind kind);

  void throughput(const std::string& name, Kind kind, const HotResult& result);
  void step(Kind kind, const std::string& name);
  Address address(Contender& contender, bool tls) const;
  double stop(Contender& contender);
  void origin(const std::string& name, Kind kind, uint64_t sent, uint64_t once);

  const Plan plan_;
  const Scale scale_;
  const Setup setup_;
  Blobs blobs_;
  const std::vector<HotCase> hot_cases_;
  const std::vector<VersionCase> version_cases_;
  const std::vector<ColdCase> cold_cases_;
  Progress progress_;
  std::unique_ptr<ClientTls> tls_;
  Table table_{kind_name(Kind::edge), kind_name(Kind::nginx)};
  std::map<std::string, std::string> ciphers_;
  std::vector<std::string> broken_;
};

}  // namespace bench
