// maru beside OpenCV's dnn module on the same network, input and number of threads: in ABBA blocks, so
// that what else the machine does falls on both. Prints a row for each network and number of threads,
// and whether both gave the same scores.
//
//   build/release/bench/opencv_dnn MODEL_FOLDER... [--blocks 12] [--runs 20] [--threads 1,2]
//   build/release/bench/opencv_dnn --once MODEL_FOLDER PHOTO     classify one photo with OpenCV alone
#include <fmt/format.h>
#include <maru/maru.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <sstream>

#include "api/package.h"
#include "measure/statistics.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::vector<std::string> models;
  int blocks = 12, runs = 20;
  std::vector<int> threads{1, 2};
};

cv::dnn::Net opencv_net(const maru::Package& package) {
  cv::dnn::Net net =
      cv::dnn::readNetFromCaffe(package.network.string(), package.weights.value().string());
  net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
  return net;
}

template <class F>
double milliseconds_a_run(int runs, const F& run) {
  for (int i = 0; i < 3; ++i) run();  // threads awake, caches warm
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    run();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return maru::measure::median(times);
}

void compare(const std::string& folder, int threads, const Settings& settings) {
  maru::ModelOptions options;
  options.photos = false;
  options.threads = threads;
  const maru::Model model = maru::Model::load(folder, options);
  maru::Session session(model);
  const maru::TensorSpan input = session.input(model.inputs()[0].name);
  const std::span<float> values = input.as<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 100 * std::sin(static_cast<float>(i % 9973));
  }
  const maru::Package package = maru::find_package(folder, {}, {});
  cv::dnn::Net net = opencv_net(package);
  cv::setNumThreads(threads);
  const std::vector<int> shape(input.shape.begin(), input.shape.end());
  const cv::Mat blob(shape, CV_32F, values.data());
  cv::Mat scores;
  const auto run_maru = [&] { session.run(); };
  const auto run_opencv = [&] {
    net.setInput(blob);
    scores = net.forward();
  };

  std::vector<double> mine, theirs;
  for (int block = 0; block < settings.blocks; ++block) {
    const bool maru_first = block % 2 == 0;
    if (maru_first) mine.push_back(milliseconds_a_run(settings.runs, run_maru));
    theirs.push_back(milliseconds_a_run(settings.runs, run_opencv));
    if (!maru_first) mine.push_back(milliseconds_a_run(settings.runs, run_maru));
  }
  float difference = 0;
  const std::span<const float> own = session.output(model.outputs()[0].name).as<float>();
  const cv::Mat flat = scores.reshape(1, 1);
  for (std::size_t i = 0; i < own.size(); ++i) {
    difference = std::max(difference, std::fabs(own[i] - flat.at<float>(static_cast<int>(i))));
  }
  const auto ratio = maru::measure::ratio_of(theirs, mine);
  fmt::print("| {} | {} | {:.2f} ms | {:.2f} ms | {:.2f} ({:.2f} to {:.2f}) | {:.1e} |\n", model.name(),
             threads, maru::measure::median(mine), maru::measure::median(theirs), ratio.value,
             ratio.low, ratio.high, difference);
  std::fflush(stdout);
}

int classify_once(const std::string& folder, const std::string& photo) {
  const maru::Package package = maru::find_package(folder, {}, {});
  cv::dnn::Net net = opencv_net(package);
  const cv::Mat image = cv::imread(photo);
  if (image.empty()) throw maru::Error(photo, "a photo that OpenCV reads", "none");
  const int size = folder.find("squeezenet") == std::string::npos ? 224 : 227;
  net.setInput(cv::dnn::blobFromImage(image, 1, {size, size}, {104, 117, 123}));
  const cv::Mat scores = net.forward().reshape(1, 1);
  cv::Point best;
  double score = 0;
  cv::minMaxLoc(scores, nullptr, &score, nullptr, &best);
  const auto labels =
      maru::read_labels(package.labels.value(), static_cast<std::int64_t>(scores.total()));
  fmt::print("{:.1f} % {}\n", score * 100, labels[static_cast<std::size_t>(best.x)]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[0] == "--once") return classify_once(words[1], words[2]);
    Settings settings;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const auto value = [&] { return words.at(++i); };
      if (words[i] == "--blocks") {
        settings.blocks = std::stoi(value());
      } else if (words[i] == "--runs") {
        settings.runs = std::stoi(value());
      } else if (words[i] == "--threads") {
        settings.threads.clear();
        std::stringstream list(value());
        for (std::string one; std::getline(list, one, ',');) settings.threads.push_back(std::stoi(one));
      } else {
        settings.models.push_back(words[i]);
      }
    }
    fmt::print("maru {} on {}; OpenCV {}\n\n", maru::version(), maru::devices()[0].description,
               CV_VERSION);
    fmt::print(
        "| network | threads | maru | OpenCV | OpenCV / maru (95 %) | largest difference of scores "
        "|\n");
    fmt::print("|---|---|---|---|---|---|\n");
    for (const std::string& model : settings.models) {
      for (const int threads : settings.threads) compare(model, threads, settings);
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
