// One server under measurement: started in a process group of its own, so that its workers are
// counted and stopped with it and nothing else is. Used by the main thread alone, except
// MemorySampler's.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace bench {

// A port of 127.0.0.1 that was free a moment ago.
uint16_t free_port();

// Runs a command to its end; throws std::runtime_error, with its output, unless it succeeds.
void run_command(const std::vector<std::string>& arguments, const std::filesystem::path& log);

class Process {
 public:
  // Starts `arguments` with stdout and stderr in `log`. `stop_signal` asks it to finish.
  Process(const std::vector<std::string>& arguments, std::filesystem::path log, int stop_signal);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  // Waits until it accepts connections on 127.0.0.1:port; throws std::runtime_error, with the end
  // of its log, if it exits first or takes more than 20 s.
  void wait_listening(uint16_t port);

  // User and system time of all its processes so far, in seconds.
  double cpu_seconds() const;
  // Anonymous memory of all its processes now, in bytes: its own, without mapped files.
  uint64_t anonymous_bytes() const;
  // Sum of the peak resident sizes (VmHWM) of its processes, in bytes; mapped files count.
  uint64_t peak_resident_bytes() const;
  uint64_t resident_bytes() const;

  // Hangs, and goes on.
  void suspend() const;
  void resume() const;
  // Ends all of it; killed if it takes more than 10 s. Returns the CPU seconds of its whole life.
  double stop();
  bool killed() const { return killed_; }

 private:
  std::vector<pid_t> members() const;
  uint64_t status_sum(const char* key) const;

  std::filesystem::path log_;
  int stop_signal_;
  pid_t pid_;
  bool killed_ = false;
};

// Takes the highest anonymous memory of a process, every few milliseconds, until finish().
class MemorySampler {
 public:
  explicit MemorySampler(const Process& process);
  ~MemorySampler();
  // Ends the sampling; returns the peak in bytes. Once.
  uint64_t finish();

 private:
  const Process& process_;
  std::atomic<bool> stop_ = false;
  uint64_t peak_ = 0;
  std::thread thread_;
};

}  // namespace bench
