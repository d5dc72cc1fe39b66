// Model: a network with its weights, planned for one device. Cheap to copy (shared); immutable, so any
// number of sessions in any threads may use it at once. It must outlive nothing: sessions keep it
// alive.
#pragma once

#include <maru/error.h>
#include <maru/export.h>
#include <maru/step.h>
#include <maru/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace maru {

struct ModelOptions {
  // Found beside the network when empty: the only .caffemodel of the folder; labels.txt or
  // synset_words.txt.
  std::filesystem::path weights, labels;
  std::optional<Preprocessing> preprocessing;  // instead of what the model's card says
  std::int64_t batch = 1;                      // images a run; 0: as the file says
  std::string device = "auto";                 // a name that devices() lists
  MemoryPolicy memory = MemoryPolicy::automatic;
  std::optional<Precision> precision;  // none: fp32, or as a file was packed
  int threads = 0;                     // of the CPU; 0: one a core
  // Kernels in the variants that are fastest here: measured where they never were, and kept on disk.
  // Packed models stay as they were packed.
  bool tune = false;
  // Runs over which a longer preparation may pay off: small for one photo, large for a service.
  double expected_runs = 1000;
  std::vector<std::string> outputs;  // values to be readable on top of the network's own outputs
  // true: the session takes photos and does the preprocessing; false: it takes the network's raw input.
  bool photos = true;
  // false: rewrites are skipped, every layer runs as the file has it; for finding a wrong rewrite.
  bool optimize = true;
  // Prove the plan when the model is loaded, and watch every run: Error names the step. See
  // docs/check.md.
  bool check = false;
};

struct TensorInfo {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
};

struct DeviceInfo {
  // As measured on this machine. Bytes a second; 0: that side cannot.
  struct HeapInfo {
    std::string name, traits;
    double host_read, host_write, device_read, device_write;
    double map_seconds;  // to show one range to the CPU and take it back
  };
  std::string name;         // what ModelOptions::device takes
  std::string description;  // "AMD EPYC, 2 cores, avx512; oneDNN 2.6.3"
  std::vector<HeapInfo> heaps;
  double launch_seconds, wait_seconds;  // of one more small kernel; until one alone is seen done
  double upload, download;  // bytes a second between the CPU's and the device's memory; 0: one memory
};

// A machine that is not here: its memory is imitated and its times are modelled, never measured.
struct BoardInfo {
  struct Published {
    std::string network, memory;  // "copy", "zero-copy"
    double seconds;
    std::string source;
  };
  std::string name;  // what ModelOptions::device takes
  std::string description;
  std::vector<Published> published;
};

struct LayerInfo {
  std::string name, op, attributes;
  std::vector<TensorInfo> src, dst;
  std::int64_t parameters = 0;
  double flops = 0;  // a multiply-add counts as 2
  double bytes = 0;  // read and written once each, weights included
};

// What `maru info` shows: the network as the file has it, before any rewrite.
struct NetworkInfo {
  std::string name;
  std::filesystem::path network, weights, labels;  // as found; empty where there are none
  std::vector<TensorInfo> inputs, outputs;
  std::vector<LayerInfo> layers;
  std::int64_t parameters = 0;
  double flops = 0;
  std::vector<std::string> notes;  // what the importer kept but did not understand
};

// One place that copies, and what it has copied so far.
struct CopyRecord {
  std::string step, tensor, cause;
  std::string from, to;  // kinds of memory
  bool crosses;          // between the CPU's memory and the device's; else within one
  std::uint64_t times, bytes;
  double seconds;  // 0: not measured, since other work ran with it in one launch
};

class MARU_API Model {
 public:
  // path: a Caffe network (.prototxt), a folder with the network, weights, labels and card
  // (model.json), or a packed model (pack.h), which is mapped. Throws Error for anything that cannot be
  // run as it stands.
  static Model load(const std::filesystem::path& path, const ModelOptions& options = {});

  const std::string& name() const;
  std::vector<TensorInfo> inputs() const;  // without the photo inputs
  std::vector<TensorInfo> outputs() const;
  const std::vector<std::string>& labels() const;  // empty when there are none
  const std::vector<std::string>& notes() const;
  std::int64_t batch() const;
  // With device "auto": devices that seem to be there and could not be used, and why, a line each.
  const std::vector<std::string>& passed_over() const;
  Precision precision() const;

  // What loading copied to where the device's weights are. Empty where they were packed in place, or
  // are the pages of a packed file.
  std::vector<CopyRecord> copies() const;

  // The plan, for people and for machines: every step, kernel, layout, heap, arena offset and copy.
  std::string plan_text() const;
  std::string plan_json() const;
  std::vector<StepInfo> steps() const;
  // What ModelOptions::check found proven, in a line; empty where it was not asked for.
  std::string proof() const;

  struct State;
  const State& state() const { return *state_; }
  const std::shared_ptr<const State>& shared() const { return state_; }

 private:
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// Reads the network alone; weights may be missing. Throws Error.
MARU_API NetworkInfo inspect(const std::filesystem::path& path, const ModelOptions& options = {});
// What the card of the model says, or the defaults where there is none. Throws Error for a damaged
// card.
MARU_API Preprocessing card_preprocessing(const std::filesystem::path& path);
// What this build can run on here, best first. Memory is measured when it never was on this machine, or
// when `refresh` says so, which takes some tenths of a second for each device.
MARU_API std::vector<DeviceInfo> devices(bool refresh = false);
// The virtual boards that this build knows.
MARU_API std::vector<BoardInfo> boards();
MARU_API std::string_view version();

}  // namespace maru
