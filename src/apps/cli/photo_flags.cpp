#include "apps/cli/photo_flags.h"

#include <algorithm>

#include "base/error.h"
#include "data/mean.h"

namespace maru::cli {

void PhotoFlags::add(CommandLine& line) {
  line.numbers_or_file(
      "--mean", "B,G,R|FILE",
      "Subtracted from each pixel: levels of 0 to 255, one for all channels or\n"
      "three in the order of --channels; or a mean of Caffe's, FILE.binaryproto, of\n"
      "which each channel's mean is taken. Default: the model's card, else 104,117,123.",
      ".binaryproto", mean, mean_file);
  line.number("--scale",
              "(level - mean) is multiplied by it: 0.0078125 for inputs of -1 to 1.\n"
              "Default: the model's card, else 1.",
              scale);
  line.choice<Preprocessing::Channels>(
      "--channels", "Order of the network's input channels. Default: the model's card, else bgr.",
      {{"bgr", Preprocessing::Channels::bgr}, {"rgb", Preprocessing::Channels::rgb}}, channels);
  line.choice<Preprocessing::Resize>(
      "--resize",
      "squash: the whole photo, whatever its aspect ratio; crop: the largest centred\n"
      "part with the input's aspect ratio. Default: the model's card, else squash.",
      {{"squash", Preprocessing::Resize::squash}, {"crop", Preprocessing::Resize::crop}}, resize);
}

namespace {

// A file has blue, green and red, whatever the network wants.
std::vector<float> mean_of(const std::string& file, Preprocessing::Channels channels) {
  const std::vector<double> means = channel_means(read_binaryproto(file));
  if (means.size() != 1 && means.size() != 3)
    throw Error(file, "a mean of 1 or 3 channels", fmt::format("one of {}", means.size()));
  std::vector<float> mean(means.begin(), means.end());
  if (channels == Preprocessing::Channels::rgb) std::ranges::reverse(mean);
  return mean;
}

}  // namespace

void PhotoFlags::apply(const std::string& model, ModelOptions& options) const {
  if (!mean && mean_file.empty() && !scale && !channels && !resize) return;
  Preprocessing changed = card_preprocessing(model);
  if (mean && mean->size() != 1 && mean->size() != 3)
    throw UsageError("--mean", "1 or 3 numbers", fmt::format("{}", mean->size()));
  if (mean) changed.mean = *mean;
  if (scale) changed.scale = *scale;
  if (channels) changed.channels = *channels;
  if (resize) changed.resize = *resize;
  if (!mean_file.empty()) changed.mean = mean_of(mean_file, changed.channels);
  options.preprocessing = changed;
}

}  // namespace maru::cli
