#include "bench/trace.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <queue>
#include <random>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

namespace bench {
namespace {

constexpr double kMB = 1e6;
using Random = std::mt19937_64;

double uniform(Random& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}
bool chance(Random& random, double probability) { return uniform(random, 0, 1) < probability; }
size_t between(Random& random, size_t low, size_t high) {
  return std::uniform_int_distribution<size_t>(low, high)(random);
}
double lognormal(Random& random, double median, double sigma, double low, double high) {
  std::lognormal_distribution<double> sizes(std::log(median), sigma);
  while (true) {
    const double size = sizes(random);
    if (size >= low && size <= high) return size;
  }
}

// Of 65 % of layers below 1 MB, 80 % below 10 MB, as in IBM's registry (Anwar and others, FAST
// '18).
uint64_t layer_size(Random& random) {
  const double kind = uniform(random, 0, 1);
  double size = 0;
  if (kind < 0.65) {
    size = lognormal(random, 0.02 * kMB, 1.9, 32, kMB);
  } else if (kind < 0.8) {
    size = kMB * std::pow(10, uniform(random, 0, 1));
  } else {
    size = lognormal(random, 25 * kMB, 1.1, 10 * kMB, 4000 * kMB);
  }
  return static_cast<uint64_t>(size);
}

std::discrete_distribution<uint32_t> zipf(size_t count, double exponent) {
  std::vector<double> weights(count);
  for (size_t i = 0; i < count; ++i) weights[i] = std::pow(i + 1, -exponent);
  return {weights.begin(), weights.end()};
}

class Rollouts {
 public:
  Rollouts(const RolloutOptions& options, uint64_t seed)
      : options_(options), random_(seed), popularity_(zipf(kRepositories, options.popularity)) {
    trace_.name = options.name;
    std::vector<std::vector<uint32_t>> bases(kBases);
    for (auto& base : bases) {
      base.push_back(blob(lognormal(random_, 30 * kMB, 1, 3 * kMB, 400 * kMB)));
      for (size_t i = between(random_, 0, 2); i > 0; --i) base.push_back(small_blob());
    }
    auto base_popularity = zipf(kBases, 1.0);
    for (size_t i = 0; i < kRepositories; ++i) {
      Image image;
      image.base = bases[base_popularity(random_)];
      image.middle.resize(between(random_, 2, 5));
      for (uint32_t& layer : image.middle) layer = new_layer();
      image.top.resize(between(random_, 1, 4));
      renew_top(image);
      images_.push_back(std::move(image));
    }
    // Popular repositories are not those of popular bases.
    std::shuffle(images_.begin(), images_.end(), random_);
  }

  Trace run(size_t requests) {
    for (double now = 0; trace_.requests.size() < requests; ++now) {
      while (!nodes_.empty() && nodes_.top().time <= now) {
        pull(*nodes_.top().version, 0.15, 0.3);
        nodes_.pop();
      }
      Image& image = images_[popularity_(random_)];
      if (chance(random_, options_.new_versions)) {
        roll_out(image, now);
      } else {
        pull({image, std::vector<bool>(image.middle.size())}, 0.6, 0.7);
      }
    }
    trace_.requests.resize(requests);
    return std::move(trace_);
  }

 private:
  static constexpr size_t kRepositories = 2000;
  static constexpr size_t kBases = 60;
  static constexpr double kRolloutTime = 40;

  struct Image {
    uint32_t manifest, config;
    std::vector<uint32_t> base, middle, top;
  };
  // What the nodes of a fleet pull.
  struct Version {
    Image image;
    std::vector<bool> new_middle;
  };
  struct Puller {
    double time;
    std::shared_ptr<const Version> version;
    bool operator<(const Puller& other) const { return time > other.time; }  // the earliest on top
  };

