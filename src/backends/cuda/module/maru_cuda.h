/* What libmaru asks of its CUDA module, libmaru_cuda.so: memory, streams, launches and graphs of the
 * CUDA runtime, as one table of functions. The module is opened when maru runs (module.h), so that maru
 * starts on machines without any CUDA library; plain C, so that both sides may be built by different
 * compilers.
 *
 * Every function that returns int returns 0 or a cudaError_t, which error_text() explains; those that
 * have to do with ranks may also return MARU_CUDA_RANKS_FAILED. Any thread may call any of them;
 * `device` is CUDA's ordinal, set for the calling thread by the function itself.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counted up when anything here changes. */
enum { MARU_CUDA_ABI = 5 };

/* Of cudaDeviceProp and cudaDeviceGetAttribute; booleans are 0 or 1. */
typedef struct maru_cuda_facts {
  char name[256]; /* "NVIDIA H200" */
  char bus[32];   /* "0000:1b:00.0" */
  int major, minor;
  int multiprocessors;
  uint64_t memory_bytes, l2_bytes;
  uint64_t shared_bytes; /* of one block, at most, when asked for */
  int integrated;        /* CPU and GPU share the memory */
  int maps_host_memory, registers_host_memory;
  int registers_read_only; /* also pages of the process that can only be read */
  int has_managed_memory, concurrent_managed_access;
  int pageable_memory_access, uses_host_page_tables;
} maru_cuda_facts;

/* Kinds of memory, by the call that makes them. */
enum {
  MARU_CUDA_DEVICE = 0,  /* cudaMalloc */
  MARU_CUDA_PINNED = 1,  /* cudaMallocHost */
  MARU_CUDA_MAPPED = 2,  /* cudaHostAlloc(cudaHostAllocMapped), cudaHostGetDevicePointer */
  MARU_CUDA_MANAGED = 3, /* cudaMallocManaged */
};

/* One piece of memory as each side sees it; NULL: that side does not. */
typedef struct maru_cuda_memory {
  void* host;
  void* device;
} maru_cuda_memory;

/* Who uses managed memory where the CPU and running kernels must not both: cudaStreamAttachMemAsync. */
enum { MARU_CUDA_ATTACH_HOST = 0, MARU_CUDA_ATTACH_STREAM = 1, MARU_CUDA_ATTACH_GLOBAL = 2 };

typedef struct maru_cuda_kernel maru_cuda_kernel; /* of the module; lives as long as that */
typedef struct maru_cuda_stream maru_cuda_stream;
typedef struct maru_cuda_graph maru_cuda_graph;

typedef struct maru_cuda_launch {
  const maru_cuda_kernel* kernel;
  unsigned grid[3], block[3];
  unsigned shared_bytes; /* dynamic; beyond 48 KiB it is asked for */
  unsigned cluster;   /* blocks along z that see each other's shared memory, from 9.0 on; 0, 1: none */
  const void* params; /* the kernel's one parameter, a struct by value; read during the call */
} maru_cuda_launch;

/* Processes that train together, as NCCL has them, which is opened when asked for. */
typedef struct maru_cuda_ranks maru_cuda_ranks;
enum {
  MARU_CUDA_RANKS_FAILED = -1, /* error_text() is then of the calling thread's last failure */
  MARU_CUDA_RANKS_ID = 128     /* bytes that name one group of ranks */
};

/* Each element becomes its mean over all ranks; dst[i] may be src[i]. On every rank in the same order.
 */
typedef struct maru_cuda_mean {
  maru_cuda_ranks* ranks;
  const float* const* src;
  float* const* dst;
  const size_t* elements;
  size_t count; /* of the three */
} maru_cuda_mean;

/* A launch of a graph, or a mean instead of it where that is not NULL; and those before it in the list
 * that must have ended when it begins. */
typedef struct maru_cuda_node {
  maru_cuda_launch launch;
  const maru_cuda_mean* mean;
  const size_t* after;
  size_t after_count;
} maru_cuda_node;

