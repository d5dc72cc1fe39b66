// CaffeWeights: which stored blob each parameter of a network takes, and how it is trained. Blobs are
// found by layer name; layers that name a parameter alike (param { name: "x" }) share it. Lives during
// one import; not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "import/caffe.h"
#include "import/caffe_filler.h"
#include "import/caffemodel.h"
#include "import/prototxt.h"

namespace maru {

class CaffeWeights {
 public:
  // Without models every parameter is missing; of a layer that several have, the last counts.
  CaffeWeights(std::vector<CaffeModel> models, std::string_view prototxt, const CaffeOptions& options);

  // What a layer says of its parameters, `layer` being its block. All layers are declared, in the order
  // of the file, before the first add().
  void declare(const std::string& name, const Message& layer);

  // Adds the constants for the parameters of a layer to the graph. A parameter without weights is drawn
  // by its filler, one for each parameter, or with no fillers becomes zeros for the time being, and is
  // remembered for check_missing(). Throws Error when the stored blobs differ in number, shape or
  // count. where: "file:line layer 'conv1'".
  std::vector<ValueId> add(Graph& graph, const std::string& name, std::string_view where,
                           std::span<const Param> params, std::span<const CaffeFiller> fillers);

  // lr_mult and decay_mult of a layer's parameter; of a shared one, what the first layer says that says
  // anything. Throws Error where another one says otherwise.
  std::pair<double, double> rates(const std::string& name, std::size_t index,
                                  std::string_view where) const;

  // Throws Error naming the layers whose weights were missing, or notes them where zeros or fillers
  // stand in.
  void check_missing(std::vector<std::string>& notes) const;
  // Notes stored layers that the network has no use for.
  void note_unused(std::vector<std::string>& notes) const;

 private:
  struct Spec {
    std::string shared;  // the parameter's name; empty: not shared
    bool permissive = false;
    std::optional<double> rate, decay;  // lr_mult, decay_mult
  };
  struct Owner {
    ValueId value;
    std::string label;  // "conv1/weight"
  };

  struct Stored {
    const CaffeModel* model = nullptr;
    const CaffeLayer* layer = nullptr;  // null: no model has it
  };

  Spec read_spec(const std::string& name, const Field& param) const;
  Stored find(std::string_view layer) const;
  void check_count(const Stored& stored, std::string_view where, std::span<const Param> params) const;
  // Null where no model has it.
  std::shared_ptr<const Constant> load(const std::string& name, std::string_view where,
                                       std::size_t index, const Param& param, const Spec& spec) const;
  std::shared_ptr<const Constant> zeros(const Shape& shape);
  [[noreturn]] void fail_missing() const;
  ValueId share(Graph& graph, const Owner& owner, std::string_view where, const Param& param,
                const std::string& label, bool permissive) const;

  std::vector<CaffeModel> models_;
  std::string prototxt_;
  const CaffeOptions& options_;
  std::map<std::string, std::vector<Spec>, std::less<>> specs_;  // by layer
  // Who declares a shared parameter: layer and index, first one first.
  std::map<std::string, std::vector<std::pair<std::string, std::size_t>>, std::less<>> sharers_;
  std::map<std::string, Owner, std::less<>> owners_;  // by parameter name
  std::set<std::string, std::less<>> used_;           // layers
  std::vector<std::string> missing_;                  // layers, in order
  std::shared_ptr<const void> zero_page_;
  std::size_t zero_bytes_ = 0;
};

}  // namespace maru
