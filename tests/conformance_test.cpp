// Every operator's cases on every device, by every offer, in every heap that the test can fill, whole,
// as a channel window and in place, against the reference kernel in double precision; with data in f32
// and, where the device offers it, in f16.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <ostream>

#include "base/error.h"
#include "device/registry.h"
#include "ops/operator.h"
#include "tests/layouts.h"

namespace maru {
namespace {

struct Subject {
  Case test;
  std::string op;

  friend void PrintTo(const Subject& subject, std::ostream* out) {
    *out << subject.op << " " << subject.test.name;
  }
};

bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::f16; }

class Conformance : public ::testing::TestWithParam<Subject> {};

// The operands of a case: drawn with a fixed seed, each in its own element type, plain.
class Operands {
 public:
  explicit Operands(const Case& test) : test_(test) {
    std::mt19937 random(20161122);
    std::vector<TensorView> views;
    for (const TensorDesc& desc : test.src) {
      std::vector<std::byte>& bytes = bytes_.emplace_back(std::max<std::size_t>(desc.bytes(), 1));
      const std::vector<double> values = testing::draw(desc.count(), test.low, test.high, random);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (is_real(desc.dtype))
          testing::store(desc.dtype, bytes.data(), static_cast<std::int64_t>(i), values[i]);
        if (desc.dtype == DType::u8) bytes[i] = static_cast<std::byte>(values[i]);
      }
    }
    for (std::size_t i = 0; i < test.src.size(); ++i) views.push_back({test.src[i], bytes_[i].data()});
    if (test.fill != nullptr) test.fill(views);
  }

  std::span<const std::byte> bytes(std::size_t i) const { return bytes_[i]; }
  std::vector<double> values(std::size_t i) const { return testing::read(test_.src[i], bytes_[i]); }

  // Every result of the reference kernel in double precision; or of the operands' magnitudes.
  std::vector<std::vector<double>> expected(const std::vector<TensorDesc>& dst,
                                            bool of_magnitudes = false) const {
    std::vector<std::vector<double>> src, results;
    std::vector<TensorView> src_views, dst_views;
    for (std::size_t i = 0; i < test_.src.size(); ++i) {
      TensorDesc desc = test_.src[i];
      auto* data = const_cast<std::byte*>(bytes_[i].data());
      if (!is_real(desc.dtype)) {
        src_views.push_back({desc, data});
        continue;
      }
      src.push_back(values(i));
      if (of_magnitudes) std::ranges::transform(src.back(), src.back().begin(), fabs_of);
      desc.dtype = DType::f64;
      src_views.push_back({desc, src.back().data()});
    }
    for (const TensorDesc& desc : dst) results.emplace_back(static_cast<std::size_t>(desc.count()));
    for (std::size_t i = 0; i < dst.size(); ++i) {
      dst_views.push_back({{DType::f64, dst[i].shape, Layout::plain()}, results[i].data()});
    }
    test_.op.reference(src_views, dst_views);
    return results;
  }

 private:
  static double fabs_of(double value) { return std::fabs(value); }

  const Case& test_;
  std::vector<std::vector<std::byte>> bytes_;
};

// Bytes of a buffer for the CPU: those of memory of the device alone are carried here, and back.
class HostBytes {
 public:
  HostBytes(const Device& device, const Buffer& buffer, Access access)
      : device_(device), buffer_(buffer), access_(access) {
    if (buffer.heap().traits().host_visible) {
      view_.emplace(buffer.map(access));
      bytes_ = view_->bytes();
      return;
    }
    const auto is_visible = [](const Heap* heap) { return heap->traits().host_visible; };
    const auto staging = std::ranges::find_if(device.heaps(), is_visible);
    copy_ = (*staging)->allocate(buffer.bytes(), "a copy for the CPU");
    if (access != Access::write) carry(buffer_, copy_);
    view_.emplace(copy_.map(access));
    bytes_ = view_->bytes();
  }
  HostBytes(const HostBytes&) = delete;
  HostBytes& operator=(const HostBytes&) = delete;
  ~HostBytes() {
    view_.reset();
    if (copy_ && access_ != Access::read) carry(copy_, buffer_);
  }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  void carry(const Buffer& from, const Buffer& to) const {
    const auto queue = device_.make_queue();
    queue->begin();
    device_.transfer(*queue, from, 0, to, 0, buffer_.bytes());
  }

