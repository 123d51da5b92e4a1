// Warm progress: what `entrepot-edge warm` shows of the lines that the administration sends
// (warm.h): on a terminal a bar that is drawn over and over, else a line for what has happened.
// Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace proxy {

class WarmProgress {
 public:
  explicit WarmProgress(bool terminal) : terminal_(terminal) {}

  struct Text {
    std::string out;    // to standard output, and then …
    std::string error;  // … to standard error
  };
  // What to write now that this line has come.
  Text add(const nlohmann::json& line);

  // All that was wanted is there. False before the last line.
  bool good() const { return good_; }

 private:
  std::string bar() const;
  Text image(const nlohmann::json& line);
  Text blob(const nlohmann::json& line);
  Text end(const nlohmann::json& line);
  // Something that stays.
  std::string lasting(const std::string& text) const;

  const bool terminal_;
  bool good_ = false;
  std::string image_;  // the present one
  uint64_t blobs_ = 0;
  uint64_t all_blobs_ = 0;
  double bytes_ = 0;
  double ended_bytes_ = 0;  // of the blobs that are there
  double all_bytes_ = 0;
};

}  // namespace proxy
