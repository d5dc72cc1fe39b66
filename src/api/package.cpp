#include "api/package.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"
#include "base/mapped_file.h"
#include "base/text.h"

namespace maru {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kCard = "model.json";

std::vector<fs::path> files_with(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == extension) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

std::string names_of(const std::vector<fs::path>& files) {
  std::string names;
  for (const fs::path& file : files) names += (names.empty() ? "" : ", ") + file.filename().string();
  return names;
}

fs::path network_in(const fs::path& folder) {
  const auto files = files_with(folder, ".prototxt");
  if (fs::exists(folder / "deploy.prototxt")) return folder / "deploy.prototxt";
  if (files.size() == 1) return files.front();
  throw Error(folder.string(), "a folder with one network (.prototxt)",
              files.empty() ? "none" : names_of(files), "naming the network file itself");
}

std::optional<fs::path> only_weights_in(const fs::path& folder, bool wants_weights) {
  const auto files = files_with(folder, ".caffemodel");
  if (files.size() > 1 && wants_weights) {
    throw Error(folder.string(), "one file of weights (.caffemodel)", names_of(files),
                "--weights FILE");
  }
  if (files.size() != 1) return std::nullopt;
  return files.front();
}

std::optional<fs::path> labels_in(const fs::path& folder) {
  for (const char* name : {"labels.txt", "synset_words.txt"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  return std::nullopt;
}

fs::path existing(const fs::path& path, std::string_view what) {
  if (fs::exists(path)) return path;
  throw Error(path.string(), fmt::format("a file of {}", what), "no such file", "checking the path");
}

// Reads the card's fields one by one, so that every mistake names its field.
class Card {
 public:
  explicit Card(const fs::path& path) : where_(path.string()) {
    const MappedFile file(path);
    try {
      root_ = json::parse(file.text());
    } catch (const json::exception& error) {
      throw Error(where_, "a card in JSON", error.what(), "a JSON checker");
    }
    if (!root_.is_object()) throw Error(where_, "a JSON object", root_.type_name());
    reject_misspelt(root_, kFields);
  }

  std::string text(const json& in, const char* field) const {
    if (!in.contains(field)) return {};
    if (!in[field].is_string()) throw wrong(field, "a string", in[field]);
    return in[field].get<std::string>();
  }

  Preprocessing preprocessing() const {
    Preprocessing result;
    if (!root_.contains("preprocessing")) return result;
    const json& in = root_["preprocessing"];
    if (!in.is_object()) throw wrong("preprocessing", "an object", in);
    reject_misspelt(in, kPreprocessingFields);
    const std::string channels = text(in, "channels"), resize = text(in, "resize");
    if (channels == "rgb") {
      result.channels = Preprocessing::Channels::rgb;
    } else if (!channels.empty() && channels != "bgr") {
      throw wrong("channels", "\"bgr\" or \"rgb\"", in["channels"]);
    }
    if (resize == "crop") {
      result.resize = Preprocessing::Resize::crop;
    } else if (!resize.empty() && resize != "squash") {
      throw wrong("resize", "\"squash\" or \"crop\"", in["resize"]);
    }
    if (in.contains("mean")) {
      const json& mean = in["mean"];
      const bool is_numbers = mean.is_array() && (mean.size() == 1 || mean.size() == 3) &&
                              std::ranges::all_of(mean, [](const json& v) { return v.is_number(); });
      if (!is_numbers) throw wrong("mean", "1 or 3 numbers", mean);
      result.mean = mean.get<std::vector<float>>();
    }
    if (in.contains("scale")) {
      if (!in["scale"].is_number()) throw wrong("scale", "a number", in["scale"]);
      result.scale = in["scale"].get<float>();
    }
    return result;
  }

  const json& root() const { return root_; }

 private:
  static constexpr std::string_view kFields[] = {"name",    "origin", "network",
                                                 "weights", "labels", "preprocessing"};
  static constexpr std::string_view kPreprocessingFields[] = {"channels", "mean", "scale", "resize"};

  // What else somebody notes there is theirs.
  void reject_misspelt(const json& in, std::span<const std::string_view> fields) const {
    for (const auto& item : in.items()) {
      const std::string& name = item.key();
      if (std::ranges::find(fields, std::string_view(name)) != fields.end()) continue;
      if (std::ranges::any_of(fields, [&](std::string_view field) { return are_similar(name, field); }))
        throw Error(where_, "a field of a card", fmt::format("\"{}\"", name),
                    closest_names(name, fields));
    }
  }

  Error wrong(std::string_view field, std::string_view expected, const json& got) const {
    return Error(fmt::format("{}: {}", where_, field), expected, json_text(got));
  }

  std::string where_;
  json root_;
};

}  // namespace

Preprocessing read_preprocessing(const fs::path& path) {
  const fs::path card = path / kCard;
  return fs::is_directory(path) && fs::exists(card) ? Card(card).preprocessing() : Preprocessing();
}

Package find_package(const fs::path& path, const fs::path& weights, const fs::path& labels,
                     bool wants_weights) {
  if (!fs::exists(path)) {
    throw Error(path.string(), "a network (.prototxt) or a folder with one", "no such file",
                "checking the path");
  }
  Package package;
  const bool is_folder = fs::is_directory(path);
  const fs::path folder = is_folder                    ? path
                          : path.parent_path().empty() ? fs::path(".")
                                                       : path.parent_path();
  if (path.extension() == ".caffemodel") {
    throw Error(path.string(), "a network (.prototxt) or a folder with one", "a file of weights",
                "--model NETWORK.prototxt --weights " + path.string());
  }
  if (is_folder && fs::exists(folder / kCard)) {
    const Card card(folder / kCard);
    package.name = card.text(card.root(), "name");
    package.origin = card.text(card.root(), "origin");
    package.preprocessing = card.preprocessing();
    const auto named = [&](const char* field) -> std::optional<fs::path> {
      const std::string name = card.text(card.root(), field);
      if (name.empty()) return std::nullopt;
      return existing(folder / name, field);
    };
    package.network = named("network").value_or(fs::path());
    package.weights = named("weights");
    package.labels = named("labels");
  }
  if (package.network.empty()) package.network = is_folder ? network_in(folder) : path;
  if (!weights.empty()) {
    package.weights = existing(weights, "weights");
  } else if (!package.weights) {
    package.weights = only_weights_in(folder, wants_weights);
  }
  if (!labels.empty()) {
    package.labels = existing(labels, "labels");
  } else if (!package.labels) {
    package.labels = labels_in(folder);
  }
  return package;
}

std::vector<std::string> read_labels(const fs::path& path, std::int64_t expected) {
  const MappedFile file(path);
  std::vector<std::string> labels;
  std::string_view rest = file.text();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    labels.emplace_back(line);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  if (static_cast<std::int64_t>(labels.size()) != expected) {
    throw Error(path.string(), fmt::format("{} labels, one for each score", expected),
                fmt::format("{}", labels.size()),
                "the labels that came with the network, or --labels FILE");
  }
  return labels;
}

}  // namespace maru