  uint32_t blob(double size) {
    trace_.sizes.push_back(static_cast<uint64_t>(size));
    return static_cast<uint32_t>(trace_.sizes.size() - 1);
  }
  uint32_t small_blob() { return blob(lognormal(random_, 0.02 * kMB, 1.9, 32, kMB)); }
  uint32_t new_layer() { return blob(static_cast<double>(layer_size(random_))); }
  void renew_top(Image& image) {
    for (uint32_t& layer : image.top) layer = new_layer();
    image.config = blob(lognormal(random_, 6000, 0.7, 500, 100'000));
    image.manifest = blob(lognormal(random_, 1800, 0.5, 400, 20'000));
  }

  void roll_out(Image& image, double now) {
    renew_top(image);
    std::vector<bool> new_middle(image.middle.size());
    for (size_t i = 0; i < image.middle.size(); ++i) {
      new_middle[i] = chance(random_, 0.25);
      if (new_middle[i]) image.middle[i] = new_layer();
    }
    const auto version = std::make_shared<const Version>(image, std::move(new_middle));
    std::exponential_distribution<double> fleet(1 / options_.fleet);
    for (auto nodes = static_cast<size_t>(std::ceil(fleet(random_))); nodes > 0; --nodes) {
      nodes_.push({now + uniform(random_, 0, kRolloutTime), version});
    }
  }

  // A node asks for what it does not have from an earlier pull.
  void pull(const Version& version, double base, double middle) {
    auto& requests = trace_.requests;
    requests.push_back(version.image.manifest);
    requests.push_back(version.image.config);
    if (chance(random_, base)) {
      requests.insert(requests.end(), version.image.base.begin(), version.image.base.end());
    }
    for (size_t i = 0; i < version.image.middle.size(); ++i) {
      if (version.new_middle[i] || chance(random_, middle)) {
        requests.push_back(version.image.middle[i]);
      }
    }
    requests.insert(requests.end(), version.image.top.begin(), version.image.top.end());
  }

  const RolloutOptions options_;
  Random random_;
  std::discrete_distribution<uint32_t> popularity_;
  std::vector<Image> images_;
  std::priority_queue<Puller> nodes_;  // of fleets, that have not pulled yet
  Trace trace_;
};

}  // namespace

uint64_t Trace::footprint() const {
  std::vector<bool> seen(sizes.size());
  uint64_t bytes = 0;
  for (const uint32_t blob : requests) {
    if (!seen[blob]) bytes += sizes[blob];
    seen[blob] = true;
  }
  return bytes;
}

Trace steady_trace(size_t requests, uint64_t seed) {
  constexpr size_t kBlobs = 100'000;
  Random random(seed);
  auto popularity = zipf(kBlobs, 0.9);
  Trace trace{"steady", {}, {}};
  std::vector<uint32_t> by_rank;
  const auto new_blob = [&] {
    trace.sizes.push_back(layer_size(random));
    return static_cast<uint32_t>(trace.sizes.size() - 1);
  };
  by_rank.reserve(kBlobs);
  for (size_t i = 0; i < kBlobs; ++i) by_rank.push_back(new_blob());
  while (trace.requests.size() < requests) {
    if (chance(random, 0.15)) {
      trace.requests.push_back(new_blob());
      continue;
    }
    uint32_t& blob = by_rank[popularity(random)];
    if (chance(random, 0.005)) blob = new_blob();
    trace.requests.push_back(blob);
  }
  return trace;
}

Trace rollout_trace(const RolloutOptions& options, size_t requests, uint64_t seed) {
  return Rollouts(options, seed).run(requests);
}

Trace read_trace(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  Trace trace{path.filename().string(), {}, {}};
  std::unordered_map<std::string, uint32_t> numbers;
  size_t line_number = 0;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    std::istringstream words(line);
    double time = 0;
    std::string blob;
    uint64_t size = 0;
    if (!(words >> time >> blob >> size)) {
      throw std::runtime_error(path.string() + ":" + std::to_string(line_number) +
                               ": not a line of \"time blob size\"");
    }
    const auto [found, is_new] = numbers.emplace(blob, static_cast<uint32_t>(trace.sizes.size()));
    if (is_new) trace.sizes.push_back(size);
    trace.requests.push_back(found->second);
  }
  return trace;
}

}  // namespace bench
