// Loader: batches of decoded, augmented photos, made ahead by threads of its own. Owns the threads and
// the memory of the batches. next() is for one thread at a time; what it gives depends on the options
// alone, never on the number of threads or on timing.
//
// The stream: position p is sample p % size of epoch p / size, each epoch in an order of its own
// (shuffle) or in that of the data set. Rank r of R takes, of each R * batch positions from `first` on,
// the r-th batch. So R ranks see together what one rank sees with R times the batch, and a run that
// goes on at position p (`first`) sees what an unbroken one does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/data_set.h"
#include "data/mean.h"
#include "ops/preprocess.h"

namespace maru {

// Asks for normalised floats instead of bytes, as networks with a mean *image* need: Caffe subtracts
// the mean at the place that the crop has, before mirroring (DataTransformer).
struct FloatInput {
  std::shared_ptr<const MeanImage> mean =
      nullptr;                         // of the size that photos have before cropping; may be none
  std::array<float, 3> mean_values{};  // without an image: of the output's channels
  float scale = 1;                     // (level - mean) * scale
  bool bgr = true;                     // the output's channels; with an image always
  int channels = 3;                    // or 1, grey_of(pixel)
};

struct LoaderOptions {
  std::int64_t batch = 1;  // samples in a batch of this rank
  Augment augment;
  bool shuffle = false;
  std::uint64_t seed = 0;
  int threads = 0;         // 0: as many as the machine has
  std::int64_t first = 0;  // position in the stream, counted over all ranks
  int rank = 0, ranks = 1;
  bool repeat = true;  // else the pass ends where the epoch of `first` does
  int ahead = 3;       // batches that are made before they are asked for
  // A photo that cannot be read or decoded: called once for each of the data set, from a thread of the
  // loader, one at a time. Another takes its place, which follows from seed and position.
  std::function<void(const std::string& name, const Error&)> report;
  std::optional<FloatInput> floats;
  // Where pixels (or floats) are put, in turns: each Loader::batch_bytes() or more, aligned to 16
  // bytes, written and read until the loader has ended, but for what next() gave last. At least 2.
  // Empty: the loader's own.
  std::vector<std::span<std::byte>> memory;
  // Photos that are smaller than photo_bytes() are moved together, for those who copy the batch. Else
  // each stays where it was decoded.
  bool packed = true;
};

// One sample of a batch.
struct Drawn {
  std::int64_t index = -1;  // in the data set; -1: a blank, after the last of a pass
  bool stand_in = false;    // another photo stood here, which cannot be read
  bool operator==(const Drawn&) const = default;
};

// Valid until the next call of next(), or the end of the loader.
struct Batch {
  // Rows of interleaved RGB, photo after photo, each beginning at a multiple of 16 bytes; frames say
  // where. Between photos that are not packed is anything.
  std::span<const std::byte> pixels;
  std::span<const Preprocess::Frame> frames;  // batch of them
  std::span<const float> floats;              // instead of both: batch x channels x height x width
  std::span<const float> labels;              // batch
  std::span<const Drawn> samples;             // batch
  std::int64_t count = 0;  // real ones, at the beginning; fewer than batch (even none) only in the last
                           // batch of a pass. The others are black, of label 0.
  std::int64_t position = 0;  // of the first sample, in the stream
  bool end = false;           // the pass was over before: nothing is here
};

class Loader {
 public:
  // Throws Error for options out of range. Threads start at once.
  Loader(std::shared_ptr<const DataSet> data, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Waits until the batch is made. Throws Error when a label is out of range, when photo after photo
  // cannot be read, or what went wrong in a thread; from then on always that.
  Batch next();

  // Batches of a pass, the same for all ranks; -1: repeats for ever.
  std::int64_t batches() const;
  // What a photo takes in `pixels`: at most height * width * 3, rounded up to 16; and in `floats`.
  static std::int64_t photo_bytes(const Augment& augment);
  // What a whole batch takes, of pixels or of floats.
  static std::int64_t batch_bytes(const LoaderOptions& options);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maru
