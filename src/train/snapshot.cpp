#include "train/snapshot.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/atomic_file.h"
#include "base/error.h"
#include "import/caffemodel_writer.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUpdates = "updates", kSamples = "samples", kSeed = "seed",
                           kLosses = "losses", kSolver = "solver", kScale = "loss scale",
                           kGood = "good";

std::vector<std::int64_t> extents_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

std::size_t memories_of(const CaffeSolver& solver) {
  Update update;
  update.solver = solver.type;
  return update.states();
}

// A parameter as it is now: what is trained or measured is a state, the rest is as it was.
std::vector<float> value_of(const CaffeParam& param, const Trainer& trainer) {
  if (!trainer.states().has(param.name)) return param.value->floats();
  std::vector<float> values(static_cast<std::size_t>(param.shape.count()));
  trainer.states().read(param.name, values);
  return values;
}

void write_weights(AtomicFile& file, const Imported& network, const Trainer& trainer) {
  std::deque<std::vector<float>> kept;  // what the layers below borrow
  std::vector<CaffemodelLayer> layers;
  for (const CaffeStored& stored : network.layers) {
    CaffemodelLayer& layer = layers.emplace_back(CaffemodelLayer{stored.name, stored.type, {}});
    for (const CaffeParam& param : stored.params) {
      kept.push_back(value_of(param, trainer));
      layer.blobs.push_back({extents_of(param.shape), kept.back()});
    }
  }
  write_caffemodel(file, network.graph.name, layers);
}

// Whether that memory of the solver is a mean of squares.
bool are_squares(Update::Solver solver, std::size_t which) {
  switch (solver) {
    case Update::Solver::sgd:
    case Update::Solver::nesterov:
      return false;
    case Update::Solver::adagrad:
    case Update::Solver::rmsprop:
    case Update::Solver::adadelta:
      return true;
    case Update::Solver::adam:
      return which == 1;
  }
  return false;
}

// What a solver of that type remembered another may not understand. Caffe's states do not say which it
// was; but where squares are wanted negative numbers tell.
void require_same_solver(const Snapshot& snapshot, std::size_t params, const CaffeSolver& solver) {
  const auto fail = [&](std::string_view was) {
    throw Error(snapshot.file.string(),
                fmt::format("what a solver of type {} remembers", to_string(solver.type)),
                fmt::format("that of {}", was),
                "the solver that wrote it, or --weights with its .caffemodel");
  };
  const auto is_plain = [](std::string_view type) {
    return type == to_string(Update::Solver::sgd) || type == to_string(Update::Solver::nesterov);
  };
  const auto found = snapshot.state.extras.find(kSolver);
  if (found != snapshot.state.extras.end()) {
    const std::string_view now = to_string(solver.type), was = found->second;
    if (was != now && !(is_plain(was) && is_plain(now))) fail(was);
  }
  const auto& history = snapshot.state.history;
  for (std::size_t i = 0; i < history.size(); ++i) {
    if (are_squares(solver.type, i / params) &&
        std::ranges::any_of(history[i].values, [](float value) { return value < 0; }))
      fail("another");
  }
}

// What is not trained has no memory: zeros, as Caffe has them.
SolverState::Blob memory_of(const Trainer& trainer, const CaffeParam& param, std::size_t which) {
  SolverState::Blob blob{extents_of(param.shape),
                         std::vector<float>(static_cast<std::size_t>(param.shape.count()))};
  const auto& trained = trainer.parameters();
  const auto parameter = std::ranges::find(trained, param.name, &Parameter::name);
  if (parameter != trained.end()) trainer.states().read(parameter->memory(which), blob.values);
  return blob;
}

std::string bytes_of(const std::deque<double>& values) {
  std::string bytes;
  for (const double value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return bytes;
}

std::deque<double> doubles_in(const std::string& bytes) {
  std::deque<double> values;
  for (std::size_t at = 0; at + sizeof(double) <= bytes.size(); at += sizeof(double)) {
    double value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    values.push_back(value);
  }
  return values;
}

template <class T>
T number_or(const SolverState& state, std::string_view name, T otherwise, const fs::path& file) {
  const auto found = state.extras.find(name);
  if (found == state.extras.end()) return otherwise;
  const std::string& text = found->second;
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(file.string(), fmt::format("a number for \"{}\"", name), fmt::format("\"{}\"", text),
                "an older snapshot: this one is damaged");
  return value;
}

}  // namespace

SnapshotFiles snapshot_files(const std::string& prefix, std::int64_t iteration) {
  const std::string stem = fmt::format("{}_iter_{}", prefix, iteration);
  return {stem + ".caffemodel", stem + ".solverstate"};
}

std::optional<fs::path> newest_snapshot(const std::string& prefix) {
  const fs::path stem = prefix + "_iter_";
  const std::string begin = stem.filename().string();
  const fs::path folder = stem.has_parent_path() ? stem.parent_path() : fs::path(".");
  std::int64_t newest = -1;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(begin) || entry.path().extension() != ".solverstate") continue;
    const char* from = name.data() + begin.size();
    const char* to = name.data() + name.size() - std::string_view(".solverstate").size();
    std::int64_t iteration = -1;
    const auto [end, error] = std::from_chars(from, std::max(from, to), iteration);
    if (error != std::errc() || end != to || iteration <= newest) continue;
    if (fs::exists(snapshot_files(prefix, iteration).weights, none)) newest = iteration;
  }
  if (newest < 0) return std::nullopt;
  return snapshot_files(prefix, newest).state;
}

