#include "import/solver_state.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "import/caffe_proto.h"

namespace maru {
namespace {

// Tags of caffe.proto, and maru's own.
constexpr std::uint32_t kIteration = 1, kLearnedNet = 2, kHistory = 3, kCurrentStep = 4;
constexpr std::uint32_t kExtra = 1000, kExtraName = 1, kExtraValue = 2;

constexpr std::size_t kMaxHistory = 1'000'000, kMaxExtras = 10'000;

class StateReader {
 public:
  StateReader(std::span<const std::byte> bytes, std::string_view file)
      : reader_(bytes, nullptr, file, Constant::Storage::memory), file_(file) {}

  SolverState run() {
    reader_.check_kind(".solverstate", "the .solverstate that a snapshot wrote");
    reader_.guarded([&] { read(reader_.all()); });
    if (!has_iteration_)
      throw Error(file_, "a .solverstate with its iteration", "none",
                  "the .solverstate that a snapshot wrote");
    return std::move(state_);
  }

 private:
  using View = CaffeProtoReader::View;
  using Pbf = CaffeProtoReader::Pbf;

  void read(View bytes) {
    Pbf message(bytes);
    while (reader_.next(message)) {
      switch (message.tag()) {
        case kIteration:
          state_.iteration = whole(message, "the iteration");
          has_iteration_ = true;
          break;
        case kLearnedNet:
          state_.learned_net = reader_.text(message, "the name of the weights");
          break;
        case kHistory:
          history(reader_.view(message, "a history"));
          break;
        case kCurrentStep:
          state_.current_step = whole(message, "the step");
          break;
        case kExtra:
          extra(reader_.view(message, "an extra"));
          break;
        default:
          message.skip();
      }
    }
  }

  std::int64_t whole(Pbf& message, std::string_view what) const {
    reader_.want(message, CaffeProtoReader::Wire::varint, what);
    const std::int64_t value = message.get_int64();
    if (value < 0) reader_.fail(fmt::format("{} of 0 or more", what), fmt::format("{}", value));
    return value;
  }

  void history(View bytes) {
    if (state_.history.size() == kMaxHistory)
      reader_.fail(fmt::format("at most {} histories", kMaxHistory), "more");
    const CaffeBlob blob = reader_.blob(bytes);
    // No more than is there, so that a product of wild extents does not overflow.
    std::int64_t count = 1;
    for (const std::int64_t extent : blob.dims) {
      count = extent == 0 || count <= blob.count() / extent ? count * extent : blob.count() + 1;
      if (count > blob.count()) break;
    }
    if (count != blob.count()) {
      reader_.fail(fmt::format("the values of a history of {}", blob.dims_str()),
                   fmt::format("{}", blob.count()), "another snapshot: this one is damaged");
    }
    SolverState::Blob& kept = state_.history.emplace_back();
    kept.shape = blob.dims;
    kept.values.resize(static_cast<std::size_t>(blob.count()));
    if (!kept.values.empty()) std::memcpy(kept.values.data(), blob.bytes.data(), blob.bytes.size());
  }

  void extra(View bytes) {
    if (state_.extras.size() == kMaxExtras)
      reader_.fail(fmt::format("at most {} extras", kMaxExtras), "more");
    std::string name, value;
    Pbf message(bytes);
    while (reader_.next(message)) {
      if (message.tag() == kExtraName) {
        name = reader_.text(message, "an extra's name");
      } else if (message.tag() == kExtraValue) {
        value = reader_.text(message, "an extra's value");
      } else {
        message.skip();
      }
    }
    state_.extras[name] = std::move(value);
  }

  CaffeProtoReader reader_;
  std::string file_;
  SolverState state_;
  bool has_iteration_ = false;
};

}  // namespace

SolverState read_solver_state(const std::filesystem::path& path) {
  const MappedFile file(path);
  return read_solver_state(file.bytes(), path.string());
}

SolverState read_solver_state(std::span<const std::byte> bytes, std::string_view file) {
  return StateReader(bytes, file).run();
}

void write_solver_state(AtomicFile& file, const SolverState& state) {
  CaffeProtoPieces message;
  message.add_int(kIteration, state.iteration);
  message.add_string(kLearnedNet, state.learned_net);
  for (const SolverState::Blob& blob : state.history)
    message.add_blob(kHistory, blob.shape, blob.values, file.path().string());
  message.add_int(kCurrentStep, state.current_step);
  for (const auto& [name, value] : state.extras) {
    CaffeProtoPieces extra;
    extra.add_string(kExtraName, name);
    extra.add_string(kExtraValue, value);
    message.add_message(kExtra, extra);
  }
  message.write(file);
}

void write_solver_state(const std::filesystem::path& path, const SolverState& state) {
  AtomicFile file(path, "the solver's state");
  write_solver_state(file, state);
  file.commit();
}

}  // namespace maru
