#include "oci/manifest.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <utility>

#include "base/ascii.h"

namespace oci {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view kSchema1 = "application/vnd.docker.distribution.manifest.v1+json";
constexpr std::string_view kSignedSchema1 =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
constexpr std::string_view kSchema1Refused =
    "image manifest schema 1 is not supported; push schema 2 or an OCI manifest";

constexpr auto kMediaTypes = std::to_array<std::string_view>(
    {media_type::kOciManifest, media_type::kOciIndex, media_type::kDockerManifest,
     media_type::kDockerList, media_type::kOciArtifact});

// Each of these with whatever compression follows: ".gzip", "+gzip", "+zstd".
constexpr std::string_view kForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar";
constexpr std::string_view kNonDistributableLayer =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";

// Only these fields are read. All others belong to whoever wrote them and may hold anything.
constexpr auto kManifestFields =
    std::to_array<std::string_view>({"schemaVersion", "mediaType", "artifactType", "config",
                                     "layers", "blobs", "manifests", "subject", "annotations"});
constexpr auto kDescriptorFields =
    std::to_array<std::string_view>({"mediaType", "digest", "size", "urls", "platform"});
constexpr auto kPlatformFields = std::to_array<std::string_view>({"architecture", "os", "variant"});

// Why a manifest is refused, in words for the client. Thrown and caught in this file only: the
// checks nest, and what comes out of parse_manifest is an expected.
struct Refusal {
  std::string why;
};

[[noreturn]] void refuse(std::string why) { throw Refusal{std::move(why)}; }

// The client's own text, fit to stand in a sentence: short and printable.
std::string quoted(std::string_view text) {
  constexpr size_t kLongest = 100;
  std::string out = "\"";
  for (const char c : text.substr(0, kLongest)) out += c >= ' ' && c <= '~' ? c : '?';
  out += text.size() > kLongest ? "...\"" : "\"";
  return out;
}

bool equal_but_for_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b,
                            [](char x, char y) { return base::to_lower(x) == base::to_lower(y); });
}

// The known fields of one JSON object. One that is null is absent, as Go's parser has it. That
// parser also takes the last of two equal keys and does not mind their case, while others take the
// first and do mind: so that no two readers see different manifests in the same bytes
// (CVE-2021-41190), a known field must be there once and spelled right.
class Fields {
 public:
  // `where` is what sentences call the object: "the manifest", "layers[2]".
  Fields(dom::element element, std::string where, std::span<const std::string_view> known)
      : where_(std::move(where)) {
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) refuse(where_ + " must be a JSON object");
    for (const auto [key, value] : object) {
      for (const std::string_view name : known) {
        if (equal_but_for_case(key, name)) add(name, key, value);
      }
    }
  }

  std::optional<dom::element> find(std::string_view name) const {
    const auto at = std::ranges::find(fields_, name, &Field::first);
    if (at == fields_.end() || at->second.is_null()) return std::nullopt;
    return at->second;
  }

  // As T; `article_and_type` is what it must be, as in "a string". nullopt if it is absent.
  template <typename T>
  std::optional<T> find_as(std::string_view name, std::string_view article_and_type) const {
    const auto value = find(name);
    if (!value) return std::nullopt;
    T typed;
    if (value->get(typed) != simdjson::SUCCESS) refuse_field(name, article_and_type);
    return typed;
  }

  // "" if it is absent.
  std::string_view text(std::string_view name) const {
    return find_as<std::string_view>(name, "a string").value_or("");
  }

  [[noreturn]] void refuse_field(std::string_view name, std::string_view must_be) const {
    refuse("field " + quoted(name) + " of " + where_ + " must be " + std::string(must_be));
  }

 private:
  using Field = std::pair<std::string_view, dom::element>;

  void add(std::string_view name, std::string_view key, dom::element value) {
    if (key != name) {
      refuse("field " + quoted(key) + " of " + where_ + " must be spelled " + quoted(name));
    }
    if (std::ranges::find(fields_, name, &Field::first) != fields_.end()) {
      refuse("field " + quoted(name) + " of " + where_ + " is there more than once");
    }
    fields_.emplace_back(name, value);
  }

  std::string where_;
  std::vector<Field> fields_;
};

