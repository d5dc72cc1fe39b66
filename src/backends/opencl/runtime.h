// Runtime: one OpenCL device with its context, facts and programs. Owned by the Device; outlives all
// that is made from it. Every function may be called from any thread.
// OpenclQueue: an in-order command queue; one session's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "backends/opencl/handles.h"
#include "backends/opencl/programs.h"
#include "memory/queue.h"

namespace maru::opencl {

class Runtime {
 public:
  // Throws Error where the driver gives no context.
  Runtime(cl_platform_id platform, cl_device_id device);

  cl_device_id device() const noexcept { return device_; }
  cl_context context() const noexcept { return context_.get(); }
  // For what no session asks for: maps without a queue. Whoever uses it waits for its own events.
  cl_command_queue own_queue() const noexcept { return own_queue_.get(); }
  QueueHandle make_queue() const;

  // The program of kernels/`source`.cl, with "-D..." `options` beside those of the device. Built, or
  // read from the disk, once. Throws Error with the log of a build that failed.
  cl_program program(std::string_view source, const std::string& options) const {
    return programs_->get(source, options);
  }

  // What went wrong where nothing may be thrown; the next wait for the device throws it.
  void note_failure(cl_int code) const noexcept;
  void throw_noted() const;

  // Whether kernels store floats as halves and load them, which was tried when first asked.
  bool has_halves() const;

  std::string description() const;

  // Facts.
  bool is_cpu = false;  // the device is the machine's processor
  bool has_unified_memory = false;
  bool has_coarse_svm = false, has_fine_svm = false;
  bool has_fp16 = false;
  bool is_intel = false;
  int block = 4;               // channels in a block, and floats in a vector
  std::size_t alignment = 64;  // bytes, of buffers
  std::size_t limit = 0;       // bytes, of one allocation
  int compute_units = 1;

  bool tune = false;             // kernels may be measured when they are compiled
  mutable std::mutex measuring;  // one at a time

 private:
  cl_device_id device_;
  ContextHandle context_;
  QueueHandle own_queue_;
  std::unique_ptr<Programs> programs_;
  mutable std::once_flag halves_tried_;
  mutable bool has_halves_ = false;
  mutable std::atomic<cl_int> noted_{CL_SUCCESS};
};

// Tries it: numbers that become halves and floats again. Throws Error where the device fails.
bool stores_halves(const Runtime& runtime);

class OpenclQueue final : public Queue {
 public:
  explicit OpenclQueue(const Runtime& runtime) : runtime_(runtime), queue_(runtime.make_queue()) {}
  cl_command_queue get() const noexcept { return queue_.get(); }
  void finish() override;

 private:
  const Runtime& runtime_;
  QueueHandle queue_;
};

}  // namespace maru::opencl
