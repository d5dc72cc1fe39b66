#include <maru/session.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include "api/model_state.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "ops/preprocess.h"
#include "run/executor.h"
#include "vision/image.h"

namespace maru {
namespace {

using Frame = Preprocess::Frame;

std::int64_t round_up(std::int64_t bytes, std::int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

void check_photo(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1 || width > kMaxImagePixels / height) {
    throw Error("session", fmt::format("a photo of 1 to {} pixels", kMaxImagePixels),
                fmt::format("{} x {}", width, height));
  }
}

}  // namespace

struct Session::State {
  explicit State(const Model& m)
      : model(m.shared()),
        executor(model->plan, model->device_list, model->weights, model->check),
        views(model->plan.regions.size()) {
    if (model->photos) {
      slot_bytes = port(model->photos->pixels).desc.shape[1];
      const std::string heap = memory(model->photos->pixels).heap().name();
      grow_entry = grown.open(
          {"photo", "photos", "a larger photo than any before: the others move", heap, heap});
      photo_entry = grown.open(
          {"photo", "photos", "the device cannot use the caller's memory as it is", "caller", heap});
      slots.resize(static_cast<std::size_t>(model->batch));
      slot_views.resize(slots.size());
    }
  }

  const Port& port(std::size_t input) const { return model->plan.inputs[input]; }
  const Buffer& memory(std::size_t input) const { return executor.region(port(input).region); }

  // A look at memory that stays until the next run, which the device needs it for. Looking twice is
  // looking at the same.
  std::span<std::byte> look(const Port& port, Access access) {
    std::optional<HostView>& view = views[port.region];
    if (!view)
      view.emplace(executor.region(port.region).map(access, 0, port.desc.bytes(), &executor.queue()));
    return view->bytes();
  }
  std::span<std::byte> look_at_slot(std::int64_t slot, std::size_t offset, std::size_t bytes) {
    std::optional<HostView>& view = slot_views[static_cast<std::size_t>(slot)];
    view.reset();
    view.emplace(memory(model->photos->pixels).map(Access::write, offset, bytes, &executor.queue()));
    return view->bytes();
  }
  void stop_looking() {
    for (auto& view : views) view.reset();
    for (auto& view : slot_views) view.reset();
  }
  void stop_looking(std::size_t region) {
    views[region].reset();
    if (!model->photos || region != port(model->photos->pixels).region) return;
    for (auto& view : slot_views) view.reset();
  }

  void check_not_looking() const {
    const auto is_open = [](const auto& view) { return view.has_value(); };
    MARU_ASSERT(std::ranges::none_of(views, is_open) && std::ranges::none_of(slot_views, is_open));
  }

  void check_slot(std::int64_t slot) const {
    if (!model->photos) {
      throw Error("session", "a model that takes photos", "one that takes tensors",
                  "ModelOptions::photos, or input()");
    }
    if (slot < 0 || slot >= model->batch) {
      throw Error("session", fmt::format("a slot from 0 to {}", model->batch - 1),
                  fmt::format("{}", slot), "a larger batch");
    }
  }

  const Port& require_input(std::string_view name) const {
    if (model->photos) {
      throw Error("session", "photos, since the model takes those", fmt::format("\"{}\"", name));
    }
    return require(model->plan.inputs, name, "naming an input that `maru info` lists");
  }
  const Port& require_output(std::string_view name) const {
    return require(model->plan.outputs, name,
                   "naming it in ModelOptions::outputs when the model is loaded");
  }
  static const Port& require(const std::vector<Port>& ports, std::string_view name,
                             std::string_view hint) {
    std::string known;
    for (const Port& port : ports) {
      if (port.name == name) return port;
      known += (known.empty() ? "" : ", ") + port.name;
    }
    throw Error("session", "one of " + known, fmt::format("\"{}\"", name), hint);
  }

