// CurlTransfer: one exchange, and the response that fetch() returns. While curl has it, `easy_` is
// in the multi handle; what curl's callbacks bring is stored, and the waiting coroutine is resumed
// by a posted callback. Part of Client.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/task.h"
#include "http/client.h"
#include "http/curl_multi.h"
#include "http/response_head.h"

namespace http {

struct CurlEasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CurlListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// Lives on its CurlMulti's loop.
class CurlTransfer final : public ClientResponse {
 public:
  CurlTransfer(CurlMulti& multi, const ClientRequest& request);
  ~CurlTransfer() override { detach(); }

  // Resumes when the head is there.
  base::Task<void> head();

  int status() const override { return head_.status(); }
  const Headers& headers() const override { return head_.headers(); }
  std::optional<uint64_t> content_length() const override { return head_.content_length(); }
  base::Task<std::string_view> read() override;
  base::Task<void> wait_for_end(std::chrono::nanoseconds most) override;

  // curl is done with it.
  void ended(CURLcode code);
  void abort();

 private:
  auto change() {
    struct Awaiter {
      CurlTransfer& self;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        CHECK(!self.waiter_) << "two coroutines wait for one transfer";
        self.waiter_ = waiter;
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  static int on_resolve(void*, void*, void* self);
  static curl_socket_t on_open(void* self, curlsocktype, curl_sockaddr* address);
  static int on_socket(void* self, curl_socket_t, curlsocktype);
  static int on_connected(void* self, char* address, char*, int, int);
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);

  void add_header(const std::string& line);
  void configure(const ClientRequest& request);
  bool may_connect(const std::string& address);
  void connecting();
  bool take_head_line(std::string_view line);
  void expect(base::Duration within, const char* what);
  void arm();
  void unpause();
  void finish(std::optional<TransferError> error);
  void detach();
  void wake();

  CurlMulti& multi_;
  const size_t half_;  // of the buffer: one waits to be read while the other is read
  const bool is_head_;
  std::unique_ptr<CURL, CurlEasyDeleter> easy_;
  std::unique_ptr<curl_slist, CurlListDeleter> request_headers_;
  char curl_error_[CURL_ERROR_SIZE] = {};

  const std::function<bool(const std::string&)> may_connect_;
  std::string refused_address_;

  ResponseHead head_;
  bool head_done_ = false;

  std::string arriving_;
  std::string reading_;
  uint64_t received_ = 0;
  bool paused_ = false;
  bool discarding_ = false;

  bool done_ = false;
  std::optional<TransferError> error_;

  bool connecting_ = false;
  base::TimePoint deadline_ = base::kForever;
  const char* expected_ = "";  // what the deadline is about
  std::optional<base::EventLoop::Timer> timer_;
  std::coroutine_handle<> waiter_;
};

}  // namespace http
