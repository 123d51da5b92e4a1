#include "bench/measurement.h"

#include <utility>

namespace bench {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

using Better = Metric::Better;
const Metric kRequests{"requests/s", Better::higher, 0};
const Metric kCpuRequests{"CPU s per 100,000 requests", Better::lower, 2};
const Metric kThroughput{"MiB/s", Better::higher, 0};
const Metric kCpuBytes{"CPU s per GiB", Better::lower, 3};
const Metric kFirstMedian{"first byte, median, ms", Better::lower, 1};
const Metric kFirstLast{"first byte, last, ms", Better::lower, 1};
const Metric kWall{"wall, s", Better::lower, 2};
const Metric kOrigin{"origin bytes / blob bytes", Better::lower, 2};
const Metric kMemory{"anonymous memory, MiB (+)", Better::lower, 1};
const Metric kResident{"resident peak, MiB (+)", Better::lower, 1};

Column column(Kind kind) { return kind == Kind::edge ? Column::ours : Column::theirs; }

double mib_beyond(uint64_t peak, uint64_t idle) {
  return (static_cast<double>(peak) - static_cast<double>(idle)) / kMiB;
}

}  // namespace

// A server with an upstream of its own, so that what it fetches is known.
struct Run::Contender {
  Contender(Kind of, const Setup& setup)
      : kind(of), upstream(setup), server(of, setup, upstream.port()) {}
  Kind kind;
  Upstream upstream;
  Server server;
};

uint64_t Run::Blobs::bytes() const {
  uint64_t sum = 0;
  for (const auto* blobs : {&small, &medium, &large}) {
    for (const Blob& blob : *blobs) sum += blob.size();
  }
  return sum;
}

Run::Scale Run::scale(bool quick) {
  if (quick) {
    return {.small_count = 8, .medium_count = 2, .large = 16 << 20, .seconds = 0.3, .herd = 10};
  }
  return {.small_count = 64, .medium_count = 16, .large = 256 << 20, .seconds = 4, .herd = 50};
}

Run::Run(const Plan& plan, const Setup& setup)
    : plan_(plan),
      scale_(scale(plan.quick)),
      setup_(setup),
      hot_cases_(hot_cases()),
      version_cases_(version_cases()),
      cold_cases_(cold_cases()),
      progress_(count_steps()) {}

void Run::run() {
  progress_.step("making blobs");
  make_certificate(setup_);
  tls_ = std::make_unique<ClientTls>(setup_.certificate());
  blobs_.small = make_blobs(setup_.blobs(), scale_.small_count, 4 << 10);
  blobs_.medium = make_blobs(setup_.blobs(), scale_.medium_count, 1 << 20);
  blobs_.large = make_blobs(setup_.blobs(), 1, scale_.large);
  if (!hot_cases_.empty() || !version_cases_.empty()) hot();
  for (const ColdCase& each : cold_cases_) {
    for (const Kind kind : plan_.servers) cold_case(each, kind);
  }
  progress_.clear();
}

// ---- the plan -------------------------------------------------------------------------------

bool Run::wanted(const std::string& name) const {
  return name.find(plan_.only_case) != std::string::npos;
}

std::vector<Run::HotCase> Run::hot_cases() const {
  std::vector<HotCase> cases;
  const auto add = [&](const std::string& size, const std::vector<Blob>& blobs, bool small) {
    for (const bool tls : {false, true}) {
      const std::string name = "hot " + size + (tls ? ", TLS" : ", HTTP");
      if (wanted(name)) cases.push_back({name, &blobs, tls, small});
    }
  };
  add("4 KiB", blobs_.small, true);
  add("1 MiB", blobs_.medium, false);
  add(std::to_string(scale_.large >> 20) + " MiB", blobs_.large, false);
  return cases;
}

std::vector<Run::VersionCase> Run::version_cases() const {
  std::vector<VersionCase> cases;
  for (const HttpVersion version : {HttpVersion::http1, HttpVersion::http2}) {
    const std::string name =
        std::string("1 client, HTTP/") + (version == HttpVersion::http2 ? "2" : "1.1");
    if (wanted(name)) cases.push_back({name, version});
  }
  return cases;
}

std::vector<Run::ColdCase> Run::cold_cases() const {
  std::vector<ColdCase> cases;
  for (const int clients : {1, scale_.herd}) {
    for (const bool tls : {false, true}) {
      const std::string name = "cold, " + std::to_string(clients) +
                               (clients == 1 ? " client" : " clients") + (tls ? ", TLS" : ", HTTP");
      if (wanted(name)) cases.push_back({name, clients, tls});
    }
  }
  return cases;
}

int Run::count_steps() const {
  const size_t hot = hot_cases_.size() + version_cases_.size();
  const size_t each = (hot > 0 ? 1 : 0) + hot + cold_cases_.size();  // 1: the filling
  return static_cast<int>(1 + plan_.servers.size() * each);
}

// ---- the cases ------------------------------------------------------------------------------

