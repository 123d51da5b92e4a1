// The results of a run: one row per measured value, one column per server, and the ratio of the
// two. Main thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "bench/servers.h"

namespace bench {

struct Metric {
  std::string name;  // with its unit
  enum class Better { higher, lower } better;
  int decimals;
};

class Table {
 public:
  // Rows appear in the order in which they were first set.
  void set(const std::string& cell, const Metric& metric, Kind kind, double value);
  void print(std::ostream& out) const;
  nlohmann::json json() const;

 private:
  struct Row {
    std::string cell;
    Metric metric;
    std::optional<double> edge, nginx;
    std::optional<double> ratio() const;
  };
  std::vector<Row> rows_;
};

}  // namespace bench
