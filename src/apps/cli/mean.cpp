// maru mean: the mean of a data set's photos, which networks subtract.
#include "data/mean.h"

#include <charconv>
#include <tuple>
#include <utility>

#include "apps/cli/json.h"
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
    line->text("--data-root", "DIR",
               "What paths in a list begin in. Default: the list's own folder; or the working\n"
               "directory, where the first of them is found only there.",
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
    MeanOptions options;
    if (!size_.empty()) std::tie(options.height, options.width) = size_of(size_);
    const std::shared_ptr<const DataSet> data = open_data_set(source_);
    std::int64_t skipped = 0;
    Progress progress(static_cast<std::size_t>(data->size()));
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
  static std::pair<std::int64_t, std::int64_t> size_of(std::string_view text) {
    constexpr std::int64_t kMost = 1 << 15;
    const char* const end = text.data() + text.size();
    std::int64_t height = 0, width = 0;
    const auto rows = std::from_chars(text.data(), end, height);
    const bool is_divided = rows.ec == std::errc() && rows.ptr != end && *rows.ptr == 'x';
    const auto columns = std::from_chars(is_divided ? rows.ptr + 1 : end, end, width);
    if (!is_divided || columns.ec != std::errc() || columns.ptr != end || height < 1 || width < 1 ||
        height > kMost || width > kMost)
      throw UsageError("--size", fmt::format("rows and columns, 1 to {}", kMost),
                       fmt::format("\"{}\"", text), "--size 256x256");
    return {height, width};
  }

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
