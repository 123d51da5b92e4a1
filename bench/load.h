// The two kinds of load: hot (the same blobs again and again on keep-alive connections for a fixed
// time) and cold (each client fetches one blob once, all at the same moment). One thread per
// client.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "bench/client.h"
#include "bench/process.h"

namespace bench {

// The run was asked to end by a signal.
struct Interrupted {};
extern std::atomic<bool> interrupted;

// Called about ten times a second with the bytes received so far and the time since the start.
using Watch = std::function<void(uint64_t bytes, double seconds)>;

struct HotResult {
  double seconds = 0;
  double cpu = 0;  // of the server
  uint64_t bytes = 0;
  uint64_t requests = 0;
  std::string cipher;
};

// Every client connects and fetches `small`; then the clock starts, and of what follows each
// answer's length is checked and of one in 16 every byte. Throws what a client throws, or
// Interrupted.
HotResult hot_load(const Address& address, const std::vector<Blob>& blobs, const Blob& small,
                   int clients, std::chrono::duration<double> time, const Process& server,
                   const Watch& watch);

struct ColdResult {
  double seconds = 0;              // from the requests to the end of the last answer
  std::vector<double> first_byte;  // of each client's body, seconds after its request, ascending
};

// All clients connect, then send their requests at once; every byte is compared.
ColdResult cold_load(const Address& address, const Blob& blob, int clients, const Watch& watch);

}  // namespace bench
