// What happens to a photo between being decoded and being handed to the network, all in bytes: which
// part of it is taken, mirrored or not, its colours. Pure functions of what they are given: what is
// drawn at random follows from a seed and the sample's position in the stream, so that threads, batches
// and resuming change nothing. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "vision/pixel_view.h"
#include "vision/resize.h"

namespace maru {

// First new_height and new_width, then one of: crop, area, centre, nothing (the whole photo); then
// mirror, then colours. What the part of the photo is resized to at last is the network's input; the
// loader does so only where that makes it smaller, else the device.
struct Augment {
  std::int64_t height = 0, width = 0;  // of the network's input, pixels; 1 or more

  // Caffe's transform_param and image_data_param.
  std::int64_t new_height = 0, new_width = 0;  // resized to this, whatever the aspect ratio; 0: not
  std::int64_t crop = 0;  // a square of so many pixels, which must be there; 0: none
  bool random = false;    // where crop lies: anywhere, each place as likely (train), else in the centre
  bool mirror = false;    // left and right swapped with probability 1/2, in both phases, as in Caffe

  // Random resized crop: area_low to area_high of the photo's area, width / height from 1 / ratio to
  // ratio, logarithmically uniform, anywhere. Szegedy et al. 2015, Going deeper with convolutions,
  // section 6: 0.08 to 1, 4/3. Ten tries; then the largest part in the centre whose aspect ratio is
  // allowed. Off while area_high is 0.
  double area_low = 0, area_high = 0, ratio = 4.0 / 3;

  // For tests: of the largest centred part that has the input's aspect ratio, this share of each side
  // (0.875: 224 of 256). 0: off.
  double centre = 0;

  // Each 0 (off) or more: a factor is drawn from max(0, 1 - x) to 1 + x, and the three are applied in
  // random order, levels rounded and limited to 0..255 after each. brightness: level * f. contrast:
  // level * f + m * (1 - f), m the rounded mean grey level of the part. saturation: level * f + grey *
  // (1 - f). grey = 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601).
  double brightness = 0, contrast = 0, saturation = 0;

  bool operator==(const Augment&) const = default;
};

// Throws Error, naming the field, when a field is out of range or two contradict each other.
void require_valid(const Augment& augment);

// What is done to one photo.
struct Augmented {
  int resized_height = 0, resized_width = 0;  // of the whole photo before cropping; as it was if not
                                              // resized
  CropRect part;                              // of that
  bool mirror = false;
  std::array<float, 3> factors{1, 1, 1};       // brightness, contrast, saturation
  std::array<std::uint8_t, 3> order{0, 1, 2};  // in which they are applied
  int out_height = 0, out_width = 0;           // of the result: part's, or the network's input
  bool resizes_part() const { return out_height != part.height || out_width != part.width; }
  bool jitters() const { return factors != std::array<float, 3>{1, 1, 1}; }
};

// For a photo of this size. `position` is the sample's in the whole stream, over all epochs. Throws
// Error when the photo is smaller than the crop.
Augmented draw_augmented(const Augment& augment, int height, int width, std::uint64_t seed,
                         std::uint64_t position);

// Of red, green and blue: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded, on every machine alike.
int grey_of(const std::uint8_t* rgb);

// Memory that augment_photo keeps from photo to photo. For one thread at a time.
struct AugmentScratch {
  std::vector<std::uint8_t> resized;
  std::vector<std::byte> workspace;
};

// src: the decoded photo. dst: out_height x out_width pixels, not overlapping src.
void augment_photo(const Augmented& how, ConstPixelView src, PixelView dst, AugmentScratch& scratch);

// The three steps, in place.
void mirror_photo(PixelView photo);
void jitter_photo(PixelView photo, std::span<const float, 3> factors,
                  std::span<const std::uint8_t, 3> order);

}  // namespace maru
