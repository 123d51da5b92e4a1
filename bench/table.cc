#include "bench/table.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bench {
namespace {

std::string number(const std::optional<double>& value, int decimals) {
  if (!value) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, *value);
  return text;
}

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

std::optional<double> Table::Row::ratio() const {
  if (!ours || !theirs || *theirs == 0) return std::nullopt;
  return *ours / *theirs;
}

void Table::set(const std::string& cell, const Metric& metric, Column column, double value) {
  auto row = std::ranges::find_if(rows_, [&](const Row& candidate) {
    return candidate.cell == cell && candidate.metric.name == metric.name;
  });
  if (row == rows_.end()) row = rows_.insert(row, Row{cell, metric, {}, {}});
  (column == Column::ours ? row->ours : row->theirs) = value;
}

void Table::print(std::ostream& out) const {
  char line[160];
  std::snprintf(line, sizeof line, "%-24s %-26s %15s %15s %8s\n", "", "", ours_.c_str(),
                theirs_.c_str(), "ratio");
  out << line;
  std::string cell;
  for (const Row& row : rows_) {
    const bool higher = row.metric.better == Metric::Better::higher;
    std::snprintf(line, sizeof line, "%-24s %-26s %15s %15s %8s  %s\n",
                  row.cell == cell ? "" : row.cell.c_str(), row.metric.name.c_str(),
                  number(row.ours, row.metric.decimals).c_str(),
                  number(row.theirs, row.metric.decimals).c_str(), number(row.ratio(), 2).c_str(),
                  higher ? "more is better" : "less is better");
    out << line;
    cell = row.cell;
  }
}

nlohmann::json Table::json() const {
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : rows_) {
    rows.push_back({{"case", row.cell},
                    {"metric", row.metric.name},
                    {"better", row.metric.better == Metric::Better::higher ? "higher" : "lower"},
                    {ours_, or_null(row.ours)},
                    {theirs_, or_null(row.theirs)},
                    {"ratio", or_null(row.ratio())}});
  }
  return rows;
}

}  // namespace bench
