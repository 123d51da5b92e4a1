#include "bench/program.h"

#include <signal.h>
#include <sys/resource.h>

#include <fstream>
#include <iostream>

#include "base/error.h"
#include "bench/load.h"

namespace bench {

int run_program(const std::function<int()>& benchmark) {
  const auto interrupt = [](int) { interrupted = true; };
  signal(SIGINT, interrupt);
  signal(SIGTERM, interrupt);
  signal(SIGHUP, interrupt);
  signal(SIGPIPE, SIG_IGN);
  try {
    return benchmark();
  } catch (const Interrupted&) {
    std::cerr << "\ninterrupted\n";
    return 130;
  } catch (const std::exception& failure) {
    std::cerr << "\nFAILED: " << failure.what() << "\n";
    return 1;
  }
}

void raise_descriptor_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

void write_json(const std::string& path, const std::string& json) {
  if (path.empty()) return;
  std::ofstream out(path);
  out << json << "\n";
  out.close();
  if (!out) throw base::IoError("writing " + path);
}

}  // namespace bench
