// Reading a YAML configuration file so that every mistake is named with file, line, column, key and
// what would be right. Values are read once, at start or reload; not thread-safe.
//
//   const base::ConfigFile file("config.yml");
//   base::Section http = file.root().section("http");
//   options.drain = http.duration("draintimeout", 60s);
//   for (const auto& key : file.unread()) LOG(WARNING) << key.where << key.path << ": unknown key";
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace YAML {
class Node;
}

namespace base {

// "config.yml:12:5: http.draintimeout: expected a duration such as 30s or 5m, found \"abc\"".
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The text, but if it is a URL with a user and a password in it, these hidden: for logs.
std::string without_password(const std::string& text);

// A value from outside the file, in place of the file's own. `path` leads to it, through mappings
// by key and through lists by number; a list may be lengthened by one. The value is YAML.
struct Override {
  std::string source;  // who says so: named in errors instead of file and line
  std::vector<std::string> path;
  std::string value;
};

// One mapping of the file, or an absent one (every key then has its default).
class Section {
 public:
  bool present() const;
  bool has(std::string_view key) const;

  // A missing key gives the default; a value of the wrong kind throws ConfigError.
  std::string string(std::string_view key, std::string fallback = "") const;
  std::string required_string(std::string_view key) const;
  // As string(), but never shown by ConfigFile::effective.
  std::string secret(std::string_view key) const;
  bool boolean(std::string_view key, bool fallback) const;
  int64_t integer(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  // Go's notation, as Distribution's file uses it: "300ms", "1m30s", "2h"; a bare number is
  // nanoseconds there, and is refused here unless it is 0.
  std::chrono::nanoseconds duration(std::string_view key, std::chrono::nanoseconds fallback) const;
  // Bytes: "4096", "64KiB", "100MB", "2TiB".
  uint64_t size(std::string_view key, uint64_t fallback) const;
  // One of the given words.
  std::string choice(std::string_view key, std::initializer_list<std::string_view> allowed,
                     std::string_view fallback) const;
  // A sequence of scalars; a single scalar counts as a sequence of one.
  std::vector<std::string> strings(std::string_view key) const;
  Section section(std::string_view key) const;
  // A sequence of mappings.
  std::vector<Section> sections(std::string_view key) const;
  // Keys in file order.
  std::vector<std::string> keys() const;
  // Has ConfigFile::effective hide the values of all keys that are read from now on.
  void hide_values() const;

  // An error about this key's value (or, if the key is absent, about this section).
  [[noreturn]] void fail(std::string_view key, const std::string& expected) const;

 private:
  friend class ConfigFile;
  struct Data;
  explicit Section(std::shared_ptr<Data> data) : data_(std::move(data)) {}
  std::shared_ptr<Data> data_;
};

class ConfigFile {
 public:
  // Reads and parses the file; ConfigError if it cannot be read or is not YAML, or an override does
  // not fit. Under one of the keys `types` a word alone is a type without parameters: with "auth"
  // among them, `auth: none` is read as `auth: {none: {}}`.
  explicit ConfigFile(const std::filesystem::path& path,
                      const std::vector<Override>& overrides = {},
                      const std::vector<std::string>& types = {});

  Section root() const;

  struct Key {
    std::string where;  // "config.yml:7:3: "
    std::string path;   // "http.h2c"
  };
  // Every key nobody asked for. Call last.
  std::vector<Key> unread() const;

  // What has been read, defaults included, as a file of the same format; empty values and sections
  // are left out, secrets and the passwords in URLs are hidden. Call last.
  std::string effective() const;
  // The paths of all that has been asked for, elements of lists as "[]": "http.tls.clientcas",
  // "notifications.endpoints[].url". Call last.
  std::vector<std::string> read_paths() const;

 private:
  std::shared_ptr<Section::Data> root_;
};

}  // namespace base
