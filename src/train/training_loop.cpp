#include "train/training_loop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "train/agreement.h"

namespace maru {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

TrainingFacts::Net facts_of(const FedNetwork& network) {
  return {network.source, network.data->size(), network.loader.batch, network.figures()};
}

// Folders are counted by their names: without one of them, all behind it would have other labels.
void require_same_classes(const DataSet& trained, const FedNetwork& tested) {
  const std::vector<std::string>&wanted = trained.class_names(), &found = tested.data->class_names();
  if (wanted.empty() || found.empty() || wanted == found) return;
  const auto [here, there] = std::ranges::mismatch(wanted, found);
  throw Error(tested.source, "the class folders of the photos that are trained on",
              here == wanted.end()
                  ? fmt::format("one more, \"{}\"", *there)
                  : fmt::format("none of the name \"{}\" where it comes in their order", *here),
              "a list file, for photos of some of the classes");
}

}  // namespace

TrainingLoop::TrainingLoop(TrainingLoopOptions options) : options_(std::move(options)) {
  load();
  add_tests();
  require_same_work();
  note_facts();
}

TrainingLoop::~TrainingLoop() = default;

void TrainingLoop::load() {
  const CaffeSolver& solver = options_.solver;
  std::optional<Snapshot> snapshot;
  if (options_.communicator)
    options_.communicator->share(std::as_writable_bytes(std::span(&options_.seed, 1)));
  weights_ = {options_.weights, true, options_.seed};
  position_.seed = options_.seed;
  if (options_.snapshot) {
    snapshot = read_snapshot(*options_.snapshot);
    if (snapshot->position.samples < 0) snapshot->position.seed = options_.seed;  // Caffe's has none
    weights_ = {{snapshot->weights}, false, snapshot->position.seed};
  }
  network_ = load_fed_network(solver.train, weights_, options_.train, options_.batch);
  if (options_.communicator) {
    network_.loader.rank = options_.communicator->rank();
    network_.loader.ranks = options_.communicator->ranks();
  }
  if (options_.communicator)
    require_same(*options_.communicator, "beginning",
                 snapshot ? fmt::format("going on at iteration {}", snapshot->position.iteration)
                          : std::string("from the first iteration on"),
                 "the same snapshot files where each rank runs");
  if (snapshot) {
    position_ = snapshot->position;
    if (position_.samples < 0)
      position_.samples =
          position_.iteration * network_.loader.batch * network_.loader.ranks * solver.iter_size;
  }
  trainer_ = std::make_unique<Trainer>(network_.imported.graph, options_.devices, trainer_options());
  network_.loader = loader_into(trainer_->gradients(), network_);
  if (!snapshot) return;
  restore(*snapshot, network_.imported, *trainer_, solver);
  trainer_->share();
}

void TrainingLoop::require_same_work() const {
  if (!options_.communicator) return;
  const CaffeSolver& solver = options_.solver;
  std::string text = fmt::format(
      "iteration {} of {}, sample {}, {} passes an update\n"
      "display every {}, tests every {}, snapshots every {}{}{}\n"
      "snapshots to \"{}\"\n"
      "train on {} photos, {} a pass\n",
      position_.iteration, solver.max_iter, position_.samples, solver.iter_size, solver.display,
      solver.test_interval, solver.snapshot, solver.test_initialization ? ", a test at first" : "",
      solver.snapshot_after_train ? ", a snapshot at last" : "", options_.prefix, network_.data->size(),
      network_.loader.batch);
  for (std::int64_t i = 0; i < 3; ++i)
    text += fmt::format("a rate of {} at iteration {}\n",
                        learning_rate(solver, i * solver.max_iter / 3), i * solver.max_iter / 3);
  for (const auto& test : tests_) {
    const FedNetwork& network = test->network();
    text += fmt::format("test on {} photos, {} a run, {} times\n", network.data->size(),
                        network.loader.batch, test->iterations());
  }
  require_same(*options_.communicator, "work", text,
               "starting all ranks with the same options, files and photos");
}

