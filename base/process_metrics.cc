#include "base/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace base {
namespace {

enum class Memory { virtual_size, resident };

// proc(5), /proc/self/statm: total size and resident set, in pages.
double memory(Memory which) {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return (which == Memory::virtual_size ? total : resident) *
         static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double open_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator all("/proc/self/fd", error);
  if (error) return 0;
  // The listing has a descriptor of its own.
  return static_cast<double>(std::distance(begin(all), end(all)) - 1);
}

double max_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double processor_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// proc(5): field 22 of /proc/self/stat is the start in ticks since boot, btime of /proc/stat the
// boot in Unix time. The second field may have blanks, but ends at the last parenthesis.
double start_time() {
  std::ifstream stat_file("/proc/self/stat");
  std::string stat((std::istreambuf_iterator<char>(stat_file)), {});
  stat.erase(0, stat.rfind(')') + 1);
  size_t at = 0;
  for (int field = 3; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  const double ticks = at == std::string::npos ? 0 : std::strtod(stat.c_str() + at, nullptr);

  std::ifstream system("/proc/stat");
  double boot = 0;
  for (std::string word; system >> word;) {
    if (word == "btime") system >> boot;
  }
  return boot + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

void add_process_metrics(Metrics& metrics) {
  using Kind = Metrics::Kind;
  metrics.watch(Kind::gauge, "process_resident_memory_bytes", "Resident memory size in bytes.",
                [] { return memory(Memory::resident); });
  metrics.watch(Kind::gauge, "process_virtual_memory_bytes", "Virtual memory size in bytes.",
                [] { return memory(Memory::virtual_size); });
  metrics.watch(Kind::gauge, "process_open_fds", "Number of open file descriptors.",
                open_descriptors);
  metrics.watch(Kind::gauge, "process_max_fds", "Maximum number of open file descriptors.",
                max_descriptors);
  metrics.watch(Kind::counter, "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.", processor_time);
  metrics.watch(Kind::gauge, "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                [at = start_time()] { return at; });
}

}  // namespace base
