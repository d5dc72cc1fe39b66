#include <maru/session.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "api/model_state.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "ops/preprocess.h"
#include "run/executor.h"
#include "vision/image.h"

namespace maru {
namespace {

using Frame = Preprocess::Frame;
constexpr std::int64_t kFrameUnit = 16;  // of Frame::offset_16

std::int64_t round_up(std::int64_t bytes, std::int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

struct Session::State {
  explicit State(const Model& m)
      : model(m.shared()), executor(model->plan, *model->device, model->weights) {
    if (model->photos) {
      slot_bytes = port(model->photos->pixels).desc.shape[1];
      grow_entry = grown.open("photo", "photos", "a larger photo than any before: the others move");
    }
  }

  const Port& port(std::size_t input) const { return model->plan.inputs[input]; }
  const Buffer& memory(std::size_t input) const { return executor.region(port(input).region); }

  // Where the frames of all slots are; zero height: no photo.
  HostView frames(Access access) const { return memory(model->photos->frames).map(access); }

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

  // Room for photos of so many bytes in every slot. Photos that are there already are kept.
  void reserve(std::int64_t bytes) {
    if (bytes <= slot_bytes) return;
    const Port& pixels = port(model->photos->pixels);
    const std::int64_t larger = round_up(std::max(bytes, slot_bytes * 2), kFrameUnit);
    const Heap& heap = *model->plan.regions[pixels.region].heap;
    Buffer room = heap.allocate(static_cast<std::size_t>(larger * model->batch), pixels.name);
    move_photos(room, larger);
    slot_bytes = larger;
    executor.rebind(pixels.region, std::move(room), {model->batch, larger});
  }

  // Every photo that is there, to its place in `room`, where slots are `room_bytes` apart.
  void move_photos(const Buffer& room, std::int64_t room_bytes) {
    const HostView from = memory(model->photos->pixels).map(Access::read);
    const HostView to = room.map(Access::write);
    const HostView frame_view = frames(Access::read_write);
    const std::span<Frame> slots = frame_view.as<Frame>();
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      Frame& frame = slots[slot];
      if (frame.height == 0) continue;
      const auto held =
          static_cast<std::size_t>(frame.height) * static_cast<std::size_t>(frame.row_bytes);
      const std::int64_t begin = static_cast<std::int64_t>(slot) * room_bytes;
      std::memcpy(to.bytes().data() + begin,
                  from.bytes().data() + static_cast<std::int64_t>(frame.offset_16) * kFrameUnit, held);
      frame.offset_16 = static_cast<std::int32_t>(begin / kFrameUnit);
      grown.count(grow_entry, held, 0);
    }
  }

  std::shared_ptr<const Model::State> model;
  Executor executor;
  std::int64_t slot_bytes = 0;
  Ledger grown;  // photos that moved into a larger buffer
  std::size_t grow_entry = 0;
};

Session::Session(const Model& model) : state_(std::make_unique<State>(model)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

std::span<std::uint8_t> Session::photo(std::int64_t width, std::int64_t height, std::int64_t slot) {
  state_->check_slot(slot);
  if (width < 1 || height < 1 || width > kMaxImagePixels / height) {
    throw Error("session", fmt::format("a photo of 1 to {} pixels", kMaxImagePixels),
                fmt::format("{} x {}", width, height));
  }
  const std::int64_t bytes = width * height * 3;
  state_->reserve(bytes);
  const std::int64_t offset = slot * state_->slot_bytes;
  const HostView frames = state_->frames(Access::read_write);
  frames.as<Frame>()[static_cast<std::size_t>(slot)] = {
      static_cast<std::int32_t>(height), static_cast<std::int32_t>(width),
      static_cast<std::int32_t>(width * 3), static_cast<std::int32_t>(offset / kFrameUnit)};
  const HostView pixels =
      state_->memory(state_->model->photos->pixels)
          .map(Access::write, static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  return pixels.as<std::uint8_t>();
}

void Session::load_photo(std::span<const std::byte> encoded, std::string_view name, std::int64_t slot) {
  state_->check_slot(slot);
  const auto forget = [&] {
    const HostView frames = state_->frames(Access::read_write);
    frames.as<Frame>()[static_cast<std::size_t>(slot)] = {};
  };
  forget();
  const ImageInfo info = probe_image(encoded, name);
  const std::span<std::uint8_t> pixels = photo(info.width, info.height, slot);
  try {
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
  if (!state_->model->photos) {
    for (const Port& port : state_->model->plan.inputs) {
      if (port.name != name) continue;
      const HostView view =
          state_->executor.region(port.region).map(Access::write, 0, port.desc.bytes());
      return {port.desc.dtype, {port.desc.shape.begin(), port.desc.shape.end()}, view.bytes()};
    }
  }
  std::string known;
  for (const Port& port : state_->model->plan.inputs) known += (known.empty() ? "" : ", ") + port.name;
  throw Error("session",
              state_->model->photos ? "photos, since the model takes those" : "one of " + known,
              fmt::format("\"{}\"", name));
}

TensorSpan Session::output(std::string_view name) const {
  std::string known;
  for (const Port& port : state_->model->plan.outputs) {
    if (port.name == name) {
      const HostView view =
          state_->executor.region(port.region).map(Access::read, 0, port.desc.bytes());
      return {port.desc.dtype, {port.desc.shape.begin(), port.desc.shape.end()}, view.bytes()};
    }
    known += (known.empty() ? "" : ", ") + port.name;
  }
  throw Error("session", "one of " + known, fmt::format("\"{}\"", name),
              "naming it in ModelOptions::outputs when the model is loaded");
}

void Session::run() {
  if (state_->model->photos) {
    const HostView frames = state_->frames(Access::read);
    for (std::int64_t slot = 0; slot < state_->model->batch; ++slot) {
      if (frames.as<Frame>()[static_cast<std::size_t>(slot)].height == 0) {
        throw Error("session", fmt::format("a photo in each of {} slots", state_->model->batch),
                    fmt::format("none in slot {}", slot), "load_photo() before run()");
      }
    }
  }
  state_->executor.run();
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
  for (const Ledger* ledger :
       std::initializer_list<const Ledger*>{&state_->grown, &state_->executor.ledger()}) {
    for (const Ledger::Entry& entry : ledger->entries()) {
      if (entry.times == 0) continue;
      records.push_back(
          {entry.step, entry.tensor, entry.cause, entry.times, entry.bytes, entry.seconds});
    }
  }
  return records;
}

std::size_t Session::arena_bytes() const { return state_->model->plan.regions[Plan::kArena].bytes; }

}  // namespace maru
