#include "bench/servers.h"

#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/error.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

fs::path fresh_directory(const Setup& setup, const std::string& name) {
  static int serial = 0;
  fs::path directory = setup.directory / (name + "-" + std::to_string(++serial));
  fs::create_directory(directory);
  return directory;
}

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) throw base::IoError("writing " + path.string());
}

// What every nginx of a run has in common: foreground, everything it writes in its own directory.
std::string nginx_main(const fs::path& directory, unsigned workers) {
  const std::string dir = directory.string();
  std::string text = "daemon off;\npid " + dir + "/pid;\nerror_log stderr warn;\n";
  if (geteuid() == 0) text += "user root;\n";  // or its workers could not read the run's directory
  text += "worker_processes " + std::to_string(workers) + ";\n" +
          "worker_rlimit_nofile 16384;\nevents { worker_connections 8192; }\n";
  return text;
}

std::string nginx_http(const fs::path& directory) {
  std::string text =
      "  default_type application/octet-stream;\n"
      "  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n"
      "  keepalive_timeout 300s;\n  keepalive_requests 1000000000;\n"
      "  open_file_cache max=1000 inactive=60s;\n"
      "  ssl_protocols TLSv1.2 TLSv1.3;\n  ssl_session_cache shared:tls:1m;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    text += std::string("  ") + kind + "_temp_path " + (directory / kind).string() + ";\n";
  }
  return text;
}

std::string nginx_certificate(const Setup& setup) {
  return "    ssl_certificate " + setup.certificate().string() + ";\n    ssl_certificate_key " +
         setup.key().string() + ";\n";
}

std::string upstream_config(const Setup& setup, const fs::path& directory, uint16_t port) {
  return nginx_main(directory, 1) + "http {\n" + nginx_http(directory) +
         "  log_format sent '$body_bytes_sent';\n  access_log " + (directory / "sent").string() +
         " sent;\n  server {\n    listen 127.0.0.1:" + std::to_string(port) + " ssl;\n" +
         nginx_certificate(setup) + "    root " + setup.blobs().string() + ";\n  }\n}\n";
}

std::string nginx_config(const Setup& setup, const fs::path& directory, uint16_t plain,
                         uint16_t tls, uint16_t upstream) {
  return nginx_main(directory, setup.workers) + "http {\n" + nginx_http(directory) +
         "  access_log " + (directory / "access").string() +
         " combined buffer=64k flush=1s;\n"
         "  proxy_cache_path " +
         (directory / "cache").string() +
         " levels=1:2 keys_zone=blobs:4m max_size=100g inactive=1d use_temp_path=off;\n"
         "  upstream origin {\n    server 127.0.0.1:" +
         std::to_string(upstream) +
         ";\n    keepalive 16;\n  }\n"
         "  server {\n    listen 127.0.0.1:" +
         std::to_string(plain) + " reuseport;\n    listen 127.0.0.1:" + std::to_string(tls) +
         " ssl http2 reuseport;\n" + nginx_certificate(setup) +
         "    location / {\n      proxy_pass https://origin;\n      proxy_http_version 1.1;\n"
         "      proxy_set_header Connection \"\";\n"
         "      proxy_ssl_verify on;\n      proxy_ssl_name 127.0.0.1;\n"
         "      proxy_ssl_trusted_certificate " +
         setup.certificate().string() +
         ";\n      proxy_cache blobs;\n      proxy_cache_valid 200 1d;\n"
         // By default those who wait give up after 5 s and each goes to the upstream itself.
         "      proxy_cache_lock on;\n      proxy_cache_lock_timeout 1h;\n"
         "      proxy_cache_lock_age 1h;\n    }\n  }\n}\n";
}

std::string edge_config(const Setup& setup, const fs::path& directory, uint16_t plain, uint16_t tls,
                        uint16_t upstream) {
  std::ostringstream out;
  out << "listen:\n  - {addr: \"127.0.0.1:" << plain << "\"}\n  - {addr: \"127.0.0.1:" << tls
      << "\", tls: {certificate: " << setup.certificate() << ", key: " << setup.key()
      << "}}\ncache: {directory: " << directory / "cache" << ", size: 100GiB}\n"
      << "upstreams: [{urls: [\"https://127.0.0.1:" << upstream
      << "\"], ca: " << setup.certificate() << "}]\nserver: {loops: " << setup.workers << "}\n";
  return out.str();
}

}  // namespace

void make_certificate(const Setup& setup) {
  run_command({find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1,DNS:127.0.0.1", "-keyout", setup.key(),
               "-out", setup.certificate()},
              setup.directory / "openssl.log");
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(std::string(path ? path : "") + ":/usr/sbin:/usr/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const fs::path program = fs::path(directory) / name;
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  throw std::runtime_error(name + " is not installed: apt-get install " + name);
}

Upstream::Upstream(const Setup& setup)
    : directory_(fresh_directory(setup, "upstream")), port_(free_port()) {
  const fs::path config = directory_ / "nginx.conf";
  write_file(config, upstream_config(setup, directory_, port_));
  process_ = std::make_unique<Process>(
      std::vector<std::string>{setup.nginx, "-p", directory_, "-c", config}, directory_ / "log",
      SIGQUIT);
  process_->wait_listening(port_);
}

uint64_t Upstream::stop() {
  process_->stop();
  std::ifstream in(directory_ / "sent");
  uint64_t sum = 0;
  for (uint64_t sent = 0; in >> sent;) sum += sent;
  return sum;
}

Server::Server(Kind kind, const Setup& setup, uint16_t upstream_port)
    : directory_(fresh_directory(setup, kind_name(kind))),
      plain_port_(free_port()),
      tls_port_(free_port()) {
  std::vector<std::string> command;
  if (kind == Kind::edge) {
    const fs::path config = directory_ / "edge.yml";
    write_file(config, edge_config(setup, directory_, plain_port_, tls_port_, upstream_port));
    command = {setup.edge, "serve", config};
  } else {
    const fs::path config = directory_ / "nginx.conf";
    write_file(config, nginx_config(setup, directory_, plain_port_, tls_port_, upstream_port));
    command = {setup.nginx, "-p", directory_, "-c", config};
  }
  process_ = std::make_unique<Process>(command, directory_ / "log", SIGTERM);
  process_->wait_listening(plain_port_);
  process_->wait_listening(tls_port_);
}

Server::~Server() {
  process_.reset();
  std::error_code ignored;  // the run's directory is removed at the end in any case
  fs::remove_all(directory_, ignored);
}

}  // namespace bench
