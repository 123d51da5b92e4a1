#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "base/error.h"

extern char** environ;

namespace test {

Process::Process(std::vector<std::string> argv,
                 const std::map<std::string, std::string>& environment,
                 const std::vector<int>& sockets) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw base::IoError("pipe");
  out_.reset(ends[0]);
  const base::UniqueFd in(ends[1]);

  // LISTEN_PID is the number of a process that does not exist yet: a shell knows it, and becomes
  // the program.
  if (!sockets.empty()) {
    const std::string script =
        "LISTEN_PID=$$ LISTEN_FDS=" + std::to_string(sockets.size()) + " exec \"$0\" \"$@\"";
    argv.insert(argv.begin(), {"/bin/sh", "-c", script});
  }
  std::vector<std::string> variables;
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string variable = *v;
    if (!environment.contains(variable.substr(0, variable.find('=')))) {
      variables.push_back(variable);
    }
  }
  std::vector<char*> args;
  for (std::string& arg : argv) args.push_back(arg.data());
  args.push_back(nullptr);
  std::vector<char*> env;
  for (std::string& variable : variables) env.push_back(variable.data());
  env.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDERR_FILENO);
  // First out of the way of the numbers they are to have.
  std::vector<base::UniqueFd> copies;
  for (const int socket : sockets) copies.emplace_back(::fcntl(socket, F_DUPFD_CLOEXEC, 100));
  for (size_t i = 0; i < copies.size(); ++i) {
    posix_spawn_file_actions_adddup2(&actions, copies[i].get(), 3 + static_cast<int>(i));
  }
  const int error = ::posix_spawnp(&pid_, args[0], &actions, nullptr, args.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw base::IoError(error, "starting " + argv[0]);
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

bool Process::read_more() {
  char buffer[4096];
  ssize_t n = 0;
  do {
    n = ::read(out_.get(), buffer, sizeof buffer);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) return false;
  output_.append(buffer, static_cast<size_t>(n));
  return true;
}

std::string Process::wait_for(const std::string& text) {
  while (true) {
    for (size_t end = output_.find('\n', scanned_); end != std::string::npos;
         end = output_.find('\n', scanned_)) {
      std::string line = output_.substr(scanned_, end - scanned_);
      scanned_ = end + 1;
      if (line.find(text) != std::string::npos) return line;
    }
    if (!read_more()) {
      throw std::runtime_error("the process ended without printing \"" + text + "\":\n" + output_);
    }
  }
}

uint16_t Process::listening_port() {
  static const std::string kBefore = "listening on ";
  const std::string line = wait_for(kBefore);
  const size_t begin = line.find(kBefore) + kBefore.size();
  const std::string address = line.substr(begin, line.find(' ', begin) - begin);
  return static_cast<uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
}

void Process::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

int Process::wait() {
  while (read_more()) {
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace test
