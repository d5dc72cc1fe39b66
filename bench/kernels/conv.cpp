// The convolutions of a network one by one: every offer of a device with its time, rate and what it
// costs to make and to pack. The floor is the multiply-adds at the rate that the best offer of any
// layer reaches.
//
//   build/release/bench/kernels/conv NETWORK.prototxt WEIGHTS.caffemodel [threads] [runs] [device]
#include "ops/conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>

#include "base/error.h"
#include "device/registry.h"
#include "import/caffe.h"
#include "rewrite/rewrite.h"

namespace {

using namespace maru;
using Clock = std::chrono::steady_clock;

template <class F>
double seconds(const F& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Result {
  std::string kernel;
  double make, pack, run;
};

Result measure(const Device& device, const Graph& graph, const Node& node, const Offer& offer,
               int runs) {
  std::vector<TensorDesc> src = graph.descs(node.src), dst = graph.descs(node.dst);
  const auto constant = std::make_unique<bool[]>(src.size());
  for (std::size_t i = 0; i < src.size(); ++i) {
    constant[i] = graph.value(node.src[i]).constant != nullptr;
    if (!constant[i]) src[i].layout = offer.src[i];
  }
  dst[0].layout = offer.dst[0];
  std::unique_ptr<Kernel> kernel;
  Result result{};
  result.make = seconds([&] {
    kernel = device.compile({node.op, src, dst, {constant.get(), src.size()}}, offer);
  });
  result.kernel = kernel->name();
  const auto is_shared = [](const Heap* heap) {
    return heap->traits().host_visible && heap->traits().device_visible;
  };
  const auto found = std::ranges::find_if(device.heaps(), is_shared);
  if (found == device.heaps().end()) throw Error("bench", "memory that both sides see", "none");
  const Heap& heap = **found;
  std::vector<std::unique_ptr<Buffer>> buffers;
  const auto room = [&](std::size_t bytes) {
    return buffers.emplace_back(std::make_unique<Buffer>(heap.allocate(bytes, "bench"))).get();
  };
  std::vector<Tensor> operands;
  for (std::size_t i = 0; i < src.size(); ++i) {
    if (!constant[i]) {
      operands.push_back({src[i], room(src[i].bytes()), 0});
      continue;
    }
    const Constant& value = *graph.value(node.src[i]).constant;
    operands.push_back({src[i], room(kernel->packed_bytes(i, value)), 0});
    const HostView view = operands.back().buffer->map(Access::write);
    result.pack += seconds([&] { kernel->pack(i, value, view.bytes()); });
  }
  const Tensor target{dst[0], room(dst[0].bytes()), 0};
  Tensor workspace;
  if (kernel->workspace_bytes() > 0) workspace.buffer = room(kernel->workspace_bytes());
  const auto launch = kernel->bind(operands, {&target, 1}, workspace);
  const auto queue = device.make_queue();
  queue->begin();
  result.run = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i)
    result.run = std::min(result.run, seconds([&] {
                            launch->run(*queue);
                            queue->finish();
                          }));
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: conv NETWORK.prototxt WEIGHTS.caffemodel [threads] [runs] [device]\n";
    return 2;
  }
  try {
    CaffeOptions one_image;
    one_image.batch = 1;
    Graph graph = import_caffe(argv[1], argv[2], one_image).graph;
    const auto device = open_device(argc > 5 ? argv[5] : "cpu", {argc > 3 ? std::atoi(argv[3]) : 0});
    const int runs = argc > 4 ? std::atoi(argv[4]) : 30;
    RewriteLog log;
    RewriteOptions rewrite;
    rewrite.sibling_alignment = device->channel_block();
    rewrite_for_inference(graph, log, rewrite);
    fmt::print(
        "{}\n\n| layer | result | MFLOP | kernel | make ms | pack ms | run ms | GFLOP/s |\n"
        "|---|---|---|---|---|---|---|---|\n",
        device->description());
    for (const Node& node : graph.nodes()) {
      if (node.op.as<Conv>() == nullptr) continue;
      const std::vector<TensorDesc> src = graph.descs(node.src), dst = graph.descs(node.dst);
      const bool constant[] = {false, true, true};
      const double flops = node.op.cost(src, dst).flops;
      for (const Offer& offer : device->offers({node.op, src, dst, {constant, src.size()}})) {
        if (offer.kernel == "reference") continue;
        const Result result = measure(*device, graph, node, offer, runs);
        fmt::print("| {} | {} | {:.1f} | {} {} | {:.2f} | {:.2f} | {:.3f} | {:.0f} |\n", node.name,
                   dst[0].shape.str(), flops / 1e6, result.kernel, offer.dst[0].str(),
                   result.make * 1e3, result.pack * 1e3, result.run * 1e3, flops / result.run / 1e9);
      }
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
