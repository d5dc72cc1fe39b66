#include "backends/cpu/onednn.h"

#include <omp.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace maru::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

dnnl::memory::dims dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

dnnl::memory::dims row_major_strides(const TensorDesc& desc) {
  dnnl::memory::dims strides(desc.shape.rank(), 1);
  for (std::size_t axis = strides.size() - 1; axis-- > 0;) {
    strides[axis] = strides[axis + 1] * desc.shape[axis + 1];
  }
  return strides;
}

// What names a form; nothing unless it is made of strides and blocks alone.
struct BlockedForm {
  dnnl::memory::dims dims, padded, strides, blocks, block_axes;
};

std::optional<BlockedForm> blocked_form(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return std::nullopt;
  return BlockedForm{desc.get_dims(), desc.get_padded_dims(), desc.get_strides(), desc.get_inner_blks(),
                     desc.get_inner_idxs()};
#else
  const dnnl_memory_desc_t& data = desc.data;
  if (data.format_kind != dnnl_blocked || data.extra.flags != dnnl_memory_extra_flag_none) {
    return std::nullopt;
  }
  const auto list = [](const dnnl_dim_t* values, int count) {
    return dnnl::memory::dims(values, values + count);
  };
  const dnnl_blocking_desc_t& blocking = data.format_desc.blocking;
  return BlockedForm{list(data.dims, data.ndims), list(data.padded_dims, data.ndims),
                     list(blocking.strides, data.ndims),
                     list(blocking.inner_blks, blocking.inner_nblks),
                     list(blocking.inner_idxs, blocking.inner_nblks)};
#endif
}

bool is_row_major(const BlockedForm& form) {
  if (!form.blocks.empty() || form.dims != form.padded) return false;
  dnnl::memory::dim stride = 1;
  for (std::size_t axis = form.dims.size(); axis-- > 0; stride *= form.dims[axis]) {
    if (form.dims[axis] != 1 && form.strides[axis] != stride) return false;
  }
  return true;
}

// Of another form: the version of oneDNN that knows it, and what it depends on beside the extents.
std::string own_form(const dnnl::memory::desc& desc, std::string_view implementation, int threads) {
  const dnnl_version_t& version = *dnnl_version();
  std::string text =
      fmt::format("oneDNN {}.{}.{} {}", version.major, version.minor, version.patch, implementation);
#if DNNL_VERSION_MAJOR < 3
  if (desc.data.format_kind == dnnl_format_kind_wino) {
    const dnnl_wino_desc_t& wino = desc.data.format_desc.wino_desc;
    return text +
           fmt::format(" format {} r {} alpha {} ic {} oc {} blocks {} {} {} {} scale {} bytes {}",
                       static_cast<int>(wino.wino_format), wino.r, wino.alpha, wino.ic, wino.oc,
                       wino.ic_block, wino.oc_block, wino.ic2_block, wino.oc2_block, wino.adj_scale,
                       wino.size);
  }
#endif
  return text + fmt::format(" bytes {} threads {}", desc.get_size(), threads);
}

class OnednnLaunch final : public Launch {
 public:
  // ids and memories: one after the other for each image.
  OnednnLaunch(dnnl::primitive primitive, std::vector<dnnl::memory> memories,
               const std::vector<int>& ids, std::size_t images)
      : primitive_(std::move(primitive)), memories_(std::move(memories)), images_(images) {
    for (std::size_t i = 0; i < ids.size(); ++i) arguments_.push_back({ids[i], memories_[i].get()});
  }

  void run(Queue& queue) override {
    const auto stream = static_cast<CpuQueue&>(queue).stream.get();
    const std::size_t count = arguments_.size() / images_;
    for (std::size_t image = 0; image < images_; ++image) {
      // The C function: the C++ one copies the arguments into a new vector each time.
      const dnnl_status_t status = dnnl_primitive_execute(
          primitive_.get(), stream, static_cast<int>(count), &arguments_[image * count]);
      if (status != dnnl_success) {
        throw Error("cpu", "oneDNN to run a primitive",
                    fmt::format("status {}", static_cast<int>(status)));
      }
    }
  }

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::size_t images_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

}  // namespace

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

