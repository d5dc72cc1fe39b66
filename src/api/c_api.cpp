// The C boundary: opaque handles around the C++ API, exceptions into statuses.
#include <maru/c.h>
#include <maru/model.h>
#include <maru/session.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <new>

#include "base/error.h"

struct maru_options {
  maru::ModelOptions options;
};

struct maru_model {
  // Made when it is first asked for, whichever thread asks.
  class Text {
   public:
    template <class Make>
    const char* get(Make&& make) const {
      std::call_once(made_, [&] { text_ = make(); });
      return text_.c_str();
    }

   private:
    mutable std::once_flag made_;
    mutable std::string text_;
  };

  maru::Model model;
  std::vector<maru::TensorInfo> inputs, outputs;
  Text plan_text, plan_json;

  explicit maru_model(maru::Model loaded)
      : model(std::move(loaded)), inputs(model.inputs()), outputs(model.outputs()) {}
};

struct maru_session {
  maru::Model model;  // keeps the labels alive
  maru::Session session;
  std::vector<maru::CopyRecord> records;
  std::vector<maru_copy> copies;

  explicit maru_session(const maru::Model& of) : model(of), session(of) {}
};

namespace maru {
namespace {

static_assert(MARU_F32 == static_cast<int>(DType::f32) && MARU_F16 == static_cast<int>(DType::f16) &&
              MARU_F64 == static_cast<int>(DType::f64) && MARU_U8 == static_cast<int>(DType::u8) &&
              MARU_I32 == static_cast<int>(DType::i32));

// Fixed, so that recording an error cannot fail; a longer text loses its end.
thread_local std::array<char, 4096> last_error{};

maru_status fail(maru_status status, std::string_view text) noexcept {
  const std::size_t length = std::min(text.size(), last_error.size() - 1);
  std::memcpy(last_error.data(), text.data(), length);
  last_error[length] = '\0';
  return status;
}

// body(function): what the C function of that name does.
template <class Body>
maru_status guarded(const char* function, Body&& body) noexcept {
  try {
    body(function);
    return MARU_OK;
  } catch (const Error& e) {
    return fail(MARU_ERROR, e.what());
  } catch (const std::bad_alloc&) {
    return fail(MARU_NO_MEMORY, "[memory] expected enough of it, got none left; try a smaller batch");
  } catch (const std::exception& e) {
    return fail(MARU_INTERNAL, e.what());
  } catch (...) {
    return fail(MARU_INTERNAL, "[maru] expected an error that it knows, got something else");
  }
}

void need_not_null(const void* pointer, std::string_view function, std::string_view what) {
  if (pointer == nullptr) throw Error(function, what, "NULL");
}

template <class T>
T& need(T* pointer, std::string_view function, std::string_view what) {
  need_not_null(pointer, function, what);
  return *pointer;
}

std::string_view need_text(const char* text, std::string_view function, std::string_view what) {
  return &need(text, function, what);
}

template <class E>
E enumerator(int value, int last, std::string_view function) {
  if (value < 0 || value > last) {
    throw Error(function, fmt::format("a constant from 0 to {}", last), fmt::format("{}", value));
  }
  return static_cast<E>(value);
}

template <class Change>
maru_status change(maru_options* options, const char* function, Change&& body) noexcept {
  return guarded(function, [&](const char* f) { body(need(options, f, "options").options, f); });
}

maru_tensor view_of(const TensorSpan& span, const char* function) {
  if (span.shape.size() > MARU_MAX_RANK)
    throw Error(function, "at most 8 axes", std::to_string(span.shape.size()));
  maru_tensor tensor{};
  tensor.data = span.bytes.data();
  tensor.bytes = span.bytes.size();
  std::ranges::copy(span.shape, tensor.shape);
  tensor.rank = static_cast<std::int32_t>(span.shape.size());
  tensor.dtype = static_cast<std::int32_t>(span.dtype);
  return tensor;
}

std::span<std::byte> memory_of(void* data, std::size_t bytes, std::string_view function) {
  need_not_null(data, function, "memory");
  return {static_cast<std::byte*>(data), bytes};
}

const char* name_at(const std::vector<TensorInfo>& tensors, std::size_t index) {
  return index < tensors.size() ? tensors[index].name.c_str() : nullptr;
}

}  // namespace
}  // namespace maru

using namespace maru;  // the functions below are C's and stand in no namespace

const char* maru_last_error() { return last_error.data(); }

const char* maru_version() {
  static const std::string text(version());
  return text.c_str();
}

// ---- options ----

maru_status maru_options_new(maru_options** options) {
  return guarded(__func__, [&](const char* f) {
    need(options, f, "a place for the options");
    *options = new maru_options;
  });
}

void maru_options_free(maru_options* options) { delete options; }

