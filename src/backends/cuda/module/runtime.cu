// The module's table of functions over the CUDA runtime (maru_cuda.h says what each does).
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "backends/cuda/kernels/kernel.cuh"
#include "backends/cuda/module/maru_cuda.h"
#include "backends/cuda/module/ranks.h"

struct maru_cuda_stream {
  int device;
  cudaStream_t stream;
};

struct maru_cuda_graph {
  int device;
  cudaGraphExec_t exec;
  unsigned* count;  // on the device, of what its flag is told; null: it has none
};

namespace maru::cuda {
namespace {

// Errors that are not of the device's state are not to be found by the next call.
int take(cudaError_t code) {
  if (code != cudaSuccess) static_cast<void>(cudaGetLastError());
  return code;
}

// Of the calling thread.
cudaError_t use(int device) {
  int current = -1;
  if (cudaGetDevice(&current) == cudaSuccess && current == device) return cudaSuccess;
  return cudaSetDevice(device);
}

#define MARU_TRY(call) \
  if (const cudaError_t code = (call); code != cudaSuccess) return take(code)

const Function* function_of(const maru_cuda_kernel* kernel) {
  return reinterpret_cast<const Function*>(kernel);
}
dim3 extents(const unsigned (&size)[3]) { return {size[0], size[1], size[2]}; }

const char* error_name(int code) {
  return code == MARU_CUDA_RANKS_FAILED ? "NCCL" : cudaGetErrorName(static_cast<cudaError_t>(code));
}
const char* error_text(int code) {
  return code == MARU_CUDA_RANKS_FAILED ? ranks_text()
                                        : cudaGetErrorString(static_cast<cudaError_t>(code));
}

int versions(int* driver, int* runtime) {
  MARU_TRY(cudaDriverGetVersion(driver));
  return take(cudaRuntimeGetVersion(runtime));
}

int device_count(int* count) { return take(cudaGetDeviceCount(count)); }

int device_facts(int device, maru_cuda_facts* facts) {
  cudaDeviceProp properties{};
  MARU_TRY(cudaGetDeviceProperties(&properties, device));
  *facts = {};
  std::snprintf(facts->name, sizeof facts->name, "%s", properties.name);
  MARU_TRY(cudaDeviceGetPCIBusId(facts->bus, sizeof facts->bus, device));
  facts->memory_bytes = properties.totalGlobalMem;
  const auto get = [device](cudaDeviceAttr attribute) {
    int value = 0;
    static_cast<void>(take(cudaDeviceGetAttribute(&value, attribute, device)));
    return value;
  };
  facts->major = get(cudaDevAttrComputeCapabilityMajor);
  facts->minor = get(cudaDevAttrComputeCapabilityMinor);
  facts->multiprocessors = get(cudaDevAttrMultiProcessorCount);
  facts->l2_bytes = static_cast<uint64_t>(get(cudaDevAttrL2CacheSize));
  facts->shared_bytes = static_cast<uint64_t>(get(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  facts->integrated = get(cudaDevAttrIntegrated);
  facts->maps_host_memory = get(cudaDevAttrCanMapHostMemory);
  facts->registers_host_memory = get(cudaDevAttrHostRegisterSupported);
  facts->registers_read_only = get(cudaDevAttrHostRegisterReadOnlySupported);
  facts->has_managed_memory = get(cudaDevAttrManagedMemory);
  facts->concurrent_managed_access = get(cudaDevAttrConcurrentManagedAccess);
  facts->pageable_memory_access = get(cudaDevAttrPageableMemoryAccess);
  facts->uses_host_page_tables = get(cudaDevAttrPageableMemoryAccessUsesHostPageTables);
  return cudaSuccess;
}

__global__ void any_code() {}

int code_capability(int device, int* capability) {
  MARU_TRY(use(device));
  cudaFuncAttributes attributes{};
  MARU_TRY(cudaFuncGetAttributes(&attributes, any_code));
  // What there is of no PTX says what it runs on.
  *capability = attributes.ptxVersion > 0 ? attributes.ptxVersion : attributes.binaryVersion;
  return cudaSuccess;
}

int release(int device, int kind, const maru_cuda_memory* memory) {
  MARU_TRY(use(device));
  const bool is_host = kind == MARU_CUDA_PINNED || kind == MARU_CUDA_MAPPED;
  return take(is_host ? cudaFreeHost(memory->host) : cudaFree(memory->device));
}

int allocate(int device, int kind, size_t bytes, maru_cuda_memory* memory) {
  *memory = {};
  MARU_TRY(use(device));
  switch (kind) {
    case MARU_CUDA_DEVICE:
      return take(cudaMalloc(&memory->device, bytes));
    case MARU_CUDA_PINNED:
      return take(cudaMallocHost(&memory->host, bytes));
    case MARU_CUDA_MAPPED:
      MARU_TRY(cudaHostAlloc(&memory->host, bytes, cudaHostAllocMapped));
      break;
    case MARU_CUDA_MANAGED:
      MARU_TRY(cudaMallocManaged(&memory->device, bytes, cudaMemAttachGlobal));
      memory->host = memory->device;
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
  const cudaError_t code = cudaHostGetDevicePointer(&memory->device, memory->host, 0);
  if (code != cudaSuccess) {
    static_cast<void>(cudaFreeHost(memory->host));
    *memory = {};
  }
  return take(code);
}

int enroll(int device, void* pointer, size_t bytes, int read_only, maru_cuda_memory* memory) {
  *memory = {};
  MARU_TRY(use(device));
  const unsigned flags = cudaHostRegisterMapped | (read_only != 0 ? cudaHostRegisterReadOnly : 0);
  MARU_TRY(cudaHostRegister(pointer, bytes, flags));
  const cudaError_t code = cudaHostGetDevicePointer(&memory->device, pointer, 0);
  if (code != cudaSuccess) {
    static_cast<void>(cudaHostUnregister(pointer));
    return take(code);
  }
  memory->host = pointer;
  return cudaSuccess;
}

int withdraw(int device, void* pointer) {
  MARU_TRY(use(device));
  return take(cudaHostUnregister(pointer));
}

int attach(int device, maru_cuda_stream* stream, void* pointer, int to) {
  MARU_TRY(use(device));
  const unsigned flags = to == MARU_CUDA_ATTACH_HOST     ? cudaMemAttachHost
                         : to == MARU_CUDA_ATTACH_STREAM ? cudaMemAttachSingle
                                                         : cudaMemAttachGlobal;
  cudaStream_t on = stream == nullptr ? cudaStreamPerThread : stream->stream;
  MARU_TRY(cudaStreamAttachMemAsync(on, pointer, 0, flags));
  return take(cudaStreamSynchronize(on));
}

int stream_create(int device, maru_cuda_stream** stream) {
  MARU_TRY(use(device));
  cudaStream_t made = nullptr;
  MARU_TRY(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  *stream = new (std::nothrow) maru_cuda_stream{device, made};
  if (*stream != nullptr) return cudaSuccess;
  static_cast<void>(cudaStreamDestroy(made));
  return cudaErrorMemoryAllocation;
}

void stream_destroy(maru_cuda_stream* stream) {
  if (stream == nullptr) return;
  static_cast<void>(use(stream->device));
  static_cast<void>(take(cudaStreamDestroy(stream->stream)));
  delete stream;
}

int stream_wait(maru_cuda_stream* stream) {
  MARU_TRY(use(stream->device));
  return take(cudaStreamSynchronize(stream->stream));
}

int stream_query(maru_cuda_stream* stream) {
  MARU_TRY(use(stream->device));
  return take(cudaStreamQuery(stream->stream));
}

int copy(maru_cuda_stream* stream, void* dst, const void* src, size_t bytes) {
  MARU_TRY(use(stream->device));
  MARU_TRY(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, stream->stream));
  return take(cudaStreamSynchronize(stream->stream));
}

int find_kernel(int device, const char* name, const maru_cuda_kernel** kernel) {
  MARU_TRY(use(device));
  for (const Function* function = Function::first(); function != nullptr; function = function->next) {
    if (std::strcmp(function->name, name) != 0) continue;
    cudaFuncAttributes attributes{};
    MARU_TRY(cudaFuncGetAttributes(&attributes, function->function));
    int most = 0;
    MARU_TRY(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    MARU_TRY(cudaFuncSetAttribute(function->function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  most - static_cast<int>(attributes.sharedSizeBytes)));
    *kernel = reinterpret_cast<const maru_cuda_kernel*>(function);
    return cudaSuccess;
  }
  return cudaErrorInvalidDeviceFunction;
}

cudaError_t launch_on(cudaStream_t stream, const maru_cuda_launch& launch) {
  void* arguments[] = {const_cast<void*>(launch.params)};
  cudaLaunchConfig_t config{};
  config.gridDim = extents(launch.grid);
  config.blockDim = extents(launch.block);
  config.dynamicSmemBytes = launch.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {1, 1, launch.cluster};
  config.attrs = &cluster;
  config.numAttrs = launch.cluster > 1 ? 1 : 0;
  return cudaLaunchKernelExC(&config, function_of(launch.kernel)->function, arguments);
}

int launch(maru_cuda_stream* stream, const maru_cuda_launch* one) {
  MARU_TRY(use(stream->device));
  return take(launch_on(stream->stream, *one));
}

int mean(maru_cuda_stream* stream, const maru_cuda_mean* one) {
  MARU_TRY(use(stream->device));
  return mean_on(stream->stream, *one);
}

// Alone and last, so that all that came before is done. The CPU's memory is only written: to read it
// the device would wait for the bus.
__global__ void count_up(unsigned* count, volatile unsigned* flag) {
  const unsigned next = *count + 1;
  *count = next;
  __threadfence_system();
  *flag = next;
}

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphDestroy(graph_));
  }

  cudaError_t create() { return cudaGraphCreate(&graph_, 0); }
  cudaError_t add(const maru_cuda_launch& launch, const std::vector<cudaGraphNode_t>& after,
                  cudaGraphNode_t* node) {
    void* arguments[] = {const_cast<void*>(launch.params)};
    cudaKernelNodeParams params{};
    params.func = const_cast<void*>(function_of(launch.kernel)->function);
    params.gridDim = extents(launch.grid);
    params.blockDim = extents(launch.block);
    params.sharedMemBytes = launch.shared_bytes;
    params.kernelParams = arguments;
    const cudaError_t code = cudaGraphAddKernelNode(node, graph_, after.data(), after.size(), &params);
    if (code != cudaSuccess || launch.cluster <= 1) return code;
    cudaLaunchAttributeValue cluster{};
    cluster.clusterDim = {1, 1, launch.cluster};
    return cudaGraphKernelNodeSetAttribute(*node, cudaLaunchAttributeClusterDimension, &cluster);
  }
  int add(const maru_cuda_mean& mean, const std::vector<cudaGraphNode_t>& after,
          cudaGraphNode_t* node) {
    return add_mean(graph_, mean, after.data(), after.size(), node);
  }
  cudaError_t add_flag(unsigned* count, void* flag, const std::vector<cudaGraphNode_t>& after) {
    void* arguments[] = {&count, &flag};
    cudaKernelNodeParams params{};
    params.func = reinterpret_cast<void*>(&count_up);
    params.gridDim = params.blockDim = dim3(1);
    params.kernelParams = arguments;
    cudaGraphNode_t node = nullptr;
    return cudaGraphAddKernelNode(&node, graph_, after.data(), after.size(), &params);
  }
  cudaError_t instantiate(cudaGraphExec_t* exec) {
    return cudaGraphInstantiateWithFlags(exec, graph_, 0);
  }

 private:
  cudaGraph_t graph_ = nullptr;
};

void graph_destroy(maru_cuda_graph* graph) {
  if (graph == nullptr) return;
  static_cast<void>(use(graph->device));
  if (graph->exec != nullptr) static_cast<void>(take(cudaGraphExecDestroy(graph->exec)));
  if (graph->count != nullptr) static_cast<void>(take(cudaFree(graph->count)));
  delete graph;
}

struct DestroyGraph {
  void operator()(maru_cuda_graph* graph) const { graph_destroy(graph); }
};

int graph_create(int device, const maru_cuda_node* nodes, size_t count, void* flag,
                 maru_cuda_graph** made) try {
  MARU_TRY(use(device));
  Graph graph;
  MARU_TRY(graph.create());
  std::vector<cudaGraphNode_t> added(count), after;
  std::vector<bool> is_followed(count, false);
  for (size_t i = 0; i < count; ++i) {
    after.clear();
    for (size_t k = 0; k < nodes[i].after_count; ++k) {
      const size_t before = nodes[i].after[k];
      if (before >= i) return cudaErrorInvalidValue;
      after.push_back(added[before]);
      is_followed[before] = true;
    }
    if (nodes[i].mean == nullptr) {
      MARU_TRY(graph.add(nodes[i].launch, after, &added[i]));
    } else if (const int code = graph.add(*nodes[i].mean, after, &added[i]); code != cudaSuccess) {
      return code;
    }
  }
  std::unique_ptr<maru_cuda_graph, DestroyGraph> owner(new maru_cuda_graph{device, nullptr, nullptr});
  if (flag != nullptr) {
    MARU_TRY(cudaMalloc(&owner->count, sizeof(unsigned)));
    // No copy, so that counts of copies do not depend on which end was measured to be seen sooner;
    // waited for, since graphs run on streams that do not wait for the default one.
    MARU_TRY(cudaMemset(owner->count, 0, sizeof(unsigned)));
    MARU_TRY(cudaStreamSynchronize(nullptr));
    after.clear();
    for (size_t i = 0; i < count; ++i) {
      if (!is_followed[i]) after.push_back(added[i]);
    }
    MARU_TRY(graph.add_flag(owner->count, flag, after));
  }
  MARU_TRY(graph.instantiate(&owner->exec));
  *made = owner.release();
  return cudaSuccess;
} catch (const std::bad_alloc&) {
  return cudaErrorMemoryAllocation;
}

int graph_launch(maru_cuda_graph* graph, maru_cuda_stream* stream) {
  MARU_TRY(use(graph->device));
  return take(cudaGraphLaunch(graph->exec, stream->stream));
}

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (event_ != nullptr) static_cast<void>(cudaEventDestroy(event_));
  }
  cudaError_t create() { return cudaEventCreate(&event_); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// As a graph, so that launching is no part of the time.
int time_launches(maru_cuda_stream* stream, const maru_cuda_launch* launches, size_t count,
                  unsigned times, double* seconds) try {
  MARU_TRY(use(stream->device));
  Graph graph;
  MARU_TRY(graph.create());
  std::vector<cudaGraphNode_t> after;
  for (unsigned time = 0; time < times; ++time) {
    for (size_t i = 0; i < count; ++i) {
      cudaGraphNode_t node = nullptr;
      MARU_TRY(graph.add(launches[i], after, &node));
      after.assign(1, node);
    }
  }
  cudaGraphExec_t exec = nullptr;
  MARU_TRY(graph.instantiate(&exec));
  const int code = [&]() -> int {
    Event begin, end;
    float milliseconds = 0;
    MARU_TRY(begin.create());
    MARU_TRY(end.create());
    MARU_TRY(cudaGraphLaunch(exec, stream->stream));  // the first one loads the code
    MARU_TRY(cudaEventRecord(begin.get(), stream->stream));
    MARU_TRY(cudaGraphLaunch(exec, stream->stream));
    MARU_TRY(cudaEventRecord(end.get(), stream->stream));
    MARU_TRY(cudaStreamSynchronize(stream->stream));
    MARU_TRY(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
    *seconds = static_cast<double>(milliseconds) * 1e-3 / times;
    return cudaSuccess;
  }();
  static_cast<void>(cudaGraphExecDestroy(exec));
  return code;
} catch (const std::bad_alloc&) {
  return cudaErrorMemoryAllocation;
}

#undef MARU_TRY

constexpr maru_cuda_api kApi{MARU_CUDA_ABI,
                             cudaErrorMemoryAllocation,
                             cudaErrorNotReady,
                             cudaErrorNoDevice,
                             error_name,
                             error_text,
                             versions,
                             device_count,
                             device_facts,
                             code_capability,
                             allocate,
                             release,
                             enroll,
                             withdraw,
                             attach,
                             stream_create,
                             stream_destroy,
                             stream_wait,
                             stream_query,
                             copy,
                             find_kernel,
                             launch,
                             graph_create,
                             graph_destroy,
                             graph_launch,
                             time_launches,
                             ranks_version,
                             ranks_id,
                             ranks_create,
                             ranks_destroy,
                             mean};

}  // namespace
}  // namespace maru::cuda

extern "C" __attribute__((visibility("default"))) const maru_cuda_api* maru_cuda() {
  return &maru::cuda::kApi;
}
