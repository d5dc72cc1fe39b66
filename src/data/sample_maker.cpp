#include "data/sample_maker.h"

#include <algorithm>

namespace maru::data {
namespace {

// What a photo of unusual size took is given back.
constexpr std::size_t kKept = std::size_t{64} << 20;

template <class T>
T* at_least(std::vector<T>& memory, std::size_t count) {
  if (memory.size() < count) memory.resize(count);
  return memory.data();
}

template <class T>
void let_go(std::vector<T>& memory) {
  if (memory.size() * sizeof(T) > kKept) std::vector<T>().swap(memory);
}

PixelView view_of(std::uint8_t* data, int height, int width) {
  return {data, width, height, static_cast<std::size_t>(width) * 3};
}

std::size_t bytes_of(int height, int width) {
  return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3;
}

// Planes, blue first, or one of grey.
void interleave(const StoredPhoto& photo, PixelView dst) {
  const auto* src = reinterpret_cast<const std::uint8_t*>(photo.bytes.data());
  const std::size_t plane =
      static_cast<std::size_t>(photo.height) * static_cast<std::size_t>(photo.width);
  const std::size_t blue = 0, green = photo.channels == 1 ? 0 : plane,
                    red = photo.channels == 1 ? 0 : 2 * plane;
  for (std::size_t i = 0; i < plane; ++i) {
    dst.data[3 * i] = src[red + i];
    dst.data[3 * i + 1] = src[green + i];
    dst.data[3 * i + 2] = src[blue + i];
  }
}

}  // namespace

// Straight into dst where all of the photo is taken as it is.
PixelView SampleMaker::decode(const StoredPhoto& photo, std::int64_t index, std::uint64_t position,
                              std::span<std::byte> dst, Augmented& how) {
  int height = photo.height, width = photo.width;
  const bool raw = photo.channels != 0;
  if (!raw) {
    const ImageInfo info = decoder_.open(photo.bytes, {});
    height = info.height;
    width = info.width;
  }
  try {
    how = draw_augmented(options_.augment, height, width, options_.seed, position);
  } catch (const Error& error) {
    throw Error(set_.name(index), error.expected(), error.got(), error.hint());
  }
  const bool as_it_is = how.resized_height == height && how.resized_width == width &&
                        how.part.height == height && how.part.width == width && !how.resizes_part();
  auto* memory = as_it_is && !options_.floats ? reinterpret_cast<std::uint8_t*>(dst.data())
                                              : at_least(decoded_, bytes_of(height, width));
  const PixelView decoded = view_of(memory, height, width);
  if (raw) {
    interleave(photo, decoded);
  } else {
    decoder_.decode(decoded);
  }
  return decoded;
}

std::optional<Error> SampleMaker::make(std::int64_t index, std::uint64_t position,
                                       std::span<std::byte> dst, MadeSample& made) {
  StoredPhoto photo;
  try {
    photo = set_.read(index, file_);
  } catch (const Error& error) {
    return error;
  }
  set_.require_label(index, photo.label);
  made.label = static_cast<float>(photo.label);

  Augmented how;
  PixelView decoded;
  try {
    decoded = decode(photo, index, position, dst, how);
  } catch (const Error& error) {
    // Names are made for errors alone.
    if (!error.where().empty()) return error;
    return Error(set_.name(index), error.expected(), error.got(), error.hint());
  }
  if (!options_.floats) {
    made.height = how.out_height;
    made.width = how.out_width;
    augment_photo(how, decoded,
                  view_of(reinterpret_cast<std::uint8_t*>(dst.data()), how.out_height, how.out_width),
                  scratch_);
  } else {
    made.height = made.width = 0;
    // Mirroring comes after the mean.
    Augmented unmirrored = how;
    unmirrored.mirror = false;
    const PixelView part = view_of(at_least(part_, bytes_of(how.out_height, how.out_width)),
                                   how.out_height, how.out_width);
    augment_photo(unmirrored, decoded, part, scratch_);
    to_floats(how, part, index, reinterpret_cast<float*>(dst.data()));
  }
  let_go(file_);
  let_go(decoded_);
  let_go(scratch_.resized);
  return {};
}

void SampleMaker::to_floats(const Augmented& how, ConstPixelView photo, std::int64_t index,
                            float* dst) const {
  const FloatInput& floats = *options_.floats;
  const int height = static_cast<int>(options_.augment.height);
  const int width = static_cast<int>(options_.augment.width);
  if (how.part.height != height || how.part.width != width) {
    throw Error(
        set_.name(index), fmt::format("{} x {} pixels", width, height),
        fmt::format("{} x {}", how.part.width, how.part.height),
        "resizing photos first (new_height and new_width in a data layer; --size of maru mean, rows x "
        "columns), or cropping them, to that");
  }
  const MeanImage* mean = floats.mean.get();
  if (mean != nullptr && (mean->height != how.resized_height || mean->width != how.resized_width)) {
    throw Error(set_.name(index),
                fmt::format("{} x {} pixels, as the mean image", mean->width, mean->height),
                fmt::format("{} x {}", how.resized_width, how.resized_height),
                "new_height and new_width of the mean's size");
  }
  for (int c = 0; c < floats.channels; ++c) {
    const int channel = floats.bgr ? 2 - c : c;
    for (int y = 0; y < height; ++y, dst += width) {
      const std::uint8_t* src = photo.row(y);
      for (int x = 0; x < width; ++x, src += 3) {
        const float subtracted = mean != nullptr ? mean->at(c, how.part.y + y, how.part.x + x)
                                                 : floats.mean_values[static_cast<std::size_t>(c)];
        const int level = floats.channels == 1 ? grey_of(src) : src[channel];
        dst[how.mirror ? width - 1 - x : x] = (static_cast<float>(level) - subtracted) * floats.scale;
      }
    }
  }
}

}  // namespace maru::data