maru_status maru_options_set_weights(maru_options* options, const char* file) {
  return change(options, __func__,
                [&](ModelOptions& o, const char* f) { o.weights = need_text(file, f, "a path"); });
}

maru_status maru_options_set_labels(maru_options* options, const char* file) {
  return change(options, __func__,
                [&](ModelOptions& o, const char* f) { o.labels = need_text(file, f, "a path"); });
}

maru_status maru_options_set_device(maru_options* options, const char* name) {
  return change(options, __func__,
                [&](ModelOptions& o, const char* f) { o.device = need_text(name, f, "a name"); });
}

maru_status maru_options_set_memory(maru_options* options, int policy) {
  return change(options, __func__, [&](ModelOptions& o, const char* f) {
    o.memory = enumerator<MemoryPolicy>(policy, MARU_MEMORY_ZERO_COPY, f);
  });
}

maru_status maru_options_set_precision(maru_options* options, int precision) {
  return change(options, __func__, [&](ModelOptions& o, const char* f) {
    o.precision = enumerator<Precision>(precision, MARU_PRECISION_FP16, f);
  });
}

maru_status maru_options_set_tune(maru_options* options, int tune) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.tune = tune != 0; });
}

maru_status maru_options_set_batch(maru_options* options, int64_t images) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.batch = images; });
}

maru_status maru_options_set_threads(maru_options* options, int threads) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.threads = threads; });
}

maru_status maru_options_set_expected_runs(maru_options* options, double runs) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.expected_runs = runs; });
}

maru_status maru_options_set_photos(maru_options* options, int photos) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.photos = photos != 0; });
}

maru_status maru_options_set_optimize(maru_options* options, int optimize) {
  return change(options, __func__, [&](ModelOptions& o, const char*) { o.optimize = optimize != 0; });
}

maru_status maru_options_set_preprocessing(maru_options* options, int channels, int resize,
                                           const float* mean, size_t mean_count, float scale) {
  return change(options, __func__, [&](ModelOptions& o, const char* f) {
    if (mean_count != 1 && mean_count != 3)
      throw Error(f, "1 or 3 means", fmt::format("{}", mean_count));
    const float* first = &need(mean, f, "means");
    o.preprocessing = Preprocessing{enumerator<Preprocessing::Channels>(channels, MARU_CHANNELS_RGB, f),
                                    enumerator<Preprocessing::Resize>(resize, MARU_RESIZE_CROP, f),
                                    std::vector<float>(first, first + mean_count), scale};
  });
}

maru_status maru_options_add_output(maru_options* options, const char* name) {
  return change(options, __func__, [&](ModelOptions& o, const char* f) {
    o.outputs.emplace_back(need_text(name, f, "a name"));
  });
}

// ---- model ----

maru_status maru_model_load(const char* path, const maru_options* options, maru_model** model) {
  return guarded(__func__, [&](const char* f) {
    need(model, f, "a place for the model");
    const std::string_view file = need_text(path, f, "a path");
    *model = new maru_model(Model::load(file, options == nullptr ? ModelOptions{} : options->options));
  });
}

void maru_model_free(maru_model* model) { delete model; }

const char* maru_model_name(const maru_model* model) {
  return model == nullptr ? nullptr : model->model.name().c_str();
}

const char* maru_model_label(const maru_model* model, size_t index) {
  return index < maru_model_label_count(model) ? model->model.labels()[index].c_str() : nullptr;
}

const char* maru_model_input_name(const maru_model* model, size_t index) {
  return model == nullptr ? nullptr : name_at(model->inputs, index);
}

const char* maru_model_output_name(const maru_model* model, size_t index) {
  return model == nullptr ? nullptr : name_at(model->outputs, index);
}

int64_t maru_model_batch(const maru_model* model) {
  return model == nullptr ? 0 : model->model.batch();
}

size_t maru_model_label_count(const maru_model* model) {
  return model == nullptr ? 0 : model->model.labels().size();
}

size_t maru_model_input_count(const maru_model* model) {
  return model == nullptr ? 0 : model->inputs.size();
}

size_t maru_model_output_count(const maru_model* model) {
  return model == nullptr ? 0 : model->outputs.size();
}

maru_status maru_model_plan_text(const maru_model* model, const char** text) {
  return guarded(__func__, [&](const char* f) {
    need(text, f, "a place for the text");
    *text = need(model, f, "a model").plan_text.get([&] { return model->model.plan_text(); });
  });
}

maru_status maru_model_plan_json(const maru_model* model, const char** text) {
  return guarded(__func__, [&](const char* f) {
    need(text, f, "a place for the text");
    *text = need(model, f, "a model").plan_json.get([&] { return model->model.plan_json(); });
  });
}

// ---- session ----

maru_status maru_session_new(const maru_model* model, maru_session** session) {
  return guarded(__func__, [&](const char* f) {
    need(session, f, "a place for the session");
    *session = new maru_session(need(model, f, "a model").model);
  });
}

