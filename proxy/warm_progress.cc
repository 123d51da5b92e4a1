#include "proxy/warm_progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "proxy/status_page.h"

namespace proxy {
namespace {

using nlohmann::json;

constexpr size_t kBar = 20;
constexpr size_t kImage = 28;  // so that a line fits a terminal of 80 columns

constexpr const char* kClearLine = "\r\x1b[K";

double number(const json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : 0;
}

std::string text_of(const json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string counted(uint64_t count, const std::string& what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

std::string WarmProgress::lasting(const std::string& text) const {
  return (terminal_ ? kClearLine : "") + text + "\n";
}

std::string WarmProgress::bar() const {
  if (!terminal_) return "";
  const double share = all_bytes_ > 0 ? std::min(1.0, bytes_ / all_bytes_) : 1;
  const auto filled = static_cast<size_t>(share * kBar);
  const std::string name =
      image_.size() > kImage ? "…" + image_.substr(image_.size() - kImage + 1) : image_;
  return fmt::format("{}{} [{}{}] {:3.0f} % of {}, {} of {} blobs", kClearLine, name,
                     std::string(filled, '#'), std::string(kBar - filled, '.'), 100 * share,
                     human_bytes(all_bytes_), blobs_, all_blobs_);
}

WarmProgress::Text WarmProgress::image(const json& line) {
  image_ = text_of(line, "image");
  blobs_ = 0;
  bytes_ = ended_bytes_ = 0;
  all_blobs_ = static_cast<uint64_t>(number(line, "blobs"));
  all_bytes_ = number(line, "bytes");
  if (line.contains("error")) {
    return {terminal_ ? kClearLine : "", image_ + ": " + text_of(line, "error") + "\n"};
  }
  return {lasting(fmt::format("{}: {}, {} in {}", image_,
                              counted(static_cast<uint64_t>(number(line, "manifests")), "manifest"),
                              human_bytes(all_bytes_), counted(all_blobs_, "blob"))) +
              bar(),
          ""};
}

WarmProgress::Text WarmProgress::blob(const json& line) {
  const std::string result = text_of(line, "result");
  if (result == "failed") {
    return {terminal_ ? kClearLine : "",
            fmt::format("{} failed: {}\n", text_of(line, "digest"), text_of(line, "error"))};
  }
  ++blobs_;
  ended_bytes_ += number(line, "size");
  bytes_ = std::max(bytes_, ended_bytes_);
  if (terminal_) return {bar(), ""};
  return {fmt::format("{:<8}{} {}\n", result, text_of(line, "digest"),
                      human_bytes(number(line, "size"))),
          ""};
}

WarmProgress::Text WarmProgress::end(const json& line) {
  const double failed = number(line, "failed");
  const double failed_images = number(line, "failed_images");
  good_ = failed == 0 && failed_images == 0 && !line.contains("error");
  const std::string error = text_of(line, "error");
  return {lasting(fmt::format("{}: {} fetched ({}), {} held already, {} failed",
                              counted(static_cast<uint64_t>(number(line, "images")), "image"),
                              counted(static_cast<uint64_t>(number(line, "fetched")), "blob"),
                              human_bytes(number(line, "bytes")), number(line, "held"), failed)),
          error.empty() ? "" : "the tags are not known: " + error + "\n"};
}

WarmProgress::Text WarmProgress::add(const json& line) {
  const std::string event = text_of(line, "event");
  if (event == "image") return image(line);
  if (event == "blob") return blob(line);
  if (event == "end") return end(line);
  if (event != "progress") return {};
  bytes_ = std::max(bytes_, number(line, "bytes"));
  return {bar(), ""};
}

}  // namespace proxy
