// What a run starts, all on 127.0.0.1 and all files in the run's directory: the upstream, and the
// two caches that are compared, configured alike. Main thread only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "bench/process.h"

namespace bench {

struct Setup {
  std::filesystem::path directory;  // of the run
  std::filesystem::path edge;       // the program entrepot-edge
  std::string nginx;                // the program nginx
  unsigned workers = 1;             // event loops of the edge, worker processes of nginx
  std::filesystem::path blobs() const { return directory / "blobs"; }
  std::filesystem::path certificate() const { return directory / "cert.pem"; }
  std::filesystem::path key() const { return directory / "key.pem"; }
};

enum class Kind { edge, nginx };
constexpr const char* kind_name(Kind kind) {
  return kind == Kind::edge ? "entrepot-edge" : "nginx";
}

// A throw-away certificate for 127.0.0.1 (ECDSA P-256), by the openssl program; it is its own CA.
void make_certificate(const Setup& setup);

// The first of $PATH and the system directories that has the program; throws std::runtime_error.
std::string find_program(const std::string& name);

// nginx serving the blobs as static files over TLS, counting what it sends.
class Upstream {
 public:
  explicit Upstream(const Setup& setup);
  uint16_t port() const { return port_; }
  // Takes connections and answers nothing, and goes on.
  void suspend() const { process_->suspend(); }
  void resume() const { process_->resume(); }
  // Ends it after the requests it is serving; returns the body bytes it has sent.
  uint64_t stop();

 private:
  std::filesystem::path directory_;
  uint16_t port_;
  std::unique_ptr<Process> process_;
};

// A cache under measurement with an empty cache directory, listening.
class Server {
 public:
  Server(Kind kind, const Setup& setup, uint16_t upstream_port);
  ~Server();
  Process& process() { return *process_; }
  uint16_t port(bool tls) const { return tls ? tls_port_ : plain_port_; }

 private:
  std::filesystem::path directory_;
  uint16_t plain_port_;
  uint16_t tls_port_;
  std::unique_ptr<Process> process_;
};

}  // namespace bench
