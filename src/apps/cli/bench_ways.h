// The ways that `maru bench` compares: one model in one memory policy each, with a session that holds
// the photo, and what can be asked of them beside their time. One thread.
#pragma once

#include <maru/session.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/bench_photo.h"
#include "measure/result.h"

namespace maru::cli {

struct NamedPolicy {
  std::string_view name;
  MemoryPolicy memory;
};
inline constexpr NamedPolicy kPolicies[] = {{"copy", MemoryPolicy::copy},
                                            {"zero-copy", MemoryPolicy::zero_copy},
                                            {"auto", MemoryPolicy::automatic}};

// "copy,auto", each once. Throws UsageError.
std::vector<NamedPolicy> policies_of(const std::string& list);

class OpenWay {
 public:
  // Loads the model and fills every slot with the photo. Throws Error, also where the device cannot do
  // what the policy says.
  OpenWay(const std::string& model, const ModelOptions& options, const NamedPolicy& policy,
          const BenchPhoto& photo);

  const std::string& name() const { return name_; }
  const Model& model() const { return model_; }
  void run();  // to the best score of each photo
  // Writes the photo's pixels again, as a camera would.
  void write_photo(const BenchPhoto& photo);

  struct Copied {
    std::uint64_t bytes = 0, crossing = 0;
    bool operator==(const Copied&) const = default;
  };
  Copied planned() const;       // a run, by the plan, for photos of this size
  Copied counted();             // a run, by the ledger; runs some times
  std::vector<float> scores();  // of all photos; runs once
  Score best();
  // Of writing the photo again, into every slot.
  double write_seconds(const BenchPhoto& photo);
  // In seconds of an image; `median_seconds` is that of a whole run, without writing the photo.
  measure::Stages stages(const BenchPhoto& photo, double median_seconds);
  // Of the device's memory, by the plan; nothing where the device is the CPU.
  std::optional<std::uint64_t> planned_bytes() const;
  // What the plan is but for its name: equal for ways that do the same.
  std::string plan() const;

 private:
  std::string name_;
  Model model_;
  Session session_;
  std::vector<Score> best_;
  std::uint64_t photo_bytes_ = 0;
};

// Whether all ways give the scores of the first; exact, or within what the precision allows.
measure::Check outputs_check(const std::vector<std::string>& names,
                             const std::vector<std::vector<float>>& scores, Precision precision);
// Whether all that was copied was planned.
measure::Check ledger_check(const std::vector<std::string>& names,
                            const std::vector<OpenWay::Copied>& planned,
                            const std::vector<OpenWay::Copied>& counted);

}  // namespace maru::cli
