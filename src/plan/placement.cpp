#include "plan/placement.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "plan/planner.h"

namespace maru::planning {
namespace {

// A heap further down a device's list must be that much better to be taken: measurements are noisy, and
// one machine should plan the same way each time.
constexpr double kClearlyBetter = 0.85;
// Between measured costs of what crosses, less is noise. Then the first heap is taken, and no copy.
constexpr double kNoise = 0.95;
// Seconds, the same. Of a few bytes only the calls are measured, and they differ from start to start by
// some tenths of a microsecond: on one H200 a map took 0.3 and 0.4 us, a wait 7.3 to 7.7. In a tensor
// that takes less altogether, every share is noise.
constexpr double kResolution = 1e-6;
constexpr const char* kOneMemory = "the one memory of this device";

double seconds(double bytes, double rate) {
  if (bytes == 0) return 0;
  return rate > 0 ? bytes / rate : std::numeric_limits<double>::infinity();
}

// What a tensor of the device alone has read again, of its bytes: convolutions of 3x3 are common.
constexpr double kUsualRereads = 4;
constexpr const char* kKernels = "kernels";

// What migrates is taken where there is nothing else, or where it is asked for.
template <class Known>
void leave_out_what_migrates(std::vector<Known>& heaps) {
  const auto migrates = [](const Known& k) { return k.heap->traits().migrates; };
  if (!std::ranges::all_of(heaps, migrates)) std::erase_if(heaps, migrates);
}

std::string time_text(double seconds) {
  return seconds < 1e-3 ? fmt::format("{:.0f} us", seconds * 1e6)
                        : fmt::format("{:.2f} ms", seconds * 1e3);
}

}  // namespace

Placement::Placement(std::span<const Device* const> devices, std::span<const DeviceSpeed> speeds,
                     const PlacementOptions& options)
    : devices_(devices), speeds_(speeds), options_(options) {
  MARU_ASSERT(!devices.empty() && devices.size() == speeds.size());
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i]->is_host()) host_ = i;
  }
  for (std::size_t i = 0; i < devices[0]->heaps().size(); ++i) {
    main_heaps_.push_back({devices[0]->heaps()[i], speeds[0].heaps.at(i)});
  }
  if (const DeviceModel* model = devices[0]->model()) {
    rereads_ = model->expected.rereads;
    device_flops_ = model->expected.device_flops;
  }
  local_ = choose_local();
  const auto speed_of = [&](const Heap* heap) {
    for (std::size_t d = 0; d < devices_.size(); ++d) {
      for (std::size_t i = 0; i < devices_[d]->heaps().size(); ++i) {
        if (devices_[d]->heaps()[i] == heap) return speeds_[d].heaps[i];
      }
    }
    return HeapSpeed{};
  };
  local_speed_ = speed_of(local_.heap);
  if (!is_split()) {
    host_place_ = staging_ = local_;
    return;
  }
  staging_ = choose_staging();
  staging_speed_ = speed_of(staging_.heap);
  host_place_ = {Side::host, host_ != 0 ? devices_[host_]->heaps()[0] : staging_.heap,
                 "only the CPU touches it"};
}

std::vector<Placement::Known> Placement::device_heaps(bool host_sees) const {
  std::vector<Known> found;
  for (const Known& known : main_heaps_) {
    const MemoryTraits& traits = known.heap->traits();
    if (traits.device_visible && (!host_sees || traits.host_visible)) found.push_back(known);
  }
  return found;
}

// A kernel takes the longer of its arithmetic and its memory, so that of a tensor counts what its place
// adds to that.
Spent Placement::seconds_in(const Traffic& traffic, const Heap& heap, const HeapSpeed& speed) const {
  Spent spent;
  spent.cpu = seconds(traffic.host_read, speed.host_read) +
              seconds(traffic.host_write, speed.host_write) + traffic.host_touches * speed.map_seconds;
  // Memory that is handed over is written after a wait for the device; other memory only where the
  // device has not done with it.
  if (!heap.traits().concurrent) spent.cpu += traffic.host_results * speeds_[0].wait_seconds;
  const double again = heap.traits().device_cached ? 0 : rereads_;
  for (const Touch& touch : traffic.touches) {
    const double mine = seconds(touch.read + again * touch.reread, speed.device_read) +
                        seconds(touch.written, speed.device_write);
    const double other = touch.other > 0 ? seconds(touch.other, local_speed_.device_read) : 0;
    const double compute = device_flops_ > 0 ? touch.flops / device_flops_ : 0;
    spent.device += std::max(compute, mine + other) - std::max(compute, other);
  }
  return spent;
}

