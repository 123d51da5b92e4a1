// slow_bench: what clients that are slow, silent or ask for what hangs do to those who are served
// from the cache, at entrepot-edge and at nginx in the same run. bench/README.md says how to read
// its table.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "bench/load.h"
#include "bench/program.h"
#include "bench/progress.h"
#include "bench/servers.h"
#include "bench/table.h"
#include "bench/temporary_directory.h"

namespace bench::slow_bench {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1 << 20;

struct Options {
  fs::path edge;
  fs::path temporary = fs::temp_directory_path();
  fs::path json;
  double seconds = 5;
  int clients = 16;
  int crowd = 1000;
  bool quick = false;
};

using Better = Metric::Better;
const Metric kRate{"hits/s, % of those without", Better::higher, 0};
const Metric kCpu{"CPU a hit, % of that without", Better::lower, 0};
const Metric kResident{"resident memory, MiB (+)", Better::lower, 1};
const Metric kSeconds{"fast client, seconds", Better::lower, 2};

// Connections that one thread keeps, each of which does one small thing a second. What the server
// closes is connected anew.
class SlowCrowd {
 public:
  // What is sent at once; then a byte of `drip` a second; and a byte is read a second, if so.
  struct Behaviour {
    std::function<std::string(size_t member)> first;
    std::string drip;
    bool reads = false;
  };

  SlowCrowd(uint16_t port, int count, Behaviour behaviour)
      : port_(port), behaviour_(std::move(behaviour)), members_(static_cast<size_t>(count)) {
    for (size_t i = 0; i < members_.size(); ++i) connect(i);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

 private:
  struct Member {
    base::UniqueFd fd;
    size_t sent = 0;  // of the drip
  };

  void connect(size_t i) {
    Member& member = members_[i];
    member = {};
    member.fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!member.fd) throw base::IoError("socket");
    const int small = 4096;
    ::setsockopt(member.fd.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(member.fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      member.fd.reset();  // tried again in a second
      return;
    }
    ::fcntl(member.fd.get(), F_SETFL, O_NONBLOCK);
    const std::string first = behaviour_.first(i);
    if (!first.empty()) ::send(member.fd.get(), first.data(), first.size(), MSG_NOSIGNAL);
  }

  // False once the server has ended the connection.
  bool act(Member& member) {
    if (!member.fd) return false;
    char byte = 0;
    // One that only looks for the end takes no byte out of the buffer.
    const ssize_t n = ::recv(member.fd.get(), &byte, 1, behaviour_.reads ? 0 : MSG_PEEK);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
    if (n > 0 && !behaviour_.reads) return false;  // an answer: the server gives up
    if (behaviour_.drip.empty()) return true;
    byte = behaviour_.drip[member.sent++ % behaviour_.drip.size()];
    return ::send(member.fd.get(), &byte, 1, MSG_NOSIGNAL) == 1;
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      for (size_t i = 0; i < members_.size(); ++i) {
        if (stop.stop_requested()) return;
        if (!act(members_[i])) connect(i);
      }
      while (!stop.stop_requested() && std::chrono::steady_clock::now() < next) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }

  const uint16_t port_;
  const Behaviour behaviour_;
  std::vector<Member> members_;
  std::jthread thread_;
};

std::string request(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
}

class Run {
 public:
  Run(const Options& options, const fs::path& directory)
      : options_(options),
        setup_{.directory = directory,
               .edge = options.edge,
               .nginx = find_program("nginx"),
               .workers = std::max(1U, std::thread::hardware_concurrency())},
        progress_(10) {}

  void run() {
    make_certificate(setup_);
    hot_ = make_blobs(setup_.blobs(), 64, 4096);
    const Blob large(setup_.blobs(), 1000, options_.quick ? 8 << 20 : 64 << 20);
    const auto always = [](const std::string& text) { return [text](size_t) { return text; }; };
    const std::string repository = large.target().substr(0, large.target().rfind(':') + 1);
    const auto unknown = [repository](size_t i) {
      const std::string number = std::to_string(i);
      return request(repository + std::string(64 - number.size(), '0') + number);
    };
    for (const Column column : {Column::ours, Column::theirs}) {
      const std::string count = std::to_string(options_.crowd);
      crowd(column, count + " that read a byte a second", large,
            {always(request(large.target())), "", true});
      crowd(column, count + " that send a header byte a second", large,
            {always("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "), "x", false});
      crowd(column, count + " that say nothing", large, {always(""), "", false});
      crowd(column, count + " at an upstream that hangs", large, {unknown, "", false},
            /*hang=*/true);
      slow_beside_fast(column);
    }
    progress_.clear();
  }

  const Table& table() const { return table_; }

 private:
  static Kind kind(Column column) { return column == Column::ours ? Kind::edge : Kind::nginx; }

  struct Hot {
    double rate = 0;  // hits a second
    double cpu = 0;   // of the server, seconds a hit
  };

