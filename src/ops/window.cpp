#include "ops/window.h"

#include "base/error.h"

namespace maru {
namespace {

// One of Caffe's pairs: `name` (once for both axes, or twice) or `name_h` and `name_w`.
std::array<std::int64_t, 2> pair_from_caffe(const AttrReader& reader, std::string_view both,
                                            std::string_view stem, std::int64_t fallback) {
  const auto sizes = reader.integers(both);
  const std::string h = fmt::format("{}_h", stem), w = fmt::format("{}_w", stem);
  if (!sizes.empty() && (reader.has(h) || reader.has(w))) {
    throw Error(both, fmt::format("either {} or {} and {}", both, h, w), "both");
  }
  if (sizes.size() > 2) {
    throw Error(both, "two spatial axes", fmt::format("{} sizes", sizes.size()), "a network on images");
  }
  if (sizes.size() == 2) return {sizes[0], sizes[1]};
  if (sizes.size() == 1) return {sizes[0], sizes[0]};
  return {reader.integer(h, fallback), reader.integer(w, fallback)};
}

}  // namespace

void Window::check() const {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const auto is_within = [](std::int64_t value, std::int64_t least) {
    return value >= least && value <= kMost;
  };
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (is_within(kernel[axis], 1) && is_within(stride[axis], 1) && is_within(dilation[axis], 1) &&
        is_within(pad[axis], 0)) {
      continue;
    }
    throw Error("window",
                "kernel, stride and dilation of 1 or more and pad of 0 or more, none beyond 2^24",
                fmt::format("kernel {} stride {} dilation {} pad {}", kernel[axis], stride[axis],
                            dilation[axis], pad[axis]));
  }
}

void Window::check(std::int64_t height, std::int64_t width) const {
  check();
  const std::int64_t extents[] = {height, width};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t padded = extents[axis] + 2 * pad[axis];
    if (reach(axis) <= padded) continue;
    throw Error("window", fmt::format("a kernel within the padded input of {}", padded),
                fmt::format("a kernel that spans {}", reach(axis)), "a larger input");
  }
}

Window Window::from_caffe(const AttrReader& reader, bool wants_kernel) {
  Window window;
  window.kernel = pair_from_caffe(reader, "kernel_size", "kernel", 0);
  window.stride = pair_from_caffe(reader, "stride", "stride", 1);
  window.pad = pair_from_caffe(reader, "pad", "pad", 0);
  window.dilation = pair_from_caffe(reader, "dilation", "dilation", 1);
  const std::string kernel = fmt::format("{}x{}", window.kernel[0], window.kernel[1]);
  if (wants_kernel && (window.kernel[0] < 1 || window.kernel[1] < 1)) {
    throw Error("kernel_size", "a kernel of 1 or more", kernel,
                "kernel_size, or kernel_h and kernel_w");
  }
  if (!wants_kernel) {
    if (window.kernel != std::array<std::int64_t, 2>{0, 0}) {
      throw Error("kernel_size", "no kernel, as it is the size of the input", kernel, "leaving it out");
    }
    window.kernel = {1, 1};
  }
  return window;
}

void require_rank(const TensorDesc& desc, std::size_t rank) {
  if (desc.shape.rank() != rank) {
    throw Error("input", fmt::format("{} axes", rank), desc.shape.str());
  }
}

}  // namespace maru
