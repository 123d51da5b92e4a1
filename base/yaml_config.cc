#include "base/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "base/yaml_override.h"

namespace base {
namespace {

constexpr uint64_t kMaxFileSize = 1 << 20;

constexpr std::string_view kHidden = "********";

std::string at(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file + ": ";
  return file + ':' + std::to_string(mark.line + 1) + ':' + std::to_string(mark.column + 1) + ": ";
}

// Where the values come from.
struct Source {
  std::string file;
  std::vector<std::pair<std::string, std::string>> overrides;  // path and who says so

  std::string at(const std::string& path, const YAML::Mark& mark) const {
    for (const auto& [overridden, source] : overrides) {
      const bool below = path.starts_with(overridden) &&
                         (path.size() == overridden.size() || path[overridden.size()] == '.' ||
                          path[overridden.size()] == '[');
      if (below) return source + ": ";
    }
    return base::at(file, mark);
  }
};

// The node's text as a person wrote it, secrets in URLs hidden.
YAML::Node shown(const YAML::Node& node) {
  if (node.IsScalar()) return YAML::Node(without_password(node.Scalar()));
  if (!node.IsSequence()) return YAML::Clone(node);
  YAML::Node out(YAML::NodeType::Sequence);
  for (const YAML::Node& element : node) out.push_back(shown(element));
  return out;
}

std::string describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return '"' + printable(without_password(node.Scalar())) + '"';
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a mapping";
    default:
      return "nothing";
  }
}

// A word alone under one of these keys becomes a mapping.
void expand(const std::vector<std::string>& types, YAML::Node& root) {
  if (!root.IsMap()) return;
  for (const std::string& key : types) {
    const YAML::Node value = root[key];
    if (!value || !value.IsScalar() || value.Scalar().empty()) continue;
    YAML::Node type(YAML::NodeType::Map);
    type[value.Scalar()] = YAML::Node(YAML::NodeType::Map);
    root[key] = type;
  }
}

}  // namespace

std::string without_password(const std::string& text) {
  const size_t scheme = text.find("://");
  if (scheme == std::string::npos) return text;
  const size_t end = std::min(text.find('/', scheme + 3), text.size());
  const size_t user_end = text.rfind('@', end);
  if (user_end == std::string::npos || user_end < scheme) return text;
  return text.substr(0, scheme + 3) + std::string(kHidden) + text.substr(user_end);
}

struct Section::Data {
  struct Entry {
    std::string key;
    YAML::Mark mark;  // of the key
    YAML::Node value;
    bool read = false;
  };
  // What somebody has asked for, in that order.
  struct Asked {
    std::string key;
    YAML::Node value;  // if it is not a section
    // The sections made from the value: one, or one for each element of a list.
    std::vector<std::shared_ptr<Data>> sections;
    bool list = false;
  };

  // An absent section.
  Data(std::shared_ptr<const Source> from, std::string section_path, YAML::Mark where)
      : source(std::move(from)), path(std::move(section_path)), mark(where) {}

