#include "apps/cli/bench_ways.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "api/model_state.h"
#include "apps/cli/command_line.h"
#include "base/error.h"
#include "measure/meter.h"
#include "measure/statistics.h"
#include "rewrite/photos.h"

namespace maru::cli {
namespace {

using measure::Check;
using measure::now_seconds;

Model load(const std::string& path, ModelOptions options, const NamedPolicy& policy) {
  options.memory = policy.memory;
  return Model::load(path, options);
}

// Other orders of summing, by the magnitude of the largest score.
double tolerance_of(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return 1e-5;
    case Precision::tf32:
      return 2e-3;
    case Precision::fp16:
      return 1e-2;
  }
  return 0;
}

}  // namespace

std::vector<NamedPolicy> policies_of(const std::string& list) {
  std::vector<NamedPolicy> policies;
  std::size_t at = 0;
  while (at <= list.size()) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    const std::string word = list.substr(at, comma - at);
    at = comma + 1;
    const auto found = std::ranges::find(kPolicies, std::string_view(word), &NamedPolicy::name);
    if (found == std::end(kPolicies))
      throw UsageError("--compare", "some of copy, zero-copy and auto, with commas between",
                       fmt::format("\"{}\"", list), "--compare copy,zero-copy");
    if (std::ranges::find(policies, found->name, &NamedPolicy::name) != policies.end())
      throw UsageError("--compare", "each way once", fmt::format("\"{}\"", list));
    policies.push_back(*found);
  }
  return policies;
}

OpenWay::OpenWay(const std::string& model, const ModelOptions& options, const NamedPolicy& policy,
                 const BenchPhoto& photo)
    : name_(policy.name), model_(load(model, options, policy)), session_(model_) {
  const Plan& plan = model_.state().plan;
  if (policy.memory == MemoryPolicy::zero_copy && plan.crossing_bytes() > 0)
    throw Error(name_, "memory that the CPU and the device both see",
                fmt::format("none that {} could use: it would copy", plan.devices[0]));
  write_photo(photo);
  // Slots lie one after another, each at a multiple of 16 bytes.
  const std::uint64_t bytes = photo.pixels().size(), apart = (bytes + 15) / 16 * 16;
  photo_bytes_ = static_cast<std::uint64_t>(model_.batch() - 1) * apart + bytes;
}

void OpenWay::write_photo(const BenchPhoto& photo) {
  for (std::int64_t slot = 0; slot < model_.batch(); ++slot)
    std::ranges::copy(photo.pixels(), session_.photo(photo.width(), photo.height(), slot).begin());
}

void OpenWay::run() {
  session_.run();
  for (std::int64_t slot = 0; slot < model_.batch(); ++slot) best_ = session_.top(1, slot);
}

OpenWay::Copied OpenWay::planned() const {
  const Model::State& state = model_.state();
  Copied copied;
  for (const Step& step : state.plan.steps) {
    if (step.kind != Step::Kind::copy) continue;
    const bool is_photo =
        state.photos && step.src[0].region == state.plan.inputs[state.photos->pixels].region;
    const std::uint64_t bytes = is_photo ? photo_bytes_ : step.src[0].desc.bytes();
    copied.bytes += bytes;
    if (step.crosses()) copied.crossing += bytes;
  }
  return copied;
}

OpenWay::Copied OpenWay::counted() {
  constexpr std::uint64_t kRuns = 3;
  const auto sum = [&] {
    Copied copied;
    for (const CopyRecord& record : session_.copies()) {
      copied.bytes += record.bytes;
      if (record.crosses) copied.crossing += record.bytes;
    }
    return copied;
  };
  const Copied before = sum();
  for (std::uint64_t i = 0; i < kRuns; ++i) run();
  const Copied after = sum();
  return {(after.bytes - before.bytes) / kRuns, (after.crossing - before.crossing) / kRuns};
}

std::vector<float> OpenWay::scores() {
  run();
  const TensorSpan scores = session_.output(model_.outputs()[0].name);
  const auto values = scores.as<float>();
  return {values.begin(), values.end()};
}

Score OpenWay::best() {
  run();
  return session_.top(1)[0];
}

double OpenWay::write_seconds(const BenchPhoto& photo) {
  constexpr int kRounds = 9;
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const double begin = now_seconds();
    write_photo(photo);
    rounds.push_back(now_seconds() - begin);
    run();  // the device may have to take the memory back
  }
  return measure::median(rounds);
}

