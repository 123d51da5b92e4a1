// The status page: one HTML document with everything in it, which loads itself again every few
// seconds. No script, no asset from elsewhere. Pure.
#pragma once

#include <string>

#include "proxy/status.h"

namespace proxy {

std::string status_page(const Status& status);

// "12.3 MB": three digits and a decimal unit.
std::string human_bytes(double bytes);
// "93.1 %" of a ratio of 0.931.
std::string human_percent(double ratio);
// "2d 3h", "4m 05s", "1.2s".
std::string human_time(double seconds);

}  // namespace proxy
