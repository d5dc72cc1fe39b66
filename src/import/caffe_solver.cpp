#include "import/caffe_solver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

using Policy = CaffeSolver::Policy;
using Solver = Update::Solver;

constexpr std::string_view kFields[] = {"net",
                                        "net_param",
                                        "train_net",
                                        "test_net",
                                        "train_net_param",
                                        "test_net_param",
                                        "train_state",
                                        "test_state",
                                        "test_iter",
                                        "test_interval",
                                        "test_compute_loss",
                                        "test_initialization",
                                        "base_lr",
                                        "display",
                                        "average_loss",
                                        "max_iter",
                                        "iter_size",
                                        "lr_policy",
                                        "gamma",
                                        "power",
                                        "momentum",
                                        "weight_decay",
                                        "regularization_type",
                                        "stepsize",
                                        "stepvalue",
                                        "clip_gradients",
                                        "snapshot",
                                        "snapshot_prefix",
                                        "snapshot_diff",
                                        "snapshot_format",
                                        "solver_mode",
                                        "device_id",
                                        "random_seed",
                                        "type",
                                        "delta",
                                        "momentum2",
                                        "rms_decay",
                                        "debug_info",
                                        "snapshot_after_train",
                                        "solver_type",
                                        "layer_wise_reduce",
                                        "weights"};

constexpr std::pair<std::string_view, Policy> kPolicies[] = {
    {"fixed", Policy::fixed},    {"step", Policy::step},           {"exp", Policy::exp},
    {"inv", Policy::inv},        {"multistep", Policy::multistep}, {"poly", Policy::poly},
    {"sigmoid", Policy::sigmoid}};

// type, and the enumerator that solver_type had, in the order of its numbers.
struct Type {
  std::string_view name, older;
  Solver solver;
};
constexpr Type kTypes[] = {{"SGD", "SGD", Solver::sgd},
                           {"Nesterov", "NESTEROV", Solver::nesterov},
                           {"AdaGrad", "ADAGRAD", Solver::adagrad},
                           {"RMSProp", "RMSPROP", Solver::rmsprop},
                           {"AdaDelta", "ADADELTA", Solver::adadelta},
                           {"Adam", "ADAM", Solver::adam}};

class SolverReader {
 public:
  SolverReader(Message message, const fs::path& path)
      : message_(std::move(message)), file_(path.string()) {
    solver_.file = path;
  }

  CaffeSolver run() {
    check_fields();
    read_train_net();
    read_test_nets();
    read_type();
    read_rate();
    read_rest();
    return std::move(solver_);
  }

 private:
  std::string place(const Field& field) const { return fmt::format("{}:{}", file_, field.line); }

  [[noreturn]] void fail(const Field& field, std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(place(field), expected, got, hint);
  }

  void check_fields() const {
    if (const Field* layer = message_.find("layer"); layer != nullptr || message_.has("layers")) {
      throw Error(file_, "a solver definition", "a network",
                  "the solver.prototxt that names this network");
    }
    for (const Field& field : message_.fields) {
      if (std::ranges::find(kFields, field.name) == std::end(kFields))
        fail(field, "a field of a solver", field.name, closest_names(field.name, kFields));
    }
  }

  // --- single values -------------------------------------------------------------------------------

  const Field* one(std::string_view name) const {
    const auto found = message_.all(name);
    if (found.size() > 1) fail(*found[1], fmt::format("one {}", name), fmt::format("{}", found.size()));
    return found.empty() ? nullptr : found[0];
  }

  double to_number(const Field& field) const {
    const auto value = field.number();
    if (!value || !std::isfinite(*value))
      fail(field, fmt::format("a finite number for {}", field.name), field.str());
    return *value;
  }

  std::int64_t to_integer(const Field& field, std::int64_t least) const {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    const auto value = field.integer();
    if (!value || *value < least || *value > kMost)
      fail(field, fmt::format("a whole number of {} or more for {}", least, field.name), field.str());
    return *value;
  }

