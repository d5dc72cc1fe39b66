// NumPy's .npy files, format versions 1 to 3 (numpy.lib.format): one tensor each, little-endian, C
// order.
#pragma once

#include <maru/types.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/mapped_file.h"

namespace maru::npy {

// An opened file: its header is read and checked against the file's size, its data not touched yet.
class File {
 public:
  // Throws Error for what is no .npy file, is damaged, or holds something else than f2, f4, f8, u1 or
  // i4 in C order.
  explicit File(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  DType dtype() const { return dtype_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }

  // Writes the tensor to `dst`, once, front to back; as it is where the element types agree, converted
  // where dst is f32. Throws Error when the shapes or the types do not fit.
  void read(const TensorSpan& dst) const;

 private:
  std::filesystem::path path_;
  MappedFile file_;
  DType dtype_ = DType::f32;
  std::vector<std::int64_t> shape_;
  std::size_t data_offset_ = 0;
};

// Writes beside `path` first and renames then, so that a reader finds the old file or all of the new
// one. Throws Error.
void write(const std::filesystem::path& path, const TensorSpan& tensor);

}  // namespace maru::npy
