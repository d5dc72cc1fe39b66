// The training that ranks do together and one process does alone, to compare them.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/training_networks.h"
#include "train/trainer.h"

namespace maru::testing {

inline constexpr int kUpdates = 6;

inline TrainerOptions ranks_training(std::int64_t passes) {
  TrainerOptions options;
  options.training = two_losses();
  // Several of them for the small network.
  options.training.bucket_bytes = 2000;
  options.solver.momentum = 0.9;
  options.l2_decay = 1e-3;
  options.passes = passes;
  options.clip_gradients = passes > 1 ? 0.5 : 0;
  return options;
}

// Each rank passes over its part of each batch. `before` is told the number of each update.
inline void train(Trainer& trainer, std::int64_t passes, int rank, int ranks,
                  const std::function<void(int)>& before = {}) {
  std::mt19937 random(3);
  for (int update = 0; update < kUpdates; ++update) {
    if (before) before(update);
    for (std::int64_t pass = 0; pass < passes; ++pass) {
      const Batch batch = draw_batch(random);
      const auto part = [&](const std::vector<float>& all) {
        const std::size_t count = all.size() / static_cast<std::size_t>(ranks);
        return std::span(all).subspan(static_cast<std::size_t>(rank) * count, count);
      };
      std::ranges::copy(part(batch.data), trainer.input("data").begin());
      std::ranges::copy(part(batch.label), trainer.input("label").begin());
      trainer.pass();
    }
    trainer.update(0.02);
  }
}

// Parameters and what the solver remembers, by name.
inline std::map<std::string, std::vector<float>> states_of(const Trainer& trainer) {
  std::map<std::string, std::vector<float>> states;
  for (const Parameter& parameter : trainer.parameters()) {
    for (const std::string& name : {parameter.name, parameter.memory(0)}) {
      std::vector<float>& values = states[name];
      values.resize(static_cast<std::size_t>(trainer.states().shape_of(name).count()));
      trainer.states().read(name, values);
    }
  }
  return states;
}

}  // namespace maru::testing
