// maru run: raw tensors in, raw tensors out. What a network computes, without the photos.
#include <maru/session.h>

#include <algorithm>
#include <cmath>

#include "apps/cli/model_flags.h"
#include "apps/cli/npy.h"
#include "apps/cli/tensors.h"
#include "apps/cli/verb.h"
#include "base/text.h"

namespace maru::cli {
namespace {

// "data=in.npy": a value of the graph and a file. The name may be left out where there is only one.
struct Binding {
  std::string name, file;
};

std::vector<Binding> bindings(const std::vector<std::string>& words, const std::vector<TensorInfo>& own,
                              const char* option) {
  std::vector<Binding> all;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    Binding binding{word.substr(0, equals == std::string::npos ? 0 : equals),
                    word.substr(equals == std::string::npos ? 0 : equals + 1)};
    if (equals == std::string::npos && own.size() == 1) binding.name = own.front().name;
    if (binding.name.empty() || binding.file.empty()) {
      throw UsageError(option, "NAME=FILE", fmt::format("\"{}\"", word));
    }
    for (const Binding& other : all) {
      if (other.name == binding.name)
        throw UsageError(option, "each name once", binding.name + " twice");
    }
    all.push_back(std::move(binding));
  }
  return all;
}

bool has(const std::vector<TensorInfo>& tensors, std::string_view name) {
  return std::ranges::find(tensors, name, &TensorInfo::name) != tensors.end();
}

// What to do about a shape that does not fit; empty where nothing comes to mind.
std::string shape_hint(const std::vector<std::int64_t>& got, const std::vector<std::int64_t>& wanted) {
  if (got.size() + 1 == wanted.size() && std::equal(got.begin(), got.end(), wanted.begin() + 1)) {
    return "adding the batch axis in front: array[None]";
  }
  if (got.size() == wanted.size() && !got.empty() &&
      std::equal(got.begin() + 1, got.end(), wanted.begin() + 1)) {
    return fmt::format("--batch {}", got.front());
  }
  if (got.size() == 4 && got[0] == wanted[0] && got[1] == wanted[2] && got[2] == wanted[3] &&
      got[3] == wanted[1]) {
    return "channels before rows and columns: array.transpose(0, 3, 1, 2)";
  }
  return "'maru info', which lists the inputs";
}

struct Range {
  float min, max;
};

// Both are NaN where any element is, so that it cannot be overlooked.
template <class T>
Range range_of(std::span<const T> values) {
  if (values.empty()) return {NAN, NAN};
  Range range{INFINITY, -INFINITY};
  for (const T value : values) {
    const auto v = static_cast<float>(value);
    if (std::isnan(v)) return {NAN, NAN};
    range = {std::min(range.min, v), std::max(range.max, v)};
  }
  return range;
}

Range range_of(const TensorSpan& tensor) {
  switch (tensor.dtype) {
    case DType::f32:
      return range_of<float>(tensor.as<float>());
    case DType::f64:
      return range_of<double>(tensor.as<double>());
    case DType::u8:
      return range_of<std::uint8_t>(tensor.as<std::uint8_t>());
    case DType::i32:
      return range_of<std::int32_t>(tensor.as<std::int32_t>());
    case DType::f16:
      break;
  }
  return {NAN, NAN};
}

class Run final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "run",
        "Runs a network on raw tensors: .npy files in, .npy files out, no preprocessing. Any value of\n"
        "the network can be asked for, inner ones too ('maru info' lists them).",
        std::initializer_list<std::string_view>{
            "run --model models/googlenet-tiny --input data=photo.npy --output prob=prob.npy",
            "run --model deploy.prototxt --input in.npy --output prob=p.npy pool5=features.npy "
            "--json"});
    flags_.add_model(*line);
    flags_.add_weights(*line);
    line->texts("-i,--input", "NAME=FILE ...",
                "The network's inputs: little-endian f4, or f8, f2, u1, i4 which become f4.\n"
                "'NAME=' may be left out where there is only one. Required.",
                inputs_, true, Need::required);
    line->texts("-o,--output", "NAME=FILE ...",
                "Values to write. Default: none; the network's outputs are only described.", outputs_,
                true);
    line->integer("--batch", "Images a run. Default: the first extent of the first input.", batch_, 1,
                  4096);
    flags_.add_execution(*line);
    flags_.add_optimize(*line);
    flags_.add_check(*line);
    line->flag("--json",
               "Print {\"outputs\": [{\"name\", \"dtype\", \"shape\", \"min\", \"max\", \"file\"}]}.",
               json_);
    return line;
  }

  int run(Output& out) override {
    // The network alone first: it is cheap, and most mistakes show in it.
    ModelOptions options = flags_.to_options();
    const NetworkInfo network = inspect(flags_.model, options);
    const std::vector<Binding> inputs = bindings(inputs_, network.inputs, "--input");
    std::vector<Binding> outputs = bindings(outputs_, network.outputs, "--output");
    const std::vector<npy::File> files = open_inputs(inputs, network);

    options.photos = false;
    options.expected_runs = 1;
    options.batch = batch_ != 0 ? batch_ : batch_of(files, inputs, network);
    for (const Binding& output : outputs) {
      if (!has(network.outputs, output.name)) options.outputs.push_back(output.name);
    }
    const Model model = load_model(flags_.model, options);
    Session session(model);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const TensorSpan input = session.input(inputs[i].name);
      if (files[i].shape() != input.shape) {
        throw Error(inputs[i].file,
                    fmt::format("{} for input {}", shape_text(input.shape), inputs[i].name),
                    shape_text(files[i].shape()), shape_hint(files[i].shape(), input.shape));
      }
      files[i].read(input);
    }
    session.run();

    if (outputs.empty()) {
      for (const TensorInfo& own : network.outputs) outputs.push_back({own.name, ""});
    }
    for (const Binding& output : outputs) {
      if (!output.file.empty()) npy::write(output.file, session.output(output.name));
    }
    describe(out, model, session, outputs);
    return 0;
  }

 private:
  static std::vector<npy::File> open_inputs(const std::vector<Binding>& inputs,
                                            const NetworkInfo& network) {
    std::vector<npy::File> files;
    for (const Binding& input : inputs) {
      if (!has(network.inputs, input.name)) {
        std::vector<std::string_view> names;
        for (const TensorInfo& own : network.inputs) names.push_back(own.name);
        throw Error("--input", "an input of the network", input.name, closest_names(input.name, names));
      }
      files.emplace_back(input.file);
    }
    for (const TensorInfo& own : network.inputs) {
      if (std::ranges::find(inputs, own.name, &Binding::name) == inputs.end()) {
        throw Error("--input", "every input of the network", "none for " + own.name,
                    fmt::format("--input {}=FILE.npy", own.name));
      }
    }
    return files;
  }

  // The first extent of the network's first input, where the file has all its axes.
  static std::int64_t batch_of(const std::vector<npy::File>& files, const std::vector<Binding>& inputs,
                               const NetworkInfo& network) {
    if (network.inputs.empty()) return 1;
    const TensorInfo& first = network.inputs.front();
    const auto at = std::ranges::find(inputs, first.name, &Binding::name) - inputs.begin();
    const std::vector<std::int64_t>& shape = files[static_cast<std::size_t>(at)].shape();
    return shape.size() == first.shape.size() && !shape.empty() ? std::max<std::int64_t>(1, shape[0])
                                                                : 1;
  }

  void describe(Output& out, const Model& model, const Session& session,
                const std::vector<Binding>& outputs) const {
    Json list = Json::array();
    std::vector<std::vector<std::string>> rows{{"output", "shape", "min", "max", "file"}};
    for (const Binding& output : outputs) {
      const TensorSpan tensor = session.output(output.name);
      const Range range = range_of(tensor);
      rows.push_back({output.name, shape_text(tensor.shape), fmt::format("{:.6g}", range.min),
                      fmt::format("{:.6g}", range.max), output.file.empty() ? "-" : output.file});
      Json entry = to_json(TensorInfo{output.name, tensor.dtype, tensor.shape});
      entry["min"] = to_json(range.min);
      entry["max"] = to_json(range.max);
      entry["file"] = output.file.empty() ? Json(nullptr) : Json(output.file);
      list.push_back(std::move(entry));
    }
    if (json_) {
      Json all{{"outputs", std::move(list)}};
      add_precision(all, model.precision());
      return print_json(out, all);
    }
    out.write(table("<<>><", rows));
  }

  ModelFlags flags_;
  std::vector<std::string> inputs_, outputs_;
  std::int64_t batch_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_run() { return std::make_unique<Run>(); }

}  // namespace maru::cli
