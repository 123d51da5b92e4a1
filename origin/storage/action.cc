#include "origin/storage/action.h"

#include <prometheus/family.h>
#include <prometheus/histogram.h>

#include <array>
#include <utility>

namespace origin {
namespace {

using prometheus::Histogram;

struct Times {
  Times() {
    // In the order of Action.
    static constexpr const char* kNames[] = {"GetContent", "PutContent", "Reader", "Writer", "Stat",
                                             "List",       "Move",       "Delete", "Walk"};
    const Histogram::BucketBoundaries buckets{0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                              0.5,   1,    2.5,   5,    10};
    for (size_t i = 0; i < of.size(); ++i)
      of[i] = &family.Add({{"action", kNames[i]}, {"driver", "filesystem"}}, buckets);
  }

  prometheus::Family<Histogram> family{
      "registry_storage_action_seconds", "The number of seconds that the storage action takes", {}};
  std::array<Histogram*, 9> of{};
};

Times& times() {
  static Times all;
  return all;
}

}  // namespace

ActionTimer::~ActionTimer() {
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun_;
  times().of[static_cast<size_t>(std::to_underlying(action_))]->Observe(taken.count());
}

const prometheus::Collectable& action_times() { return times().family; }

}  // namespace origin
