// maru classify: photos in, names of what they show out.
#include <maru/session.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>

#include "apps/cli/image_list.h"
#include "apps/cli/json.h"
#include "apps/cli/model_flags.h"
#include "apps/cli/photo_flags.h"
#include "apps/cli/tensors.h"
#include "apps/cli/verb.h"
#include "base/text.h"

namespace maru::cli {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::string label_of(const Score& score) {
  return score.label.empty() ? fmt::format("class {}", score.index) : std::string(score.label);
}

class Classify final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "classify",
        "Says what photos show: decodes each straight into the network's input memory, runs the\n"
        "network, and prints the best classes with their scores. A photo that cannot be read is\n"
        "reported and the others go on.",
        std::initializer_list<std::string_view>{
            "classify cat.jpg --model models/googlenet-tiny",
            "classify holidays/ 'more/*.png' --model deploy.prototxt --top 1 --json"});
    line->positionals("IMAGE",
                      "Photos (JPEG, PNG, PPM, PGM), folders of photos, or patterns in quotes.\n"
                      "Of a folder: its .jpg .jpeg .png .ppm .pgm files, sorted; not those of\n"
                      "folders inside it.",
                      images_);
    flags_.add_model(*line);
    flags_.add_weights(*line);
    flags_.add_labels(*line);
    line->integer("-k,--top", "How many classes to print of each photo. Default: 5.", top_, 1, 1000000);
    photo_flags_.add(*line);
    flags_.add_execution(*line);
    line->integer("--batch", "Photos that the network takes at once. Default: 1.", flags_.options.batch,
                  1, 4096);
    flags_.add_optimize(*line);
    flags_.add_check(*line);
    line->flag(
        "--json",
        "Print [{\"image\": ..., \"top\": [{\"index\", \"label\", \"score\"}]}]; of a photo that\n"
        "cannot be read {\"image\", \"error\"}. With -v {\"images\": that list, \"ms\",\n"
        "\"runs\", \"arena_bytes\", \"load_copies\", \"copies\"}.",
        json_);
    line->flag("-v,--verbose",
               "Also print milliseconds of each stage and every copy made (standard error).", verbose_);
    return line;
  }

  int run(Output& out) override {
    const std::vector<std::filesystem::path> files = image_list(images_);
    Clock::time_point start = Clock::now();
    const Model model = load_model(flags_.model, options(files.size()));
    ms_.load = ms_since(start);
    start = Clock::now();
    Session session(model);
    ms_.session = ms_since(start);

    Json list = Json::array();
    Progress progress(files.size());
    std::vector<bool> filled(static_cast<std::size_t>(model.batch()), false);
    std::deque<Answer> batch;
    const auto finish_batch = [&] {
      classify(session, filled, batch);
      for (const Answer& answer : batch) {
        if (json_) {
          list.push_back(describe(answer));
        } else {
          print(out, answer);
        }
      }
      if (!json_) out.flush();
      batch.clear();
    };
    std::size_t slot = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
      Answer answer{files[i].string()};
      load(session, static_cast<std::int64_t>(slot), answer);
      filled[slot] = answer.error.empty();
      if (filled[slot]) ++slot;
      batch.push_back(std::move(answer));
      if (slot == filled.size() || i + 1 == files.size()) {
        finish_batch();
        slot = 0;
        progress.show(i + 1);
      }
    }
    progress.wipe();
    report(out, model, session, std::move(list));
    return failed_ ? 1 : 0;
  }

 private:
  struct Answer {
    std::string image, error{};  // one of error and top is empty
    std::vector<Score> top{};
    double decode_ms = 0, run_ms = 0;
  };

  struct Stages {
    double load = 0, session = 0, decode = 0, run = 0;
  };

  ModelOptions options(std::size_t photos) const {
    ModelOptions options = flags_.to_options();
    options.expected_runs = std::ceil(static_cast<double>(photos) / static_cast<double>(options.batch));
    photo_flags_.apply(flags_.model, options);
    return options;
  }

  void load(Session& session, std::int64_t slot, Answer& answer) {
    const Clock::time_point start = Clock::now();
    try {
      session.load_photo(answer.image, slot);
    } catch (const Error& e) {
      answer.error = e.what();
      complain(answer.error);
      failed_ = true;
    }
    answer.decode_ms = ms_since(start);
    ms_.decode += answer.decode_ms;
  }

  // Runs the network on the photos that lie in the first slots, and takes their scores.
  void classify(Session& session, std::vector<bool>& filled, std::deque<Answer>& batch) {
    if (std::ranges::none_of(batch, [](const Answer& a) { return a.error.empty(); })) return;
    for (std::size_t slot = 0; slot < filled.size(); ++slot) {
      // A run wants a photo in every slot; where there never was one, a grey pixel will do.
      if (filled[slot]) continue;
      std::ranges::fill(session.photo(1, 1, static_cast<std::int64_t>(slot)), std::uint8_t{128});
      filled[slot] = true;
    }
    const Clock::time_point start = Clock::now();
    session.run();
    const double run_ms = ms_since(start);
    ms_.run += run_ms;
    ++runs_;
    std::int64_t slot = 0;
    for (Answer& answer : batch) {
      if (!answer.error.empty()) continue;
      answer.top = session.top(static_cast<std::size_t>(top_), slot++);
      answer.run_ms = run_ms;
    }
  }

  void print(Output& out, const Answer& answer) const {
    if (!answer.error.empty()) return;
    const bool colour = out.colour();
    out.print("{}{}{}\n", colour ? "\x1b[1m" : "", answer.image, colour ? "\x1b[0m" : "");
    // Not every network ends in probabilities.
    const bool percent =
        std::ranges::all_of(answer.top, [](const Score& s) { return s.score >= 0 && s.score <= 1; });
    std::size_t rank = 0;
    for (const Score& score : answer.top) {
      const std::string value =
          percent ? fmt::format("{:5.1f} %", 100 * score.score) : fmt::format("{:10.4g}", score.score);
      const bool best = colour && rank == 0;
      out.print("{}{:>3} {}  {}{}\n", best ? "\x1b[32m" : "", ++rank, value, label_of(score),
                best ? "\x1b[0m" : "");
    }
  }

  Json describe(const Answer& answer) const {
    Json entry{{"image", answer.image}};
    if (!answer.error.empty()) {
      entry["error"] = answer.error;
      return entry;
    }
    entry["top"] = Json::array();
    for (const Score& score : answer.top) {
      Json label = score.label.empty() ? Json(nullptr) : Json(std::string(score.label));
      entry["top"].push_back(
          {{"index", score.index}, {"label", std::move(label)}, {"score", to_json(score.score)}});
    }
    if (verbose_) entry["ms"] = {{"decode", answer.decode_ms}, {"run", answer.run_ms}};
    return entry;
  }

  static Json describe(const std::vector<CopyRecord>& copies) {
    Json list = Json::array();
    for (const CopyRecord& copy : copies) {
      list.push_back({{"step", copy.step},
                      {"tensor", copy.tensor},
                      {"cause", copy.cause},
                      {"from", copy.from},
                      {"to", copy.to},
                      {"crosses", copy.crosses},
                      {"times", copy.times},
                      {"bytes", copy.bytes},
                      {"ms", copy.seconds > 0 ? Json(copy.seconds * 1e3) : Json(nullptr)}});
    }
    return list;
  }

  static void add_rows(const std::vector<CopyRecord>& copies,
                       std::vector<std::vector<std::string>>& rows) {
    for (const CopyRecord& copy : copies) {
      rows.push_back({copy.step, copy.tensor, fmt::format("{} -> {}", copy.from, copy.to),
                      std::to_string(copy.times), grouped(static_cast<std::int64_t>(copy.bytes)),
                      copy.seconds > 0 ? fmt::format("{:.2f}", copy.seconds * 1e3) : "n/a",
                      copy.cause});
    }
  }

  void report(Output& out, const Model& model, const Session& session, Json list) const {
    if (json_ && !verbose_) return print_json(out, list);
    if (!verbose_) return;
    if (json_) {
      Json all{
          {"images", std::move(list)},
          {"ms",
           {{"load", ms_.load}, {"session", ms_.session}, {"decode", ms_.decode}, {"run", ms_.run}}},
          {"runs", runs_},
          {"arena_bytes", session.arena_bytes()},
          {"load_copies", describe(model.copies())},
          {"copies", describe(session.copies())}};
      add_precision(all, model.precision());
      return print_json(out, all);
    }
    const std::string precision = in_precision(model.precision());
    const std::string planned = "model read and planned" + (precision.empty() ? "" : " " + precision);
    const auto row = [](const char* stage, double ms, std::string what) {
      return std::vector<std::string>{stage, fmt::format("{:.2f} ms", ms), std::move(what)};
    };
    std::string text =
        table("<><", {row("load", ms_.load, planned),
                      row("session", ms_.session,
                          human_bytes(static_cast<double>(session.arena_bytes())) + " arena"),
                      row("decode", ms_.decode, "all photos"),
                      row("run", ms_.run, fmt::format("all of {} runs", runs_))});
    std::vector<std::vector<std::string>> rows{
        {"copy", "tensor", "memory", "times", "bytes", "ms", "cause"}};
    add_rows(model.copies(), rows);
    add_rows(session.copies(), rows);
    complain(text + (rows.size() == 1 ? "no copies" : table("<<<>>><", rows)));
  }

  ModelFlags flags_;
  std::vector<std::string> images_;
  std::int64_t top_ = 5;
  PhotoFlags photo_flags_;
  bool json_ = false, verbose_ = false;

  Stages ms_;
  std::uint64_t runs_ = 0;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_classify() { return std::make_unique<Classify>(); }

}  // namespace maru::cli
