// The results of a run: one row per measured value, one column per server, and the ratio of the
// two. Main thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace bench {

struct Metric {
  std::string name;  // with its unit
  enum class Better { higher, lower } better;
  int decimals;
};

enum class Column { ours, theirs };

class Table {
 public:
  // The names of the two servers.
  Table(std::string ours, std::string theirs)
      : ours_(std::move(ours)), theirs_(std::move(theirs)) {}

  // Rows appear in the order in which they were first set.
  void set(const std::string& cell, const Metric& metric, Column column, double value);
  void print(std::ostream& out) const;
  nlohmann::json json() const;

 private:
  struct Row {
    std::string cell;
    Metric metric;
    std::optional<double> ours, theirs;
    std::optional<double> ratio() const;
  };
  std::string ours_;
  std::string theirs_;
  std::vector<Row> rows_;
};

}  // namespace bench
