// The load of one client that fetches one blob over TLS again and again by libcurl, which speaks
// both versions of HTTP: what differs between them is the server's, or the protocol's.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "bench/blobs.h"
#include "bench/load.h"
#include "bench/process.h"

namespace bench {

enum class HttpVersion { http1, http2 };

// The first answer is compared byte by byte and not counted; of each that follows, status and
// length are checked. Throws BadAnswer, also if the server speaks another version, or Interrupted.
HotResult curl_load(uint16_t port, const std::filesystem::path& certificate, HttpVersion version,
                    const Blob& blob, std::chrono::duration<double> time, const Process& server,
                    const Watch& watch);

}  // namespace bench