// Each side's time for itself: where the CPU takes the same in both, and most of it, the noise of its
// figures would hide what the device's say.
bool Placement::is_cheaper(const Spent& one, const Spent& than) const {
  const double noise = speeds_[0].measured ? kNoise : 1;
  const auto saved = [&](double here, double there) {
    return std::min(here, there) < std::max(here, there) * noise ? there - here : 0;
  };
  return saved(one.cpu, than.cpu) + saved(one.device, than.device) >
         (speeds_[0].measured ? kResolution : 0);
}

const Placement::Known* Placement::asked_for(const std::string& name,
                                             std::span<const Known> heaps) const {
  if (options_.heaps == nullptr) return nullptr;
  const auto wanted = options_.heaps->find(name);
  if (wanted == options_.heaps->end() || wanted->second == PlanOptions::kApart) return nullptr;
  std::string known;
  for (const Known& heap : heaps) {
    if (heap.heap->name() == wanted->second) return &heap;
    known += (known.empty() ? "" : " or ") + heap.heap->name();
  }
  throw Error(name, known, wanted->second);
}

Place Placement::choose_local() const {
  const std::string_view name = devices_[0]->name();
  const bool shared = is_split() && options_.policy == MemoryPolicy::zero_copy;
  std::vector<Known> heaps = device_heaps(shared);
  if (heaps.empty()) {
    throw Error(std::string(name),
                shared ? "a heap that the device and the CPU both see" : "a heap that the device sees",
                "none", shared ? "--memory copy" : "`maru devices`");
  }
  if (main_heaps_.size() == 1) return {Side::device, heaps[0].heap, kOneMemory};
  if (const Known* asked = asked_for(kKernels, heaps))
    return {Side::device, asked->heap, "it was asked for"};
  leave_out_what_migrates(heaps);
  if (shared) {
    // Mapped memory in the sense of 2016: both sides may touch it at any time. Where there is none,
    // that which is handed over.
    const auto is_free = [](const Known& k) { return k.heap->traits().concurrent; };
    if (std::ranges::any_of(heaps, is_free))
      std::erase_if(heaps, [&](const Known& k) { return !is_free(k); });
  }
  if (options_.policy == MemoryPolicy::copy) {
    const auto own =
        std::ranges::find_if(heaps, [](const Known& k) { return !k.heap->traits().host_visible; });
    const Heap* heap = own == heaps.end() ? heaps[0].heap : own->heap;
    return {Side::device, heap, fmt::format("policy copy: {}'s own memory", name)};
  }
  const auto cost = [&](const Known& k) {
    constexpr double kBytes = 1e6;  // of a tensor as they come
    Traffic traffic;
    traffic.touches.push_back({kBytes, kBytes, kUsualRereads * kBytes});
    const double device = seconds_in(traffic, *k.heap, k.speed).total();
    if (!shared) return device;
    return device + seconds(kBytes, k.speed.host_read) + seconds(kBytes, k.speed.host_write) +
           k.speed.map_seconds;
  };
  const Known* best = &heaps[0];
  for (const Known& known : heaps) {
    if (cost(known) < cost(*best) * kClearlyBetter) best = &known;
  }
  const std::string why =
      shared
          ? fmt::format("policy zero-copy: the best of {} heaps that both sides see", heaps.size())
          : fmt::format(
                "only {} touches it; it reads {:.1f} and writes {:.1f} GB/s here, the best of {} heaps",
                name, best->speed.device_read / 1e9, best->speed.device_write / 1e9, heaps.size());
  return {Side::device, best->heap, why};
}

// Memory of the device's runtime that only the CPU uses makes faster copies than any other.
Place Placement::choose_staging() const {
  for (const Known& known : main_heaps_) {
    const MemoryTraits& traits = known.heap->traits();
    if (traits.host_visible && !traits.device_visible)
      return {Side::host, known.heap, "the CPU's side of a copy"};
  }
  if (host_ != 0) return {Side::host, devices_[host_]->heaps()[0], "the CPU's side of a copy"};
  const std::vector<Known> shared = device_heaps(true);
  if (shared.empty())
    throw Error(std::string(devices_[0]->name()), "a heap that the CPU sees", "none", "`maru devices`");
  return {Side::host, shared[0].heap, "the CPU's side of a copy"};
}