measure::Stages OpenWay::stages(const BenchPhoto& photo, double median_seconds) {
  constexpr int kRounds = 9;
  const std::vector<StepInfo> steps = model_.steps();
  const auto is_preprocessing = [](const StepInfo& step) { return step.name.starts_with(kPhotoNodes); };
  const auto is_inner = [&](const StepInfo& step) {
    return step.kind == StepInfo::Kind::kernel && !is_preprocessing(step);
  };
  const auto first = static_cast<std::size_t>(std::ranges::find_if(steps, is_inner) - steps.begin());
  std::vector<double> preprocess, copy_in, copy_out;
  for (int round = 0; round <= kRounds; ++round) {
    double sums[3]{};
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const double begin = now_seconds();
      session_.run_step(i);
      const double seconds = now_seconds() - begin;
      const bool is_after = i > first && std::none_of(steps.begin() + static_cast<std::ptrdiff_t>(i),
                                                      steps.end(), is_inner);
      if (is_preprocessing(steps[i])) sums[0] += seconds;
      if (steps[i].crosses && i < first) sums[1] += seconds;
      if (steps[i].crosses && is_after) sums[2] += seconds;
    }
    if (round == 0) continue;
    preprocess.push_back(sums[0]);
    copy_in.push_back(sums[1]);
    copy_out.push_back(sums[2]);
  }
  const auto batch = static_cast<double>(model_.batch());
  measure::Stages stages;
  stages.preprocess = measure::median(preprocess) / batch;
  stages.copy_in = measure::median(copy_in) / batch;
  stages.copy_out = measure::median(copy_out) / batch;
  const double others = *stages.preprocess + *stages.copy_in + *stages.copy_out;
  // Steps alone are waited for, each: of a tiny network that may be more than a whole run.
  const double rest = median_seconds / batch - others;
  if (rest > 0) stages.infer = rest;
  if (photo.is_file()) {
    std::vector<double> decode;
    for (int round = 0; round < kRounds; ++round) {
      const double begin = now_seconds();
      session_.load_photo(photo.path());
      decode.push_back(now_seconds() - begin);
    }
    stages.decode = measure::median(decode);
  }
  return stages;
}

std::optional<std::uint64_t> OpenWay::planned_bytes() const {
  const Model::State& state = model_.state();
  if (state.devices[0]->is_host()) return std::nullopt;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < state.plan.regions.size(); ++i) {
    const Region& region = state.plan.regions[i];
    if (!region.heap->traits().device_visible) continue;
    const std::size_t pixels = state.photos ? state.plan.inputs[state.photos->pixels].region : i + 1;
    bytes += i == pixels || region.mirrors == pixels ? photo_bytes_ : region.bytes;
  }
  return bytes;
}

std::string OpenWay::plan() const {
  nlohmann::json plan = nlohmann::json::parse(model_.plan_json());
  plan.erase("memory");
  return plan.dump();
}

Check outputs_check(const std::vector<std::string>& names,
                    const std::vector<std::vector<float>>& scores, Precision precision) {
  double largest = 0, apart = 0;
  std::string worst;
  bool is_number = true;
  for (std::size_t way = 0; way < scores.size(); ++way) {
    for (std::size_t i = 0; i < scores[0].size(); ++i) {
      const double value = scores[way][i],
                   difference = std::abs(value - static_cast<double>(scores[0][i]));
      is_number = is_number && std::isfinite(value);
      largest = std::max(largest, std::abs(value));
      if (!(difference > apart)) continue;
      apart = difference;
      worst = names[way];
    }
  }
  const auto count = scores[0].size();
  if (!is_number) return {"outputs", Check::Verdict::failed, "some scores are not numbers"};
  if (scores.size() == 1)
    return {"outputs", Check::Verdict::passed,
            fmt::format("one way alone, {} scores, all numbers", count)};
  if (apart == 0)
    return {"outputs", Check::Verdict::passed,
            fmt::format("all {} scores of all ways are equal to the last bit", count)};
  const double allowed =
      tolerance_of(precision) * std::max(largest, std::numeric_limits<double>::min());
  const bool fits = apart <= allowed;
  return {"outputs", fits ? Check::Verdict::passed : Check::Verdict::failed,
          fmt::format("scores of {} differ from those of {} by at most {:.2g}; {} allows {:.2g}", worst,
                      names[0], apart, to_string(precision), allowed)};
}

Check ledger_check(const std::vector<std::string>& names, const std::vector<OpenWay::Copied>& planned,
                   const std::vector<OpenWay::Copied>& counted) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (planned[i] == counted[i]) continue;
    return {
        "ledger", Check::Verdict::failed,
        fmt::format("{} copied {} bytes a run, {} of them between memories; its plan says {} and {}",
                    names[i], counted[i].bytes, counted[i].crossing, planned[i].bytes,
                    planned[i].crossing)};
  }
  return {"ledger", Check::Verdict::passed,
          "every way copied the bytes that its plan says, no more and no less"};
}

}  // namespace maru::cli
