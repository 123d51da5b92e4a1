// Traces of requests to a cache: read from a file, or generated with the statistics of production
// registries, the same for the same seed. A generated trace has no bodies and no times, only an
// order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct Trace {
  std::string name;
  std::vector<uint64_t> sizes;     // of blobs, by number
  std::vector<uint32_t> requests;  // numbers of blobs

  // Bytes of all blobs that are asked for.
  uint64_t footprint() const;
};

// Blobs of steady popularity: Zipf 0.9 over 100,000; of the requests 15 % are to blobs that nobody
// asks for again, and 0.5 % put a new blob in a popular one's place.
Trace steady_trace(size_t requests, uint64_t seed);

// Images of repositories that share bases. New versions are pulled by a fleet of nodes in a short
// time; other pulls come alone.
struct RolloutOptions {
  std::string name;
  double popularity = 0.9;     // of repositories: the exponent of Zipf's law
  double new_versions = 0.25;  // share of events; the rest are lone pulls
  double fleet = 20;           // nodes per new version, on average
};
Trace rollout_trace(const RolloutOptions& options, size_t requests, uint64_t seed);

// Lines of "time blob size": the time is any number that does not fall, the blob any word. A line
// that is none is a std::runtime_error that names it.
Trace read_trace(const std::filesystem::path& path);

}  // namespace bench
