#include "base/log.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace base {
namespace {

constexpr size_t kPrintableLimit = 256;

// True if stderr is the journal's own stream: systemd says which by device and inode, because the
// variable is inherited by programs whose stderr is something else.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st{};
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) return false;
  return std::to_string(st.st_dev) + ':' + std::to_string(st.st_ino) == stream;
}

// Every line glog is given goes to stderr in one write, so that lines of several threads and
// processes do not mix.
class StderrSink : public google::LogSink {
 public:
  explicit StderrSink(bool journal) : journal_(journal) {}

  using google::LogSink::send;
  void send(google::LogSeverity severity, const char* /*full_filename*/, const char* base_filename,
            int line, const google::LogMessageTime& when, const char* message,
            size_t message_len) override {
    const std::string start =
        journal_ ? journal_prefix(severity)
                 : plain_prefix(severity, static_cast<time_t>(when.timestamp()), when.usec());
    std::string out;
    std::string_view text(message, message_len);
    // A message of several lines gets the prefix on each: whoever reads lines must not mistake the
    // second for a message of its own.
    while (true) {
      const size_t end = text.find('\n');
      out += start;
      out += text.substr(0, end);
      if (!journal_) out += std::string(" (") + base_filename + ':' + std::to_string(line) + ')';
      out += '\n';
      if (end == std::string_view::npos || end + 1 == text.size()) break;
      text.remove_prefix(end + 1);
    }
    // A log that cannot be written must not stop the program, and there is nowhere to say so.
    while (::write(STDERR_FILENO, out.data(), out.size()) < 0 && errno == EINTR) {
    }
  }

 private:
  // sd-daemon(3): <2> critical, <3> error, <4> warning, <6> information.
  static std::string journal_prefix(google::LogSeverity severity) {
    static constexpr const char* kPrefixes[] = {"<6>", "<4>", "<3>", "<2>"};
    return kPrefixes[severity];
  }

  static std::string plain_prefix(google::LogSeverity severity, time_t seconds, int32_t usec) {
    static constexpr const char* kWords[] = {"info", "warning", "error", "fatal"};
    tm utc{};
    gmtime_r(&seconds, &utc);
    char text[64];
    const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    std::snprintf(text + size, sizeof text - size, ".%03dZ %s: ", usec / 1000, kWords[severity]);
    return text;
  }

  const bool journal_;
};

}  // namespace

void init_logging(const char* program) {
  google::InitGoogleLogging(program);
  // The sink writes everything: glog itself writes no file and nothing to stderr.
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  FLAGS_logtostderr = FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = google::NUM_SEVERITIES;
  static StderrSink sink(stderr_is_journal());
  google::AddLogSink(&sink);
  // A stack trace for crashes. SIGTERM is not one.
  google::InstallFailureSignalHandler();
  signal(SIGTERM, SIG_DFL);
}

void set_log_level(LogLevel level) {
  FLAGS_v = level == LogLevel::debug ? 1 : 0;
  switch (level) {
    case LogLevel::debug:
    case LogLevel::info:
      FLAGS_minloglevel = google::GLOG_INFO;
      break;
    case LogLevel::warning:
      FLAGS_minloglevel = google::GLOG_WARNING;
      break;
    case LogLevel::error:
      FLAGS_minloglevel = google::GLOG_ERROR;
      break;
  }
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text.substr(0, kPrintableLimit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte >= 0x7f) {
      static constexpr char kHex[] = "0123456789abcdef";
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  if (text.size() > kPrintableLimit) out += "...";
  return out;
}

}  // namespace base
