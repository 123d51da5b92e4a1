// What the main functions of the benchmarks have in common.
#pragma once

#include <functional>
#include <string>

namespace bench {

// Runs the benchmark; a signal has it end (interrupted, load.h), and its servers with it. Returns
// the program's exit status: the function's, 130 if it was interrupted, 1 for what it throws, which
// is printed.
int run_program(const std::function<int()>& benchmark);

// A client's connection takes a descriptor here and one or two in the server, which inherits the
// limit: lets there be as many as the system allows.
void raise_descriptor_limit();

// Nothing if the path is empty. base::IoError.
void write_json(const std::string& path, const std::string& json);

}  // namespace bench