Platform platform(const Fields& descriptor, const std::string& where) {
  const auto element = descriptor.find("platform");
  if (!element) return {};
  const Fields fields(*element, "the platform of " + where, kPlatformFields);
  return {.architecture = std::string(fields.text("architecture")),
          .os = std::string(fields.text("os")),
          .variant = std::string(fields.text("variant"))};
}

std::vector<std::string> urls(const Fields& descriptor) {
  constexpr std::string_view kStrings = "an array of strings";
  std::vector<std::string> out;
  const auto array = descriptor.find_as<dom::array>("urls", kStrings);
  if (!array) return out;
  for (const dom::element element : *array) {
    std::string_view url;
    if (element.get(url) != simdjson::SUCCESS) descriptor.refuse_field("urls", kStrings);
    out.emplace_back(url);
  }
  return out;
}

// A missing "mediaType" or "size" is empty or 0, because Go programs leave such values out.
Descriptor descriptor(dom::element element, const std::string& where) {
  const Fields fields(element, where, kDescriptorFields);
  const std::string_view digest_text = fields.text("digest");
  const auto digest = Digest::parse(digest_text);
  if (!digest) {
    fields.refuse_field("digest", "a sha256 or sha512 digest, not " + quoted(digest_text));
  }
  constexpr std::string_view kWholeNumber = "a whole number of bytes, 0 or more";
  const int64_t size = fields.find_as<int64_t>("size", kWholeNumber).value_or(0);
  if (size < 0) fields.refuse_field("size", kWholeNumber);
  const std::string_view type = fields.text("mediaType");
  return {.media_type = std::string(type),
          .digest = *digest,
          .size = static_cast<uint64_t>(size),
          .urls = urls(fields),
          .distributable =
              !type.starts_with(kForeignLayer) && !type.starts_with(kNonDistributableLayer),
          .platform = platform(fields, where)};
}

std::optional<Descriptor> one_descriptor(const Fields& fields, const std::string& name) {
  const auto element = fields.find(name);
  if (!element) return std::nullopt;
  return descriptor(*element, name);
}

std::vector<Descriptor> descriptors(const Fields& fields, const std::string& name) {
  std::vector<Descriptor> out;
  const auto array = fields.find_as<dom::array>(name, "an array");
  if (!array) return out;
  for (const dom::element element : *array) {
    out.push_back(descriptor(element, name + "[" + std::to_string(out.size()) + "]"));
  }
  return out;
}

std::string annotations(const Fields& fields) {
  constexpr std::string_view kStrings = "an object whose values are strings";
  const auto object = fields.find_as<dom::object>("annotations", kStrings);
  if (!object) return "";
  for (const auto [key, value] : *object) {
    if (!value.is_string() && !value.is_null()) fields.refuse_field("annotations", kStrings);
  }
  return simdjson::minify(*object);
}

// The media type alone: no parameters, lower case (RFC 9110 section 8.3.1).
std::string essence(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  const size_t first = content_type.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  const size_t last = content_type.find_last_not_of(" \t");
  return base::to_lower(content_type.substr(first, last - first + 1));
}

void require_supported(std::string_view type) {
  if (type == kSchema1 || type == kSignedSchema1) refuse(std::string(kSchema1Refused));
  if (std::ranges::find(kMediaTypes, type) == kMediaTypes.end()) {
    refuse("media type " + quoted(type) + " is not that of a manifest this registry knows");
  }
}

// The type by "mediaType"; without it, an index has "manifests" and an OCI manifest has not. The
// others must name themselves, so that stored bytes tell their type without a Content-Type.
std::string_view type_of(const Fields& fields, std::string_view content_type) {
  const std::string_view declared = fields.text("mediaType");
  if (!declared.empty()) {
    require_supported(declared);
    if (!content_type.empty() && declared != content_type) {
      refuse("the manifest's mediaType is " + quoted(declared) + " but its Content-Type is " +
             quoted(content_type));
    }
    return declared;
  }
  const std::string_view shape =
      fields.find("manifests") ? media_type::kOciIndex : media_type::kOciManifest;
  if (!content_type.empty() && shape != content_type) {
    refuse("without a mediaType the manifest is read as " + quoted(shape) +
           " but its Content-Type is " + quoted(content_type));
  }
  return shape;
}

