// Which of NVML's GPUs a device of the CUDA backend is. Pure function; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace maru::cli {

// `device` is a name that maru gives: "cuda", "cuda:1". `visible` is CUDA_VISIBLE_DEVICES, which
// chooses and renumbers GPUs, or null. Nothing where the device is no NVIDIA GPU, or where the list has
// no number for it: identifiers of GPUs and of their slices (GPU-..., MIG-...) tell none.
std::optional<int> gpu_number(std::string_view device, const char* visible);
// What CUDA calls it, of the description of a device of that backend; empty where it is of another.
std::string gpu_name(std::string_view description);

}  // namespace maru::cli