  double number(std::string_view name, double fallback, double least = 0) const {
    const Field* field = one(name);
    if (field == nullptr) return fallback;
    const double value = to_number(*field);
    if (value < least) fail(*field, fmt::format("{} of {} or more", name, least), field->str());
    return value;
  }

  // At least 0, below 1.
  double share(std::string_view name, double fallback) const {
    const double value = number(name, fallback);
    if (value >= 1) fail(*one(name), fmt::format("{} of 0 or more, below 1", name), one(name)->str());
    return value;
  }

  std::int64_t integer(std::string_view name, std::int64_t fallback, std::int64_t least) const {
    const Field* field = one(name);
    return field == nullptr ? fallback : to_integer(*field, least);
  }

  bool boolean(std::string_view name, bool fallback) const {
    const Field* field = one(name);
    if (field == nullptr) return fallback;
    const auto value = field->boolean();
    if (!value) fail(*field, fmt::format("true or false for {}", name), field->str());
    return *value;
  }

  std::string string_of(const Field& field) const {
    if (field.kind != Field::Kind::string)
      fail(field, fmt::format("a quoted {}", field.name), field.str());
    return field.text;
  }

  std::string text(std::string_view name, std::string_view fallback) const {
    const Field* field = one(name);
    return field == nullptr ? std::string(fallback) : string_of(*field);
  }

