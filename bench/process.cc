#include "bench/process.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "base/unique_fd.h"
#include "bench/clock.h"

namespace bench {
namespace {

using std::chrono::milliseconds;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The fields of /proc/<pid>/stat from the third (state) on: the second may hold spaces.
std::vector<std::string> stat_fields(pid_t pid) {
  const std::string text = read_all("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream in(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(in), {}};
}

// Forks and executes, with the output in `log`, in a process group of its own.
pid_t launch(const std::vector<std::string>& arguments, const std::filesystem::path& log,
             int death_signal) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const base::UniqueFd out(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!out) throw base::IoError(log);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw base::IoError("fork");
  if (pid > 0) {
    setpgid(pid, pid);  // here and in the child: whichever comes first
    return pid;
  }
  setpgid(0, 0);
  // If this program is killed, what it started must not stay behind.
  prctl(PR_SET_PDEATHSIG, death_signal);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  dup2(out.get(), STDOUT_FILENO);
  dup2(out.get(), STDERR_FILENO);
  execvp(argv[0], argv.data());
  dprintf(STDERR_FILENO, "cannot run %s: %m\n", argv[0]);
  _exit(127);
}

std::string last_lines(const std::filesystem::path& log) {
  const std::string text = read_all(log);
  constexpr size_t kEnough = 2000;
  return text.size() > kEnough ? text.substr(text.size() - kEnough) : text;
}

}  // namespace

uint16_t free_port() {
  const base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw base::IoError("finding a free port");
  }
  return ntohs(address.sin_port);
}

void run_command(const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  const pid_t pid = launch(arguments, log, SIGKILL);
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) throw base::IoError("waitpid");
  if (status != 0) throw std::runtime_error(arguments[0] + " failed:\n" + last_lines(log));
}

Process::Process(const std::vector<std::string>& arguments, std::filesystem::path log,
                 int stop_signal)
    : log_(std::move(log)), stop_signal_(stop_signal), pid_(launch(arguments, log_, SIGTERM)) {}

Process::~Process() {
  if (pid_ > 0) stop();
}

void Process::wait_listening(uint16_t port) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  for (;;) {
    siginfo_t exited{};
    const int rc = waitid(P_PID, static_cast<id_t>(pid_), &exited, WEXITED | WNOHANG | WNOWAIT);
    if (rc != 0 || exited.si_pid == pid_) {
      throw std::runtime_error("a server did not start:\n" + last_lines(log_));
    }
    const base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw base::IoError("socket");
    const sockaddr_in address = loopback(port);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
    if (Clock::now() > deadline) {
      throw std::runtime_error("a server did not listen within 20 s:\n" + last_lines(log_));
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
}

void Process::suspend() const { kill(-pid_, SIGSTOP); }

void Process::resume() const { kill(-pid_, SIGCONT); }

std::vector<pid_t> Process::members() const {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc()) continue;
    if (getpgid(pid) == pid_) pids.push_back(pid);
  }
  return pids;
}

double Process::cpu_seconds() const {
  // utime, stime, and those of children already waited for (proc(5): fields 14 to 17).
  constexpr size_t kFirst = 14 - 3, kLast = 17 - 3;
  double ticks = 0;
  for (const pid_t pid : members()) {
    const std::vector<std::string> fields = stat_fields(pid);
    for (size_t i = kFirst; i <= kLast && i < fields.size(); ++i) ticks += std::stod(fields[i]);
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t Process::status_sum(const char* key) const {
  uint64_t kib = 0;
  for (const pid_t pid : members()) {
    std::istringstream in(read_all("/proc/" + std::to_string(pid) + "/status"));
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with(key)) kib += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return kib * 1024;
}

uint64_t Process::anonymous_bytes() const { return status_sum("RssAnon:"); }
uint64_t Process::peak_resident_bytes() const { return status_sum("VmHWM:"); }
uint64_t Process::resident_bytes() const { return status_sum("VmRSS:"); }

double Process::stop() {
  kill(pid_, stop_signal_);
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  rusage usage{};
  while (wait4(pid_, nullptr, WNOHANG, &usage) == 0) {
    if (Clock::now() > deadline) {
      killed_ = true;
      kill(-pid_, SIGKILL);
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  kill(-pid_, SIGKILL);  // workers that outlived it
  pid_ = -1;
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

MemorySampler::MemorySampler(const Process& process)
    : process_(process), thread_([this] {
        while (!stop_) {
          peak_ = std::max(peak_, process_.anonymous_bytes());
          std::this_thread::sleep_for(milliseconds(20));
        }
      }) {}

MemorySampler::~MemorySampler() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

uint64_t MemorySampler::finish() {
  stop_ = true;
  thread_.join();
  return std::max(peak_, process_.anonymous_bytes());
}

}  // namespace bench
