// oneDNN for the kernels of this backend: descriptions, primitives of both API generations (v2 and v3),
// and a Kernel around any primitive. All primitives use the one CPU engine of the process and a
// workspace that the plan provides.
#pragma once

#include <dnnl.hpp>
#include <optional>

#include "backends/cpu/provider.h"
#include "ops/unary.h"

namespace maru::cpu {

const dnnl::engine& cpu_engine();

// A maru tensor as oneDNN sees it. Not for windows: oneDNN 2.6 has only reference kernels for strided
// blocked tensors, so windows are run image by image (ImageLoop).
dnnl::memory::desc memory_desc(const TensorDesc& desc);
dnnl::memory::desc memory_desc(const Shape& shape, dnnl::memory::format_tag tag);

// Builds P::primitive_desc from what P's operation descriptor takes.
template <class P, class... Args>
typename P::primitive_desc describe(const dnnl::primitive_attr& attr, Args&&... args) {
#if DNNL_VERSION_MAJOR >= 3
  return typename P::primitive_desc(cpu_engine(), std::forward<Args>(args)..., attr);
#else
  return typename P::primitive_desc(typename P::desc(std::forward<Args>(args)...), attr, cpu_engine());
#endif
}

// The same of what goes backward, for which oneDNN wants to know what goes forward.
template <class P, class Forward, class... Args>
typename P::primitive_desc describe_backward(const dnnl::primitive_attr& attr, const Forward& forward,
                                             Args&&... args) {
#if DNNL_VERSION_MAJOR >= 3
  return typename P::primitive_desc(cpu_engine(), std::forward<Args>(args)..., forward, attr);
#else
  return typename P::primitive_desc(typename P::desc(std::forward<Args>(args)...), attr, cpu_engine(),
                                    forward);
#endif
}

// A function of each element as oneDNN computes it.
struct EltwiseSpec {
  dnnl::algorithm algorithm;
  float alpha, beta;
};
std::optional<EltwiseSpec> onednn_eltwise(const Unary& unary);
// Attributes for every primitive here: workspace from the plan, and the activation if any.
dnnl::primitive_attr attributes(const std::optional<Unary>& activation);

// Which operand a primitive's argument is.
struct Argument {
  int id;  // DNNL_ARG_...
  bool is_dst;
  std::size_t operand;
  dnnl::memory::desc desc;
  std::size_t image_bytes = 0;  // from one image to the next when the primitive runs once an image
};

// A call whose operands include windows, seen as one dense image at a time; other calls as they are.
class ImageLoop {
 public:
  explicit ImageLoop(const Call& call);
  std::int64_t images() const noexcept { return images_; }  // times that the primitive runs
  TensorDesc image(const TensorDesc& desc) const;
  Argument argument(int id, bool is_dst, std::size_t operand, const TensorDesc& desc) const;

 private:
  std::int64_t images_ = 1;
  bool split_ = false;
};

class OnednnKernel : public Kernel {
 public:
  OnednnKernel(dnnl::primitive primitive, std::string implementation, std::size_t workspace,
               std::vector<Argument> arguments, std::int64_t images = 1);

  std::string name() const override { return implementation_; }
  std::size_t workspace_bytes() const override { return workspace_; }
  std::size_t packed_bytes(std::size_t operand, const Constant& constant) const override;
  // Reorders the constant, read as `source_desc`, into the form that the primitive wants.
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override;
  // Blocked forms are named by their extents, strides and blocks, which say where every element lies in
  // any version of oneDNN; others (Winograd) by version and implementation.
  std::string packed_form(std::size_t operand) const override;
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override;

 protected:
  // How the constant lies in the model file, with as many axes as the primitive's argument has.
  virtual dnnl::memory::desc source_desc(std::size_t operand, const Constant& constant) const;

 private:
  const Argument* argument_of(std::size_t operand) const;

  dnnl::primitive primitive_;
  std::string implementation_;
  std::size_t workspace_;
  std::vector<Argument> arguments_;
  std::int64_t images_;
  int threads_;  // that it was compiled for
};

template <class PrimitiveDesc>
std::size_t workspace_of(const PrimitiveDesc& pd) {
  return pd.scratchpad_desc().get_size();
}

// OpenMP's number of threads, a setting of the calling thread, for as long as this lives.
class ThreadCount {
 public:
  explicit ThreadCount(int threads);
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;
  ~ThreadCount();

 private:
  int before_;
};

// The queue of the CPU device: oneDNN's stream and the number of threads.
class CpuQueue final : public Queue {
 public:
  explicit CpuQueue(int threads) : stream(cpu_engine()), threads_(threads) {}
  void begin() override { count_.emplace(threads_); }
  void finish() override { count_.reset(); }
  dnnl::stream stream;

 private:
  int threads_;
  std::optional<ThreadCount> count_;
};

}  // namespace maru::cpu