  const Device& device_;
  const Buffer& buffer_;
  Access access_;
  Buffer copy_;
  std::optional<HostView> view_;
  std::span<std::byte> bytes_;
};

// Runs one offer. Windows: operands lie in the middle of tensors with more channels, from one block on,
// or, wide, from where whole vectors begin. In place: the first result is the bytes of the first
// operand.
class OfferRun {
 public:
  enum class Place { whole, windows, wide_windows, in_place };

  OfferRun(const Device& device, const Heap& heap, const Case& test, const Offer& offer, Place place)
      : device_(device), heap_(heap), test_(test), offer_(offer), place_(place), operands_(test) {}

  void run() {
    const std::vector<TensorDesc> results = test_.op.infer(test_.src);
    std::vector<TensorDesc> src, dst;
    const auto constant = std::make_unique<bool[]>(test_.src.size());
    for (std::size_t i = 0; i < test_.src.size(); ++i) {
      constant[i] = i >= test_.data;
      src.push_back(constant[i] ? test_.src[i]
                                : laid_out(test_.src[i], offer_.src[i], offer_.src_window));
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      dst.push_back(laid_out(results[i], offer_.dst[i], offer_.dst_window));
    }
    const auto kernel =
        device_.compile({test_.op, src, dst, {constant.get(), test_.src.size()}}, offer_);
    for (std::size_t i = 0; i < src.size(); ++i) src_.push_back(place(*kernel, i, src[i], constant[i]));
    for (const TensorDesc& desc : dst) {
      const bool is_shared = place_ == Place::in_place && dst_.empty();
      dst_.push_back(is_shared ? Tensor{desc, src_[0].buffer, src_[0].offset} : room_for(desc));
    }
    Tensor workspace;
    if (kernel->workspace_bytes() > 0) {
      buffers_.push_back(
          std::make_unique<Buffer>(heap_.allocate(kernel->workspace_bytes(), "workspace")));
      workspace = {{DType::u8, {static_cast<std::int64_t>(kernel->workspace_bytes())}, Layout::plain()},
                   buffers_.back().get(),
                   0};
    }
    const auto launch = kernel->bind(src_, dst_, workspace);
    const auto queue = device_.make_queue();
    // A kernel keeps nothing between runs; in place, the second would read what the first wrote.
    for (int times = place_ == Place::in_place ? 1 : 0; times < 2; ++times) {
      queue->begin();
      launch->run(*queue);
      queue->finish();
    }
    SCOPED_TRACE(kernel->name());
    const auto expected = operands_.expected(results);
    const auto allowed = allowances(results, expected);
    for (std::size_t i = 0; i < dst.size(); ++i) compare(i, expected[i], allowed[i]);
    check_neighbours();
    check_padding();
  }

 private:
  static constexpr std::int64_t kWideBlocks = 8;
  static constexpr double kUntouched = -77.25;  // a half can have it

  bool has_windows() const { return place_ == Place::windows || place_ == Place::wide_windows; }
  std::int64_t blocks_before() const { return place_ == Place::wide_windows ? kWideBlocks : 1; }

  // A window has as many blocks of others behind it as before it.
  TensorDesc laid_out(const TensorDesc& desc, Layout layout, bool takes_window) const {
    TensorDesc result = desc.with(layout.kind == Layout::Kind::any ? Layout::plain() : layout);
    if (has_windows() && takes_window && desc.shape.rank() >= 2) {
      result.layout =
          result.layout.window_of(padded_channels(result) + 2 * blocks_before() * result.layout.block);
    }
    return result;
  }

  // The last block of a tensor is its own, also where channels do not fill it.
  static std::int64_t padded_channels(const TensorDesc& desc) {
    const std::int64_t block = desc.layout.block;
    return (desc.shape[1] + block - 1) / block * block;
  }