TrainerOptions TrainingLoop::trainer_options() const {
  const CaffeSolver& solver = options_.solver;
  TrainerOptions options;
  for (const CaffeLoss& loss : network_.imported.losses)
    options.training.losses.push_back({loss.value, loss.weight});
  options.training.seed = position_.seed;
  options.training.recompute = options_.recompute;
  options.training.rates = [&rates = network_.imported.rates](std::string_view name) {
    const auto found = rates.find(name);
    return found == rates.end() ? std::pair{1.0, 1.0} : found->second;
  };
  options.communicator = options_.communicator;
  options.solver.solver = solver.type;
  options.solver.momentum = solver.momentum;
  options.solver.momentum2 = solver.momentum2;
  options.solver.delta = solver.delta;
  options.solver.rms_decay = solver.rms_decay;
  options.policy = options_.policy;
  options.precision = options_.precision;
  options.speeds = options_.speeds;
  options.copied = network_.copied();
  options.passes = solver.iter_size;
  options.clip_gradients = solver.clip_gradients;
  (solver.regularization == CaffeSolver::Regularization::l1 ? options.l1_decay : options.l2_decay) =
      solver.weight_decay;
  return options;
}

void TrainingLoop::add_tests() {
  if (options_.solver.test_interval == 0) return;
  for (const CaffeNet& net : options_.solver.tests) {
    EvaluatorOptions options;
    options.net = net;
    options.weights = weights_;
    options.trained = &network_.imported.layers;
    options.feed = options_.test;
    options.seed = position_.seed;
    options.communicator = options_.communicator;
    options.weights.fill = true;  // a layer that only the test net has
    if (options_.whole_tests) options.net.iterations = 0;
    options.computes_loss = options_.solver.test_compute_loss;
    tests_.push_back(std::make_unique<Evaluator>(*trainer_, std::move(options)));
    require_same_classes(*network_.data, tests_.back()->network());
  }
}

// What the training network's notes do not say: fields that nobody reads, layers that it has not.
void TrainingLoop::add_notes_of(const Evaluator& test) {
  const Imported& imported = test.network().imported;
  std::vector<std::string> notes;
  std::ranges::copy_if(imported.notes, std::back_inserter(notes),
                       [](const std::string& note) { return note.ends_with(" is not used"); });
  for (const CaffeStored& layer : imported.layers) {
    const auto& trained = network_.imported.layers;
    if (layer.params.empty() ||
        std::ranges::find(trained, layer.name, &CaffeStored::name) != trained.end())
      continue;
    notes.push_back(
        fmt::format("{}: the training network has no layer '{}': its weights stay as they begin",
                    test.network().net, layer.name));
  }
  for (std::string& note : notes) {
    if (std::ranges::find(facts_.notes, note) == facts_.notes.end())
      facts_.notes.push_back(std::move(note));
  }
}

// Of lists: files that are not there, before hours have gone.
void TrainingLoop::check_files(const FedNetwork& network) {
  if (!network.data->is_quick_to_check()) return;
  const DataCheck found = network.data->check(1);
  if (found.bad == 0) return;
  if (found.bad == found.samples)
    throw Error(network.source, "photos that can be read",
                fmt::format("{}, none of which can; the first: {}", found.samples, found.first[0]),
                "--data-root, or a root_folder in the data layer");
  facts_.notes.push_back(
      fmt::format("{}: {} of {} photos cannot be read, others stand in for them; the first: {}",
                  network.source, found.bad, found.samples, found.first[0]));
}

void TrainingLoop::note_facts() {
  facts_.network = network_.imported.graph.name;
  facts_.notes = network_.imported.notes;
  facts_.train = facts_of(network_);
  check_files(network_);
  facts_.ranks = network_.loader.ranks;
  for (const auto& test : tests_) {
    facts_.tests.push_back(facts_of(test->network()));
    facts_.test_bytes += test->memory_bytes();
    add_notes_of(*test);
    check_files(test->network());
  }
  for (const CaffeParam& param : learnable_params(network_.imported))
    facts_.parameters += param.shape.count();
  for (const Parameter& parameter : trainer_->parameters()) facts_.trained += parameter.shape.count();
  facts_.recomputed = trainer_->recomputed();
  facts_.state_bytes = trainer_->state_bytes();
  facts_.training_bytes = trainer_->memory_bytes();
  facts_.arena_bytes = trainer_->arena_bytes();
  facts_.position = position_;
}