  // An enumerator by its name or number: the index of the name.
  std::size_t enumerated(const Field& field, std::span<const std::string_view> names) const {
    const auto number = field.integer();
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (field.text == names[i] || number == static_cast<std::int64_t>(i)) return i;
    }
    fail(field, fmt::format("{} for {}", fmt::join(names, " or "), field.name), field.str(),
         closest_names(field.text, names));
  }

  // --- networks ------------------------------------------------------------------------------------

  // As Caffe has it, from the working directory; else from the solver's folder.
  fs::path found(const Field& field, const std::string& written, std::string_view what) const {
    std::error_code none;
    if (fs::exists(written, none)) return written;
    fs::path beside = solver_.file.parent_path() / written;
    if (fs::exists(beside, none)) return beside;
    fail(field, fmt::format("a {} that is there", what),
         fmt::format("\"{}\", neither here nor beside the solver", written), "checking the path");
  }

  CaffeNet net_of(const Field& field, std::string_view phase) const {
    CaffeNet net;
    net.phase = phase;
    if (field.name.ends_with("_param")) {
      if (!field.is_message())
        fail(field, fmt::format("a block {} {{ }}", field.name), field.str(), "net: \"file\"");
      net.file = solver_.file;
      net.inlined = std::make_shared<const Message>(field.message);
    } else {
      net.file = found(field, string_of(field), "network");
    }
    return net;
  }

  void apply_state(const Field& state, CaffeNet& net) const {
    if (!state.is_message()) fail(state, fmt::format("a block {} {{ }}", state.name), state.str());
    for (const Field& field : state.message.fields) {
      if (field.name == "phase") {
        constexpr std::string_view kPhases[] = {"TRAIN", "TEST"};
        net.phase = kPhases[enumerated(field, kPhases)];
      } else if (field.name == "level") {
        const auto level = field.integer();
        if (!level) fail(field, "a whole number for level", field.str());
        net.level = *level;
      } else if (field.name == "stage") {
        net.stages.push_back(string_of(field));
      } else {
        fail(field, "phase, level or stage in a state", field.name);
      }
    }
  }

  void read_train_net() {
    const Field* chosen = nullptr;
    for (const std::string_view name : {"net", "net_param", "train_net", "train_net_param"}) {
      const Field* field = one(name);
      if (field == nullptr) continue;
      if (chosen != nullptr) {
        fail(*field, "one network to train: net, net_param, train_net or train_net_param",
             fmt::format("{} and {}", chosen->name, field->name), "leaving out one of them");
      }
      chosen = field;
    }
    if (chosen == nullptr)
      throw Error(file_, "a network to train", "none", "net: \"train_val.prototxt\"");
    solver_.train = net_of(*chosen, "TRAIN");
    if (const Field* state = one("train_state")) apply_state(*state, solver_.train);
  }

  void read_test_nets() {
    std::vector<const Field*> nets = message_.all("test_net_param");
    for (const Field* file : message_.all("test_net")) nets.push_back(file);
    const auto iterations = message_.all("test_iter"), states = message_.all("test_state");
    const Field* generic = one("net") != nullptr ? one("net") : one("net_param");
    // The network that is trained is tested as often as there are test_iter left.
    while (generic != nullptr && nets.size() < iterations.size()) nets.push_back(generic);
    if (nets.size() != iterations.size()) {
      throw Error(nets.empty() ? place(*iterations[0]) : place(*nets[0]),
                  fmt::format("a test_iter for each of {} networks to test", nets.size()),
                  fmt::format("{}", iterations.size()),
                  nets.empty() ? "net: or test_net:" : "test_iter: how many batches make a test");
    }
    if (!states.empty() && states.size() != nets.size()) {
      fail(*states[0],
           fmt::format("a test_state for each of {} networks to test, or none", nets.size()),
           fmt::format("{}", states.size()));
    }
    solver_.test_interval = integer("test_interval", 0, 0);
    if (!nets.empty() && solver_.test_interval == 0) {
      throw Error(place(*iterations[0]), "a test_interval of 1 or more for the networks to test",
                  one("test_interval") != nullptr ? "0" : "none", "test_interval: 1000");
    }
    for (std::size_t i = 0; i < nets.size(); ++i) {
      CaffeNet& net = solver_.tests.emplace_back(net_of(*nets[i], "TEST"));
      net.iterations = to_integer(*iterations[i], 0);
      if (!states.empty()) apply_state(*states[i], net);
    }
  }

  // --- how it is trained ---------------------------------------------------------------------------

  void read_type() {
    const Field *type = one("type"), *older = one("solver_type");
    if (type != nullptr && older != nullptr)
      fail(*older, "either type or the older solver_type", "both", "leaving out solver_type");
    std::vector<std::string_view> names;
    for (const Type& known : kTypes) names.push_back(type != nullptr ? known.name : known.older);
    if (type != nullptr) {
      const std::string written = string_of(*type);
      const auto known = std::ranges::find(kTypes, written, &Type::name);
      if (known == std::end(kTypes)) {
        fail(*type, fmt::format("a type among {}", fmt::join(names, ", ")), type->str(),
             closest_names(written, names));
      }
      solver_.type = known->solver;
    } else if (older != nullptr) {
      solver_.type = kTypes[enumerated(*older, names)].solver;
    }
    solver_.momentum = share("momentum", 0);
    if ((solver_.type == Solver::adagrad || solver_.type == Solver::rmsprop) && solver_.momentum != 0) {
      fail(*one("momentum"), "no momentum for AdaGrad and RMSProp, which have none",
           one("momentum")->str(), "leaving it out");
    }
    solver_.momentum2 = share("momentum2", 0.999);
    solver_.delta = number("delta", 1e-8);
    solver_.rms_decay = share("rms_decay", 0.99);
    solver_.weight_decay = number("weight_decay", 0);
    const std::string regularization = text("regularization_type", "L2");
    if (regularization != "L1" && regularization != "L2")
      fail(*one("regularization_type"), "\"L1\" or \"L2\" for regularization_type",
           one("regularization_type")->str());
    solver_.regularization =
        regularization == "L1" ? CaffeSolver::Regularization::l1 : CaffeSolver::Regularization::l2;
    if (const Field* clip = one("clip_gradients")) {
      const double value = to_number(*clip);
      if (value == 0)
        fail(*clip, "clip_gradients above 0", "0, which leaves no gradient at all", "leaving it out");
      solver_.clip_gradients = std::max(value, 0.0);
    }
    solver_.iter_size = integer("iter_size", 1, 1);
  }

  const Field& need(std::string_view name, std::string_view example) const {
    if (const Field* field = one(name)) return *field;
    throw Error(file_, fmt::format("{}", name), "none", example);
  }

  // Of the rate's policy.
  const Field& needed(std::string_view name) const {
    if (const Field* field = one(name)) return *field;
    fail(*one("lr_policy"), fmt::format("{} for this policy", name), "none",
         fmt::format("{}: a number", name));
  }

  void read_rate() {
    need("base_lr", "base_lr: 0.01");
    solver_.base_rate = number("base_lr", 0);
    solver_.max_iter = to_integer(need("max_iter", "max_iter: 10000"), 0);
    const Field& policy = need("lr_policy", "lr_policy: \"fixed\"");
    const std::string written = string_of(policy);
    const auto known =
        std::ranges::find(kPolicies, written, &std::pair<std::string_view, Policy>::first);
    if (known == std::end(kPolicies)) {
      std::vector<std::string_view> names;
      for (const auto& [name, unused] : kPolicies) names.push_back(name);
      fail(policy, fmt::format("an lr_policy among {}", fmt::join(names, ", ")), policy.str(),
           closest_names(written, names));
    }
    solver_.policy = known->second;
    // Of sigmoid, a rate that falls has a negative one.
    constexpr double kAny = -std::numeric_limits<double>::infinity();
    solver_.gamma = number("gamma", 0, solver_.policy == Policy::sigmoid ? kAny : 0);
    solver_.power = number("power", 0, -std::numeric_limits<double>::infinity());
    solver_.step = integer("stepsize", 0, 0);
    for (const Field* value : message_.all("stepvalue")) {
      const std::int64_t at = to_integer(*value, 0);
      if (!solver_.steps.empty() && at <= solver_.steps.back()) {
        fail(*value, fmt::format("a stepvalue beyond the one before it, {}", solver_.steps.back()),
             value->str());
      }
      solver_.steps.push_back(at);
    }
    if (solver_.policy == Policy::step || solver_.policy == Policy::sigmoid)
      to_integer(needed("stepsize"), 1);
    if (solver_.policy == Policy::multistep && solver_.steps.empty()) needed("stepvalue");
    if (solver_.policy != Policy::fixed && solver_.policy != Policy::poly) needed("gamma");
    if (solver_.policy == Policy::inv || solver_.policy == Policy::poly) needed("power");
  }

  // --- and the rest --------------------------------------------------------------------------------

  void note(std::string_view name, std::string_view why) {
    if (const Field* field = one(name.substr(0, name.find(':'))))
      solver_.notes.push_back(fmt::format("{}: {} has no effect: {}", place(*field), name, why));
  }

  void read_rest() {
    solver_.test_initialization = boolean("test_initialization", true);
    solver_.test_compute_loss = boolean("test_compute_loss", false);
    solver_.display = integer("display", 0, 0);
    solver_.average_loss = integer("average_loss", 1, 1);
    solver_.snapshot = integer("snapshot", 0, 0);
    solver_.snapshot_after_train = boolean("snapshot_after_train", true);
    read_prefix();
    if (const Field* format = one("snapshot_format")) {
      constexpr std::string_view kFormats[] = {"HDF5", "BINARYPROTO"};
      if (enumerated(*format, kFormats) == 0)
        note("snapshot_format: HDF5", "snapshots are .caffemodel and .solverstate");
    }
    if (const Field* mode = one("solver_mode")) {
      constexpr std::string_view kModes[] = {"CPU", "GPU"};
      solver_.gpu = enumerated(*mode, kModes) == 1;
      solver_.mode_given = true;
    }
    solver_.device = integer("device_id", 0, 0);
    if (const std::int64_t seed = integer("random_seed", -1, std::numeric_limits<std::int32_t>::min());
        seed >= 0)
      solver_.seed = static_cast<std::uint64_t>(seed);
    for (const Field* field : message_.all("weights")) {
      const std::string list = string_of(*field);
      for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(',', at), list.size());
        if (end > at) solver_.weights.push_back(found(*field, list.substr(at, end - at), "caffemodel"));
        at = end + 1;
      }
    }
    if (boolean("snapshot_diff", false)) note("snapshot_diff", "gradients are not written");
    if (boolean("debug_info", false)) note("debug_info", "maru profile shows each layer");
    if (!boolean("layer_wise_reduce", true))
      note("layer_wise_reduce", "gradients are always exchanged while others are computed");
  }

  // As Caffe's tool has it: without a prefix, and for a folder, the solver's own name.
  void read_prefix() {
    fs::path own = solver_.file;
    own.replace_extension();
    const Field* field = one("snapshot_prefix");
    if (field == nullptr) {
      solver_.snapshot_prefix = own.string();
      return;
    }
    solver_.snapshot_prefix = string_of(*field);
    std::error_code none;
    if (fs::is_directory(solver_.snapshot_prefix, none))
      solver_.snapshot_prefix = (fs::path(solver_.snapshot_prefix) / own.filename()).string();
  }

  Message message_;
  std::string file_;
  CaffeSolver solver_;
};

}  // namespace