ThreadCount::ThreadCount(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
ThreadCount::~ThreadCount() { omp_set_num_threads(before_); }

dnnl::memory::desc memory_desc(const Shape& shape, Tag tag) {
  return {dims_of(shape), dnnl::memory::data_type::f32, tag};
}

dnnl::memory::desc memory_desc(const TensorDesc& desc) {
  MARU_ASSERT(desc.dtype == DType::f32);
  if (desc.layout.kind == Layout::Kind::channels_last) {
    MARU_ASSERT(desc.shape.rank() == 4);
    const std::int64_t pixel = desc.image_stride() / desc.shape.count(2, 4);
    return {dims_of(desc.shape),
            dnnl::memory::data_type::f32,
            {desc.image_stride(), 1, desc.shape[3] * pixel, pixel}};
  }
  MARU_ASSERT(!desc.layout.is_window());
  if (desc.layout.kind != Layout::Kind::blocked) {
    MARU_ASSERT(desc.layout.kind == Layout::Kind::plain);
    if (desc.shape.rank() == 0) return {{1}, dnnl::memory::data_type::f32, Tag::a};
    return {dims_of(desc.shape), dnnl::memory::data_type::f32, row_major_strides(desc)};
  }
  MARU_ASSERT(desc.shape.rank() == 4 && (desc.layout.block == 8 || desc.layout.block == 16));
  const Tag tag = desc.layout.block == 16 ? Tag::nChw16c : Tag::nChw8c;
  return memory_desc(desc.shape, tag);
}

ImageLoop::ImageLoop(const Call& call) {
  const auto is_window = [](const TensorDesc& desc) { return desc.layout.is_window(); };
  split_ = std::ranges::any_of(call.src, is_window) || std::ranges::any_of(call.dst, is_window);
  if (split_) images_ = call.dst[0].shape[0];
}

TensorDesc ImageLoop::image(const TensorDesc& desc) const {
  if (!split_) return desc;
  // Channels last, a window is apart from its neighbours in every pixel, which strides can say.
  const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
  return {desc.dtype, desc.shape.with(0, 1), is_last ? desc.layout : desc.layout.dense()};
}

Argument ImageLoop::argument(int id, bool is_dst, std::size_t operand, const TensorDesc& desc) const {
  const auto stride = static_cast<std::size_t>(desc.image_stride()) * size_of(desc.dtype);
  return {id, is_dst, operand, memory_desc(image(desc)), split_ ? stride : 0};
}

std::optional<EltwiseSpec> onednn_eltwise(const Unary& unary) {
  using dnnl::algorithm;
  const auto alpha = static_cast<float>(unary.alpha), scale = static_cast<float>(unary.scale),
             shift = static_cast<float>(unary.shift);
  const bool is_unscaled = unary.scale == 1 && unary.shift == 0;
  switch (unary.kind) {
    case Unary::Kind::relu:
      return EltwiseSpec{algorithm::eltwise_relu, alpha, 0};
    case Unary::Kind::elu:
      return EltwiseSpec{algorithm::eltwise_elu, alpha, 0};
    case Unary::Kind::sigmoid:
      return EltwiseSpec{algorithm::eltwise_logistic, 0, 0};
    case Unary::Kind::tanh:
      return EltwiseSpec{algorithm::eltwise_tanh, 0, 0};
    case Unary::Kind::abs:
      return EltwiseSpec{algorithm::eltwise_abs, 0, 0};
    case Unary::Kind::power:
      if (unary.alpha == 1) return EltwiseSpec{algorithm::eltwise_linear, scale, shift};
      if (is_unscaled && unary.alpha == 2) return EltwiseSpec{algorithm::eltwise_square, 0, 0};
      if (is_unscaled && unary.alpha == 0.5) return EltwiseSpec{algorithm::eltwise_sqrt, 0, 0};
      return std::nullopt;
    case Unary::Kind::exp:
      if (is_unscaled && unary.alpha == 0) return EltwiseSpec{algorithm::eltwise_exp, 0, 0};
      return std::nullopt;
    case Unary::Kind::log:
      if (is_unscaled && unary.alpha == 0) return EltwiseSpec{algorithm::eltwise_log, 0, 0};
      return std::nullopt;
    case Unary::Kind::bnll:
      return EltwiseSpec{algorithm::eltwise_soft_relu, 1, 0};
  }
  return std::nullopt;
}

dnnl::primitive_attr attributes(const std::optional<Unary>& activation) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (!activation) return attr;
  const auto eltwise = onednn_eltwise(*activation);
  MARU_ASSERT(eltwise.has_value());
  dnnl::post_ops post;
#if DNNL_VERSION_MAJOR >= 3
  post.append_eltwise(eltwise->algorithm, eltwise->alpha, eltwise->beta);
#else
  post.append_eltwise(1.0f, eltwise->algorithm, eltwise->alpha, eltwise->beta);
#endif
  attr.set_post_ops(post);
  return attr;
}