  // The node must be a mapping.
  Data(std::shared_ptr<const Source> from, std::string section_path, const YAML::Node& node)
      : Data(std::move(from), std::move(section_path), node.Mark()) {
    present = true;
    for (const auto& pair : node) {
      const YAML::Mark where = pair.first.Mark();
      if (!pair.first.IsScalar()) {
        throw ConfigError(source->at(path, where) + "expected a word as key");
      }
      const std::string key = pair.first.Scalar();
      if (const Entry* first = find(key); first != nullptr) {
        throw ConfigError(source->at(path_of(key), where) + path_of(key) +
                          ": given twice, first in line " + std::to_string(first->mark.line + 1));
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

  Asked& asked_for(std::string_view key) {
    const auto found = std::ranges::find(asked, key, &Asked::key);
    if (found != asked.end()) return *found;
    return asked.emplace_back(Asked{std::string(key)});
  }

  // Notes what a reader is about to return: the key's own value, or the default.
  template <typename T>
  void note(std::string_view key, const T& fallback) {
    const Entry* entry = read(key);
    YAML::Node value = entry == nullptr ? YAML::Node(fallback) : shown(entry->value);
    const bool empty = value.IsScalar() && value.Scalar().empty();
    asked_for(key).value = hidden && !empty ? YAML::Node(std::string(kHidden)) : value;
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
            hidden ? std::string(kHidden) : describe(entry->value));
  }

  [[noreturn]] void fail_element(const std::string& element_path, const YAML::Node& element,
                                 const std::string& expected) const {
    fail_at(element.Mark(), element_path, expected, describe(element));
  }

  [[noreturn]] void fail_at(const YAML::Mark& where, const std::string& what,
                            const std::string& expected, const std::string& found) const {
    throw ConfigError(source->at(what, where) + what + ": expected " + expected + ", found " +
                      found);
  }

  void list_unread(std::vector<ConfigFile::Key>& out) const {
    for (const Entry& entry : entries) {
      const std::string key_path = path_of(entry.key);
      if (!entry.read) out.push_back({source->at(key_path, entry.mark), key_path});
      const auto found = std::ranges::find(asked, entry.key, &Asked::key);
      if (found == asked.end()) continue;
      for (const auto& section : found->sections) section->list_unread(out);
    }
  }

  void list_read(const std::string& prefix, std::vector<std::string>& out) const {
    for (const Asked& key : asked) {
      const std::string key_path = (prefix.empty() ? "" : prefix + '.') + key.key;
      if (key.sections.empty()) out.push_back(key_path);
      for (const auto& section : key.sections) {
        section->list_read(key_path + (key.list ? "[]" : ""), out);
      }
    }
  }

  YAML::Node effective() const {
    YAML::Node out(YAML::NodeType::Map);
    for (const Asked& key : asked) {
      YAML::Node value = key.list ? YAML::Node(YAML::NodeType::Sequence) : key.value;
      for (const auto& section : key.sections) {
        const YAML::Node inner = section->effective();
        if (key.list) {
          value.push_back(inner);
        } else {
          value = inner;
        }
      }
      const bool empty = value.IsNull() || (value.IsScalar() && value.Scalar().empty()) ||
                         (!value.IsScalar() && value.size() == 0);
      if (!empty) out[key.key] = value;
    }
    return out;
  }

  std::shared_ptr<const Source> source;
  std::string path;  // "http.tls", "listen[1]"; empty for the root
  YAML::Mark mark;
  bool present = false;
  bool hidden = false;
  std::vector<Entry> entries;
  std::vector<Asked> asked;
};

bool Section::present() const { return data_->present; }

bool Section::has(std::string_view key) const { return data_->read(key) != nullptr; }

std::string Section::string(std::string_view key, std::string fallback) const {
  const std::string* text = data_->scalar(key, "a string");
  data_->note(key, fallback);
  if (text != nullptr) return *text;
  return fallback;
}

std::string Section::required_string(std::string_view key) const {
  std::string text = string(key);
  if (text.empty()) fail(key, "a value");
  return text;
}

std::string Section::secret(std::string_view key) const {
  const bool hidden = std::exchange(data_->hidden, true);
  std::string text = string(key);
  data_->hidden = hidden;
  return text;
}

bool Section::boolean(std::string_view key, bool fallback) const {
  const std::string expected = "true or false";
  data_->note(key, fallback);
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
  data_->note(key, fallback);
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
  data_->note(key, format_duration(fallback));
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return fallback;
  const std::optional<std::chrono::nanoseconds> value = parse_duration(*text);
  if (!value) fail(key, expected);
  return *value;
}

uint64_t Section::size(std::string_view key, uint64_t fallback) const {
  const std::string expected = "a size such as 4096, 64KiB or 100GB";
  data_->note(key, format_size(fallback));
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
  data_->note(key, std::string(fallback));
  const std::string* text = data_->scalar(key, expected);
  if (text == nullptr) return std::string(fallback);
  if (std::ranges::find(allowed, *text) == allowed.end()) fail(key, expected);
  return *text;
}

std::vector<std::string> Section::strings(std::string_view key) const {
  data_->note(key, std::vector<std::string>());
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
  const Data::Entry* entry = data_->read(key);
  if (entry != nullptr && !entry->value.IsMap()) fail(key, "a mapping");
  Data::Asked& asked = data_->asked_for(key);
  if (asked.sections.empty()) {
    const std::string path = data_->path_of(key);
    if (entry != nullptr) {
      asked.sections.push_back(std::make_shared<Data>(data_->source, path, entry->value));
    } else {
      const Data::Entry* empty = data_->find(key);
      const YAML::Mark mark = empty == nullptr ? data_->mark : empty->mark;
      asked.sections.push_back(std::make_shared<Data>(data_->source, path, mark));
    }
  }
  return Section(asked.sections.front());
}

std::vector<Section> Section::sections(std::string_view key) const {
  const Data::Entry* entry = data_->read(key);
  Data::Asked& asked = data_->asked_for(key);
  asked.list = true;
  if (entry == nullptr) return {};
  if (!entry->value.IsSequence()) fail(key, "a list of mappings");
  std::vector<Section> out;
  for (const YAML::Node& element : entry->value) {
    const std::string path = data_->path_of(key) + '[' + std::to_string(out.size()) + ']';
    if (!element.IsMap()) data_->fail_element(path, element, "a mapping");
    if (asked.sections.size() == out.size()) {
      asked.sections.push_back(std::make_shared<Data>(data_->source, path, element));
    }
    out.push_back(Section(asked.sections[out.size()]));
  }
  return out;
}

std::vector<std::string> Section::keys() const {
  std::vector<std::string> out;
  for (const Data::Entry& entry : data_->entries) out.push_back(entry.key);
  return out;
}

void Section::hide_values() const { data_->hidden = true; }

void Section::fail(std::string_view key, const std::string& expected) const {
  data_->fail(key, expected);
}

ConfigFile::ConfigFile(const std::filesystem::path& path, const std::vector<Override>& overrides,
                       const std::vector<std::string>& types) {
  const auto source = std::make_shared<Source>(Source{path.string(), {}});
  try {
    const std::optional<std::string> text = read_file(path, kMaxFileSize);
    if (!text) throw ConfigError(source->file + ": there is no such file");
    YAML::Node root = YAML::Load(*text);
    if (!root.IsMap() && !root.IsNull()) {
      throw ConfigError(at(source->file, root.Mark()) + "expected a mapping, found " +
                        describe(root));
    }
    expand(types, root);
    for (const Override& value : overrides) {
      try {
        root = overridden(root, value);
        expand(types, root);
      } catch (const YAML::Exception& e) {
        throw ConfigError(value.source + ": " + e.msg);
      }
      source->overrides.emplace_back(override_path(value), value.source);
    }
    root_ = root.IsMap() ? std::make_shared<Section::Data>(source, "", root)
                         : std::make_shared<Section::Data>(source, "", YAML::Mark::null_mark());
  } catch (const IoError& e) {
    throw ConfigError(e.what());
  } catch (const YAML::Exception& e) {
    throw ConfigError(at(source->file, e.mark) + e.msg);
  }
}

Section ConfigFile::root() const { return Section(root_); }

std::vector<ConfigFile::Key> ConfigFile::unread() const {
  std::vector<Key> out;
  root_->list_unread(out);
  return out;
}

std::string ConfigFile::effective() const {
  YAML::Emitter out;
  out << root_->effective();
  return std::string(out.c_str()) + '\n';
}

std::vector<std::string> ConfigFile::read_paths() const {
  std::vector<std::string> out;
  root_->list_read("", out);
  return out;
}

}  // namespace base
