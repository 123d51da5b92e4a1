#include "base/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace base {
namespace {

constexpr uint64_t kMaxFileSize = 1 << 20;

std::string at(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file + ": ";
  return file + ':' + std::to_string(mark.line + 1) + ':' + std::to_string(mark.column + 1) + ": ";
}

std::string describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return '"' + printable(node.Scalar()) + '"';
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a mapping";
    default:
      return "nothing";
  }
}

}  // namespace

struct Section::Data {
  struct Entry {
    std::string key;
    YAML::Mark mark;  // of the key
    YAML::Node value;
    bool read = false;
    // The sections made from the value: one, or one for each element of a list.
    std::vector<std::shared_ptr<Data>> sections;
  };

  // An absent section.
  Data(std::string file_name, std::string section_path, YAML::Mark where)
      : file(std::move(file_name)), path(std::move(section_path)), mark(where) {}

  // The node must be a mapping.
  Data(std::string file_name, std::string section_path, const YAML::Node& node)
      : Data(std::move(file_name), std::move(section_path), node.Mark()) {
    present = true;
    for (const auto& pair : node) {
      const YAML::Mark where = pair.first.Mark();
      if (!pair.first.IsScalar()) throw ConfigError(at(file, where) + "expected a word as key");
      const std::string key = pair.first.Scalar();
      if (const Entry* first = find(key); first != nullptr) {
        throw ConfigError(at(file, where) + path_of(key) + ": given twice, first in line " +
                          std::to_string(first->mark.line + 1));
      }
      entries.push_back({key, where, pair.second});
    }
  }

  const Entry* find(std::string_view key) const {
    const auto entry = std::ranges::find(entries, key, &Entry::key);
    return entry == entries.end() ? nullptr : &*entry;
  }

  // The entry of a key that has a value; an empty value counts as a missing key. Marks it as read.
  Entry* read(std::string_view key) {
    const auto entry = std::ranges::find(entries, key, &Entry::key);
    if (entry == entries.end()) return nullptr;
    entry->read = true;
    return entry->value.IsNull() ? nullptr : &*entry;
  }

  // The key's value if it has one, which must be a scalar.
  const std::string* scalar(std::string_view key, const std::string& expected) {
    const Entry* entry = read(key);
    if (entry == nullptr) return nullptr;
    if (!entry->value.IsScalar()) fail(key, expected);
    return &entry->value.Scalar();
  }

  std::string path_of(std::string_view key) const {
    return (path.empty() ? "" : path + '.') + std::string(key);
  }

  [[noreturn]] void fail(std::string_view key, const std::string& expected) const {
    const Entry* entry = find(key);
    if (entry == nullptr) fail_at(mark, path_of(key), expected, "nothing");
    // The place of an empty value is that of whatever comes next.
    const bool empty = entry->value.IsNull();
    fail_at(empty ? entry->mark : entry->value.Mark(), path_of(key), expected,
            describe(entry->value));
  }

  [[noreturn]] void fail_element(const std::string& element_path, const YAML::Node& element,
                                 const std::string& expected) const {
    fail_at(element.Mark(), element_path, expected, describe(element));
  }

  [[noreturn]] void fail_at(const YAML::Mark& where, const std::string& what,
                            const std::string& expected, const std::string& found) const {
    throw ConfigError(at(file, where) + what + ": expected " + expected + ", found " + found);
  }

  void list_unread(std::vector<std::string>& out) const {
    for (const Entry& entry : entries) {
      if (!entry.read)
        out.push_back(at(file, entry.mark) + path_of(entry.key) + ": unknown key, ignored");
      for (const auto& section : entry.sections) section->list_unread(out);
    }
  }

  std::string file;
  std::string path;  // "http.tls", "listen[1]"; empty for the root
  YAML::Mark mark;
  bool present = false;
  std::vector<Entry> entries;
};

bool Section::present() const { return data_->present; }

bool Section::has(std::string_view key) const { return data_->read(key) != nullptr; }

std::string Section::string(std::string_view key, std::string fallback) const {
  const std::string* text = data_->scalar(key, "a string");
  if (text != nullptr) return *text;
  return fallback;
}

std::string Section::required_string(std::string_view key) const {
  std::string text = string(key);
  if (text.empty()) fail(key, "a value");
  return text;
}

bool Section::boolean(std::string_view key, bool fallback) const {
  const std::string expected = "true or false";
  if (data_->scalar(key, expected) == nullptr) return fallback;
  bool value = false;
  if (!YAML::convert<bool>::decode(data_->find(key)->value, value)) fail(key, expected);
  return value;
}

