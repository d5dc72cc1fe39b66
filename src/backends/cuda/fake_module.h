// A CUDA module for tests on machines without a GPU: memory is the process's own, launches compute
// nothing and are counted, and what fails is up to the test. One at a time.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/fake_facts.h"
#include "backends/cuda/fake_ranks.h"
#include "backends/cuda/module.h"

struct maru_cuda_stream {
  int device;
};
struct maru_cuda_graph {
  std::uint32_t* flag;
};

namespace maru::cuda::testing {

struct FakeModule : FakeFacts, FakeRanks {
  enum Code {
    kOutOfMemory = 2,
    kOldDriver = 35,
    kNoDevice = 100,
    kNotReady = 600,
    kLost = 46,
    kAlreadyRegistered = 712
  };

  FakeModule() { current() = this; }
  FakeModule(const FakeModule&) = delete;
  FakeModule& operator=(const FakeModule&) = delete;
  ~FakeModule() { current() = nullptr; }

  int driver = 13000, count = 1, count_code = 0;
  maru_cuda_facts facts = discrete();
  std::size_t memory_left = std::size_t{1} << 30;
  int stream_code = 0;  // of waiting and asking
  int stream_create_code = 0;
  int code = 1000;         // what kernels were compiled for; it is at most the device's
  int code_code = 0;       // of asking for that
  int corrupt_kind = -2;   // memory of this kind does not come back as it was written
  bool graphs_end = true;  // a graph's flag is counted up when it is launched
  std::map<void*, std::pair<int, std::size_t>> live;  // kind and bytes; -1: registered
  std::vector<int> attached;
  std::set<int> opened;                         // ordinals whose facts were asked for
  std::vector<int> read_only;                   // as each piece of memory was registered
  std::vector<std::vector<std::size_t>> edges;  // of the last graph, per node
  int launches = 0;

  std::shared_ptr<const Module> module() const { return std::make_shared<const Module>(api()); }

  static FakeModule*& current() {
    static FakeModule* fake = nullptr;
    return fake;
  }

 private:
  static void* take(int kind, std::size_t bytes) {
    FakeModule& fake = *current();
    if (bytes > fake.memory_left) return nullptr;
    fake.memory_left -= bytes;
    void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    fake.live[data] = {kind, bytes};
    return data;
  }

  static bool is_corrupt(const void* address) {
    for (const auto& [data, what] : current()->live) {
      const auto* begin = static_cast<const std::byte*>(data);
      const auto* at = static_cast<const std::byte*>(address);
      if (what.first == current()->corrupt_kind && at >= begin && at < begin + what.second) return true;
    }
    return false;
  }

  static const maru_cuda_api& api() {
    static const maru_cuda_api all = make_api();
    return all;
  }

  static maru_cuda_api make_api() {
    maru_cuda_api api{};
    api.abi = MARU_CUDA_ABI;
    api.out_of_memory = kOutOfMemory;
    api.not_ready = kNotReady;
    api.no_device = kNoDevice;
    api.error_name = [](int code) {
      return code == kOldDriver ? "cudaErrorInsufficientDriver"
             : code == kLost    ? "cudaErrorDevicesUnavailable"
                                : "cudaError";
    };
    api.error_text = [](int) { return "a text of the driver's"; };
    api.versions = [](int* driver, int* runtime) {
      *driver = current()->driver;
      *runtime = 13000;
      return 0;
    };
    api.device_count = [](int* count) {
      *count = current()->count;
      return current()->count_code;
    };
    api.device_facts = [](int ordinal, maru_cuda_facts* facts) {
      current()->opened.insert(ordinal);
      *facts = current()->facts;
      return 0;
    };
    api.code_capability = [](int, int* capability) {
      *capability = current()->code;
      return current()->code_code;
    };
    api.allocate = [](int, int kind, std::size_t bytes, maru_cuda_memory* memory) {
      void* data = take(kind, bytes);
      if (data == nullptr) return +kOutOfMemory;
      *memory = {kind == MARU_CUDA_DEVICE ? nullptr : data, kind == MARU_CUDA_PINNED ? nullptr : data};
      return 0;
    };
    api.release = [](int, int, const maru_cuda_memory* memory) {
      void* data = memory->device != nullptr ? memory->device : memory->host;
      current()->memory_left += current()->live.at(data).second;
      current()->live.erase(data);
      std::free(data);
      return 0;
    };
    api.enroll = [](int, void* pointer, std::size_t bytes, int read_only, maru_cuda_memory* memory) {
      if (current()->live.contains(pointer)) return +kAlreadyRegistered;
      current()->read_only.push_back(read_only);
      current()->live[pointer] = {-1, bytes};
      *memory = {pointer, pointer};
      return 0;
    };
    api.withdraw = [](int, void* pointer) {
      current()->live.erase(pointer);
      return 0;
    };
    api.attach = [](int, maru_cuda_stream*, void*, int to) {
      current()->attached.push_back(to);
      return 0;
    };
    api.stream_create = [](int device, maru_cuda_stream** stream) {
      if (current()->stream_create_code != 0) return current()->stream_create_code;
      *stream = new maru_cuda_stream{device};
      return 0;
    };
    api.stream_destroy = [](maru_cuda_stream* stream) { delete stream; };
    api.stream_wait = [](maru_cuda_stream*) { return current()->stream_code; };
    api.stream_query = [](maru_cuda_stream*) { return current()->stream_code; };
    api.copy = [](maru_cuda_stream*, void* dst, const void* src, std::size_t bytes) {
      std::memcpy(dst, src, bytes);
      if (is_corrupt(dst)) ++*static_cast<unsigned char*>(dst);
      return 0;
    };
    api.find_kernel = [](int, const char*, const maru_cuda_kernel** kernel) {
      *kernel = nullptr;
      return 0;
    };
    api.launch = [](maru_cuda_stream*, const maru_cuda_launch*) {
      ++current()->launches;
      return 0;
    };
    api.graph_create = [](int, const maru_cuda_node* nodes, std::size_t count, void* flag,
                          maru_cuda_graph** graph) {
      auto& edges = current()->edges;
      edges.clear();
      for (std::size_t i = 0; i < count; ++i)
        edges.emplace_back(nodes[i].after, nodes[i].after + nodes[i].after_count);
      current()->count_means(nodes, count);
      *graph = new maru_cuda_graph{static_cast<std::uint32_t*>(flag)};
      return 0;
    };
    api.graph_destroy = [](maru_cuda_graph* graph) { delete graph; };
    api.graph_launch = [](maru_cuda_graph* graph, maru_cuda_stream*) {
      if (graph->flag != nullptr && current()->graphs_end) ++*graph->flag;
      return 0;
    };
    api.time_launches = [](maru_cuda_stream*, const maru_cuda_launch*, std::size_t, unsigned,
                           double* seconds) {
      *seconds = 1e-6;
      return 0;
    };
    add_to(api);
    return api;
  }
};

}  // namespace maru::cuda::testing