typedef struct maru_cuda_api {
  uint32_t abi;                            /* MARU_CUDA_ABI */
  int out_of_memory, not_ready, no_device; /* codes that are no failure */

  const char* (*error_name)(int code); /* "cudaErrorMemoryAllocation" */
  const char* (*error_text)(int code);

  /* 13000 is 13.0. Of the driver, 0 where there is none, and of the runtime that the module was built
   * with. */
  int (*versions)(int* driver, int* runtime);
  int (*device_count)(int* count);
  int (*device_facts)(int device, maru_cuda_facts* facts);
  /* 87 for code that was compiled for 8.7, also where the driver has translated that for a later GPU.
   * cudaErrorNoKernelImageForDevice where the module has none for this device. */
  int (*code_capability)(int device, int* capability);

  /* out_of_memory where there is not enough, after which everything else still works. */
  int (*allocate)(int device, int kind, size_t bytes, maru_cuda_memory* memory);
  int (*release)(int device, int kind, const maru_cuda_memory* memory);
  /* cudaHostRegister of memory of the caller, mapped for the device; with `read_only`, which wants the
   * fact of that name, the device only reads it, and pages may be such as nobody can write to. */
  int (*enroll)(int device, void* pointer, size_t bytes, int read_only, maru_cuda_memory* memory);
  int (*withdraw)(int device, void* pointer);
  /* Managed memory only; `stream` for MARU_CUDA_ATTACH_STREAM. Done when it returns. */
  int (*attach)(int device, maru_cuda_stream* stream, void* pointer, int to);

  int (*stream_create)(int device, maru_cuda_stream** stream);
  void (*stream_destroy)(maru_cuda_stream* stream);
  /* Until all that was given to it is done. */
  int (*stream_wait)(maru_cuda_stream* stream);
  /* 0: all is done; not_ready: not yet; else what failed. */
  int (*stream_query)(maru_cuda_stream* stream);
  /* cudaMemcpyAsync, and waits for it. Addresses as the side sees them whose memory it is. */
  int (*copy)(maru_cuda_stream* stream, void* dst, const void* src, size_t bytes);

  /* cudaErrorInvalidDeviceFunction where the module has no such kernel, or none for this device. */
  int (*find_kernel)(int device, const char* name, const maru_cuda_kernel** kernel);
  int (*launch)(maru_cuda_stream* stream, const maru_cuda_launch* launch);

  /* Several launches as one. With `flag`, 4 bytes that the device may write, one is added to it when
   * all of them are done and what they wrote is visible to the CPU; NULL: none. */
  int (*graph_create)(int device, const maru_cuda_node* nodes, size_t count, void* flag,
                      maru_cuda_graph** graph);
  void (*graph_destroy)(maru_cuda_graph* graph);
  int (*graph_launch)(maru_cuda_graph* graph, maru_cuda_stream* stream);

  /* Seconds of one of `times` rows of these launches, one after the other, as the device measures it.
   */
  int (*time_launches)(maru_cuda_stream* stream, const maru_cuda_launch* launches, size_t count,
                       unsigned times, double* seconds);

  /* Of NCCL, 22703 is 2.27.3. Fails where it cannot be opened. */
  int (*ranks_version)(int* version);
  /* For one rank, which tells it to the others. */
  int (*ranks_id)(unsigned char id[MARU_CUDA_RANKS_ID]);
  /* Returns when all ranks have called it. */
  int (*ranks_create)(int device, int ranks, int rank, const unsigned char id[MARU_CUDA_RANKS_ID],
                      maru_cuda_ranks** made);
  /* After all that uses it. With `is_broken` it ends what is under way, and waits for nobody. */
  void (*ranks_destroy)(maru_cuda_ranks* ranks, int is_broken);
  int (*mean)(maru_cuda_stream* stream, const maru_cuda_mean* mean);
} maru_cuda_api;

/* The only symbol of the module. */
typedef const maru_cuda_api* (*maru_cuda_entry)(void); /* NOLINT(modernize-redundant-void-arg): C */
const maru_cuda_api* maru_cuda(void);

#ifdef __cplusplus
}
#endif
