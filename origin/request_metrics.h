// RequestMetrics: what the registry tells Prometheus about its requests: Distribution's series
// under Distribution's names and with its buckets, and a few of our own (entrepot_…).
//
// Requests are counted at the two places every one passes: InFlight where the handler begins, and
// record() from the server's on_access when the exchange has ended. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "http/server.h"
#include "oci/name.h"

namespace origin {

class RequestMetrics {
 public:
  explicit RequestMetrics(base::Metrics& metrics);

  // Counts a request as long as it lives, and notes its kind in Request::kind for record().
  class InFlight {
   public:
    InFlight(RequestMetrics& metrics, http::Request& request, const oci::Route& route);
    ~InFlight();
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;

   private:
    base::Gauge& requests_;
    base::Gauge* uploads_;  // nullptr if nothing is uploaded
  };

  void record(const http::AccessRecord& record);

 private:
  static constexpr size_t kKinds = 9;
  static constexpr size_t kMethods = 8;
  static constexpr size_t kStatuses = 500;  // 100 to 599

  // A series is made when it is first counted, because most never are; from then on it is found
  // without a lock.
  template <typename T>
  using Table = std::vector<std::atomic<T*>>;

  base::Counter& requests(size_t kind, size_t method, int status);
  base::Histogram& durations(size_t kind, size_t method);

  base::Metrics& metrics_;
  Table<base::Counter> requests_{kKinds * kMethods * kStatuses};
  Table<base::Histogram> durations_{kKinds * kMethods};
  std::array<base::Histogram*, kKinds> request_sizes_{};
  std::array<base::Histogram*, kKinds> response_sizes_{};
  std::array<base::Gauge*, kKinds> in_flight_{};
  base::Gauge& uploads_;
  base::Counter& received_;
  base::Counter& sent_;
  base::Counter& redirects_;
  base::Counter& broken_;
};

}  // namespace origin