  // Room for photos of so many bytes in every slot. Photos that are there already are kept.
  void reserve(std::int64_t bytes) {
    const Port& pixels = port(model->photos->pixels);
    if (std::erase_if(bound, [&](const Bound& b) { return b.region == pixels.region; }) > 0) {
      slots.assign(slots.size(), {});  // the caller's photo is not ours
      slot_bytes = spacing = 0;
    }
    if (round_up(bytes, Frame::kUnit) > widest_spacing())
      throw Error("session",
                  fmt::format("photos of {} at most, {} of them",
                              human_bytes(static_cast<double>(widest_spacing())), model->batch),
                  human_bytes(static_cast<double>(bytes)), "a smaller batch, or smaller photos");
    if (bytes <= slot_bytes) return spread(bytes);
    const std::int64_t larger = round_up(std::max(bytes, slot_bytes * 2), Frame::kUnit);
    stop_looking(pixels.region);
    const Heap& heap = *model->plan.regions[pixels.region].heap;
    Buffer room = heap.allocate(static_cast<std::size_t>(larger * model->batch), pixels.name);
    const std::int64_t apart = round_up(bytes, Frame::kUnit);
    std::vector<Frame> moved = move_photos(room, apart);
    executor.rebind(pixels.region, std::move(room), {model->batch, larger});
    slots = std::move(moved);
    slot_bytes = larger;
    spacing = apart;
  }

  // A frame's offset has 32 bits.
  std::int64_t widest_spacing() const {
    return std::numeric_limits<std::int32_t>::max() / std::max<std::int64_t>(1, model->batch - 1) *
           Frame::kUnit;
  }

  // Photos lie as close together as the largest of them allows, so that a copy of all of them is one of
  // little else. Where one comes that is larger, the others move apart.
  void spread(std::int64_t bytes) {
    const std::int64_t wanted = round_up(bytes, Frame::kUnit);
    if (wanted <= spacing) return;
    const auto is_there = [](const Frame& frame) { return frame.height > 0; };
    if (std::ranges::none_of(slots, is_there)) {
      spacing = wanted;
      return;
    }
    const std::int64_t apart = std::min({std::max(wanted, 2 * spacing), slot_bytes, widest_spacing()});
    const Port& pixels = port(model->photos->pixels);
    stop_looking(pixels.region);
    const HostView view = memory(model->photos->pixels)
                              .map(Access::read_write, 0,
                                   static_cast<std::size_t>(apart * model->batch), &executor.queue());
    spacing = apart;
    for (std::size_t slot = slots.size(); slot-- > 1;) {  // the last first: none is written over
      Frame& frame = slots[slot];
      if (frame.height == 0) continue;
      const std::int64_t begin = static_cast<std::int64_t>(slot) * spacing;
      std::memmove(view.bytes().data() + begin,
                   view.bytes().data() + std::int64_t{frame.offset_16} * Frame::kUnit, bytes_of(frame));
      frame.offset_16 = static_cast<std::int32_t>(begin / Frame::kUnit);
      grown.count(grow_entry, bytes_of(frame), 0);
    }
  }

  // Every photo that is there, to its place in `room`, where slots are `room_bytes` apart. Returns
  // where they are now.
  std::vector<Frame> move_photos(const Buffer& room, std::int64_t room_bytes) {
    std::vector<Frame> frames = slots;
    for (std::size_t slot = 0; slot < frames.size(); ++slot) {
      Frame& frame = frames[slot];
      if (frame.height == 0) continue;
      const std::size_t held = bytes_of(frame);
      const std::int64_t begin = static_cast<std::int64_t>(slot) * room_bytes;
      const HostView from =
          memory(model->photos->pixels)
              .map(Access::read, static_cast<std::size_t>(frame.offset_16) * Frame::kUnit, held,
                   &executor.queue());
      const HostView to =
          room.map(Access::write, static_cast<std::size_t>(begin), held, &executor.queue());
      std::memcpy(to.bytes().data(), from.bytes().data(), held);
      frame.offset_16 = static_cast<std::int32_t>(begin / Frame::kUnit);
      grown.count(grow_entry, held, 0);
    }
    return frames;
  }

  static std::size_t bytes_of(const Frame& frame) {
    return static_cast<std::size_t>(frame.height) * static_cast<std::size_t>(frame.row_bytes);
  }

