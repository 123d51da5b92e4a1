#include "bench/curl_load.h"

#include <curl/curl.h>

#include <cstring>
#include <memory>
#include <string>

#include "bench/clock.h"

namespace bench {
namespace {

class CurlClient {
 public:
  CurlClient(uint16_t port, const std::filesystem::path& certificate, HttpVersion version,
             const Blob& blob)
      : curl_(curl_easy_init()), version_(version), blob_(blob) {
    if (!curl_) throw BadAnswer("libcurl does not start");
    const std::string url = "https://127.0.0.1:" + std::to_string(port) + blob.target();
    const bool http2 = version == HttpVersion::http2;
    curl_easy_setopt(curl_.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl_.get(), CURLOPT_CAINFO, certificate.c_str());
    curl_easy_setopt(curl_.get(), CURLOPT_TLS13_CIPHERS, "TLS_AES_128_GCM_SHA256");
    curl_easy_setopt(curl_.get(), CURLOPT_HTTP_VERSION,
                     http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl_.get(), CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl_.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl_.get(), CURLOPT_WRITEFUNCTION, &CurlClient::received);
    curl_easy_setopt(curl_.get(), CURLOPT_WRITEDATA, this);
  }

  // Fetches the blob once; false if the time was over before.
  bool fetch() {
    done_ = 0;
    const CURLcode code = curl_easy_perform(curl_.get());
    if (interrupted) throw Interrupted{};
    if (code == CURLE_WRITE_ERROR && over_) return false;
    long status = 0;
    long spoken = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl_.get(), CURLINFO_HTTP_VERSION, &spoken);
    if (code != CURLE_OK) {
      throw BadAnswer("fetching " + blob_.target() + ": " + curl_easy_strerror(code));
    }
    if (status != 200 || done_ != blob_.size()) throw BadAnswer("not " + blob_.target());
    if ((spoken == CURL_HTTP_VERSION_2_0) != (version_ == HttpVersion::http2)) {
      throw BadAnswer("the server speaks another version of HTTP");
    }
    return true;
  }

  void begin_clock(Seconds time, const Watch& watch) {
    compare_ = false;
    bytes = 0;
    start_ = Clock::now();
    time_ = time;
    watch_ = watch;
  }

  uint64_t bytes = 0;  // of bodies
  double seconds() const { return since(start_); }

 private:
  struct Free {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  };

  static size_t received(char* data, size_t, size_t size, void* self) {
    return static_cast<CurlClient*>(self)->take(data, size) ? size : CURL_WRITEFUNC_ERROR;
  }

  bool take(const char* data, size_t size) {
    if (interrupted || size > blob_.size() - done_) return false;
    if (compare_ && std::memcmp(data, blob_.bytes().data() + done_, size) != 0) return false;
    done_ += size;
    bytes += size;
    if (!watch_) return true;
    const Clock::time_point now = Clock::now();
    over_ = now - start_ >= time_;
    if (now >= next_look_) {
      watch_(bytes, seconds());
      next_look_ = now + std::chrono::milliseconds(100);
    }
    return !over_;
  }

  std::unique_ptr<CURL, Free> curl_;
  const HttpVersion version_;
  const Blob& blob_;
  uint64_t done_ = 0;  // of the answer that is being received
  bool compare_ = true;
  bool over_ = false;
  Clock::time_point start_;
  Clock::time_point next_look_;
  Seconds time_{};
  Watch watch_;
};

}  // namespace

HotResult curl_load(uint16_t port, const std::filesystem::path& certificate, HttpVersion version,
                    const Blob& blob, std::chrono::duration<double> time, const Process& server,
                    const Watch& watch) {
  CurlClient client(port, certificate, version, blob);
  client.fetch();
  HotResult result;
  const double cpu = server.cpu_seconds();
  client.begin_clock(time, watch);
  while (client.fetch()) ++result.requests;
  result.seconds = client.seconds();
  result.cpu = server.cpu_seconds() - cpu;
  result.bytes = client.bytes;
  return result;
}

}  // namespace bench