  Tensor room_for(const TensorDesc& desc) {
    const std::int64_t images = desc.shape.rank() > 0 ? desc.shape[0] : 1;
    const auto whole = static_cast<std::size_t>(desc.image_stride() * images) * size_of(desc.dtype);
    const std::size_t bytes = std::max({whole, desc.bytes(), sizeof(float)});
    buffers_.push_back(std::make_unique<Buffer>(heap_.allocate(bytes, "a tensor")));
    const HostBytes view(device_, *buffers_.back(), Access::write);
    for (std::size_t i = 0; i < bytes / size_of(desc.dtype) && is_real(desc.dtype); ++i) {
      testing::store(desc.dtype, view.bytes().data(), static_cast<std::int64_t>(i),
                     desc.layout.is_window() ? kUntouched : 0.0);
    }
    const std::int64_t begin =
        desc.layout.is_window() ? desc.channel_offset(blocks_before() * desc.layout.block) : 0;
    return {desc, buffers_.back().get(), static_cast<std::size_t>(begin) * size_of(desc.dtype)};
  }

  Tensor place(const Kernel& kernel, std::size_t i, const TensorDesc& desc, bool constant) {
    if (!constant) {
      const Tensor tensor = room_for(desc);
      const HostBytes view(device_, *tensor.buffer, Access::read_write);
      if (is_real(desc.dtype)) {
        testing::write(desc, operands_.values(i), view.bytes().subspan(tensor.offset));
      } else {
        std::ranges::copy(operands_.bytes(i), view.bytes().begin());
      }
      return tensor;
    }
    const std::vector<double> drawn = operands_.values(i);
    const Constant value(desc.shape, std::vector<float>(drawn.begin(), drawn.end()));
    const std::size_t bytes = kernel.packed_bytes(i, value);
    buffers_.push_back(std::make_unique<Buffer>(heap_.allocate(bytes, "a constant")));
    const HostBytes view(device_, *buffers_.back(), Access::write);
    kernel.pack(i, value, view.bytes().first(bytes));
    return {desc.with(Layout::opaque()), buffers_.back().get(), 0};
  }

  // How far each element of the results may be off.
  //
  // Single precision with sums of a few hundred terms, of which Winograd's transforms cost one digit:
  // 5e-6 of the largest result. A result in f16 is rounded once: 2^-11 of itself, 2^-25 at least.
  // Parameters may be rounded likewise: each product of theirs is off by 2^-11 of itself, and all of
  // them together by 2^-11 of what the operator gives for the magnitudes of its operands. BatchNorm, of
  // which that is not so, needs its parameters as they are.
  std::vector<std::vector<double>> allowances(const std::vector<TensorDesc>& dst,
                                              const std::vector<std::vector<double>>& expected) const {
    constexpr double kSingle = 5e-6, kHalf = 0x1p-11, kLeastHalf = 0x1p-25;
    const bool are_params_rounded = test_.src[0].dtype == DType::f16 && test_.data < test_.src.size() &&
                                    test_.op.name() != "batch_norm";
    std::vector<std::vector<double>> of_magnitudes;
    if (are_params_rounded) of_magnitudes = operands_.expected(dst, true);
    std::vector<std::vector<double>> allowed;
    for (std::size_t d = 0; d < dst.size(); ++d) {
      const double magnitude =
          std::accumulate(expected[d].begin(), expected[d].end(), 1e-3,
                          [](double a, double b) { return std::max(a, std::fabs(b)); });
      allowed.emplace_back(expected[d].size(), kSingle * magnitude);
      for (std::size_t i = 0; i < expected[d].size(); ++i) {
        if (are_params_rounded) allowed[d][i] += kHalf * of_magnitudes[d][i];
        if (dst[d].dtype == DType::f16) allowed[d][i] += kHalf * std::fabs(expected[d][i]) + kLeastHalf;
      }
    }
    return allowed;
  }