  // Tells the network where the photos are, as they are now.
  void hand_over_photos() {
    std::size_t used = 0;
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      if (slots[slot].height == 0) {
        throw Error("session", fmt::format("a photo in each of {} slots", model->batch),
                    fmt::format("none in slot {}", slot), "load_photo() before run()");
      }
      used = std::max(
          used, static_cast<std::size_t>(slots[slot].offset_16) * Frame::kUnit + bytes_of(slots[slot]));
    }
    executor.use(port(model->photos->pixels).region, 0, used);
    if (slots == told) return;
    std::ranges::copy(slots, memory(model->photos->frames)
                                 .map(Access::write, 0, slots.size() * sizeof(Frame), &executor.queue())
                                 .as<Frame>()
                                 .begin());
    told = slots;
  }

  // The caller's memory in place of a region's, where a heap takes it as it is.
  bool use_in_place(std::size_t region, std::span<std::byte> memory, Shape shape) {
    const Heap* heap = importing_heap(*model->plan.regions[region].heap);
    if (heap == nullptr || memory.empty() ||
        reinterpret_cast<std::uintptr_t>(memory.data()) % heap->traits().alignment != 0) {
      return false;
    }
    Buffer imported;
    try {
      imported = heap->import(memory.data(), memory.size());
    } catch (const Error&) {
      return false;  // a driver that does not take this piece
    }
    stop_looking(region);
    executor.rebind(region, std::move(imported), shape);
    return true;
  }

  // Memory of the session in place of the caller's.
  void use_own(const Port& port) {
    const Region& region = model->plan.regions[port.region];
    stop_looking(port.region);
    executor.rebind(port.region, region.heap->allocate(region.bytes, region.name), port.desc.shape);
  }

  // Of the same side as the planned one: what the device cannot touch there is no use here. And where
  // the plan hands nothing over, since both sides may touch the planned one at once, it must be so,
  // too.
  const Heap* importing_heap(const Heap& planned) const {
    if (planned.traits().imports) return &planned;
    const bool by_device = planned.traits().device_visible;
    for (const Device* device : model->device_list) {
      for (const Heap* heap : device->heaps()) {
        const bool fits = by_device ? device == model->device_list[0] && heap->traits().device_visible
                                    : device->is_host();
        const bool keeps_order =
            heap->traits().concurrent || !planned.traits().concurrent || !has_guest();
        if (heap->traits().imports && fits && keeps_order) return heap;
      }
    }
    return nullptr;
  }

  // Whether the CPU has steps in another device's plan.
  bool has_guest() const {
    return std::ranges::any_of(model->plan.steps, [](const Step& step) { return step.device != 0; });
  }

  bool bind(const Port& port, std::span<std::byte> memory) {
    if (memory.size() < port.desc.bytes()) {
      throw Error("session", fmt::format("{} bytes for {}", port.desc.bytes(), port.name),
                  fmt::format("{}", memory.size()));
    }
    const auto is_this = [&](const Bound& b) { return b.region == port.region; };
    const bool was_in_place =
        std::ranges::any_of(bound, [&](const Bound& b) { return is_this(b) && b.in_place; });
    memory = memory.first(port.desc.bytes());
    Bound one{port.region, memory, use_in_place(port.region, memory, port.desc.shape)};
    if (!one.in_place) {
      if (was_in_place) use_own(port);
      one.entry = entry_of_bound(port);
    }
    std::erase_if(bound, is_this);  // not before: where that fails, the caller's memory is still in use
    bound.push_back(one);
    return one.in_place;
  }

  std::size_t entry_of_bound(const Port& port) {
    const auto known = bound_entries.find(port.region);
    if (known != bound_entries.end()) return known->second;
    const std::string& heap = model->plan.regions[port.region].heap->name();
    const bool is_input = model->plan.regions[port.region].kind == Region::Kind::input;
    return bound_entries[port.region] =
               grown.open({"bound", port.name, "the device cannot use the caller's memory as it is",
                           is_input ? "caller" : heap, is_input ? heap : "caller"});
  }