// Every case on every server in turn, so that what changes on the machine changes for both.
void Run::hot() {
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const Kind kind : plan_.servers) {
    step(kind, "filling");
    contenders.push_back(std::make_unique<Contender>(kind, setup_));
    for (const auto* blobs : {&blobs_.small, &blobs_.medium, &blobs_.large}) {
      for (const Blob& blob : *blobs) {
        cold_load(address(*contenders.back(), false), blob, 1, [](uint64_t, double) {});
      }
    }
  }
  for (const HotCase& each : hot_cases_) {
    for (auto& contender : contenders) hot_case(each, *contender);
  }
  for (const VersionCase& each : version_cases_) {
    for (auto& contender : contenders) version_case(each, *contender);
  }
  for (auto& contender : contenders) {
    stop(*contender);
    origin("hot, all blobs", contender->kind, contender->upstream.stop(), blobs_.bytes());
  }
}

void Run::hot_case(const HotCase& hot_case, Contender& contender) {
  const auto& [name, blobs, tls, small] = hot_case;
  step(contender.kind, name);
  const double time = plan_.seconds.value_or(scale_.seconds);
  const HotResult result = hot_load(
      address(contender, tls), *blobs, blobs_.small.front(), plan_.clients,
      std::chrono::duration<double>(time), contender.server.process(),
      [&](uint64_t so_far, double seconds) { progress_.update(so_far, seconds, seconds / time); });
  if (tls) ciphers_[kind_name(contender.kind)] = result.cipher;
  if (small) {
    const auto requests = static_cast<double>(result.requests);
    table_.set(name, kRequests, column(contender.kind), requests / result.seconds);
    table_.set(name, kCpuRequests, column(contender.kind), result.cpu / requests * 100'000);
  } else {
    throughput(name, contender.kind, result);
  }
}

void Run::version_case(const VersionCase& version_case, Contender& contender) {
  const auto& [name, version] = version_case;
  step(contender.kind, name);
  const double time = plan_.seconds.value_or(scale_.seconds);
  throughput(name, contender.kind,
             curl_load(contender.server.port(true), setup_.certificate(), version,
                       blobs_.large.front(), std::chrono::duration<double>(time),
                       contender.server.process(), [&](uint64_t so_far, double seconds) {
                         progress_.update(so_far, seconds, seconds / time);
                       }));
}

// On a server started anew with an empty cache: nothing of one measurement is in the next.
void Run::cold_case(const ColdCase& cold_case, Kind kind) {
  const auto& [name, clients, tls] = cold_case;
  step(kind, name);
  Contender contender(kind, setup_);
  const Process& process = contender.server.process();
  const Blob& blob = blobs_.large.front();
  const double delivered = static_cast<double>(blob.size()) * clients;
  const double idle_cpu = process.cpu_seconds();
  const uint64_t idle_anonymous = process.anonymous_bytes();
  const uint64_t idle_resident = process.resident_bytes();
  MemorySampler memory(process);
  const ColdResult result =
      cold_load(address(contender, tls), blob, clients, [&](uint64_t so_far, double seconds) {
        progress_.update(so_far, seconds, static_cast<double>(so_far) / delivered);
      });
  const uint64_t anonymous = memory.finish();
  const uint64_t resident = process.peak_resident_bytes();
  const double cpu = stop(contender) - idle_cpu;

  const std::vector<double>& first = result.first_byte;
  if (clients > 1) table_.set(name, kFirstMedian, column(kind), first[first.size() / 2] * 1e3);
  table_.set(name, kFirstLast, column(kind), first.back() * 1e3);
  table_.set(name, kWall, column(kind), result.seconds);
  table_.set(name, kCpuBytes, column(kind), cpu / (delivered / kGiB));
  table_.set(name, kMemory, column(kind), mib_beyond(anonymous, idle_anonymous));
  table_.set(name, kResident, column(kind), mib_beyond(resident, idle_resident));
  origin(name, kind, contender.upstream.stop(), blob.size());
}

// ---- what they have in common ---------------------------------------------------------------

void Run::throughput(const std::string& name, Kind kind, const HotResult& result) {
  const auto bytes = static_cast<double>(result.bytes);
  table_.set(name, kThroughput, column(kind), bytes / kMiB / result.seconds);
  table_.set(name, kCpuBytes, column(kind), result.cpu / (bytes / kGiB));
}

void Run::step(Kind kind, const std::string& name) {
  if (interrupted) throw Interrupted{};
  progress_.step(std::string(kind_name(kind)) + " " + name);
}

Address Run::address(Contender& contender, bool tls) const {
  return {contender.server.port(tls), tls ? tls_.get() : nullptr};
}

// Returns the CPU seconds of the server's whole life.
double Run::stop(Contender& contender) {
  const double cpu = contender.server.process().stop();
  if (contender.server.process().killed()) {
    broken_.push_back(std::string(kind_name(contender.kind)) + " did not end when asked to");
  }
  return cpu;
}

// What the upstream of a stopped server sent. Once is promised by the edge, hoped for of nginx.
void Run::origin(const std::string& name, Kind kind, uint64_t sent, uint64_t once) {
  table_.set(name, kOrigin, column(kind), static_cast<double>(sent) / static_cast<double>(once));
  if (kind == Kind::edge && sent != once) {
    broken_.push_back(name + ": the edge fetched " + std::to_string(sent) + " bytes instead of " +
                      std::to_string(once));
  }
}

}  // namespace bench
