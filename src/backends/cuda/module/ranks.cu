// What the module asks of NCCL (nccl.h: version 2 keeps these functions and numbers).
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <type_traits>

#include "backends/cuda/module/ranks.h"

struct maru_cuda_ranks {
  int device;
  void* communicator;
};

namespace maru::cuda {
namespace {

constexpr const char* kFile = "libnccl.so.2";
constexpr int kSuccess = 0, kFloat32 = 7, kMean = 4;  // ncclSuccess, ncclFloat32, ncclAvg
constexpr int kLeastVersion = 21003;  // the first with ncclAvg, and with captured streams

struct UniqueId {
  unsigned char bytes[MARU_CUDA_RANKS_ID];
};

thread_local char last_text[512];

int fail(const char* what, const char* why) {
  std::snprintf(last_text, sizeof last_text, "%s: %s", what, why);
  return MARU_CUDA_RANKS_FAILED;
}

// Stays open: a library with threads of its own is not to be closed.
struct Nccl {
  int (*version)(int*) = nullptr;
  int (*unique_id)(UniqueId*) = nullptr;
  int (*create)(void**, int, UniqueId, int) = nullptr;
  int (*destroy)(void*) = nullptr;
  int (*abort)(void*) = nullptr;
  int (*all_reduce)(const void*, void*, size_t, int, int, void*, cudaStream_t) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  const char* (*error)(int) = nullptr;
  const char* (*last_error)(void*) = nullptr;  // since 2.13
  char why[384] = {};                          // it cannot be used

  Nccl() {
    void* library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::snprintf(why, sizeof why, "%s", ::dlerror());
      return;
    }
    const auto find = [&](const char* name, auto& function) {
      using Function = std::remove_reference_t<decltype(function)>;
      function = reinterpret_cast<Function>(::dlsym(library, name));
      if (function == nullptr && why[0] == '\0')
        std::snprintf(why, sizeof why, "%s has no %s", kFile, name);
    };
    find("ncclGetVersion", version);
    find("ncclGetUniqueId", unique_id);
    find("ncclCommInitRank", create);
    find("ncclCommDestroy", destroy);
    find("ncclCommAbort", abort);
    find("ncclAllReduce", all_reduce);
    find("ncclGroupStart", group_start);
    find("ncclGroupEnd", group_end);
    find("ncclGetErrorString", error);
    last_error = reinterpret_cast<decltype(last_error)>(::dlsym(library, "ncclGetLastError"));
    int found = 0;
    if (why[0] == '\0' && version(&found) == kSuccess && found < kLeastVersion)
      std::snprintf(why, sizeof why, "%s is of version %d, and 2.10.3 is the least", kFile, found);
  }
};

const Nccl& nccl() {
  static const Nccl opened;
  return opened;
}

int take(int code, const char* what) {
  if (code == kSuccess) return cudaSuccess;
  const char* more = nccl().last_error == nullptr ? nullptr : nccl().last_error(nullptr);
  char why[400];
  std::snprintf(why, sizeof why, "%s%s%s", nccl().error(code),
                more == nullptr || *more == '\0' ? "" : ", ", more == nullptr ? "" : more);
  return fail(what, why);
}

// Of the device, which the caller's thread has from then on.
class CapturedStream {
 public:
  CapturedStream() = default;
  CapturedStream(const CapturedStream&) = delete;
  CapturedStream& operator=(const CapturedStream&) = delete;
  ~CapturedStream() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphDestroy(graph_));
    if (stream_ != nullptr) static_cast<void>(cudaStreamDestroy(stream_));
  }

  // Others wait for what is sent, so it goes before what is computed here.
  cudaError_t begin() {
    int least = 0, greatest = 0;
    cudaError_t code = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (code == cudaSuccess)
      code = cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest);
    // Relaxed: what NCCL sets up for a first use of its own is no part of this stream.
    if (code == cudaSuccess) code = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed);
    return code;
  }
  cudaError_t end() { return cudaStreamEndCapture(stream_, &graph_); }
  cudaStream_t stream() const { return stream_; }
  cudaGraph_t graph() const { return graph_; }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

const char* ranks_text() { return last_text; }

int ranks_version(int* version) {
  if (nccl().why[0] != '\0') return fail(kFile, nccl().why);
  return take(nccl().version(version), "ncclGetVersion");
}

int ranks_id(unsigned char* id) {
  if (nccl().why[0] != '\0') return fail(kFile, nccl().why);
  UniqueId made{};
  const int code = take(nccl().unique_id(&made), "ncclGetUniqueId");
  std::memcpy(id, made.bytes, sizeof made.bytes);
  return code;
}

int ranks_create(int device, int ranks, int rank, const unsigned char* id, maru_cuda_ranks** made) {
  if (nccl().why[0] != '\0') return fail(kFile, nccl().why);
  if (const cudaError_t code = cudaSetDevice(device); code != cudaSuccess) return code;
  UniqueId name{};
  std::memcpy(name.bytes, id, sizeof name.bytes);
  auto* created = new (std::nothrow) maru_cuda_ranks{device, nullptr};
  if (created == nullptr) return cudaErrorMemoryAllocation;
  const int code = take(nccl().create(&created->communicator, ranks, name, rank), "ncclCommInitRank");
  if (code != cudaSuccess) {
    delete created;
    return code;
  }
  *made = created;
  return cudaSuccess;
}

void ranks_destroy(maru_cuda_ranks* ranks, int is_broken) {
  if (ranks == nullptr) return;
  static_cast<void>(cudaSetDevice(ranks->device));
  const auto end = is_broken != 0 ? nccl().abort : nccl().destroy;
  static_cast<void>(take(end(ranks->communicator), "ncclCommDestroy"));
  delete ranks;
}

int mean_on(cudaStream_t stream, const maru_cuda_mean& mean) {
  if (const int code = take(nccl().group_start(), "ncclGroupStart"); code != cudaSuccess) return code;
  int code = kSuccess;
  for (size_t i = 0; i < mean.count && code == kSuccess; ++i)
    code = nccl().all_reduce(mean.src[i], mean.dst[i], mean.elements[i], kFloat32, kMean,
                             mean.ranks->communicator, stream);
  const int end = nccl().group_end();
  return code != kSuccess ? take(code, "ncclAllReduce") : take(end, "ncclGroupEnd");
}

int add_mean(cudaGraph_t graph, const maru_cuda_mean& mean, const cudaGraphNode_t* after, size_t count,
             cudaGraphNode_t* node) {
  CapturedStream captured;
  if (const cudaError_t code = captured.begin(); code != cudaSuccess) return code;
  const int code = mean_on(captured.stream(), mean);
  const cudaError_t end = captured.end();
  if (code != cudaSuccess) return code;
  if (end != cudaSuccess) return end;
  return cudaGraphAddChildGraphNode(node, graph, after, count, captured.graph());
}

}  // namespace maru::cuda