// One run of a loop, with its clocks.
class TrainingLoop::Running {
 public:
  Running(TrainingLoop& loop, TrainingObserver& observer)
      : loop_(loop),
        solver_(loop.options_.solver),
        trainer_(*loop.trainer_),
        position_(loop.position_),
        observer_(observer),
        communicator_(loop.options_.communicator.get()),
        loader_(loop.network_.data, loader_options(loop)) {
    outcome_.last = figures();
  }

  TrainingOutcome run() {
    while (position_.iteration < solver_.max_iter) {
      if (is_test_due(solver_.test_initialization) && !test_all()) return stopped();
      const bool is_displayed = solver_.display > 0 && position_.iteration % solver_.display == 0;
      if (!step(is_displayed)) return outcome_;
      const bool is_due = solver_.snapshot > 0 && position_.iteration % solver_.snapshot == 0;
      // Those of the last update would else not be heard.
      if (position_.iteration == solver_.max_iter) hear(all_of(own_wishes()));
      const Asked asked = answer(wishes_);
      if (is_due || asked == Asked::snapshot) save();
      if (asked == Asked::stop) return stopped();
    }
    save_at_end();
    if (solver_.display > 0 && position_.iteration % solver_.display == 0 && !last_display())
      return outcome_;
    if (is_test_due(true)) test_all();
    return outcome_;
  }

 private:
  static LoaderOptions loader_options(const TrainingLoop& loop) {
    LoaderOptions options = loop.network_.loader;
    options.seed = loop.position_.seed;
    options.first = loop.position_.samples;
    return options;
  }

  bool is_test_due(bool also_at_first) const {
    return !loop_.tests_.empty() && position_.iteration % solver_.test_interval == 0 &&
           (position_.iteration > 0 || also_at_first);
  }

  void sum(std::span<double> values) const {
    if (communicator_ != nullptr) communicator_->sum(values);
  }

  // How many ranks there are that are out of time, asked to stop, asked for a snapshot.
  enum Wish : std::uint8_t { late, stop, snapshot };
  static constexpr std::size_t kWishes = 3;
  using Wishes = std::array<double, kWishes>;

  Wishes own_wishes() const {
    const auto& deadline = loop_.options_.deadline;
    const Asked own = observer_.asks();
    Wishes wishes{};
    wishes[late] = deadline && Clock::now() >= *deadline ? 1 : 0;
    wishes[stop] = own == Asked::stop ? 1 : 0;
    wishes[snapshot] = own == Asked::snapshot ? 1 : 0;
    return wishes;
  }

  Wishes all_of(Wishes wishes) const {
    sum(wishes);
    return wishes;
  }

  void hear(std::span<const double> wishes) {
    std::ranges::transform(wishes_, wishes, wishes_.begin(), std::plus<>());
  }

  // What one rank asks for is done by all.
  Asked answer(const Wishes& all) {
    if (all[late] == 0 && all[stop] == 0) return all[snapshot] > 0 ? Asked::snapshot : Asked::nothing;
    outcome_.ended =
        all[late] > 0 ? TrainingOutcome::Ended::out_of_time : TrainingOutcome::Ended::asked;
    return Asked::stop;
  }

  // With a snapshot, whatever snapshot_after_train says of the end: nothing else would be left of it.
  TrainingOutcome stopped() {
    save();
    return outcome_;
  }

  void save_at_end() {
    const bool is_there = solver_.snapshot > 0 && position_.iteration % solver_.snapshot == 0;
    if (solver_.snapshot_after_train && (!is_there || outcome_.is_unsaved)) save();
  }