  Hot hot(Server& server) {
    const HotResult result =
        hot_load({server.port(false), nullptr}, hot_, hot_.front(), options_.clients,
                 std::chrono::duration<double>(options_.seconds), server.process(),
                 [&](uint64_t bytes, double seconds) {
                   progress_.update(bytes, seconds, seconds / options_.seconds);
                 });
    const auto hits = static_cast<double>(result.requests);
    return {hits / result.seconds, result.cpu / hits};
  }

  // The rate of hits while a crowd does that, beside the rate without it.
  void crowd(Column column, const std::string& name, const Blob& large,
             const SlowCrowd::Behaviour& behaviour, bool hang = false) {
    step(name);
    try {
      measure_crowd(column, name, large, behaviour, hang);
    } catch (const std::exception& e) {
      throw std::runtime_error(name + ", " + kind_name(kind(column)) + ": " + e.what());
    }
  }

  void measure_crowd(Column column, const std::string& name, const Blob& large,
                     const SlowCrowd::Behaviour& behaviour, bool hang) {
    Upstream upstream(setup_);
    Server server(kind(column), setup_, upstream.port());
    Counters counters;
    {
      Client warm({server.port(false), nullptr}, counters);
      for (const Blob& blob : hot_) warm.fetch(blob, false);
      warm.fetch(large, false);
    }
    const Hot before = hot(server);
    Hot with;
    const uint64_t resident = server.process().resident_bytes();
    if (hang) upstream.suspend();
    {
      const SlowCrowd slow(server.port(false), options_.crowd, behaviour);
      with = hot(server);
      table_.set(
          name, kResident, column,
          (static_cast<double>(server.process().resident_bytes()) - static_cast<double>(resident)) /
              kMiB);
    }
    if (hang) upstream.resume();
    // Before and after, for the machine may have become slower, or faster.
    const Hot after = hot(server);
    table_.set(name, kRate, column, 200 * with.rate / (before.rate + after.rate));
    table_.set(name, kCpu, column, 200 * with.cpu / (before.cpu + after.cpu));
  }

  // A cold blob for one client, and for one beside another that takes 2 MB a second of it.
  void slow_beside_fast(Column column) {
    step("a slow reader beside a fast one");
    Upstream upstream(setup_);
    Server server(kind(column), setup_, upstream.port());
    const Address address{server.port(false), nullptr};
    for (const bool beside : {false, true}) {
      const Blob blob(setup_.blobs(), beside ? 2001 : 2000, options_.quick ? 4 << 20 : 40 << 20);
      std::jthread slow;
      if (beside) {
        slow = std::jthread([&](const std::stop_token& stop) { read_slowly(address, blob, stop); });
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
      const ColdResult fast = cold_load(address, blob, 1, [](uint64_t, double) {});
      table_.set(beside ? "a cold blob, beside a reader of 2 MB/s" : "a cold blob, alone", kSeconds,
                 column, fast.seconds);
    }
  }

  static void read_slowly(const Address& address, const Blob& blob, const std::stop_token& stop) {
    base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return;
    const int small = 64 << 10;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
    const std::string get = request(blob.target());
    ::send(fd.get(), get.data(), get.size(), MSG_NOSIGNAL);
    std::vector<char> buffer(20'000);
    while (!stop.stop_requested() && ::recv(fd.get(), buffer.data(), buffer.size(), 0) > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  void step(const std::string& name) {
    if (interrupted) throw Interrupted{};
    progress_.step(name);
  }

  const Options options_;
  const Setup setup_;
  Progress progress_;
  std::vector<Blob> hot_;
  Table table_{"entrepot-edge", "nginx"};
};

int run_bench(const Options& options) {
  const TemporaryDirectory directory(options.temporary, "slow_bench");
  Run run(options, directory.path());
  run.run();
  std::cout << "\n"
            << std::thread::hardware_concurrency() << " cores, " << options.clients
            << " clients on cached blobs of 4 KiB"
            << (options.quick ? ", --quick: too short to compare" : "") << "\n\n";
  run.table().print(std::cout);
  std::cout << "\n(+) beyond its size before\n";
  write_json(options.json, run.table().json().dump(2));
  return 0;
}

}  // namespace
}  // namespace bench::slow_bench

int main(int argc, char** argv) {
  bench::slow_bench::Options options;
  CLI::App app{
      "Measures what slow and silent clients do to the others, on loopback.\n"
      "Exit status 1 for wrong bytes or a failure, never for being slow."};
  app.add_option("--edge", options.edge, "The program entrepot-edge")
      ->check(CLI::ExistingFile)
      ->required();
  app.add_option("--seconds", options.seconds, "Of hot load, each time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--clients", options.clients, "Clients on cached blobs")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--crowd", options.crowd, "Clients that are slow")
      ->check(CLI::Range(1, 5000))
      ->capture_default_str();
  app.add_option("--directory", options.temporary, "Where caches and blobs go")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--json", options.json, "Also write the results to this file");
  app.add_flag("--quick", options.quick, "A few seconds: to see that it works, not to compare");
  CLI11_PARSE(app, argc, argv);
  if (options.quick) {
    options.seconds = 0.5;
    options.crowd = 50;
  }
  bench::raise_descriptor_limit();
  return bench::run_program([&] { return bench::slow_bench::run_bench(options); });
}
