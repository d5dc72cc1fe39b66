// maru mean: the mean of a data set's photos, which networks subtract.
#include "data/mean.h"

#include "apps/cli/json.h"
#include "apps/cli/train_words.h"
#include "apps/cli/verb.h"
#include "data/data_set.h"

namespace maru::cli {
namespace {

class Mean final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "mean",
        "Computes the mean of a data set's photos, as Caffe's compute_image_mean does: of each\n"
        "channel, for mean_value in a data layer and --mean of the other verbs; and of each pixel,\n"
        "for mean_file, when a file to write is named. Photos that cannot be read are reported and\n"
        "left out.",
        std::initializer_list<std::string_view>{"mean --data photos/train --size 256x256",
                                                "mean --data train_lmdb -o mean.binaryproto"});
    line->text("--data", "PATH",
               "The photos: a folder of folders, a list, tar files or an LMDB; see docs/data.md.\n"
               "Required.",
               source_.path, Need::required);
    line->text("--data-root", "DIR", "What paths in a list begin in. Default: the list's own folder.",
               source_.root);
    line->text("--size", "HxW",
               "Photos are resized to this many rows and columns first. Default: that of the first,\n"
               "which all must have.",
               size_);
    line->flag("--grey",
               "One channel, 0.299 R + 0.587 G + 0.114 B. Default: three, blue, green, red; or one\n"
               "where the data is plain Datums of one.",
               grey_);
    line->integer("--threads", "Threads that decode photos; 0: one a core. Default: 0.", threads_, 0,
                  1024);
    line->text("-o,--output", "FILE", "Also write the mean image, as .binaryproto.", output_);
    line->flag("--json",
               "Print {\"data\", \"photos\", \"skipped\", \"channels\", \"height\", \"width\",\n"
               "\"mean\": [a level a channel]}.",
               json_);
    return line;
  }

  int run(Output& out) override {
    Augment size;
    if (!size_.empty()) apply_augment("--size", "resize=" + size_, size);
    const std::shared_ptr<const DataSet> data = open_data_set(source_);
    std::int64_t skipped = 0;
    Progress progress(static_cast<std::size_t>(data->size()));
    MeanOptions options;
    options.height = size.new_height;
    options.width = size.new_width;
    options.channels = grey_ ? 1 : 0;
    options.threads = static_cast<int>(threads_);
    options.report = [&](const std::string&, const Error& error) {
      complain("skipped: " + std::string(error.what()));
      ++skipped;
    };
    options.progress = [&](std::int64_t done, std::int64_t) {
      progress.show(static_cast<std::size_t>(done));
    };
    const MeanImage mean = compute_mean(data, options);
    if (!output_.empty()) write_binaryproto(output_, mean);
    Progress::wipe();
    print(out, mean, data->size() - skipped, skipped);
    return 0;
  }

 private:
  void print(Output& out, const MeanImage& mean, std::int64_t photos, std::int64_t skipped) const {
    const std::vector<double> levels = channel_means(mean);
    if (json_) {
      print_json(out, {{"data", source_.path},
                       {"photos", photos},
                       {"skipped", skipped},
                       {"channels", mean.channels},
                       {"height", mean.height},
                       {"width", mean.width},
                       {"mean", levels}});
      return;
    }
    out.print("{} photos of {}, {} x {}{}\n", photos, source_.path, mean.width, mean.height,
              skipped > 0 ? fmt::format("; {} skipped", skipped) : "");
    if (levels.size() == 1) {
      out.print("mean: grey {:.3f}\n", levels[0]);
    } else {
      out.print("mean: blue {:.3f}, green {:.3f}, red {:.3f}\n", levels[0], levels[1], levels[2]);
    }
    if (!output_.empty()) out.print("written to {}\n", output_);
  }

  DataSource source_;
  std::string size_, output_;
  std::int64_t threads_ = 0;
  bool grey_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_mean() { return std::make_unique<Mean>(); }

}  // namespace maru::cli
