// How long the CPU's threads spin before they sleep, which the OpenMP library reads once, when it is
// loaded.
#pragma once

namespace maru::cli {

// Starts the program anew with a short time, unless the environment says how long or there is one core:
// GNU's library else spins for about 3 ms at the end of each layer, and while a thread that is waited
// for has no core, because another program has it, that is lost (docs/benchmarks/cpu.md). Returns where
// that is not needed or not possible. `argv` as main() has it. Before anything has been begun.
void spin_shortly(char** argv);

}  // namespace maru::cli
