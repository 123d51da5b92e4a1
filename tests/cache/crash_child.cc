// crash_child <root> <capacity> <command>…: works on a store and says what it has done, a line a
// time, so that a test can kill it anywhere (or with ENTREPOT_CRASH_AT at a named step) and knows
// what was acknowledged. Commands:
//   inline:<limit>               blobs up to this size are kept in the index; first of all
//   put:<seed>:<size>            fills and commits a blob      "committed <digest>"
//   fill:<seed>:<size>:<blocks>  writes and marks blocks, keeps the writer open      "filled"
//   churn:<seed>:<threads>       commits blobs for ever, "committed <seed> <digest>" each
//   serve:<count>:<size>         reads the blobs of seeds below   "served <how many>"
//   names:<count>                remembers these many names, unless it does, and rightly so
//                                                              "known <how many>"
// END_AT=<fault point>:<how> ends it there: by "abort", a memory "fault", or the test ("wait"),
// which it tells that it "waits".
#include <sys/mman.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <syncstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/durable_file.h"
#include "base/fault_point.h"
#include "cache/blob_store.h"
#include "cache/blob_writer.h"
#include "cache/layout.h"
#include "cache/references.h"
#include "tests/cache/content.h"

namespace {

std::vector<std::string> split(const std::string& command) {
  std::vector<std::string> parts;
  std::istringstream in(command);
  for (std::string part; std::getline(in, part, ':');) parts.push_back(part);
  return parts;
}

void put_and_say(cache::BlobStore& store, uint64_t seed, uint64_t size, const std::string& prefix) {
  const std::string bytes = test::content(seed, size);
  const oci::Digest digest = test::digest_of(bytes);
  if (test::put(store, digest, bytes) == nullptr) {
    std::osyncstream(std::cout) << "no space" << std::endl;
    return;
  }
  std::osyncstream(std::cout) << prefix << digest.str() << std::endl;
}

uint64_t serve(cache::BlobStore& store, uint64_t count, uint64_t size) {
  uint64_t served = 0;
  for (uint64_t seed = 0; seed < count; ++seed) {
    const std::string bytes = test::content(seed, size);
    const auto blob = store.open(test::digest_of(bytes));
    std::string found(size, '\0');
    if (blob == nullptr || blob->size() != size) continue;
    if (base::read_at(blob->fd(), 0, found.data(), size) == size && found == bytes) ++served;
  }
  return served;
}

uint64_t known_names(const std::string& root, uint64_t count) {
  cache::References names(cache::Layout(root).references(),
                          [](std::string_view) { return cache::NameFacts{}; });
  uint64_t known = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = "name " + std::to_string(i);
    const cache::Reference right{test::digest_of(name), "text/plain", 1, {}};
    const std::optional<cache::Reference> found = names.find(name);
    if (found == right) ++known;
    if (!found) names.put(name, right);
  }
  return known;
}

void end_by(std::string_view how) {
  if (how == "abort") std::abort();
  if (how == "fault") {
    void* page = ::mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::cout << *static_cast<const volatile char*>(page);
  }
  std::cout << "waits" << std::endl;
  while (true) ::pause();
}

std::optional<base::InjectedFault> end_at(const char* where) {
  if (where == nullptr) return std::nullopt;
  const std::vector<std::string> parts = split(where);
  return std::optional<base::InjectedFault>(std::in_place, parts.at(0),
                                            [how = parts.at(1)](std::string_view) {
                                              end_by(how);
                                              return 0;
                                            });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto fault = end_at(std::getenv("END_AT"));
  const std::vector<std::string> first = split(argv[3]);
  const uint64_t limit = first[0] == "inline" ? std::stoull(first.at(1)) : 0;
  cache::BlobStore store(
      {.root = argv[1], .capacity = std::stoull(argv[2]), .inline_limit = limit});
  std::vector<std::unique_ptr<cache::BlobWriter>> open;
  for (int i = 3; i < argc; ++i) {
    const std::vector<std::string> parts = split(argv[i]);
    const uint64_t seed = std::stoull(parts.at(1));
    if (parts[0] == "inline") continue;
    if (parts[0] == "put") {
      put_and_say(store, seed, std::stoull(parts.at(2)), "committed ");
    } else if (parts[0] == "serve") {
      const uint64_t served = serve(store, seed, std::stoull(parts.at(2)));
      std::cout << "served " << served << std::endl;
    } else if (parts[0] == "names") {
      std::cout << "known " << known_names(argv[1], seed) << std::endl;
    } else if (parts[0] == "fill") {
      const std::string bytes = test::content(seed, std::stoull(parts.at(2)));
      open.push_back(*store.write(test::digest_of(bytes), bytes.size()));
      test::write_blocks(*open.back(), bytes, 0, std::stoull(parts.at(3)));
      std::cout << "filled" << std::endl;
    } else if (parts[0] == "churn") {
      std::vector<std::jthread> threads;
      const uint64_t count = std::stoull(parts.at(2));
      for (uint64_t t = 0; t < count; ++t) {
        threads.emplace_back([&store, seed, t, count] {
          for (uint64_t next = seed + t;; next += count) {
            put_and_say(store, next, 1000 + next % 7 * 100'000,
                        "committed " + std::to_string(next) + " ");
          }
        });
      }
    } else {
      return 2;
    }
  }
  std::cout << "done" << std::endl;
  while (true) ::pause();  // until it is killed
}
