// What this process logs.
#pragma once

#include <glog/logging.h>

#include <mutex>
#include <string>

namespace test {

// Everything that is logged while it lives.
class LogCapture : public google::LogSink {
 public:
  LogCapture() { google::AddLogSink(this); }
  ~LogCapture() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&,
            const char* message, size_t length) override {
    const std::lock_guard lock(mutex_);
    text_.append(message, length).append("\n");
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  size_t count(const std::string& what) {
    const std::string all = text();
    size_t n = 0;
    for (size_t at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++n;
    return n;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

}  // namespace test
