#include "apps/cli/photo_flags.h"

#include "base/error.h"

namespace maru::cli {

void PhotoFlags::add(CommandLine& line) {
  line.numbers("--mean", "B,G,R",
               "Subtracted from each pixel: levels of 0 to 255, one for all channels or\n"
               "three in the order of --channels. Default: the model's card, else 104,117,123.",
               mean);
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

void PhotoFlags::apply(const std::string& model, ModelOptions& options) const {
  if (!mean && !scale && !channels && !resize) return;
  Preprocessing changed = card_preprocessing(model);
  if (mean && mean->size() != 1 && mean->size() != 3)
    throw UsageError("--mean", "1 or 3 numbers", fmt::format("{}", mean->size()));
  if (mean) changed.mean = *mean;
  if (scale) changed.scale = *scale;
  if (channels) changed.channels = *channels;
  if (resize) changed.resize = *resize;
  options.preprocessing = changed;
}

}  // namespace maru::cli
