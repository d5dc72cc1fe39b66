// Provider: one family of kernels of the CPU backend; what it can run, and how. Stateless.
#pragma once

#include <functional>

#include "backends/cpu/host_heap.h"
#include "device/device.h"

namespace maru::cpu {

// What the kernels of one CPU device need to know of it.
struct Cpu {
  int threads = 1;
  int block = 1;  // channels in a block of the fastest layout; 1: plain is as good
  std::shared_ptr<Communicator> communicator = {};  // null: no other process trains with this one
};

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string name() const = 0;
  // Adds the ways in which this family can run the call; none is fine. Offers are named name().
  virtual void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const = 0;
  virtual std::unique_ptr<Kernel> compile(const Call& call, const Cpu& cpu) const = 0;
};

// In order of preference among equals.
std::vector<std::unique_ptr<Provider>> providers();
std::unique_ptr<Provider> conv_provider();
std::unique_ptr<Provider> winograd_provider();
std::unique_ptr<Provider> pool_provider();
std::unique_ptr<Provider> lrn_provider();
std::unique_ptr<Provider> inner_product_provider();
std::unique_ptr<Provider> unary_provider();
std::unique_ptr<Provider> softmax_provider();
std::unique_ptr<Provider> batch_norm_provider();
std::unique_ptr<Provider> batch_norm_training_provider();
std::unique_ptr<Provider> copy_provider();
std::unique_ptr<Provider> channelwise_provider();
std::unique_ptr<Provider> eltwise_provider();
std::unique_ptr<Provider> preprocess_provider();
std::unique_ptr<Provider> conv_training_provider();
std::unique_ptr<Provider> inner_product_training_provider();
std::unique_ptr<Provider> training_provider();
std::unique_ptr<Provider> all_reduce_provider();
std::unique_ptr<Provider> reference_provider();

// A kernel that is a function on host memory. It must not keep state between calls.
using HostFunction = std::function<void(Views src, Views dst, std::span<std::byte> workspace)>;
std::unique_ptr<Kernel> host_kernel(std::string name, HostFunction function, std::size_t workspace = 0);

// An offer which takes and gives one layout for every operand.
Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds);

// Layouts to offer for a kernel that works in the layout of its first operand: that one when it is
// known, otherwise plain and, where there are channels to block, blocked.
std::vector<Layout> natural_layouts(const Call& call, const Cpu& cpu);

bool all_f32(const Call& call);
// Rough estimates, good enough to rank offers; kernels are not chosen across machines by them.
double compute_seconds(const Cpu& cpu, double flops, double flops_per_second_and_thread);
double memory_seconds(double bytes);

}  // namespace maru::cpu
