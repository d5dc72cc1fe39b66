// Device: something that runs kernels, with the heaps it can use. Kernel: one compiled node. Launch: a
// kernel with its memory bound, ready to run.
//
// Lifetimes: a Device outlives the kernels and buffers made from it; kernels are immutable and shared
// by sessions; a Launch and a Queue belong to one session and one thread at a time.
#pragma once

#include <maru/error.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/constant.h"
#include "graph/op.h"
#include "memory/heap.h"
#include "memory/queue.h"

namespace maru {

// A node as a device sees it. Layouts may be `any` while offers are asked for; they are exact when a
// kernel is compiled. Data operands and results are all f32 or all f16, but of Cast, Preprocess and
// what widens, and but for operands that Op::keeps_f32() names (Dropout's step). Operands that are
// constants hold the constant's description, which is f32 also where data is f16; kernels pack it as
// they want. Parameters in training are data: filters and matrices of its type, vectors (biases,
// scales) f32 where offered.
struct Call {
  const Op& op;
  std::span<const TensorDesc> src, dst;
  std::span<const bool> constant;  // per src: known at load, packed once
};

// One way in which a device can run a call.
struct Offer {
  std::string kernel;            // for people: "onednn", "reference"
  std::vector<Layout> src, dst;  // wanted; entries of constants are ignored
  double seconds = 0;            // estimated, a run
  double prepare_seconds = 0;    // estimated, once at load, beyond what is usual
  bool src_window = false;       // operands may be channel windows of a larger tensor
  bool dst_window = false;       // so may results
  bool in_place = false;         // dst[i] may be the bytes of src[i], for every i
};

class Launch {
 public:
  virtual ~Launch() = default;
  virtual void run(Queue& queue) = 0;
};

// A launch in a list, and which of those before it must have ended when it begins; what these in turn
// wait for is left out.
struct OrderedLaunch {
  Launch* launch = nullptr;
  std::vector<std::size_t> after{};  // indices into the list, ascending
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // The implementation that was picked, for people: "jit:avx512_core".
  virtual std::string name() const = 0;
  virtual std::size_t workspace_bytes() const { return 0; }
  // Constants are handed over once, in the form that the kernel wants: how large that is, and how the
  // bytes come to be. The default keeps them as they are.
  virtual std::size_t packed_bytes(std::size_t operand, const Constant& constant) const;
  virtual void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const;
  // Names that form; equal names mean equal bytes for equal constants, on any machine.
  virtual std::string packed_form(std::size_t operand) const;
  // Binds memory; every tensor stays where it is for the life of the launch. `workspace` has no buffer
  // when workspace_bytes() is 0.
  virtual std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                       const Tensor& workspace) const = 0;
};

// Why a device that the build is for is not offered. Broken: it seems to be there and cannot be used.
struct Absence {
  Error why;
  bool is_broken = false;
};

class Communicator;  // device/communicator.h

struct DeviceOptions {
  int threads = 0;    // of the CPU; 0: one a core
  bool tune = false;  // compile() takes the fastest variant of a kernel, measured once and kept
  // What networks are meant to be computed in; a device that cannot ignores it, see computes().
  Precision precision = Precision::fp32;
  std::function<void(const Absence&)> report = {};  // told of devices that are not offered
  // The processes that train together; null: this one is alone. Devices then offer AllReduce over them.
  std::shared_ptr<Communicator> communicator = {};
  // The one device that is wanted, by its name, or "auto": the first that computes in `precision`. No
  // others are opened where that can be told before. Empty: all.
  std::string only = {};
};

struct DeviceModel;  // device/speed.h

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;    // "cpu"
  virtual std::string description() const = 0;  // "AMD EPYC, 2 threads, avx512; oneDNN 2.6.3"
  // Whether it is the CPU that the program runs on: its kernels take host addresses and run in the
  // session's thread.
  virtual bool is_host() const { return false; }
  // Of fp16: calls with data in f16, constants being f32 all the same, where it offers them; and Cast.
  virtual bool computes(Precision precision) const { return precision == Precision::fp32; }
  virtual std::span<const Heap* const> heaps() const = 0;
  // Of a device that stands for one that is elsewhere: the figures to plan with, since measuring would
  // show this machine. Null: it is itself, and can be measured. Lives as long as the device.
  virtual const DeviceModel* model() const { return nullptr; }
  virtual std::unique_ptr<Queue> make_queue() const = 0;
  // Channels in a block of the layout that it prefers for images; 1 where it prefers none. Merged
  // convolutions begin at multiples of it.
  virtual int channel_block() const = 0;
  // Every way to run the call; none when this device cannot. Of Identity, which planners copy with,
  // there must be one for exact layouts of its own, windows included on both sides.
  virtual std::vector<Offer> offers(const Call& call) const = 0;
  // `call` has exact layouts that `offer` allows. Safe to call from several threads at once.
  virtual std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const = 0;
  // Estimated seconds to move so many bytes within the device's memory, layout changes included.
  virtual double copy_seconds(double bytes) const = 0;
  // Copies bytes between a buffer that this device's kernels use and one that the CPU sees, after all
  // that was given to the queue before; returns when they are there. Devices with one memory have none.
  virtual void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                        std::size_t dst_offset, std::size_t bytes) const;
  // Whether combine() is better than launching one by one. Planners then keep apart the memory of what
  // may run at once, and say of each step which ones it must follow.
  virtual bool combines() const { return false; }
  // One launch for all of these (a CUDA graph), in an order that they allow: those that do not wait for
  // each other, through others neither, may run at the same time. Its run() comes after all that the
  // queue was given before, and before all that it is given later. The launches outlive it, unchanged;
  // where one of them is bound anew, all are combined anew.
  virtual std::unique_ptr<Launch> combine(std::span<const OrderedLaunch> launches) const;
};

// Of DeviceOptions::only, for backends: whether a device of that name may be the wanted one, before it
// is opened; and whether this is it, so that no others are looked for.
bool may_be_wanted(std::string_view name, const DeviceOptions& options);
bool is_the_one(const Device& device, const DeviceOptions& options);

// Whether the device has a kernel of its own for the call, whatever the layouts, and not the operator's
// reference alone.
bool has_kernel(const Device& device, const Op& op, std::span<const TensorDesc> src,
                std::span<const TensorDesc> dst, std::span<const bool> constant);

}  // namespace maru