  // Memory that the device uses in place is shown to it, and its own to the caller, as its heap
  // demands.
  void exchange(Region::Kind kind) {
    for (const Bound& b : bound) {
      if (model->plan.regions[b.region].kind != kind) continue;
      const bool is_input = kind == Region::Kind::input;
      // To read an input here would bring back what the device had before.
      const Access access = is_input ? Access::write : Access::read;
      const HostView view =
          executor.region(b.region).map(access, 0, b.memory.size(), &executor.queue());
      if (b.in_place) continue;
      const std::span<const std::byte> from = is_input ? b.memory : view.bytes();
      std::memcpy(is_input ? view.bytes().data() : b.memory.data(), from.data(), from.size());
      grown.count(b.entry, from.size(), 0);
    }
  }

  void begin_run() {
    if (model->photos) hand_over_photos();
    stop_looking();
    exchange(Region::Kind::input);
    if (model->check) check_not_looking();
  }

  struct Bound {
    std::size_t region = 0;
    std::span<std::byte> memory;
    bool in_place = false;
    std::size_t entry = 0;  // of the ledger, where it is copied
  };

  std::shared_ptr<const Model::State> model;
  Executor executor;
  std::vector<Bound> bound;                         // the caller's memory
  std::vector<std::optional<HostView>> views;       // per region; end before the executor's queue
  std::vector<std::optional<HostView>> slot_views;  // of photos
  std::int64_t slot_bytes = 0;                      // room of each, and
  std::int64_t spacing = 0;                         // from one photo to the next
  std::vector<Frame> slots, told;  // zero height: no photo; as the network was told last
  Ledger grown;  // photos that moved into a larger buffer, and copies of the caller's memory
  std::size_t grow_entry = 0, photo_entry = 0;
  std::map<std::size_t, std::size_t> bound_entries;  // per region, of the ledger
};

