/* maru for C11, and for any language that can call C.
 *
 *   maru_model* model = NULL;
 *   maru_session* session = NULL;
 *   maru_score best;
 *   size_t count = 0;
 *   if (maru_model_load("models/googlenet", NULL, &model) != MARU_OK ||
 *       maru_session_new(model, &session) != MARU_OK ||
 *       maru_session_load_photo_file(session, "cat.jpg", 0) != MARU_OK ||
 *       maru_session_run(session) != MARU_OK ||
 *       maru_session_top(session, 0, &best, 1, &count) != MARU_OK)
 *     fprintf(stderr, "%s\n", maru_last_error());
 *
 * Every function that can fail returns a maru_status; on anything but MARU_OK the results it would have
 * written are left as they were and maru_last_error() says why. No C++ exception ever gets out. What is
 * made by a function is given back with the matching *_free(), which takes NULL. Strings are UTF-8, end
 * in NUL and belong to maru. Threads: models and options that nobody changes may be used by any number
 * of threads, a session by one at a time; the last error is of the calling thread. ABI: functions,
 * enumerators and opaque types are only ever added; structures do not change. */
#pragma once

#include <maru/export.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int maru_status;
enum {
  MARU_OK = 0,
  MARU_ERROR = 1,     /* the caller, a file or the machine: the text says what was expected and found */
  MARU_NO_MEMORY = 2, /* not enough memory */
  MARU_INTERNAL = 3   /* a bug in maru */
};

/* Why the last call of this thread that failed did so: "[where] expected ..., got ...; try ...". Never
 * NULL; valid until the thread's next call that fails. */
MARU_API const char* maru_last_error(void);
MARU_API const char* maru_version(void);

/* ---- options: how to load a model; everything not set keeps its default ---- */

typedef struct maru_options maru_options;

enum { MARU_MEMORY_AUTO = 0, MARU_MEMORY_COPY = 1, MARU_MEMORY_ZERO_COPY = 2 };
enum { MARU_PRECISION_FP32 = 0, MARU_PRECISION_TF32 = 1, MARU_PRECISION_FP16 = 2 };
enum { MARU_CHANNELS_BGR = 0, MARU_CHANNELS_RGB = 1 };
enum { MARU_RESIZE_SQUASH = 0, MARU_RESIZE_CROP = 1 };

MARU_API maru_status maru_options_new(maru_options** options);
MARU_API void maru_options_free(maru_options* options);
MARU_API maru_status maru_options_set_weights(maru_options* options, const char* file);
MARU_API maru_status maru_options_set_labels(maru_options* options, const char* file);
MARU_API maru_status maru_options_set_device(maru_options* options, const char* name); /* "auto" */
MARU_API maru_status maru_options_set_memory(maru_options* options, int policy); /* MARU_MEMORY_* */
MARU_API maru_status maru_options_set_precision(maru_options* options,
                                                int precision); /* MARU_PRECISION_* */
/* 1: take the fastest variants of kernels, measured where they never were; 0 (default): as they come.
 */
MARU_API maru_status maru_options_set_tune(maru_options* options, int tune);
MARU_API maru_status maru_options_set_batch(maru_options* options, int64_t n); /* 1; 0: as the file */
MARU_API maru_status maru_options_set_threads(maru_options* options, int threads); /* 0: one a core */
MARU_API maru_status maru_options_set_expected_runs(maru_options* options, double runs); /* 1000 */
/* 1 (default): sessions take photos and preprocess them; 0: they take raw input tensors. */
MARU_API maru_status maru_options_set_photos(maru_options* options, int photos);
/* 0: run every layer as the file has it. */
MARU_API maru_status maru_options_set_optimize(maru_options* options, int optimize);
/* Instead of what the model's card says. (level - mean) * scale; mean: 1 or 3 levels of 0..255. */
MARU_API maru_status maru_options_set_preprocessing(maru_options* options, int channels, int resize,
                                                    const float* mean, size_t mean_count, float scale);
/* One more value of the network that maru_session_output() can look at. */
MARU_API maru_status maru_options_add_output(maru_options* options, const char* name);

/* ---- model: a network with its weights, planned for one device ---- */

typedef struct maru_model maru_model;

/* path: a Caffe network (.prototxt), or a folder with network, weights, labels and card. options: may
 * be NULL. Sessions keep what they need of a model: it may be freed before them. */
MARU_API maru_status maru_model_load(const char* path, const maru_options* options, maru_model** model);
MARU_API void maru_model_free(maru_model* model);

