// A device for planner tests: it plans like a real one and computes nothing, so that plans are the same
// text on every machine. Convolutions want blocks of 4 channels, softmax plain memory, the rest takes
// both.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "device/device.h"
#include "ops/conv.h"
#include "ops/identity.h"
#include "ops/softmax.h"
#include "ops/unary.h"

namespace maru::testing {

class FakeHeap final : public Heap {
 public:
  FakeHeap() : Heap("fake", traits_of()) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t) const override { return nullptr; }

 private:
  static MemoryTraits traits_of() {
    MemoryTraits traits;
    traits.host_visible = traits.device_visible = traits.coherent = true;
    traits.alignment = 16;
    return traits;
  }
};

class FakeKernel final : public Kernel {
 public:
  FakeKernel(std::string name, std::size_t workspace) : name_(std::move(name)), workspace_(workspace) {}
  std::string name() const override { return name_; }
  std::size_t workspace_bytes() const override { return workspace_; }
  std::unique_ptr<Launch> bind(std::span<const Tensor>, std::span<const Tensor>,
                               const Tensor&) const override {
    return nullptr;
  }

 private:
  std::string name_;
  std::size_t workspace_;
};

struct FakeDevice final : Device {
  bool takes_windows = true;
  std::size_t workspace = 0;     // of every convolution
  std::string_view unsupported;  // name of an operator that it cannot run

  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "computes nothing"; }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<Queue>(); }
  bool is_host() const override { return true; }
  int channel_block() const override { return 4; }
  double copy_seconds(double bytes) const override { return bytes * 1e-9; }

  std::vector<Offer> offers(const Call& call) const override {
    if (call.op.name() == unsupported) return {};
    const Layout blocked = Layout::blocked(4);
    if (call.op.as<Conv>()) {
      const bool is_first = call.src[0].shape[1] == 3;
      return {make(call, "blocks", is_first ? Layout::plain() : blocked, blocked, 1e-6)};
    }
    if (call.op.as<Softmax>()) return {make(call, "rows", Layout::plain(), Layout::plain(), 1e-6)};
    if (call.op.as<Identity>()) {
      Offer copy = make(call, "move", call.src[0].layout.dense(), call.dst[0].layout.dense(), 1e-6);
      copy.src_window = copy.dst_window = true;
      return {copy};
    }
    Offer same = make(call, "same", call.src[0].layout.dense(), call.src[0].layout.dense(), 1e-6);
    same.in_place = call.op.as<Unary>() != nullptr;
    return {same};
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    return std::make_unique<FakeKernel>(offer.kernel, call.op.as<Conv>() ? workspace : 0);
  }

 private:
  Offer make(const Call& call, std::string kernel, Layout src, Layout dst, double seconds) const {
    Offer offer;
    offer.kernel = std::move(kernel);
    offer.src.assign(call.src.size(), src);
    offer.dst.assign(call.dst.size(), dst);
    offer.seconds = seconds;
    offer.src_window = offer.dst_window = takes_windows;
    return offer;
  }

  FakeHeap heap_;
  const Heap* heaps_[1] = {&heap_};
};

}  // namespace maru::testing
