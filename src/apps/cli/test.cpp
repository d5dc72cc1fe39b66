// maru test: how often a network is right, over a data set.
#include <maru/session.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "apps/cli/json.h"
#include "apps/cli/model_flags.h"
#include "apps/cli/new_file.h"
#include "apps/cli/photo_flags.h"
#include "apps/cli/photo_reader.h"
#include "apps/cli/tensors.h"
#include "apps/cli/verb.h"
#include "base/error.h"
#include "measure/confusion.h"
#include "vision/resize.h"

namespace maru::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kShown = 10;  // classes and mistakes, in text

std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + '"';
}

class Test final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "test",
        "Runs a network on every photo of a data set, and says how often the right class is the\n"
        "first of its scores (top-1) or among the first few (top-5), which classes are worst, and\n"
        "what is taken for what. A photo that cannot be read is reported and left out.",
        std::initializer_list<std::string_view>{
            "test --model models/googlenet-tiny --data photos/val",
            "test --model deploy.prototxt -w snap_iter_4000.caffemodel --data val.txt --html "
            "page.html"});
    flags_.add_model(*line);
    flags_.add_weights(*line);
    flags_.add_labels(*line);
    line->text("--data", "PATH",
               "The photos with their labels: a folder of folders, a list, tar files or an LMDB;\n"
               "see docs/data.md. Required.",
               source_.path, Need::required);
    line->text("--data-root", "DIR",
               "What paths in a list begin in. Default: the list's own folder; or the working\n"
               "directory, where the first of them is found only there.",
               source_.root);
    line->numbers("--top", "K,...", "How many first scores count as right. Default: 1,5.", top_);
    line->number("--centre",
                 "Of each photo only the largest centred part with the input's aspect ratio, and of\n"
                 "that this share of each side: 0.875 for 224 of 256.",
                 centre_);
    photo_flags_.add(*line);
    flags_.add_execution(*line);
    line->integer("--batch", "Photos that the network takes at once. Default: 16.",
                  flags_.options.batch, 1, 4096);
    flags_.add_optimize(*line);
    line->text("--html", "FILE", "A page with all of it.", html_);
    line->text("--svg", "FILE", "The map of what is taken for what, alone.", svg_);
    line->text("--per-class", "FILE", "A line a class, as CSV, worst first.", csv_);
    line->flag("--json",
               "Print {\"model\", \"data\", \"photos\", \"skipped\", \"top\": {\"1\": share, ...},\n"
               "\"images_per_second\", \"classes\": [...], \"mistakes\": [...]}.",
               json_);
    return line;
  }

  int run(Output& out) override {
    check();
    ModelOptions options = flags_.to_options();
    photo_flags_.apply(flags_.model, options);
    const Model model = load_model(flags_.model, options);
    std::vector<std::int64_t> shape = model.outputs().at(0).shape;
    classes_ = shape.size() < 2 ? 0
                                : std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1},
                                                  std::multiplies<>());
    if (classes_ < 1)
      throw Error(model.name(), "a score for each class of each photo", shape_text(shape),
                  "a network that ends in an InnerProduct or Softmax");
    if (centre_) find_input();
    const std::shared_ptr<const DataSet> data = open();
    name_classes(model, *data);
    right_.assign(static_cast<std::size_t>(classes_), std::vector<std::int64_t>(ks_.size(), 0));
    const Clock::time_point start = Clock::now();
    test(model, data);
    seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
    if (photos_ == 0)
      throw Error(source_.path, "a photo that can be read", fmt::format("{} that cannot", skipped_));
    const bool is_written = write_files(model);
    if (json_) {
      print_json(out, describe(model));
    } else {
      print(out, model);
    }
    return is_written ? 0 : 1;
  }

 private:
  void check() {
    if (top_) {
      ks_.clear();
      for (const float k : *top_) {
        if (k < 1 || k != std::floor(k) || k > 1e6F)
          throw UsageError("--top", "whole numbers from 1 on", fmt::format("{}", k), "--top 1,5");
        ks_.push_back(static_cast<std::int64_t>(k));
      }
    }
    if (centre_ && (*centre_ <= 0 || *centre_ > 1))
      throw UsageError("--centre", "a share above 0, at most 1", fmt::format("{}", *centre_));
  }

  void find_input() {
    const std::vector<TensorInfo> inputs = inspect(flags_.model, flags_.to_options()).inputs;
    const std::vector<std::int64_t>& shape = inputs.at(0).shape;
    if (shape.size() == 4) input_ = {static_cast<int>(shape[2]), static_cast<int>(shape[3])};
  }

  std::shared_ptr<const DataSet> open() {
    source_.classes = classes_;
    std::shared_ptr<const DataSet> data = open_data_set(source_);
    const auto named = static_cast<std::int64_t>(data->class_names().size());
    if (named > 0 && named != classes_)
      throw Error(source_.path, fmt::format("{} classes, as the network has scores", classes_),
                  fmt::format("{}", named), "the data set that the network was trained on");
    return data;
  }

  void name_classes(const Model& model, const DataSet& data) {
    for (std::int64_t i = 0; i < classes_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      confusion_.classes.push_back(at < model.labels().size()       ? model.labels()[at]
                                   : at < data.class_names().size() ? data.class_names()[at]
                                                                    : fmt::format("class {}", i));
    }
  }

  void test(const Model& model, const std::shared_ptr<const DataSet>& data) {
    Session session(model);
    PhotoReader reader(data, model.batch(), 0);
    Progress progress(static_cast<std::size_t>(data->size()));
    std::int64_t done = 0;
    for (std::vector<ReadPhoto> photos = reader.next(); !photos.empty(); photos = reader.next()) {
      std::vector<std::int64_t> labels;
      for (const ReadPhoto& photo : photos) {
        ++done;
        if (!photo.error.empty()) {
          complain("skipped: " + photo.error);
          ++skipped_;
          continue;
        }
        take(session, photo, static_cast<std::int64_t>(labels.size()));
        labels.push_back(photo.label);
      }
      if (labels.empty()) continue;
      for (std::int64_t slot = static_cast<std::int64_t>(labels.size()); slot < model.batch(); ++slot)
        std::ranges::fill(session.photo(1, 1, slot), std::uint8_t{128});
      session.run();
      const TensorSpan scores = session.output(model.outputs()[0].name);
      for (std::size_t slot = 0; slot < labels.size(); ++slot)
        count(scores.as<const float>().subspan(slot * static_cast<std::size_t>(classes_),
                                               static_cast<std::size_t>(classes_)),
              static_cast<std::size_t>(labels[slot]));
      progress.show(static_cast<std::size_t>(done));
    }
  }

  void take(Session& session, const ReadPhoto& photo, std::int64_t slot) const {
    CropRect part{0, 0, photo.width, photo.height};
    if (centre_) {
      const CropRect whole = centre_crop(photo.width, photo.height, input_.second, input_.first);
      const double share = static_cast<double>(*centre_);
      part.width = std::max(1, static_cast<int>(std::lround(share * whole.width)));
      part.height = std::max(1, static_cast<int>(std::lround(share * whole.height)));
      part.x = whole.x + (whole.width - part.width) / 2;
      part.y = whole.y + (whole.height - part.height) / 2;
    }
    const std::span<std::uint8_t> to = session.photo(part.width, part.height, slot);
    const std::size_t row = static_cast<std::size_t>(part.width) * 3;
    for (int y = 0; y < part.height; ++y) {
      const std::size_t from =
          (static_cast<std::size_t>(part.y + y) * static_cast<std::size_t>(photo.width) +
           static_cast<std::size_t>(part.x)) *
          3;
      std::copy_n(photo.pixels.begin() + static_cast<std::ptrdiff_t>(from), row,
                  to.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(y) * row));
    }
  }

  void count(std::span<const float> scores, std::size_t label) {
    ++photos_;
    const float own = scores[label];
    // As Session::top() has it: equal scores by index. What is no number is never right.
    std::int64_t before = 0;
    std::size_t best = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] > scores[best] || std::isnan(scores[best])) best = i;
      if (scores[i] > own || (scores[i] == own && i < label)) ++before;
    }
    confusion_.add(label, best);
    for (std::size_t k = 0; k < ks_.size(); ++k) {
      if (!std::isnan(own) && before < ks_[k]) ++right_[label][k];
    }
  }

  double share(std::size_t k) const {
    std::int64_t right = 0;
    for (const auto& of_class : right_) right += of_class[k];
    return static_cast<double>(right) / static_cast<double>(photos_);
  }

  // Labels of classes that have photos, worst first.
  std::vector<std::size_t> worst_first() const {
    std::vector<std::size_t> labels;
    for (std::size_t i = 0; i < confusion_.classes.size(); ++i) {
      if (confusion_.photos(i) > 0) labels.push_back(i);
    }
    std::ranges::stable_sort(labels, {}, [&](std::size_t i) {
      return static_cast<double>(right_[i][0]) / static_cast<double>(confusion_.photos(i));
    });
    return labels;
  }

  void print(Output& out, const Model& model) const {
    out.print("{} photos of {}, {} classes{}\n", grouped(photos_), source_.path, classes_,
              skipped_ > 0 ? fmt::format(", {} skipped", skipped_) : "");
    for (std::size_t k = 0; k < ks_.size(); ++k)
      out.print("top-{:<3} {:>8}\n", ks_[k], percent(share(k)));
    const std::string precision = in_precision(model.precision());
    out.print("{:.1f} images/s, decoding included{}{}\n\n", static_cast<double>(photos_) / seconds_,
              precision.empty() ? "" : ", ", precision);
    std::vector<std::vector<std::string>> rows{{"worst classes", "photos"}};
    for (const std::int64_t k : ks_) rows[0].push_back(fmt::format("top-{}", k));
    for (const std::size_t label : worst_first()) {
      if (rows.size() > kShown) break;
      std::vector<std::string>& row = rows.emplace_back();
      row = {confusion_.classes[label], grouped(confusion_.photos(label))};
      for (const std::int64_t right : right_[label])
        row.push_back(
            percent(static_cast<double>(right) / static_cast<double>(confusion_.photos(label))));
    }
    out.write(table("<>" + std::string(ks_.size(), '>'), rows));
    rows = {{"most frequent mistakes", "taken for", "times"}};
    for (const auto& [label, guess, times] : confusion_.mistakes()) {
      if (rows.size() > kShown) break;
      rows.push_back({confusion_.classes[label], confusion_.classes[guess], grouped(times)});
    }
    if (rows.size() > 1) out.write("\n" + table("<<>", rows));
  }

  Json describe(const Model& model) const {
    Json top = Json::object();
    for (std::size_t k = 0; k < ks_.size(); ++k) top[std::to_string(ks_[k])] = share(k);
    Json all{{"model", model.name()},    {"data", source_.path},
             {"photos", photos_},        {"skipped", skipped_},
             {"top", std::move(top)},    {"images_per_second", static_cast<double>(photos_) / seconds_},
             {"classes", Json::array()}, {"mistakes", Json::array()}};
    add_precision(all, model.precision());
    for (const std::size_t label : worst_first()) {
      Json right = Json::object();
      for (std::size_t k = 0; k < ks_.size(); ++k) right[std::to_string(ks_[k])] = right_[label][k];
      all["classes"].push_back({{"label", label},
                                {"name", confusion_.classes[label]},
                                {"photos", confusion_.photos(label)},
                                {"right", std::move(right)}});
    }
    for (const auto& [label, guess, times] : confusion_.mistakes())
      all["mistakes"].push_back({{"label", label}, {"taken_for", guess}, {"times", times}});
    return all;
  }

  std::string csv() const {
    std::string text = "label,name,photos";
    for (const std::int64_t k : ks_) text += fmt::format(",top-{}", k);
    text += ",most taken for,times\n";
    std::map<std::size_t, measure::Confusion::Pair> most;
    for (const auto& pair : confusion_.mistakes()) most.emplace(pair.label, pair);
    for (const std::size_t label : worst_first()) {
      text +=
          fmt::format("{},{},{}", label, csv_cell(confusion_.classes[label]), confusion_.photos(label));
      for (const std::int64_t right : right_[label])
        text += fmt::format(",{:.6g}",
                            static_cast<double>(right) / static_cast<double>(confusion_.photos(label)));
      const auto pair = most.find(label);
      text += pair == most.end()
                  ? ",,\n"
                  : fmt::format(",{},{}\n", csv_cell(confusion_.classes[pair->second.guess]),
                                pair->second.times);
    }
    return text;
  }

  // One file that cannot be written costs no other, and not what is printed; false then.
  bool write_files(const Model& model) const {
    const std::string title = fmt::format("{} on {}", model.name(), source_.path);
    measure::ConfusionFacts facts{title, model.name(), source_.path, photos_, skipped_, {}, right_};
    for (std::size_t k = 0; k < ks_.size(); ++k) facts.top.emplace_back(ks_[k], share(k));
    bool is_written = true;
    const auto write = [&](const std::string& path, const auto& text) {
      if (path.empty()) return;
      try {
        write_file(path, text());
      } catch (const Error& error) {
        complain(error.what());
        is_written = false;
      }
    };
    write(csv_, [&] { return csv(); });
    write(svg_, [&] { return measure::confusion_figure(confusion_, title); });
    write(html_, [&] { return measure::confusion_page(confusion_, facts); });
    return is_written;
  }

  ModelFlags flags_ = [] {
    ModelFlags flags;
    flags.options.batch = 16;
    return flags;
  }();
  PhotoFlags photo_flags_;
  DataSource source_;
  std::optional<std::vector<float>> top_;
  std::optional<float> centre_;
  std::string html_, svg_, csv_;
  bool json_ = false;

  std::vector<std::int64_t> ks_{1, 5};
  std::pair<int, int> input_{1, 1};  // height, width
  std::int64_t classes_ = 0, photos_ = 0, skipped_ = 0;
  double seconds_ = 0;
  measure::Confusion confusion_;
  std::vector<std::vector<std::int64_t>> right_;  // per class, per k
};

}  // namespace

std::unique_ptr<Verb> make_test() { return std::make_unique<Test>(); }

}  // namespace maru::cli
