// A program under test in a process of its own: started with extra environment, which comes before
// ours, its output read line by line, killed at the end. For crash tests and for peers. One thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace test {

class Process {
 public:
  // Starts argv[0] (a path, or a name looked up in PATH); standard output and error are captured
  // together. The sockets are given to it as a service manager does (sd_listen_fds(3)).
  Process(std::vector<std::string> argv, const std::map<std::string, std::string>& environment = {},
          const std::vector<int>& sockets = {});
  // Kills the process if it still runs, and reaps it.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Reads output until a line contains the text and returns that line. Throws std::runtime_error
  // with all output if the process ends first.
  std::string wait_for(const std::string& text);
  // The port of the next "listening on <host>:<port>" line.
  uint16_t listening_port();

  void signal(int number);
  // Waits for the end. Returns the exit code, or -N if signal N ended it.
  int wait();
  pid_t pid() const { return pid_; }
  // Everything read so far.
  const std::string& output() const { return output_; }

 private:
  bool read_more();

  pid_t pid_ = -1;
  base::UniqueFd out_;
  std::string output_;
  size_t scanned_ = 0;
};

}  // namespace test