void check_schema_version(const Fields& fields, bool optional) {
  const auto version = fields.find_as<int64_t>("schemaVersion", "the number 2");
  if (version == 1) refuse(std::string(kSchema1Refused));
  if (version ? *version != 2 : !optional) fields.refuse_field("schemaVersion", "the number 2");
}

// What could make one reader see an image and another an index (CVE-2021-41190).
void forbid(const Fields& fields, std::string_view type,
            std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (fields.find(name)) refuse(quoted(type) + " must not have a field " + quoted(name));
  }
}

Manifest read(dom::element document, std::string_view content_type) {
  const Fields fields(document, "the manifest", kManifestFields);
  Manifest manifest;
  manifest.media_type = type_of(fields, content_type);
  const bool artifact = manifest.media_type == media_type::kOciArtifact;
  check_schema_version(fields, artifact);

  if (manifest.is_index()) {
    forbid(fields, manifest.media_type, {"config", "layers"});
    manifest.manifests = descriptors(fields, "manifests");
  } else if (artifact) {
    forbid(fields, manifest.media_type, {"config", "layers", "manifests"});
    manifest.blobs = descriptors(fields, "blobs");
  } else {
    forbid(fields, manifest.media_type, {"manifests"});
    manifest.config = one_descriptor(fields, "config");
    if (!manifest.config) refuse("the manifest has no config");
    manifest.blobs = descriptors(fields, "layers");
  }
  manifest.subject = one_descriptor(fields, "subject");
  manifest.annotations = annotations(fields);
  manifest.artifact_type = fields.text("artifactType");
  if (manifest.artifact_type.empty() && manifest.config) {
    manifest.artifact_type = manifest.config->media_type;
  }
  return manifest;
}

// Fit for a Content-Type field: one type, no parameters, nothing that ends the field.
bool plain_media_type(std::string_view text) {
  constexpr size_t kLongest = 255;
  return text.size() <= kLongest && text.find('/') != std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != ';'; });
}

}  // namespace

std::expected<Manifest, std::string> parse_manifest(std::string_view bytes,
                                                    std::string_view content_type) {
  if (bytes.size() > kMaxManifestSize) return std::unexpected("the manifest is larger than 4 MiB");
  try {
    const std::string type = essence(content_type);
    if (!type.empty()) require_supported(type);
    if (bytes.empty()) refuse("the manifest is empty");
    dom::parser parser;
    dom::element document;
    const auto error = parser.parse(bytes.data(), bytes.size()).get(document);
    if (error != simdjson::SUCCESS) {
      refuse(std::string("the manifest is not valid JSON: ") + simdjson::error_message(error));
    }
    return read(document, type);
  } catch (const Refusal& refusal) {
    return std::unexpected(refusal.why);
  }
}

std::string stored_media_type(std::string_view bytes) {
  if (const auto manifest = parse_manifest(bytes, "")) return manifest->media_type;
  dom::parser parser;
  dom::element document;
  const auto error = parser.parse(bytes.data(), bytes.size()).get(document);
  std::string_view named;
  if (error == simdjson::SUCCESS && document["mediaType"].get(named) == simdjson::SUCCESS &&
      plain_media_type(named)) {
    return std::string(named);
  }
  int64_t version = 0;
  if (error != simdjson::SUCCESS || document["schemaVersion"].get(version) != simdjson::SUCCESS ||
      version != 1) {
    return "application/octet-stream";
  }
  dom::element signatures;
  const bool is_signed = document["signatures"].get(signatures) == simdjson::SUCCESS;
  return std::string(is_signed ? kSignedSchema1 : kSchema1);
}

}  // namespace oci
