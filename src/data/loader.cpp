#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <utility>

#include "data/draws.h"
#include "data/sample_maker.h"

namespace maru {
namespace {

constexpr std::int64_t kAlignment = Preprocess::Frame::kUnit;  // of a photo
constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();
// Where each of so many photos, drawn at random, cannot be read, hardly any can.
constexpr int kMostStandIns = 1000;

std::int64_t padded(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Free {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using Memory = std::unique_ptr<std::byte[], Free>;

Memory allocate(std::int64_t bytes) {
  return Memory(
      static_cast<std::byte*>(::operator new[](static_cast<std::size_t>(bytes), std::align_val_t{64})));
}

void require(bool right, std::string_view field, std::string_view expected, const auto& got) {
  if (!right) throw Error(fmt::format("loader: {}", field), expected, fmt::format("{}", got));
}

void require_valid(const LoaderOptions& options) {
  require_valid(options.augment);
  constexpr std::int64_t kMostBatch = std::int64_t{1} << 20;
  require(options.batch >= 1 && options.batch <= kMostBatch, "batch",
          fmt::format("1 to {}", kMostBatch), options.batch);
  require(options.threads >= 0 && options.threads <= 1024, "threads", "0 to 1024", options.threads);
  require(options.first >= 0, "first", "0 or more", options.first);
  require(options.ranks >= 1, "ranks", "1 or more", options.ranks);
  require(options.rank >= 0 && options.rank < options.ranks, "rank", "0 or more, below ranks",
          options.rank);
  require(options.ahead >= 1 && options.ahead <= 1024, "ahead", "1 to 1024", options.ahead);
  require(options.memory.size() != 1, "memory", "none, or 2 buffers or more", 1);
  if (!options.floats) {
    // A frame's offset has 32 bits.
    const std::int64_t most = kAlignment * std::numeric_limits<std::int32_t>::max();
    const std::int64_t wanted = Loader::batch_bytes(options);
    require(wanted <= most, "batch", fmt::format("at most {} bytes of photos", most), wanted);
  }
  const auto bytes = static_cast<std::size_t>(Loader::batch_bytes(options));
  for (const auto& buffer : options.memory) {
    require(buffer.size() >= bytes, "memory", fmt::format("{} bytes in each buffer", bytes),
            buffer.size());
    const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
    require(address % kAlignment == 0, "memory", "buffers aligned to 16 bytes", address);
  }
  if (options.floats) {
    const int channels = options.floats->channels;
    require(channels == 1 || channels == 3, "channels", "1 or 3", channels);
  }
  if (options.floats && options.floats->mean != nullptr) {
    const MeanImage& mean = *options.floats->mean;
    require(options.floats->bgr, "bgr", "true, with a mean image", "false");
    require(mean.channels == options.floats->channels, "mean image",
            fmt::format("{} channels", options.floats->channels), mean.channels);
    require(
        mean.height >= 1 && mean.width >= 1 &&
            static_cast<std::int64_t>(mean.values.size()) == mean.channels * mean.height * mean.width,
        "mean image", "channels x height x width values", mean.values.size());
  }
}

}  // namespace

// A batch while it is made and while the caller has it. What is not said to be guarded belongs to the
// threads that make its samples, each its own, and then to the caller.
struct Slot {
  Memory own;                   // none where the caller gave memory
  std::span<std::byte> memory;  // where photos are made, at places far enough apart for any
  std::vector<data::MadeSample> made;
  std::vector<Preprocess::Frame> frames;
  std::vector<float> labels;
  std::vector<Drawn> samples;
  std::int64_t used = 0;  // bytes of memory

  std::int64_t left = 0;     // samples not made yet; guarded
  bool ready = false;        // guarded
  std::exception_ptr error;  // of the first sample that has one; guarded
  std::int64_t error_at = 0;
};

struct Loader::State {
  State(std::shared_ptr<const DataSet> set, LoaderOptions how)
      : data(std::move(set)), options(std::move(how)) {
    MARU_ASSERT(data != nullptr);
    require_valid(options);
    place_bytes = options.floats ? batch_bytes(options) / options.batch : photo_bytes(options.augment);
    global_batch = options.batch * options.ranks;
    if (!options.repeat) {
      end = (options.first / data->size() + 1) * data->size();
      steps = (end - options.first + global_batch - 1) / global_batch;
    }
    slots.resize(options.memory.empty() ? static_cast<std::size_t>(options.ahead) + 1
                                        : options.memory.size());
    const auto count = static_cast<std::size_t>(options.batch);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      Slot& slot = slots[i];
      if (options.memory.empty()) {
        slot.own = allocate(batch_bytes(options));
        slot.memory = {slot.own.get(), static_cast<std::size_t>(batch_bytes(options))};
      } else {
        slot.memory = options.memory[i];
      }
      slot.made.resize(count);
      slot.frames.resize(count);
      slot.labels.resize(count);
      slot.samples.resize(count);
    }
    int wanted = options.threads;
    if (wanted == 0) wanted = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    try {
      for (int i = 0; i < wanted; ++i) threads.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
    }
    work_there.notify_all();
    for (std::thread& thread : threads) {
      if (thread.joinable()) thread.join();
    }
  }

  std::int64_t position(std::int64_t step, std::int64_t i) const {
    return options.first + step * global_batch + options.rank * options.batch + i;
  }
  Slot& slot_of(std::int64_t step) { return slots[static_cast<std::size_t>(step) % slots.size()]; }

  // A thread's life: samples in the order of the stream, while there is room for their batch.
  void work() {
    data::SampleMaker maker(*data, options);
    std::unique_lock lock(mutex);
    const auto room = [this] {
      return next_step < steps && next_step < released + static_cast<std::int64_t>(slots.size());
    };
    while (true) {
      work_there.wait(lock, [&] { return stopped || room(); });
      if (stopped) return;
      const std::int64_t step = next_step, i = next_sample;
      Slot& slot = slot_of(step);
      if (i == 0) slot.left = options.batch;
      if (++next_sample == options.batch) {
        next_sample = 0;
        ++next_step;
      }
      lock.unlock();
      std::exception_ptr error;
      try {
        make(maker, slot, step, i);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && (!slot.error || i < slot.error_at)) {
        slot.error = error;
        slot.error_at = i;
      }
      if (--slot.left > 0) continue;
      lock.unlock();
      frame(slot);
      lock.lock();
      slot.ready = true;
      batch_there.notify_all();
    }
  }

  void make(data::SampleMaker& maker, Slot& slot, std::int64_t step, std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t where = position(step, i);
    const std::span<std::byte> dst = slot.memory.subspan(static_cast<std::size_t>(i * place_bytes),
                                                         static_cast<std::size_t>(place_bytes));
    data::MadeSample& made = slot.made[at];
    Drawn& drawn = slot.samples[at];
    made = {1, 1, 0};
    drawn = {};
    if (where >= end) {
      std::ranges::fill(options.floats ? dst : dst.first(kAlignment), std::byte{0});
      return;
    }
    const std::int64_t size = data->size();
    const std::int64_t place = where % size, epoch = where / size;
    drawn.index = options.shuffle
                      ? shuffled(place, size, options.seed, static_cast<std::uint64_t>(epoch))
                      : place;
    Draws draws(options.seed, static_cast<std::uint64_t>(where), Draws::Purpose::stand_in);
    for (int tried = 1;; ++tried) {
      const auto wrong = maker.make(drawn.index, static_cast<std::uint64_t>(where), dst, made);
      if (!wrong) return;
      report(drawn.index, *wrong);
      if (tried == kMostStandIns || size == 1) {
        throw Error("loader", "photos that can be read",
                    fmt::format("{} in a row that cannot, the last: {}", tried, wrong->what()));
      }
      drawn = {draws.below(size), true};
    }
  }

  void report(std::int64_t index, const Error& wrong) {
    const std::lock_guard lock(report_mutex);
    if (!reported.insert(index).second || !options.report) return;
    options.report(data->name(index), wrong);
  }

  // Says where the photos are, side by side and in order where they are wanted so.
  void frame(Slot& slot) const {
    for (std::size_t i = 0; i < slot.made.size(); ++i) slot.labels[i] = slot.made[i].label;
    slot.used = batch_bytes(options);
    if (options.floats) return;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < slot.made.size(); ++i) {
      const data::MadeSample& made = slot.made[i];
      const std::int64_t bytes = std::int64_t{made.height} * made.width * 3;
      const std::int64_t place = static_cast<std::int64_t>(i) * place_bytes;
      if (!options.packed) at = place;
      if (at != place)
        std::memmove(slot.memory.data() + at, slot.memory.data() + place,
                     static_cast<std::size_t>(bytes));
      slot.frames[i] = {made.height, made.width, made.width * 3,
                        static_cast<std::int32_t>(at / kAlignment)};
      at += padded(bytes);
    }
    slot.used = at;
  }

