// Raw tensors instead of photos, and a value from inside the network, read where the kernel wrote it:
// inner_values MODEL [VALUE]
#include <maru/maru.h>

#include <algorithm>
#include <iostream>
#include <numeric>

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: inner_values MODEL [VALUE]\n";
    return 2;
  }
  try {
    maru::ModelOptions options;
    options.photos = false;  // the session takes the network's own input
    // Any value can be asked for (`maru info MODEL` lists them); here what the first layer makes.
    const maru::NetworkInfo network = maru::inspect(argv[1]);
    const auto first =
        std::ranges::find_if(network.layers, [](const auto& layer) { return !layer.src.empty(); });
    const std::string value =
        argc == 3 || first == network.layers.end() ? argv[argc - 1] : first->dst[0].name;
    options.outputs = {value};

    const maru::Model model = maru::Model::load(argv[1], options);
    maru::Session session(model);
    // Views of planned memory: what is written here is what the first kernel reads.
    const std::span<float> input = session.input(model.inputs()[0].name).as<float>();
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 256) / 128 - 1;
    session.run();

    const maru::TensorSpan inner = session.output(value);
    const std::span<const float> values = inner.as<float>();
    const auto [low, high] = std::ranges::minmax(values);
    const double mean =
        std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    std::cout << value << ':';
    for (const std::int64_t extent : inner.shape) std::cout << ' ' << extent;
    std::cout << ", from " << low << " to " << high << ", mean " << mean << '\n';
  } catch (const maru::Error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