int64_t Section::integer(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  const std::string expected =
      max == std::numeric_limits<int64_t>::max()
          ? "a whole number, at least " + std::to_string(min)
          : "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return fallback;
  int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stop != end || value < min || value > max) fail(key, expected);
  return value;
}

std::chrono::nanoseconds Section::duration(std::string_view key,
                                           std::chrono::nanoseconds fallback) const {
  const std::string expected = "a duration such as 30s or 5m";
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return fallback;
  const std::optional<std::chrono::nanoseconds> value = parse_duration(*text);
  if (!value) fail(key, expected);
  return *value;
}

uint64_t Section::size(std::string_view key, uint64_t fallback) const {
  const std::string expected = "a size such as 4096, 64KiB or 100GB";
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return fallback;
  const std::optional<uint64_t> value = parse_size(*text);
  if (!value) fail(key, expected);
  return *value;
}

std::string Section::choice(std::string_view key, std::initializer_list<std::string_view> allowed,
                            std::string_view fallback) const {
  std::string expected;
  for (const std::string_view word : allowed) {
    if (!expected.empty()) expected += word == *(allowed.end() - 1) ? " or " : ", ";
    expected += word;
  }
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return std::string(fallback);
  if (std::ranges::find(allowed, *text) == allowed.end()) fail(key, expected);
  return *text;
}

std::vector<std::string> Section::strings(std::string_view key) const {
  const Data::Entry* entry = data_->read(key);
  if (entry == nullptr) return {};
  if (entry->value.IsScalar()) return {entry->value.Scalar()};
  if (!entry->value.IsSequence()) fail(key, "a list of strings");
  std::vector<std::string> out;
  for (const YAML::Node& element : entry->value) {
    if (!element.IsScalar()) {
      data_->fail_element(data_->path_of(key) + '[' + std::to_string(out.size()) + ']', element,
                          "a string");
    }
    out.push_back(element.Scalar());
  }
  return out;
}

Section Section::section(std::string_view key) const {
  Data::Entry* entry = data_->read(key);
  if (entry == nullptr) {
    const Data::Entry* empty = data_->find(key);
    return Section(std::make_shared<Data>(data_->file, data_->path_of(key),
                                          empty == nullptr ? data_->mark : empty->mark));
  }
  if (!entry->value.IsMap()) fail(key, "a mapping");
  if (entry->sections.empty()) {
    entry->sections.push_back(
        std::make_shared<Data>(data_->file, data_->path_of(key), entry->value));
  }
  return Section(entry->sections.front());
}

std::vector<Section> Section::sections(std::string_view key) const {
  Data::Entry* entry = data_->read(key);
  if (entry == nullptr) return {};
  if (!entry->value.IsSequence()) fail(key, "a list of mappings");
  std::vector<Section> out;
  for (const YAML::Node& element : entry->value) {
    const std::string path = data_->path_of(key) + '[' + std::to_string(out.size()) + ']';
    if (!element.IsMap()) data_->fail_element(path, element, "a mapping");
    if (entry->sections.size() == out.size()) {
      entry->sections.push_back(std::make_shared<Data>(data_->file, path, element));
    }
    out.push_back(Section(entry->sections[out.size()]));
  }
  return out;
}

std::vector<std::string> Section::keys() const {
  std::vector<std::string> out;
  for (const Data::Entry& entry : data_->entries) out.push_back(entry.key);
  return out;
}

void Section::fail(std::string_view key, const std::string& expected) const {
  data_->fail(key, expected);
}

ConfigFile::ConfigFile(const std::filesystem::path& path) {
  const std::string file = path.string();
  try {
    const std::optional<std::string> text = read_file(path, kMaxFileSize);
    if (!text) throw ConfigError(file + ": there is no such file");
    const YAML::Node root = YAML::Load(*text);
    if (root.IsMap()) {
      root_ = std::make_shared<Section::Data>(file, "", root);
    } else if (root.IsNull()) {
      root_ = std::make_shared<Section::Data>(file, "", YAML::Mark::null_mark());
    } else {
      throw ConfigError(at(file, root.Mark()) + "expected a mapping, found " + describe(root));
    }
  } catch (const IoError& e) {
    throw ConfigError(e.what());
  } catch (const YAML::Exception& e) {
    throw ConfigError(at(file, e.mark) + e.msg);
  }
}

Section ConfigFile::root() const { return Section(root_); }

std::vector<std::string> ConfigFile::unread() const {
  std::vector<std::string> out;
  root_->list_unread(out);
  return out;
}

}  // namespace base
