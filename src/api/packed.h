// Packed models for the public interface: what Model::load, inspect() and their like do where the path
// is a packed file. Functions; any thread may call them.
#pragma once

#include <maru/model.h>

#include <filesystem>

#include "api/model_state.h"

namespace maru {

// Everything of the state but what is said by Model::load itself. Throws Error, which says for what the
// file was packed where it does not fit this machine or these options.
void load_packed(Model::State& state, const std::filesystem::path& path, const ModelOptions& options);
NetworkInfo inspect_packed(const std::filesystem::path& path, const ModelOptions& options);
Preprocessing packed_preprocessing(const std::filesystem::path& path);

}  // namespace maru
