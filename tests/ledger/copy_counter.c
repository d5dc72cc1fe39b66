/* A library for LD_PRELOAD that counts what is copied in a process, from outside: calls of memcpy and
 * memmove of more than 4 KiB, and OpenCL's commands that move or map bytes. Writes them to the file
 * that COPY_COUNTER names when the process ends. What a compiler puts in place of a call, and copies
 * inside of libc, it does not see. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN __attribute__((visibility("default")))
enum { LARGE = 4096 };

typedef struct counter {
  const char* name;
  atomic_ullong calls, bytes;
} counter;

static counter memory = {"memory", 0, 0}, written = {"write", 0, 0}, was_read = {"read", 0, 0},
               copied = {"copy", 0, 0}, mapped = {"map", 0, 0}, filled = {"fill", 0, 0};

static void count(counter* of, size_t bytes) {
  atomic_fetch_add(&of->calls, 1);
  atomic_fetch_add(&of->bytes, bytes);
}

/* The function of that name in the libraries behind this one. */
static void* behind(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == NULL) {
    fprintf(stderr, "copy_counter: no %s\n", name);
    abort();
  }
  return found;
}

typedef void* (*copy_function)(void*, const void*, size_t);
static copy_function real_memmove;

/* dlsym itself may copy. */
static void* copy_bytes(void* to, const void* from, size_t bytes) {
  volatile char* t = to;
  const volatile char* f = from;
  if (t <= f || t >= f + bytes) {
    for (size_t i = 0; i < bytes; ++i) t[i] = f[i];
  } else {
    while (bytes-- > 0) t[bytes] = f[bytes];
  }
  return to;
}

static void* move(void* to, const void* from, size_t bytes) {
  if (bytes > LARGE) count(&memory, bytes);
  return real_memmove != NULL ? real_memmove(to, from, bytes) : copy_bytes(to, from, bytes);
}
SHOWN void* memcpy(void* to, const void* from, size_t bytes) { return move(to, from, bytes); }
SHOWN void* memmove(void* to, const void* from, size_t bytes) { return move(to, from, bytes); }
SHOWN void* __memcpy_chk(void* to, const void* from, size_t bytes, size_t room) {
  if (bytes > room) abort();
  return move(to, from, bytes);
}
SHOWN void* __memmove_chk(void* to, const void* from, size_t bytes, size_t room) {
  if (bytes > room) abort();
  return move(to, from, bytes);
}

__attribute__((constructor)) static void begin(void) {
  real_memmove = (copy_function)behind("memmove");
}

__attribute__((destructor)) static void end(void) {
  const char* path = getenv("COPY_COUNTER");
  FILE* file = path != NULL ? fopen(path, "w") : NULL;
  if (file == NULL) return;
  counter* all[] = {&memory, &written, &was_read, &copied, &mapped, &filled};
  fprintf(file, "{");
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    fprintf(file, "%s\"%s\": {\"calls\": %llu, \"bytes\": %llu}", i == 0 ? "" : ", ", all[i]->name,
            (unsigned long long)all[i]->calls, (unsigned long long)all[i]->bytes);
  }
  fprintf(file, "}\n");
  fclose(file);
}

/* Each OpenCL command with its own parameters: counted, then passed on. */
#define PASS(counted, bytes, name, parameters, arguments) \
  SHOWN cl_int name parameters {                          \
    static cl_int(*real) parameters;                      \
    if (real == NULL) *(void**)&real = behind(#name);     \
    count(&counted, bytes);                               \
    return real arguments;                                \
  }
#define WAITS cl_uint waits, const cl_event *list, cl_event *event

PASS(written, size, clEnqueueWriteBuffer,
     (cl_command_queue q, cl_mem m, cl_bool block, size_t offset, size_t size, const void* p, WAITS),
     (q, m, block, offset, size, p, waits, list, event))
PASS(was_read, size, clEnqueueReadBuffer,
     (cl_command_queue q, cl_mem m, cl_bool block, size_t offset, size_t size, void* p, WAITS),
     (q, m, block, offset, size, p, waits, list, event))
PASS(written, r[0] * r[1] * r[2], clEnqueueWriteBufferRect,
     (cl_command_queue q, cl_mem m, cl_bool block, const size_t* o, const size_t* h, const size_t* r,
      size_t a, size_t b, size_t c, size_t d, const void* p, WAITS),
     (q, m, block, o, h, r, a, b, c, d, p, waits, list, event))
PASS(was_read, r[0] * r[1] * r[2], clEnqueueReadBufferRect,
     (cl_command_queue q, cl_mem m, cl_bool block, const size_t* o, const size_t* h, const size_t* r,
      size_t a, size_t b, size_t c, size_t d, void* p, WAITS),
     (q, m, block, o, h, r, a, b, c, d, p, waits, list, event))
PASS(copied, size, clEnqueueCopyBuffer,
     (cl_command_queue q, cl_mem from, cl_mem to, size_t f, size_t t, size_t size, WAITS),
     (q, from, to, f, t, size, waits, list, event))
PASS(copied, r[0] * r[1] * r[2], clEnqueueCopyBufferRect,
     (cl_command_queue q, cl_mem from, cl_mem to, const size_t* f, const size_t* t, const size_t* r,
      size_t a, size_t b, size_t c, size_t d, WAITS),
     (q, from, to, f, t, r, a, b, c, d, waits, list, event))
PASS(copied, size, clEnqueueSVMMemcpy,
     (cl_command_queue q, cl_bool block, void* to, const void* from, size_t size, WAITS),
     (q, block, to, from, size, waits, list, event))
PASS(mapped, size, clEnqueueSVMMap,
     (cl_command_queue q, cl_bool block, cl_map_flags flags, void* p, size_t size, WAITS),
     (q, block, flags, p, size, waits, list, event))
PASS(filled, size, clEnqueueFillBuffer,
     (cl_command_queue q, cl_mem m, const void* p, size_t n, size_t offset, size_t size, WAITS),
     (q, m, p, n, offset, size, waits, list, event))

SHOWN void* clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool block, cl_map_flags flags,
                               size_t offset, size_t size, WAITS, cl_int* code) {
  static void* (*real)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, WAITS, cl_int*);
  if (real == NULL) *(void**)&real = behind("clEnqueueMapBuffer");
  count(&mapped, size);
  return real(q, m, block, flags, offset, size, waits, list, event, code);
}
