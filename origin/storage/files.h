// The few operations on files that the stores are made of, besides base/durable_file: links,
// durable removal, directories in order. All block and may be called on any thread; IoError on
// failure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "oci/digest.h"

namespace origin {

// The digest in a link file. A missing link is nullopt. So is an empty or garbled one, which is
// logged: Distribution writes links in place, so that a crash of its host leaves such links behind
// (and one being written looks like it; hence a second look before it counts).
std::optional<oci::Digest> read_link(const std::filesystem::path& path);

// Creates or replaces the link, durably.
void write_link(const std::filesystem::path& path, const oci::Digest& digest);

// Removes the file, durably; false if there was none.
bool remove_file(const std::filesystem::path& path);

// Removes the directory with all that is in it; nothing to do if there is none. Not durable.
void remove_tree(const std::filesystem::path& path);

// The size of a regular file; nullopt if there is none.
std::optional<uint64_t> regular_file_size(const std::filesystem::path& path);

// The names of the directories in a directory, in byte order; empty if it does not exist.
std::vector<std::string> list_directories(const std::filesystem::path& path);

bool directory_exists(const std::filesystem::path& path);

}  // namespace origin
