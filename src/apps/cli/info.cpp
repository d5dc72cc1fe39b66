// maru info: a network as its file has it, layer by layer.
#include "apps/cli/model_flags.h"
#include "apps/cli/packed.h"
#include "apps/cli/tensors.h"
#include "apps/cli/verb.h"
#include "base/text.h"

namespace maru::cli {
namespace {

std::string shapes(const std::vector<TensorInfo>& tensors) {
  std::string text;
  for (const TensorInfo& tensor : tensors)
    text += (text.empty() ? "" : ", ") + shape_text(tensor.shape);
  return text;
}

std::string names(const std::vector<TensorInfo>& tensors) {
  std::string text;
  for (const TensorInfo& tensor : tensors) text += (text.empty() ? "" : ", ") + tensor.name;
  return text;
}

std::string listed(const std::vector<TensorInfo>& tensors) {
  std::string text;
  for (const TensorInfo& tensor : tensors) {
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", tensor.name, to_string(tensor.dtype),
                        shape_text(tensor.shape));
  }
  return text.empty() ? "none" : text;
}

Json path_json(const std::filesystem::path& path) {
  return path.empty() ? Json(nullptr) : Json(path.string());
}

std::string path_text(const std::filesystem::path& path) {
  return path.empty() ? "none found" : path.string();
}

std::string mflop(double flops) { return fmt::format("{:.2f}", flops / 1e6); }

class Info final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "info",
        "Lists a network as its file has it, before anything is folded or fused: each layer with the\n"
        "value it makes, its parameters, cost (a multiply-add counts as 2) and memory traffic, then\n"
        "totals, inputs, outputs, files, and what the file says that maru does not understand.\n"
        "Weights need not be there. Of a packed model it lists the layers as they were folded and "
        "fused,\n"
        "for what it was packed, and its sections.",
        std::initializer_list<std::string_view>{"info models/googlenet-tiny",
                                                "info deploy.prototxt --batch 8 --json",
                                                "info googlenet.maru --verify"});
    flags_.add_model_positional(*line);
    flags_.add_weights(*line);
    flags_.add_batch(*line);
    line->flag(
        "--json",
        "Print {\"name\", \"network\", \"weights\", \"labels\", \"inputs\", \"outputs\", \"layers\",\n"
        "\"parameters\", \"flops\", \"bytes\", \"notes\"}; a multiply-add counts as 2 flops. Of a\n"
        "packed model also \"packed\", as 'maru pack --json' prints it.",
        json_);
    line->flag("--verify",
               "Of a packed model: read its weights and compare them with their checksums, too.\n"
               "Everything else is compared whenever it is opened.",
               verify_);
    return line;
  }

  int run(Output& out) override {
    const NetworkInfo network = inspect(flags_.model, flags_.to_options());
    std::optional<PackedInfo> packed;
    if (is_packed(flags_.model)) {
      packed = packed_info(flags_.model, verify_);
    } else if (verify_) {
      throw UsageError("--verify", "a packed model (.maru)", flags_.model);
    }
    if (json_) {
      Json all = document(network);
      if (packed) all["packed"] = to_json(*packed);
      print_json(out, all);
    } else {
      print(out, network);
      if (packed) out.print("\n{}", text_of(*packed));
      if (verify_) out.print("\nevery checksum is right\n");
    }
    return 0;
  }

 private:
  static double bytes_of(const NetworkInfo& network) {
    double bytes = 0;
    for (const LayerInfo& layer : network.layers) bytes += layer.bytes;
    return bytes;
  }

  static Json document(const NetworkInfo& network) {
    Json layers = Json::array();
    for (const LayerInfo& layer : network.layers) {
      layers.push_back({{"name", layer.name},
                        {"op", layer.op},
                        {"attributes", layer.attributes},
                        {"src", to_json(layer.src)},
                        {"dst", to_json(layer.dst)},
                        {"parameters", layer.parameters},
                        {"flops", layer.flops},
                        {"bytes", layer.bytes}});
    }
    return {{"name", network.name},
            {"network", path_json(network.network)},
            {"weights", path_json(network.weights)},
            {"labels", path_json(network.labels)},
            {"inputs", to_json(network.inputs)},
            {"outputs", to_json(network.outputs)},
            {"layers", std::move(layers)},
            {"parameters", network.parameters},
            {"flops", network.flops},
            {"bytes", bytes_of(network)},
            {"notes", network.notes}};
  }

  static void print(Output& out, const NetworkInfo& network) {
    std::vector<std::vector<std::string>> rows{
        {"layer", "operator", "value", "shape", "parameters", "MFLOP", "traffic"}};
    for (const LayerInfo& layer : network.layers) {
      rows.push_back({layer.name, layer.op, names(layer.dst), shapes(layer.dst),
                      grouped(layer.parameters), mflop(layer.flops), human_bytes(layer.bytes)});
    }
    rows.push_back({fmt::format("{} layers", network.layers.size()), "", "", "",
                    grouped(network.parameters), mflop(network.flops), human_bytes(bytes_of(network))});
    out.print("{}\n\n{}\n", network.name, table("<<<<>>>", rows));
    out.write(table("<<", {{"inputs", listed(network.inputs)},
                           {"outputs", listed(network.outputs)},
                           {"network", path_text(network.network)},
                           {"weights", path_text(network.weights)},
                           {"labels", path_text(network.labels)}}));
    for (const std::string& note : network.notes) out.print("note     {}\n", note);
  }

  ModelFlags flags_;
  bool json_ = false, verify_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_info() { return std::make_unique<Info>(); }

}  // namespace maru::cli
