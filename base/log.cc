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
#include <mutex>
#include <nlohmann/json.hpp>

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
    const std::string_view text(message, message_len);
    const std::string place = std::string(base_filename) + ':' + std::to_string(line);
    const std::string time = rfc3339(static_cast<time_t>(when.timestamp()), when.usec());
    std::string out;
    {
      const std::lock_guard lock(mutex_);
      out = format_.style == LogFormat::Style::text ? text_lines(severity, time, place, text)
                                                    : json_line(severity, time, place, text);
    }
    // A log that cannot be written must not stop the program, and there is nowhere to say so.
    while (::write(STDERR_FILENO, out.data(), out.size()) < 0 && errno == EINTR) {
    }
  }

  void set_format(LogFormat format) {
    const std::lock_guard lock(mutex_);
    format_ = std::move(format);
  }

 private:
  static constexpr const char* kLevels[] = {"info", "warning", "error", "fatal"};

  // A message of several lines gets the beginning on each: whoever reads lines must not mistake the
  // second for a message of its own.
  std::string text_lines(google::LogSeverity severity, const std::string& time,
                         const std::string& place, std::string_view text) const {
    const std::string start =
        journal_ ? journal_prefix(severity) : time + ' ' + kLevels[severity] + ": ";
    std::string end_of_line;
    for (const auto& [name, value] : format_.fields) {
      end_of_line.append(" ").append(name).append("=").append(value);
    }
    if (!journal_) end_of_line += " (" + place + ')';
    std::string out;
    while (true) {
      const size_t end = text.find('\n');
      out.append(start).append(text.substr(0, end)).append(end_of_line).append("\n");
      if (end == std::string_view::npos || end + 1 == text.size()) return out;
      text.remove_prefix(end + 1);
    }
  }

  std::string json_line(google::LogSeverity severity, const std::string& time,
                        const std::string& place, std::string_view text) const {
    const bool logstash = format_.style == LogFormat::Style::logstash;
    std::string out = journal_ ? journal_prefix(severity) : "";
    out += logstash ? R"({"@timestamp":")" + time + R"(","@version":"1")"
                    : R"({"time":")" + time + '"';
    out.append(R"(,"level":")").append(kLevels[severity]).append("\"");
    out.append(logstash ? R"(,"message":)" : R"(,"msg":)").append(json_string(text));
    for (const auto& [name, value] : format_.fields) {
      out.append(",").append(json_string(name)).append(":").append(json_string(value));
    }
    return out + R"(,"source":")" + place + "\"}\n";
  }

  // sd-daemon(3): <2> critical, <3> error, <4> warning, <6> information.
  static std::string journal_prefix(google::LogSeverity severity) {
    static constexpr const char* kPrefixes[] = {"<6>", "<4>", "<3>", "<2>"};
    return kPrefixes[severity];
  }

  static std::string rfc3339(time_t seconds, int32_t usec) {
    tm utc{};
    gmtime_r(&seconds, &utc);
    char text[64];
    const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    std::snprintf(text + size, sizeof text - size, ".%03dZ", usec / 1000);
    return text;
  }

  const bool journal_;
  std::mutex mutex_;
  LogFormat format_;  // guarded by mutex_
};

StderrSink& stderr_sink() {
  static StderrSink sink(stderr_is_journal());
  return sink;
}

}  // namespace

void init_logging(const char* program) {
  google::InitGoogleLogging(program);
  // The sink writes everything: glog itself writes no file and nothing to stderr.
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  FLAGS_logtostderr = FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = google::NUM_SEVERITIES;
  google::AddLogSink(&stderr_sink());
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

void set_log_format(LogFormat format) { stderr_sink().set_format(std::move(format)); }

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
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
