// Session: one stream of runs of a Model, with the memory for it. One thread at a time may use a
// session; for several threads, make several sessions of one model. run() allocates nothing.
#pragma once

#include <maru/model.h>

#include <memory>
#include <vector>

namespace maru {

struct Score {
  std::int64_t index;
  std::string_view label;  // empty when the model has no labels; lives as long as the model
  float score;
};

class MARU_API Session {
 public:
  // Throws Error naming the tensor when there is not enough memory.
  explicit Session(const Model& model);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Decodes a photo (JPEG, PNG, PPM/PGM) straight into the memory that the plan has for image `slot`
  // (0 to batch - 1). Throws Error for a file that is no such photo; the slot then holds no photo.
  void load_photo(const std::filesystem::path& file, std::int64_t slot = 0);
  void load_photo(std::span<const std::byte> encoded, std::string_view name, std::int64_t slot = 0);
  // The memory itself, to be filled by a camera or a decoder of the caller: height rows of width RGB
  // pixels, tightly packed. Valid until the next run, or a call for any slot.
  std::span<std::uint8_t> photo(std::int64_t width, std::int64_t height, std::int64_t slot = 0);

  // Views of planned memory; no copy. Outputs hold the last run's results. Valid until the next run,
  // before which a device may need its memory back. Throws Error for a name that is neither an input
  // nor an output of the model.
  TensorSpan input(std::string_view name);
  TensorSpan output(std::string_view name) const;

  // From now on an input, or an output, is this memory of the caller, who keeps it where it is until
  // another is bound or the session ends. Writes and reads it between runs. Returns true where the
  // device uses these very bytes; what that takes differs (64 bytes of alignment on the CPU, whole
  // pages on some GPUs, whole cache lines in length). Returns false where it cannot: then every run
  // copies, and copies() says so. Throws Error for an unknown name, or for less memory than the tensor
  // has.
  bool bind_input(std::string_view name, std::span<std::byte> memory);
  bool bind_output(std::string_view name, std::span<std::byte> memory);
  // The same for a photo: height rows of width RGB pixels, row_bytes apart (at least 3 width), in
  // memory of a camera or a decoder. A batch takes one at a time and copies it.
  bool bind_photo(std::span<std::byte> memory, std::int64_t width, std::int64_t height,
                  std::int64_t row_bytes, std::int64_t slot = 0);

  // Throws Error when a photo slot of the batch was never filled.
  void run();

  // One step of the plan alone, `times` times, and waited for. All steps from the first to the last,
  // once each, do what run() does; repeating one that works in place, or skipping one, spoils what
  // comes after it in this run, nothing else. Throws Error as run(), or when there is no such step.
  void run_step(std::size_t step, std::size_t times = 1);

  // The `count` best scores of the first output, best first; equal scores by index.
  std::vector<Score> top(std::size_t count = 5, std::int64_t slot = 0) const;

  // Every copy that runs so far have made. Empty where the plan has none.
  std::vector<CopyRecord> copies() const;
  std::size_t arena_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maru
