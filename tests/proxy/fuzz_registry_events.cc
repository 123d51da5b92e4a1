// A body of events. Whatever it holds, a refusal says why, and an event names what can be here.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "oci/name.h"
#include "proxy/registry_events.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto parsed = proxy::parse_registry_events(body);
  if (!parsed) {
    require(!parsed.error().empty());
    return 0;
  }
  for (const proxy::RegistryEvent& event : parsed->events) {
    require(oci::valid_repository(event.repository));
    require(event.tag.empty() || oci::valid_tag(event.tag));
    require(event.digest || event.action == proxy::RegistryEvent::Action::remove);
  }
  return 0;
}
