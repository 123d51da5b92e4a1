// What every Prometheus client tells of its process: memory, descriptors, processor time, start.
#pragma once

#include "base/metrics.h"

namespace base {

// Adds process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds,
// process_max_fds, process_cpu_seconds_total and process_start_time_seconds, read from /proc at
// each scrape.
void add_process_metrics(Metrics& metrics);

}  // namespace base