  Batch next() {
    std::unique_lock lock(mutex);
    if (failed) std::rethrow_exception(failed);
    if (released < asked) {
      slot_of(released++).ready = false;
      work_there.notify_all();
    }
    if (asked == steps) {
      Batch none;
      none.end = true;
      return none;
    }
    Slot& slot = slot_of(asked);
    batch_there.wait(lock, [&] { return slot.ready; });
    if (slot.error) {
      failed = slot.error;
      std::rethrow_exception(failed);
    }
    Batch batch;
    const std::span<const std::byte> bytes =
        std::span<const std::byte>(slot.memory).first(static_cast<std::size_t>(slot.used));
    if (options.floats) {
      batch.floats = {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
    } else {
      batch.pixels = bytes;
      batch.frames = slot.frames;
    }
    batch.labels = slot.labels;
    batch.samples = slot.samples;
    batch.position = position(asked, 0);
    batch.count = std::clamp<std::int64_t>(end - batch.position, 0, options.batch);
    ++asked;
    return batch;
  }

  const std::shared_ptr<const DataSet> data;
  const LoaderOptions options;
  std::int64_t place_bytes = 0, global_batch = 1;
  std::int64_t end = kEndless, steps = kEndless;  // the position where the pass ends, its batches
  std::vector<Slot> slots;

  std::mutex mutex;  // of what follows, and of what slots say is guarded
  std::condition_variable work_there, batch_there;
  bool stopped = false;
  std::int64_t next_step = 0, next_sample = 0;  // to be made
  std::int64_t asked = 0, released = 0;         // batches that next() gave, and got back
  std::exception_ptr failed;

  std::mutex report_mutex;
  std::set<std::int64_t> reported;
  std::vector<std::thread> threads;
};

Loader::Loader(std::shared_ptr<const DataSet> data, LoaderOptions options)
    : state_(std::make_unique<State>(std::move(data), std::move(options))) {}
Loader::~Loader() = default;

Batch Loader::next() { return state_->next(); }

std::int64_t Loader::batches() const { return state_->steps == kEndless ? -1 : state_->steps; }

std::int64_t Loader::photo_bytes(const Augment& augment) {
  return padded(augment.height * augment.width * 3);
}

std::int64_t Loader::batch_bytes(const LoaderOptions& options) {
  if (!options.floats) return options.batch * photo_bytes(options.augment);
  return options.batch * options.floats->channels * options.augment.height * options.augment.width *
         static_cast<std::int64_t>(sizeof(float));
}

}  // namespace maru
