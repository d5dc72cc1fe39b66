// PackedModel: all that a packed file says beside its weights: the network as it was rewritten, the
// card, and for what device its weights were laid out. A plain value, with its text forms in the file.
#pragma once

#include <maru/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "plan/plan.h"

namespace maru {

// What the file's section "model" holds.
struct PackedCard {
  std::string name, origin;
  Preprocessing preprocessing;
  std::vector<std::string> notes;     // of the importer
  std::vector<std::string> rewrites;  // what was done to the graph
  bool optimized = true;              // rewrites were not switched off

  bool operator==(const PackedCard&) const = default;
};

// A constant as it lies in the weights.
struct PackedPlace {
  std::string constant;     // name of the value
  std::size_t operand = 0;  // of its kernel
  std::size_t region = 0;   // 0 is section weights.0
  std::size_t offset = 0, bytes = 0;
  std::string form;  // Kernel::packed_form

  bool operator==(const PackedPlace&) const = default;
};

// What the section "plan" holds.
struct PackedFor {
  std::string device, description;  // the device's name and its words about itself
  int threads = 0;                  // as asked for; 0: one a core
  std::int64_t batch = 1;
  std::map<std::string, std::string> choices;  // step -> offer
  std::vector<std::size_t> region_bytes;       // of each region of weights
  std::vector<PackedPlace> places;
  Precision precision = Precision::fp32;

  bool operator==(const PackedFor&) const = default;
};

// Where a plan wants its constants, and how large its regions of weights are.
std::vector<PackedPlace> places_of(const Planned& planned);
std::vector<std::size_t> region_bytes(const Plan& plan);

// The text of a section, and back. Reading throws Error naming what is wrong; `batch` takes the place
// of the first extent of every input, and the shapes follow. Constants of a graph that was read are
// placeholders.
std::string card_text(const PackedCard& card);
std::string plan_text(const PackedFor& made_for);
std::string graph_text(const Graph& graph);
std::string labels_text(const std::vector<std::string>& labels);
PackedCard read_card(std::string_view text);
PackedFor read_plan(std::string_view text);
Graph read_graph(std::string_view text, std::optional<std::int64_t> batch);
std::vector<std::string> split_labels(std::string_view text);

}  // namespace maru