  // A snapshot that cannot be written costs no training: the next is tried, too. Of several ranks, 0
  // writes it.
  void save() {
    if (loop_.options_.prefix.empty() || saved_at_ == position_.iteration) return;
    trainer_.require_same_states();
    std::array<double, 1> failed{};
    if (loop_.network_.loader.rank == 0 && !write()) failed[0] = 1;
    sum(failed);
    outcome_.is_unsaved = failed[0] > 0;
    if (!outcome_.is_unsaved) saved_at_ = position_.iteration;
  }

  bool write() {
    const Clock::time_point start = Clock::now();
    position_.updates = trainer_.updates();
    position_.scale.reset();
    if (loop_.options_.precision == Precision::fp16) position_.scale = trainer_.loss_scale();
    try {
      outcome_.snapshot =
          write_snapshot(loop_.options_.prefix, loop_.network_.imported, trainer_, solver_, position_);
      observer_.saved(*outcome_.snapshot, since(start));
      return true;
    } catch (const Error& error) {
      observer_.could_not_save(error);
      return false;
    }
  }

  // False where somebody asked to stop. A test that cannot be made costs no training.
  bool test_all() {
    for (std::size_t i = 0; i < loop_.tests_.size(); ++i) {
      const Clock::time_point start = Clock::now();
      bool wants_snapshot = false, stops = false;
      std::optional<Evaluator::Figures> means;
      try {
        means = loop_.tests_[i]->run([&] {
          const Asked asked = answer(all_of(own_wishes()));
          wants_snapshot = wants_snapshot || asked == Asked::snapshot;
          stops = stops || asked == Asked::stop;
          return stops;
        });
      } catch (const Error& error) {
        if (communicator_ != nullptr) communicator_->check();  // without all ranks nothing goes on
        outcome_.is_untested = true;
        observer_.could_not_test(i, error);
      }
      if (wants_snapshot) save();
      if (stops) return false;
      if (!means) continue;
      outcome_.last.iteration = position_.iteration;
      observer_.tested(i, figures(), *means, since(start));
    }
    return true;
  }

  // Losses of one pass of this rank, summed with their weights. Nothing else may have been written to
  // inputs.
  double pass() {
    const Clock::time_point start = Clock::now();
    const Batch batch = loader_.next();
    feed(loop_.network_, batch, batch.count, trainer_.gradients());
    waited_ += since(start);
    trainer_.pass();
    double loss = 0;
    for (const CaffeLoss& one : loop_.network_.imported.losses)
      loss += one.weight * static_cast<double>(trainer_.output(one.value)[0]);
    const std::int64_t photos = batch.count * loop_.network_.loader.ranks;
    position_.samples += photos;
    images_ += photos;
    busy_ += since(start);
    return loss;
  }

  // The mean over ranks, where it is finite; else says whose is not, and where it began. Devices wait
  // meanwhile, so wishes come along, and are heard.
  std::optional<double> mean_loss(double own, const Wishes& wishes) {
    const auto ranks = static_cast<std::size_t>(loop_.network_.loader.ranks);
    std::vector<double> shared(ranks + kWishes);
    const std::span<double> losses = std::span(shared).first(ranks);
    losses[static_cast<std::size_t>(loop_.network_.loader.rank)] = own;
    std::ranges::copy(wishes, shared.begin() + loop_.network_.loader.ranks);
    sum(shared);
    hear(std::span(shared).last(kWishes));
    const auto bad = std::ranges::find_if_not(losses, [](double loss) { return std::isfinite(loss); });
    if (bad != losses.end()) {
      const std::string whose =
          communicator_ == nullptr ? "" : fmt::format(" of rank {}", bad - losses.begin());
      diverged(fmt::format("the loss{}", whose), *bad);
      return std::nullopt;
    }
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
  }

  void note_loss(double loss) {
    position_.losses.push_back(loss);
    const auto most = static_cast<std::size_t>(std::max<std::int64_t>(solver_.average_loss, 1));
    while (position_.losses.size() > most) position_.losses.pop_front();
  }