  void compare(std::size_t which, const std::vector<double>& expected,
               const std::vector<double>& allowed) {
    const HostBytes view(device_, *dst_[which].buffer, Access::read);
    const std::vector<double> got =
        testing::read(dst_[which].desc, view.bytes().subspan(dst_[which].offset));
    ASSERT_EQ(got.size(), expected.size());
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double difference = std::fabs(got[i] - expected[i]) / allowed[i];
      if (!(difference <= worst)) {  // also for a result that is not a number
        worst = difference;
        at = i;
      }
    }
    EXPECT_LE(worst, 1) << "result " << which << " element " << at << ": expected " << expected[at]
                        << " within " << allowed[at] << ", got " << got[at];
  }

  // Kernels multiply what lies beside the channels of a last block by 0, which must give 0.
  void check_padding() const {
    for (const Tensor& tensor : dst_) {
      const DType dtype = tensor.desc.dtype;
      if (tensor.desc.layout.kind != Layout::Kind::blocked) continue;
      const HostBytes view(device_, *tensor.buffer, Access::read);
      for (std::size_t i = 0; i < view.bytes().size() / size_of(dtype); ++i)
        ASSERT_TRUE(
            std::isfinite(testing::load(dtype, view.bytes().data(), static_cast<std::int64_t>(i))))
            << "stored element " << i;
    }
  }

  // What lies around a window is another tensor's.
  void check_neighbours() const {
    for (const Tensor& tensor : dst_) {
      if (!tensor.desc.layout.is_window()) continue;
      const HostBytes view(device_, *tensor.buffer, Access::read);
      const DType dtype = tensor.desc.dtype;
      // Channels last, a window is a part of each pixel; else of each image.
      const bool is_last = tensor.desc.layout.kind == Layout::Kind::channels_last;
      const std::int64_t own = padded_channels(tensor.desc);
      const auto stride = static_cast<std::size_t>(is_last ? tensor.desc.layout.stored_channels
                                                           : tensor.desc.image_stride());
      const std::size_t begin = tensor.offset / size_of(dtype);
      const auto length = static_cast<std::size_t>(tensor.desc.channel_offset(own));
      for (std::size_t i = 0; i < view.bytes().size() / size_of(dtype); ++i) {
        const bool is_inside = i % stride >= begin && i % stride < begin + length;
        if (is_inside) continue;
        ASSERT_EQ(testing::load(dtype, view.bytes().data(), static_cast<std::int64_t>(i)), kUntouched)
            << "element " << i << " around the window was written";
      }
    }
  }

  const Device& device_;
  const Heap& heap_;
  const Case& test_;
  const Offer& offer_;
  Place place_;
  Operands operands_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Tensor> src_, dst_;
};

std::vector<Offer> offers_of(const Device& device, const Case& test) {
  std::vector<TensorDesc> src = test.src, dst = test.op.infer(test.src);
  const auto constant = std::make_unique<bool[]>(src.size());
  for (std::size_t i = 0; i < src.size(); ++i) {
    constant[i] = i >= test.data;
    if (!constant[i]) src[i].layout = Layout::any();
  }
  for (TensorDesc& desc : dst) desc.layout = Layout::any();
  auto offers = device.offers({test.op, src, dst, {constant.get(), src.size()}});
  if (test.op.name() != "identity") return offers;
  // Copies are offered for exact layouts alone.
  std::vector<Layout> layouts{Layout::plain(), Layout::channels_last()};
  if (device.channel_block() > 1) layouts.push_back(Layout::blocked(device.channel_block()));
  // Beside another device is the CPU, with blocks of its own.
  if (!device.is_host()) layouts.push_back(Layout::blocked(4));
  if (!device.is_host() && device.channel_block() != 16) layouts.push_back(Layout::blocked(16));
  for (const Layout from : layouts) {
    for (const Layout to : layouts) {
      if (test.src[0].shape.rank() != 4 || dst.size() != 1) continue;
      const std::vector<TensorDesc> exact_src{test.src[0].with(from)}, exact_dst{dst[0].with(to)};
      for (Offer& offer : device.offers({test.op, exact_src, exact_dst, {constant.get(), 1}})) {
        if (offer.kernel != "reference") offers.push_back(std::move(offer));
      }
    }
  }
  return offers;
}

bool computes_in_halves(const Case& test) {
  const auto is_half = [](const TensorDesc& desc) { return desc.dtype == DType::f16; };
  return test.op.name() != "cast" && (std::ranges::any_of(test.src, is_half) ||
                                      std::ranges::any_of(test.op.infer(test.src), is_half));
}