OnednnKernel::OnednnKernel(dnnl::primitive primitive, std::string implementation, std::size_t workspace,
                           std::vector<Argument> arguments, std::int64_t images)
    : primitive_(std::move(primitive)),
      implementation_("oneDNN " + std::move(implementation)),
      workspace_(workspace),
      arguments_(std::move(arguments)),
      images_(images),
      threads_(omp_get_max_threads()) {}

const Argument* OnednnKernel::argument_of(std::size_t operand) const {
  for (const Argument& argument : arguments_) {
    if (!argument.is_dst && argument.operand == operand) return &argument;
  }
  return nullptr;
}

std::size_t OnednnKernel::packed_bytes(std::size_t operand, const Constant& constant) const {
  const Argument* argument = argument_of(operand);
  return argument ? argument->desc.get_size() : Kernel::packed_bytes(operand, constant);
}

dnnl::memory::desc OnednnKernel::source_desc(std::size_t operand, const Constant& constant) const {
  const Argument* argument = argument_of(operand);
  MARU_ASSERT(argument != nullptr);
  dnnl::memory::dims dims(dims_of(constant.desc().shape));
  return {dims, dnnl::memory::data_type::f32, row_major_strides(constant.desc())};
}

void OnednnKernel::pack(std::size_t operand, const Constant& constant,
                        std::span<std::byte> packed) const {
  const Argument* argument = argument_of(operand);
  if (argument == nullptr) return Kernel::pack(operand, constant, packed);
  const dnnl::memory::desc plain = source_desc(operand, constant);
  if (plain == argument->desc) return Kernel::pack(operand, constant, packed);
  void* data = const_cast<std::byte*>(constant.bytes().data());  // only read
  const ThreadCount count(threads_);
  const dnnl::memory from(plain, cpu_engine(), data), to(argument->desc, cpu_engine(), packed.data());
  dnnl::stream stream(cpu_engine());
  dnnl::reorder(from, to).execute(stream, const_cast<dnnl::memory&>(from),
                                  const_cast<dnnl::memory&>(to));
  stream.wait();
}

std::string OnednnKernel::packed_form(std::size_t operand) const {
  const Argument* argument = argument_of(operand);
  if (argument == nullptr) return Kernel::packed_form(operand);
  const auto form = blocked_form(argument->desc);
  if (!form) return own_form(argument->desc, implementation_, threads_);
  if (is_row_major(*form)) return Kernel::packed_form(operand);
  std::string blocks;
  for (std::size_t i = 0; i < form->blocks.size(); ++i) {
    blocks += fmt::format("{}{}", form->blocks[i], static_cast<char>('a' + form->block_axes[i]));
  }
  return fmt::format("f32 {} padded {} strides {} blocks {}", fmt::join(form->dims, "x"),
                     fmt::join(form->padded, "x"), fmt::join(form->strides, ","),
                     blocks.empty() ? "none" : blocks);
}

std::unique_ptr<Launch> OnednnKernel::bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                           const Tensor& workspace) const {
  std::vector<dnnl::memory> memories;
  std::vector<int> ids;
  for (std::int64_t image = 0; image < images_; ++image) {
    for (const Argument& argument : arguments_) {
      const Tensor& tensor = argument.is_dst ? dst[argument.operand] : src[argument.operand];
      std::byte* data = static_cast<std::byte*>(address(tensor));
      memories.emplace_back(argument.desc, cpu_engine(),
                            data + static_cast<std::size_t>(image) * argument.image_bytes);
      ids.push_back(argument.id);
    }
    if (workspace_ > 0) {
      const dnnl::memory::desc desc({static_cast<dnnl::memory::dim>(workspace_)},
                                    dnnl::memory::data_type::u8, Tag::a);
      memories.emplace_back(desc, cpu_engine(), address(workspace));
      ids.push_back(DNNL_ARG_SCRATCHPAD);
    }
  }
  return std::make_unique<OnednnLaunch>(primitive_, std::move(memories), ids,
                                        static_cast<std::size_t>(images_));
}

}  // namespace maru::cpu
