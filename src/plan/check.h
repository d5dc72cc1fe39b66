// The proof of a plan: walks its steps with a shadow of every region that knows, byte by byte, who
// wrote last, what of the device's work on it is not waited for, and what is mapped for the CPU. It
// trusts neither placement nor waits nor edges: what each step must read comes from the dataflow
// (Planned::flow). Reads only; any thread.
#pragma once

#include <cstddef>
#include <span>

#include "plan/plan.h"

namespace maru {

// Proves of every step, in the order of the plan:
//  - each byte that it reads was last written by a step, or by the caller, that the dataflow names: no
//    two tensors share bytes while both are needed, and nothing is read before it is written;
//  - where the device combines launches: what wrote the bytes that it touches, and what read those that
//    it writes, has ended by Step::after, so that every order which that allows gives the same results;
//  - what the CPU touches is not in use by the device, and, where the heap is not concurrent, is mapped
//    for it with the access that it needs, from a wait until a release before which the device does
//    nothing;
//  - a transfer from the device's memory has its source waited for;
//  - each side sees the memory that it touches; operands, packed weights and workspaces lie within
//    their regions; weights and inputs are not written;
//  - at the end outputs hold what the dataflow says, nothing runs and nothing is mapped.
// Throws Error that names the step, the operand and the bytes.
void check_plan(const Planned& planned, std::span<const Device* const> devices);

// Whether the environment (MARU_CHECK=1) asks for every check, as the tests do.
bool is_checking_all();

}  // namespace maru
