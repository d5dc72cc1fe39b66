// rank SCENARIO FOLDER DEVICE: one process of several that train the small inception together, for
// tests. Which one it is the environment says; what goes wrong goes to standard error, and its exit
// code is then 1.
//
//   train      some updates; every state goes to the file FOLDER/RANK
//   passes     the same, with two passes an update, and clipping
//   dies       as train, but the last rank is killed midway
//   stops      as train, but the last rank sleeps midway, for long
//   fails      as train, but the last rank has an error of its own midway
//   other      the last rank has another network
//   drifts     the last rank changes a parameter midway
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "ranks/communicator.h"
#include "tests/ranks_training.h"

namespace maru {
namespace {

void write_states(const Trainer& trainer, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& [name, values] : testing::states_of(trainer))
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  if (!file) throw system_error(path, "a file that can be written");
}

void misbehave(std::string_view scenario, const Trainer& trainer) {
  if (scenario == "dies") std::raise(SIGKILL);
  if (scenario == "stops") std::this_thread::sleep_for(std::chrono::minutes(10));
  if (scenario == "fails") throw Error("photo.jpg", "a picture", "noise");
  if (scenario == "drifts") {
    const std::string& name = trainer.parameters().back().name;
    std::vector<float> values(static_cast<std::size_t>(trainer.states().shape_of(name).count()));
    trainer.states().write(name, values);
  }
}

void run(std::string_view scenario, const std::string& folder, const std::string& device) {
  const Ranks ranks = ranks_from_environment();
  CommunicatorOptions waits;
  waits.start = std::chrono::seconds(60);
  waits.behind = scenario == "stops" ? std::chrono::seconds(10) : std::chrono::seconds(60);
  const std::shared_ptr<Communicator> communicator = make_communicator(ranks, waits);
  DeviceOptions options;
  options.threads = 1;
  options.communicator = communicator;
  const auto devices = testing::open_all(device, options);

  const bool is_last = ranks.rank == ranks.ranks - 1;
  TrainerOptions training = testing::ranks_training(scenario == "passes" ? 2 : 1);
  training.communicator = communicator;
  // Rank 0's are what counts.
  const unsigned seed = static_cast<unsigned>(1 + ranks.rank);
  Graph network = testing::small_inception(testing::kBatch / ranks.ranks, seed);
  if (scenario == "other" && is_last)
    training.training.rates = [](std::string_view) { return std::pair{1.0, 1.0}; };
  Trainer trainer(std::move(network), testing::listed(devices), training);
  const char* other = std::getenv("MARU_TEST_MISBEHAVES");  // another rank than the last
  const int misbehaving = other == nullptr ? ranks.ranks - 1 : std::atoi(other);
  testing::train(trainer, training.passes, ranks.rank, ranks.ranks, [&](int update) {
    if (ranks.rank == misbehaving && update == testing::kUpdates / 2) misbehave(scenario, trainer);
  });
  trainer.require_same_states();
  write_states(trainer, fmt::format("{}/{}", folder, ranks.rank));
  if (communicator) communicator->leave();
}

}  // namespace
}  // namespace maru

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: rank SCENARIO FOLDER DEVICE\n", stderr);
    return 2;
  }
  try {
    maru::run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