// Where a device's kernels are run. MARU_CONFORMANCE_ON=cuda:device: in that heap of that device alone,
// for tools that look at kernels, which do not know heaps, and that take a hundred times as long.
std::vector<const Heap*> heaps_of(const Device& device) {
  const char* only = std::getenv("MARU_CONFORMANCE_ON");
  std::vector<const Heap*> heaps;
  for (const Heap* heap : device.heaps()) {
    const bool is_wanted = only == nullptr || fmt::format("{}:{}", device.name(), heap->name()) == only;
    if (heap->traits().device_visible && is_wanted) heaps.push_back(heap);
  }
  return heaps;
}

TEST_P(Conformance, EveryOfferEqualsTheReference) {
  using Place = OfferRun::Place;
  const Case& test = GetParam().test;
  bool has_heaps = false;
  for (const auto& device : all_devices({2})) {
    const auto heaps = heaps_of(*device);
    if (heaps.empty()) continue;
    has_heaps = true;
    const auto offers = offers_of(*device, test);
    // The host runs what others do not, which is nothing that computes in halves.
    if (device->is_host() && !computes_in_halves(test)) {
      EXPECT_FALSE(offers.empty()) << device->name() << " cannot run it";
    } else if (offers.empty()) {
      fmt::print("{} has no offer for {}\n", device->name(), test.op.key());
    }
    for (const Offer& offer : offers) {
      for (const Heap* heap : heaps) {
        for (const auto& [place, name] : {std::pair{Place::whole, "whole"},
                                          {Place::windows, "windows"},
                                          {Place::wide_windows, "wide windows"},
                                          {Place::in_place, "in place"}}) {
          const bool has_windows = place == Place::windows || place == Place::wide_windows;
          if (has_windows && !offer.src_window && !offer.dst_window) continue;
          if (place == Place::wide_windows && offer.dst[0].block > 1) continue;  // they are wide
          if (place == Place::in_place && !offer.in_place) continue;
          SCOPED_TRACE(fmt::format("{} {} in {}: {} {} -> {}", device->name(), offer.kernel,
                                   heap->name(), name, offer.src[0].str(), offer.dst[0].str()));
          OfferRun(*device, *heap, test, offer, place).run();
        }
      }
    }
  }
  EXPECT_TRUE(has_heaps) << "no device here has the heap of MARU_CONFORMANCE_ON";
}

// The case with data in f16; nothing where it has none in f32, or data that may be a constant only.
// Vectors behind the first operand (biases, scales) stay f32 where `narrow` is false: nothing where
// there are none, or they must not.
std::optional<Case> halved(const Case& test, bool narrow = true) {
  Case half = test;
  bool is_mixed = false;
  for (std::size_t i = 0; i < half.data; ++i) {
    if (half.src[i].dtype != DType::f32 || test.op.name() == "cast") return std::nullopt;
    if (test.op.keeps_f32(i)) continue;
    const bool is_vector = i > 0 && half.src[i].shape.rank() <= 1;
    is_mixed = is_mixed || is_vector;
    if (narrow || !is_vector) half.src[i].dtype = DType::f16;
  }
  if (!narrow && !is_mixed) return std::nullopt;
  try {
    half.op.infer(half.src);  // of a vector of data both operands are of one type
    if (!computes_in_halves(half)) return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
  half.name += narrow ? " f16" : " f16 but vectors";
  return half;
}

std::vector<Subject> subjects() {
  std::vector<Subject> all;
  for (const Operator& op : all_operators()) {
    for (const Case& test : op.cases) all.push_back({test, std::string(op.name)});
  }
  for (const Operator& op : all_operators()) {
    for (const Case& test : op.cases) {
      for (const bool narrow : {true, false}) {
        if (auto half = halved(test, narrow)) all.push_back({std::move(*half), std::string(op.name)});
      }
    }
  }
  return all;
}

std::string name_of(const ::testing::TestParamInfo<Subject>& info) {
  std::string name = fmt::format("{}_{}_{}", info.index, info.param.op, info.param.test.name);
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Operators, Conformance, ::testing::ValuesIn(subjects()), name_of);

}  // namespace
}  // namespace maru