/* These live as long as the model. NULL where an index is out of range or the model is NULL. */
MARU_API const char* maru_model_name(const maru_model* model);
MARU_API const char* maru_model_label(const maru_model* model, size_t index);
MARU_API const char* maru_model_input_name(const maru_model* model, size_t index);
MARU_API const char* maru_model_output_name(const maru_model* model, size_t index);
/* 0 where the model is NULL. */
MARU_API int64_t maru_model_batch(const maru_model* model);
MARU_API size_t maru_model_label_count(const maru_model* model);
MARU_API size_t maru_model_input_count(const maru_model* model);
MARU_API size_t maru_model_output_count(const maru_model* model);
/* What will run, step by step, for people and as JSON; lives as long as the model. */
MARU_API maru_status maru_model_plan_text(const maru_model* model, const char** text);
MARU_API maru_status maru_model_plan_json(const maru_model* model, const char** text);

/* ---- session: one stream of runs of a model, with the memory for it ---- */

typedef struct maru_session maru_session;

enum { MARU_F32 = 0, MARU_F16 = 1, MARU_F64 = 2, MARU_U8 = 3, MARU_I32 = 4 };
enum { MARU_MAX_RANK = 8 };

/* A look at memory that maru planned: row-major, valid until the next run. */
typedef struct maru_tensor {
  void* data;
  size_t bytes;
  int64_t shape[MARU_MAX_RANK]; /* outermost first; 0 beyond rank */
  int32_t rank;
  int32_t dtype; /* MARU_F32 ... */
} maru_tensor;

typedef struct maru_score {
  int64_t index;
  const char* label; /* "" where the model has no labels; lives as long as the session */
  float score;
} maru_score;

/* One place of the plan that copies, and what it has copied so far. */
typedef struct maru_copy {
  const char *step, *tensor, *cause;
  const char *from, *to; /* kinds of memory */
  int crosses;           /* 1: between the CPU's memory and the device's; 0: within one */
  uint64_t times, bytes;
  double seconds; /* 0: not measured, since other work ran with it in one launch */
} maru_copy;

MARU_API maru_status maru_session_new(const maru_model* model, maru_session** session);
MARU_API void maru_session_free(maru_session* session);

/* JPEG, PNG, PPM or PGM, decoded straight into the planned memory of image `slot` (0 to batch - 1). */
MARU_API maru_status maru_session_load_photo_file(maru_session* session, const char* file,
                                                  int64_t slot);
/* The same from memory; `name` is what errors call it, and may be NULL. */
MARU_API maru_status maru_session_load_photo(maru_session* session, const void* encoded, size_t bytes,
                                             const char* name, int64_t slot);
/* The memory itself, for a camera to write to: height rows of width RGB pixels, tightly packed. Valid
 * until the next run, or a call for any slot. */
MARU_API maru_status maru_session_photo(maru_session* session, int64_t width, int64_t height,
                                        int64_t slot, uint8_t** pixels);

MARU_API maru_status maru_session_input(maru_session* session, const char* name, maru_tensor* tensor);
MARU_API maru_status maru_session_output(const maru_session* session, const char* name,
                                         maru_tensor* tensor);

/* From now on an input, an output, or a photo is this memory of the caller, who keeps it where it is
 * until another is bound or the session is freed. *in_place (may be NULL): 1 where the device uses
 * these very bytes, 0 where every run copies them, which maru_session_copies() shows. */
MARU_API maru_status maru_session_bind_input(maru_session* session, const char* name, void* data,
                                             size_t bytes, int* in_place);
MARU_API maru_status maru_session_bind_output(maru_session* session, const char* name, void* data,
                                              size_t bytes, int* in_place);
MARU_API maru_status maru_session_bind_photo(maru_session* session, void* data, size_t bytes,
                                             int64_t width, int64_t height, int64_t row_bytes,
                                             int64_t slot, int* in_place);

MARU_API maru_status maru_session_run(maru_session* session);

/* The best `capacity` scores, or all where there are fewer, of the first output; *count: how many. */
MARU_API maru_status maru_session_top(const maru_session* session, int64_t slot, maru_score* scores,
                                      size_t capacity, size_t* count);
/* Every copy so far; the list lives until the next call of this function or of free. */
MARU_API maru_status maru_session_copies(maru_session* session, const maru_copy** list, size_t* count);
MARU_API size_t maru_session_arena_bytes(const maru_session* session); /* 0 where it is NULL */

#ifdef __cplusplus
}
#endif