Place Placement::weights(double bytes) const {
  if (options_.policy == MemoryPolicy::copy || main_heaps_.size() == 1) return local_;
  // Memory of the device alone holds weights twice while they are uploaded, and what can be taken from
  // a file as it is costs no memory of its own: worth up to so many times the least cost.
  constexpr double kWorthInPlace = 1.2, kWorthFromFile = 2;
  struct Way {
    const Known* known;
    double cost, weighed;
  };
  std::vector<Way> ways;
  auto heaps = device_heaps(options_.policy == MemoryPolicy::zero_copy);
  leave_out_what_migrates(heaps);
  // Kernels read weights once for each tile of their results: no memory for them where nothing caches
  // it.
  const auto is_cached = [](const Known& k) { return k.heap->traits().device_cached; };
  if (options_.policy == MemoryPolicy::automatic && std::ranges::any_of(heaps, is_cached))
    std::erase_if(heaps, [&](const Known& k) { return !is_cached(k); });
  for (const Known& known : heaps) {
    const MemoryTraits& traits = known.heap->traits();
    const bool from_file = options_.weights_in_file && traits.imports_read_only;
    double cost = options_.expected_runs * seconds(bytes, known.speed.device_read);
    if (!traits.host_visible) {
      cost += seconds(bytes, staging_speed_.host_write) + seconds(bytes, speeds_[0].upload);
    } else if (!from_file) {
      cost += seconds(bytes, known.speed.host_write);
    }
    ways.push_back({&known, cost,
                    cost / (from_file             ? kWorthFromFile
                            : traits.host_visible ? kWorthInPlace
                                                  : 1)});
  }
  const Way* best = &ways[0];
  for (const Way& way : ways) {
    if (way.weighed < best->weighed * kClearlyBetter) best = &way;
  }
  const Heap& heap = *best->known->heap;
  const bool from_file = options_.weights_in_file && heap.traits().imports_read_only;
  return {Side::device, &heap,
          fmt::format("{} reads {:.1f} GB/s here{}", devices_[0]->name(),
                      best->known->speed.device_read / 1e9,
                      from_file                    ? ", from the file's own pages"
                      : heap.traits().host_visible ? ", and weights are packed in place"
                                                   : "")};
}

Spent Placement::seconds_apart(const Traffic& traffic) const {
  Traffic host = traffic;
  host.host_results = 0;
  Spent spent{seconds_in(host, *staging_.heap, staging_speed_).cpu,
              seconds_in(traffic, *local_.heap, local_speed_).device};
  if (traffic.up > 0)
    spent.device += speeds_[0].transfer_seconds + seconds(traffic.up, speeds_[0].upload);
  if (traffic.down > 0)
    spent.device += speeds_[0].transfer_seconds + seconds(traffic.down, speeds_[0].download);
  return spent;
}

Place Placement::crossing(const std::string& name, const Traffic& traffic) const {
  std::vector<Known> heaps = device_heaps(true);
  if (options_.policy == MemoryPolicy::copy) return {Side::host, staging_.heap, "policy copy"};
  if (const Known* asked = asked_for(name, heaps)) return {Side::both, asked->heap, "it was asked for"};
  if (options_.heaps != nullptr && options_.heaps->contains(name))
    return {Side::host, staging_.heap, "it was asked for"};
  if (heaps.empty()) return {Side::host, staging_.heap, "no heap that both sides see"};
  if (main_heaps_.size() == 1) return {Side::both, heaps[0].heap, kOneMemory};
  leave_out_what_migrates(heaps);
  if (options_.policy == MemoryPolicy::zero_copy) {
    // One heap for all: what shares bytes with it must not be in another.
    return {Side::both, local_.heap, "policy zero-copy"};
  }
  if (traffic.host_read > 0) {
    // However little it is: whoever asks for results looks at them more than once.
    std::erase_if(heaps, [](const Known& k) { return !k.heap->traits().host_cached; });
    if (heaps.empty())
      return {Side::host, staging_.heap,
              "the CPU reads it, and no heap that both see is cached for it"};
  }
  const auto cost = [&](const Known& k) { return seconds_in(traffic, *k.heap, k.speed); };
  const Known* best = &heaps[0];
  for (const Known& known : heaps) {
    if (is_cheaper(cost(known), cost(*best))) best = &known;
  }
  const Spent once = cost(*best), twice = seconds_apart(traffic);
  if (!is_cheaper(twice, once)) {
    return {Side::both, best->heap,
            fmt::format("both sides touch it: once here costs {}, a copy {}", time_text(once.total()),
                        time_text(twice.total()))};
  }
  return {Side::host, staging_.heap,
          fmt::format("both sides touch it: a copy costs {}, once in {} {}", time_text(twice.total()),
                      best->heap->name(), time_text(once.total()))};
}

}  // namespace maru::planning