  // One update. False where the loss is no number any more.
  bool step(bool is_displayed) {
    double loss = 0;
    wishes_ = {};
    for (std::int64_t pass_of = 0; pass_of < solver_.iter_size; ++pass_of) {
      // At once, while the photos that it comes of are there.
      const double own = pass();
      const std::optional<double> mean = mean_loss(own, own_wishes());
      if (!mean) return false;
      loss += *mean / static_cast<double>(solver_.iter_size);
    }
    note_loss(loss);
    if (is_displayed) display();
    const Clock::time_point start = Clock::now();
    const double norm = trainer_.update(learning_rate(solver_, position_.iteration));
    busy_ += since(start);
    if (!std::isfinite(norm)) {
      // With a loss scale, an update is left out now and then; that it was too large is no failure.
      if (!trainer_.was_overflow()) return diverged("the norm of the gradients", norm);
      ++skipped_;
    }
    ++position_.iteration;
    outcome_.last = figures();
    observer_.ran(outcome_.last);
    return true;
  }

  bool diverged(std::string_view what, double value) {
    outcome_.ended = TrainingOutcome::Ended::diverged;
    const std::string shown = std::isnan(value) ? "no number (NaN)" : fmt::format("{}", value);
    outcome_.diverged = fmt::format("{} at iteration {} is {}", what, position_.iteration, shown);
    try {
      if (const std::optional<FirstBad> bad = trainer_.find_first_bad())
        outcome_.diverged += fmt::format(", which began with the {}", bad->str());
    } catch (const Error& error) {
      outcome_.diverged += fmt::format(" (where it began could not be found: {})", error.what());
    }
    return false;
  }

  // As Caffe: of one more pass, after the last update.
  bool last_display() {
    const std::optional<double> loss = mean_loss(pass(), {});
    if (!loss) return false;
    note_loss(*loss);
    display();
    return true;
  }

  void display() {
    TrainingFigures shown = figures();
    const std::vector<std::string>& names = loop_.facts_.train.figures;
    std::vector<double> values;
    for (const std::string& name : names)
      values.push_back(static_cast<double>(trainer_.output(name)[0]));
    if (communicator_ != nullptr && !values.empty()) communicator_->sum(std::span(values));
    for (std::size_t i = 0; i < names.size(); ++i)
      shown.outputs.emplace_back(names[i], values[i] / loop_.network_.loader.ranks);
    outcome_.last = shown;
    observer_.displayed(shown);
    all_busy_ += busy_;
    busy_ = waited_ = 0;
    images_ = 0;
  }

  TrainingFigures figures() const {
    TrainingFigures now;
    now.iteration = position_.iteration;
    now.epoch =
        static_cast<double>(position_.samples) / static_cast<double>(loop_.network_.data->size());
    now.seconds = since(start_);
    if (!position_.losses.empty())
      now.loss = std::accumulate(position_.losses.begin(), position_.losses.end(), 0.0) /
                 static_cast<double>(position_.losses.size());
    now.rate = learning_rate(solver_, position_.iteration);
    if (busy_ > 0) {
      now.images_per_second = static_cast<double>(images_) / busy_;
      now.data_wait = waited_ / busy_;
    }
    const std::int64_t done = position_.iteration - first_;
    if (done > 0)
      now.eta_seconds = (all_busy_ + busy_) / static_cast<double>(done) *
                        static_cast<double>(solver_.max_iter - position_.iteration);
    now.skipped = skipped_;
    if (loop_.options_.precision == Precision::fp16) now.loss_scale = trainer_.loss_scale().scale;
    return now;
  }

  TrainingLoop& loop_;
  const CaffeSolver& solver_;
  Trainer& trainer_;
  TrainingPosition& position_;
  TrainingObserver& observer_;
  Communicator* const communicator_;  // null: one rank alone
  Loader loader_;
  TrainingOutcome outcome_;
  Wishes wishes_{};  // heard since this update began
  const Clock::time_point start_ = Clock::now();
  const std::int64_t first_ = position_.iteration;
  std::int64_t saved_at_ = -1, images_ = 0, skipped_ = 0;
  // Seconds: in passes and updates, and in it waiting for photos, since the last display; before it.
  double busy_ = 0, waited_ = 0, all_busy_ = 0;
};

TrainingOutcome TrainingLoop::run(TrainingObserver& observer) { return Running(*this, observer).run(); }

}  // namespace maru