void maru_session_free(maru_session* session) { delete session; }

maru_status maru_session_load_photo_file(maru_session* session, const char* file, int64_t slot) {
  return guarded(__func__, [&](const char* f) {
    need(session, f, "a session")
        .session.load_photo(std::filesystem::path(need_text(file, f, "a path")), slot);
  });
}

maru_status maru_session_load_photo(maru_session* session, const void* encoded, size_t bytes,
                                    const char* name, int64_t slot) {
  return guarded(__func__, [&](const char* f) {
    if (encoded == nullptr && bytes != 0) throw Error(f, "a photo's bytes", "NULL");
    const std::span photo(static_cast<const std::byte*>(encoded), bytes);
    need(session, f, "a session").session.load_photo(photo, name == nullptr ? "photo" : name, slot);
  });
}

maru_status maru_session_photo(maru_session* session, int64_t width, int64_t height, int64_t slot,
                               uint8_t** pixels) {
  return guarded(__func__, [&](const char* f) {
    need(pixels, f, "a place for the address");
    *pixels = need(session, f, "a session").session.photo(width, height, slot).data();
  });
}

maru_status maru_session_input(maru_session* session, const char* name, maru_tensor* tensor) {
  return guarded(__func__, [&](const char* f) {
    need(tensor, f, "a place for the tensor");
    *tensor = view_of(need(session, f, "a session").session.input(need_text(name, f, "a name")), f);
  });
}

maru_status maru_session_output(const maru_session* session, const char* name, maru_tensor* tensor) {
  return guarded(__func__, [&](const char* f) {
    need(tensor, f, "a place for the tensor");
    *tensor = view_of(need(session, f, "a session").session.output(need_text(name, f, "a name")), f);
  });
}

maru_status maru_session_bind_input(maru_session* session, const char* name, void* data, size_t bytes,
                                    int* in_place) {
  return guarded(__func__, [&](const char* f) {
    const bool used = need(session, f, "a session")
                          .session.bind_input(need_text(name, f, "a name"), memory_of(data, bytes, f));
    if (in_place != nullptr) *in_place = used;
  });
}

maru_status maru_session_bind_output(maru_session* session, const char* name, void* data, size_t bytes,
                                     int* in_place) {
  return guarded(__func__, [&](const char* f) {
    const bool used = need(session, f, "a session")
                          .session.bind_output(need_text(name, f, "a name"), memory_of(data, bytes, f));
    if (in_place != nullptr) *in_place = used;
  });
}

maru_status maru_session_bind_photo(maru_session* session, void* data, size_t bytes, int64_t width,
                                    int64_t height, int64_t row_bytes, int64_t slot, int* in_place) {
  return guarded(__func__, [&](const char* f) {
    const bool used =
        need(session, f, "a session")
            .session.bind_photo(memory_of(data, bytes, f), width, height, row_bytes, slot);
    if (in_place != nullptr) *in_place = used;
  });
}

maru_status maru_session_run(maru_session* session) {
  return guarded(__func__, [&](const char* f) { need(session, f, "a session").session.run(); });
}

maru_status maru_session_top(const maru_session* session, int64_t slot, maru_score* scores,
                             size_t capacity, size_t* count) {
  return guarded(__func__, [&](const char* f) {
    need(session, f, "a session");
    need(count, f, "a place for the count");
    if (capacity != 0) need(scores, f, "a place for the scores");
    const std::vector<std::string>& labels = session->model.labels();
    const std::vector<Score> best = session->session.top(capacity, slot);
    for (std::size_t i = 0; i < best.size(); ++i) {
      const auto index = static_cast<std::size_t>(best[i].index);
      scores[i] = {best[i].index, index < labels.size() ? labels[index].c_str() : "", best[i].score};
    }
    *count = best.size();
  });
}

maru_status maru_session_copies(maru_session* session, const maru_copy** copies, size_t* count) {
  return guarded(__func__, [&](const char* f) {
    need(session, f, "a session");
    need(copies, f, "a place for the list");
    need(count, f, "a place for the count");
    std::vector<CopyRecord> records = session->session.copies();
    std::vector<maru_copy> list;
    list.reserve(records.size());
    for (const CopyRecord& r : records) {
      list.push_back({r.step.c_str(), r.tensor.c_str(), r.cause.c_str(), r.from.c_str(), r.to.c_str(),
                      r.crosses, r.times, r.bytes, r.seconds});
    }
    session->records = std::move(records);  // moves the vector, not the strings that `list` points to
    session->copies = std::move(list);
    *copies = session->copies.data();
    *count = session->copies.size();
  });
}

size_t maru_session_arena_bytes(const maru_session* session) {
  return session == nullptr ? 0 : session->session.arena_bytes();
}