Session::Session(const Model& model) : state_(std::make_unique<State>(model)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

std::span<std::uint8_t> Session::photo(std::int64_t width, std::int64_t height, std::int64_t slot) {
  state_->check_slot(slot);
  check_photo(width, height);
  const std::int64_t bytes = width * height * 3;
  state_->reserve(bytes);
  const std::int64_t offset = slot * state_->spacing;
  const std::span<std::byte> pixels =
      state_->look_at_slot(slot, static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  state_->slots[static_cast<std::size_t>(slot)] = {
      static_cast<std::int32_t>(height), static_cast<std::int32_t>(width),
      static_cast<std::int32_t>(width * 3), static_cast<std::int32_t>(offset / Frame::kUnit)};
  return {reinterpret_cast<std::uint8_t*>(pixels.data()), pixels.size()};
}

void Session::load_photo(std::span<const std::byte> encoded, std::string_view name, std::int64_t slot) {
  state_->check_slot(slot);
  const auto forget = [&] { state_->slots[static_cast<std::size_t>(slot)] = {}; };
  forget();
  const ImageInfo info = probe_image(encoded, name);
  try {
    const std::span<std::uint8_t> pixels = photo(info.width, info.height, slot);
    decode_image(encoded, name,
                 {pixels.data(), info.width, info.height, static_cast<std::size_t>(info.width) * 3});
  } catch (...) {
    forget();
    throw;
  }
}

void Session::load_photo(const std::filesystem::path& file, std::int64_t slot) {
  const MappedFile mapped(file);
  load_photo(mapped.bytes(), file.string(), slot);
}

TensorSpan Session::input(std::string_view name) {
  const Port& port = state_->require_input(name);
  return {port.desc.dtype,
          {port.desc.shape.begin(), port.desc.shape.end()},
          state_->look(port, Access::read_write)};
}

TensorSpan Session::output(std::string_view name) const {
  const Port& port = state_->require_output(name);
  return {port.desc.dtype,
          {port.desc.shape.begin(), port.desc.shape.end()},
          state_->look(port, Access::read)};
}

bool Session::bind_input(std::string_view name, std::span<std::byte> memory) {
  return state_->bind(state_->require_input(name), memory);
}

bool Session::bind_output(std::string_view name, std::span<std::byte> memory) {
  return state_->bind(state_->require_output(name), memory);
}

bool Session::bind_photo(std::span<std::byte> memory, std::int64_t width, std::int64_t height,
                         std::int64_t row_bytes, std::int64_t slot) {
  state_->check_slot(slot);
  check_photo(width, height);
  if (row_bytes < 3 * width || row_bytes > std::numeric_limits<std::int32_t>::max() ||
      static_cast<std::int64_t>(memory.size()) < row_bytes * (height - 1) + 3 * width) {
    throw Error("session",
                fmt::format("{} rows of at least {} bytes, {} apart", height, 3 * width, row_bytes),
                fmt::format("{} bytes", memory.size()));
  }
  const auto bytes = static_cast<std::int64_t>(memory.size());
  const std::size_t region = state_->port(state_->model->photos->pixels).region;
  const Frame frame{static_cast<std::int32_t>(height), static_cast<std::int32_t>(width),
                    static_cast<std::int32_t>(row_bytes), 0};
  if (state_->model->batch == 1 && state_->use_in_place(region, memory, {1, bytes})) {
    std::erase_if(state_->bound, [&](const State::Bound& b) { return b.region == region; });
    state_->bound.push_back({region, memory, true});
    state_->slots[0] = frame;
    state_->slot_bytes = bytes;
    return true;
  }
  const std::span<std::uint8_t> to = photo(width, height, slot);
  for (std::int64_t row = 0; row < height; ++row) {
    std::memcpy(to.data() + row * 3 * width, memory.data() + row * row_bytes,
                static_cast<std::size_t>(3 * width));
  }
  state_->grown.count(state_->photo_entry, to.size(), 0);
  return false;
}

void Session::run() {
  state_->begin_run();
  state_->executor.run();
  state_->exchange(Region::Kind::output);
}

void Session::run_step(std::size_t step, std::size_t times) {
  const std::size_t count = state_->model->plan.steps.size();
  if (step >= count)
    throw Error("session", fmt::format("a step below {}", count), fmt::format("{}", step));
  if (step == 0) state_->begin_run();
  state_->executor.run_step(step, times);
  if (step + 1 == count) state_->exchange(Region::Kind::output);
}

std::vector<Score> Session::top(std::size_t count, std::int64_t slot) const {
  const Model::State& model = *state_->model;
  if (slot < 0 || slot >= model.batch) {
    throw Error("session", fmt::format("a slot from 0 to {}", model.batch - 1),
                fmt::format("{}", slot));
  }
  const TensorSpan scores = output(model.plan.outputs[0].name);
  const std::span<const float> all = scores.as<float>();
  const std::size_t classes = all.size() / static_cast<std::size_t>(model.batch);
  const std::span<const float> mine = all.subspan(static_cast<std::size_t>(slot) * classes, classes);
  std::vector<std::size_t> order(classes);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto rank = [&](std::size_t i) {  // a score that is not a number is the worst
    return std::isnan(mine[i]) ? -std::numeric_limits<float>::infinity() : mine[i];
  };
  count = std::min(count, classes);
  std::ranges::partial_sort(
      order, order.begin() + static_cast<std::ptrdiff_t>(count),
      [&](std::size_t a, std::size_t b) { return rank(a) != rank(b) ? rank(a) > rank(b) : a < b; });
  std::vector<Score> best;
  for (const std::size_t i : std::span(order).first(count)) {
    const std::string_view label = i < model.labels.size() ? std::string_view(model.labels[i]) : "";
    best.push_back({static_cast<std::int64_t>(i), label, mine[i]});
  }
  return best;
}

std::vector<CopyRecord> Session::copies() const {
  std::vector<CopyRecord> records;
  add_records(state_->grown, records);
  add_records(state_->executor.ledger(), records);
  return records;
}

std::size_t Session::arena_bytes() const { return state_->model->plan.arena_bytes(); }

}  // namespace maru