SnapshotFiles write_snapshot(const std::string& prefix, const Imported& network, const Trainer& trainer,
                             const CaffeSolver& solver, const TrainingPosition& position) {
  SnapshotFiles files = snapshot_files(prefix, position.iteration);
  SolverState state;
  state.iteration = position.iteration;
  state.learned_net = files.weights.string();
  state.current_step = learning_step(solver, position.iteration);
  const std::vector<CaffeParam> params = learnable_params(network);
  for (std::size_t which = 0; which < memories_of(solver); ++which) {
    for (const CaffeParam& param : params) state.history.push_back(memory_of(trainer, param, which));
  }
  state.extras[std::string(kUpdates)] = fmt::format("{}", position.updates);
  state.extras[std::string(kSamples)] = fmt::format("{}", position.samples);
  state.extras[std::string(kSeed)] = fmt::format("{}", position.seed);
  if (position.scale) {
    state.extras[std::string(kScale)] = fmt::format("{}", position.scale->scale);
    state.extras[std::string(kGood)] = fmt::format("{}", position.scale->good);
  }
  state.extras[std::string(kSolver)] = to_string(solver.type);
  state.extras[std::string(kLosses)] = bytes_of(position.losses);
  if (files.weights.has_parent_path()) {
    std::error_code none;  // what cannot be made cannot be written to, which is said then
    fs::create_directories(files.weights.parent_path(), none);
  }
  AtomicFile weights(files.weights, "the weights"), solver_state(files.state, "the solver's state");
  write_weights(weights, network, trainer);
  write_solver_state(solver_state, state);
  weights.flush();
  solver_state.flush();
  // Of an earlier run, perhaps: it must not be found beside weights that are not its own.
  std::error_code none;
  fs::remove(files.state, none);
  weights.commit();
  solver_state.commit();
  return files;
}

Snapshot read_snapshot(const fs::path& file) {
  Snapshot snapshot;
  snapshot.file = file;
  snapshot.state = read_solver_state(file);
  const SolverState& state = snapshot.state;
  std::error_code none;
  const fs::path written = state.learned_net;
  const fs::path beside = file.parent_path() / written.filename();
  // Beside it first: a folder that was moved or copied is meant as a whole.
  for (const fs::path& candidate : {beside, written}) {
    if (!written.empty() && fs::is_regular_file(candidate, none)) {
      snapshot.weights = candidate;
      break;
    }
  }
  if (snapshot.weights.empty())
    throw Error(file.string(), fmt::format("the weights that it belongs to, {}", written.string()),
                written.empty() ? "no name of them" : "no such file",
                "putting the .caffemodel beside the .solverstate");
  TrainingPosition& position = snapshot.position;
  position.iteration = state.iteration;
  position.updates = number_or(state, kUpdates, state.iteration, file);
  position.samples = number_or(state, kSamples, std::int64_t{-1}, file);
  position.seed = number_or(state, kSeed, std::uint64_t{0}, file);
  if (state.extras.contains(kScale))
    position.scale = LossScale{number_or(state, kScale, LossScale::kFirst, file),
                               number_or(state, kGood, std::int64_t{0}, file)};
  if (const auto losses = state.extras.find(kLosses); losses != state.extras.end())
    position.losses = doubles_in(losses->second);
  return snapshot;
}

void restore(const Snapshot& snapshot, const Imported& network, Trainer& trainer,
             const CaffeSolver& solver) {
  const std::vector<CaffeParam> params = learnable_params(network);
  const std::vector<SolverState::Blob>& history = snapshot.state.history;
  const std::size_t memories = memories_of(solver);
  for (std::size_t i = 0; i < std::min(history.size(), memories * params.size()); ++i) {
    const CaffeParam& param = params[i % params.size()];
    if (history[i].values.size() != static_cast<std::size_t>(param.shape.count()))
      throw Error(snapshot.file.string(),
                  fmt::format("what was remembered of {}, {}", param.name, param.shape.str()),
                  fmt::format("{} values", history[i].values.size()),
                  "a snapshot of this network, or --weights with its .caffemodel");
  }
  if (history.size() != memories * params.size())
    throw Error(snapshot.file.string(),
                fmt::format("{} entries of history: {} for each of {} parameters",
                            memories * params.size(), memories, params.size()),
                fmt::format("{}", history.size()),
                "a snapshot of this network and this type of solver");
  require_same_solver(snapshot, params.size(), solver);
  for (std::size_t i = 0; i < history.size(); ++i) {
    const auto& trained = trainer.parameters();
    const auto parameter = std::ranges::find(trained, params[i % params.size()].name, &Parameter::name);
    if (parameter != trained.end())
      trainer.states().write(parameter->memory(i / params.size()), history[i].values);
  }
  trainer.set_updates(snapshot.position.updates);
  if (snapshot.position.scale) trainer.set_loss_scale(*snapshot.position.scale);
}

}  // namespace maru
