// CaffeWeights: which stored blob each parameter of a network takes. Blobs are found by layer name;
// layers that name a parameter alike (param { name: "x" }) share it. Lives during one import; not
// thread-safe.
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
#include "import/caffemodel.h"
#include "import/prototxt.h"

namespace maru {

class CaffeWeights {
 public:
  // Without a model every parameter is missing.
  CaffeWeights(std::optional<CaffeModel> model, std::string_view prototxt);

  // What a layer says of its parameters, `layer` being its block. All layers are declared, in the order
  // of the file, before the first add().
  void declare(const std::string& name, const Message& layer);

  // Adds the constants for the parameters of a layer to the graph. A parameter without weights becomes
  // zeros for the time being and is remembered for check_missing(). Throws Error when the stored blobs
  // differ in number, shape or count. where: "file:line layer 'conv1'".
  std::vector<ValueId> add(Graph& graph, const std::string& name, std::string_view where,
                           std::span<const Param> params);

  // Throws Error naming the layers whose weights were missing, or with `allowed` notes them.
  void check_missing(bool allowed, std::vector<std::string>& notes) const;
  // Notes stored layers that the network has no use for.
  void note_unused(std::vector<std::string>& notes) const;

 private:
  struct Spec {
    std::string shared;  // the parameter's name; empty: not shared
    bool permissive = false;
  };
  struct Owner {
    ValueId value;
    std::string label;  // "conv1/weight"
  };

  void check_count(const CaffeLayer& stored, std::string_view where,
                   std::span<const Param> params) const;
  std::shared_ptr<const Constant> load(const std::string& name, std::string_view where,
                                       std::size_t index, const Param& param, const Spec& spec);
  std::shared_ptr<const Constant> zeros(const Shape& shape);
  ValueId share(Graph& graph, const Owner& owner, std::string_view where, const Param& param,
                const std::string& label, bool permissive) const;

  std::optional<CaffeModel> model_;
  std::string prototxt_;
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