CaffeSolver read_caffe_solver(const fs::path& path) {
  const MappedFile file(path);
  return parse_caffe_solver(file.text(), path);
}

CaffeSolver parse_caffe_solver(std::string_view text, const fs::path& path) {
  return SolverReader(parse_prototxt(text, path.string()), path).run();
}

Imported import_caffe(const CaffeNet& net, const std::optional<fs::path>& caffemodel,
                      CaffeOptions options) {
  options.phase = net.phase;
  options.level = net.level;
  options.stages = net.stages;
  if (net.inlined) return import_caffe(*net.inlined, net.file.string(), caffemodel, options);
  return import_caffe(net.file, caffemodel, options);
}

std::int64_t learning_step(const CaffeSolver& solver, std::int64_t iteration) {
  if (solver.policy == Policy::step) return iteration / std::max<std::int64_t>(solver.step, 1);
  if (solver.policy != Policy::multistep) return 0;
  return std::ranges::upper_bound(solver.steps, iteration) - solver.steps.begin();
}

// In floats where Caffe has them; powers in double, as the C++ library does them for a whole exponent.
double learning_rate(const CaffeSolver& solver, std::int64_t iteration) {
  const auto base = static_cast<float>(solver.base_rate), gamma = static_cast<float>(solver.gamma),
             power = static_cast<float>(solver.power);
  const auto at = static_cast<float>(iteration);
  const auto times = [&](double factor) {
    return static_cast<double>(static_cast<float>(static_cast<double>(base) * factor));
  };
  const auto raised = [](float number, double exponent) {
    return std::pow(static_cast<double>(number), exponent);
  };
  switch (solver.policy) {
    case Policy::fixed:
      return static_cast<double>(base);
    case Policy::step:
    case Policy::multistep:
      return times(raised(gamma, static_cast<double>(learning_step(solver, iteration))));
    case Policy::exp:
      return times(raised(gamma, static_cast<double>(iteration)));
    case Policy::inv:
      return times(raised(1.0F + gamma * at, -static_cast<double>(power)));
    case Policy::poly: {
      if (iteration >= solver.max_iter) return 0;
      const float left = 1.0F - at / static_cast<float>(solver.max_iter);
      return times(raised(left, static_cast<double>(power)));
    }
    case Policy::sigmoid: {
      const float distance = -gamma * (at - static_cast<float>(solver.step));
      return times(1 / (1 + std::exp(static_cast<double>(distance))));
    }
  }
  return 0;
}

std::string_view to_string(CaffeSolver::Policy policy) noexcept {
  const auto known = std::ranges::find(kPolicies, policy, &std::pair<std::string_view, Policy>::second);
  return known == std::end(kPolicies) ? "?" : known->first;
}

}  // namespace maru
