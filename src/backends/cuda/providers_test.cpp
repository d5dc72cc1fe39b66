// What the providers offer, and how they hand parameters over: all that needs no GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "backends/cuda/devices.h"
#include "backends/cuda/elements.h"
#include "backends/cuda/fake_module.h"
#include "backends/cuda/kernels/conv.h"
#include "backends/cuda/launch.h"
#include "ops/batch_norm.h"
#include "ops/batch_norm_grad.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/inner_product_grad.h"
#include "ops/pool_lrn.h"
#include "ops/preprocess.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/unary.h"

namespace maru::cuda {
namespace {

using testing::FakeModule;

class CudaOffers : public ::testing::Test {
 protected:
  CudaOffers() : devices_(devices_of(fake_.module(), {})) {}

  std::vector<Offer> offers(const Op& op, std::vector<TensorDesc> src, std::size_t data = SIZE_MAX,
                            Layout from = Layout::any(), Layout to = Layout::any()) const {
    std::vector<TensorDesc> dst = op.infer(src);
    const auto constant = std::make_unique<bool[]>(src.size());
    for (std::size_t i = 0; i < src.size(); ++i) {
      constant[i] = i >= data;
      if (!constant[i]) src[i].layout = from;
    }
    for (TensorDesc& desc : dst) desc.layout = to;
    return devices_.at(0)->offers({op, src, dst, {constant.get(), src.size()}});
  }

  static std::string layouts(const std::vector<Offer>& all) {
    std::string text;
    for (const Offer& offer : all) text += offer.src[0].str() + "->" + offer.dst[0].str() + " ";
    return text;
  }

  const Device& device() const { return *devices_.at(0); }

 private:
  FakeModule fake_;
  std::vector<std::unique_ptr<Device>> devices_;
};

TEST_F(CudaOffers, AreForOneTypeAndBothLayouts) {
  EXPECT_EQ(layouts(offers(Unary{}, {f32({1, 8, 3, 3})})), "nhwc->nhwc nchw->nchw ");
  EXPECT_EQ(layouts(offers(Unary{}, {f16({1, 8, 3, 3})})), "nhwc->nhwc nchw->nchw ");
  EXPECT_EQ(layouts(offers(Unary{}, {f16({8, 3})})), "nchw->nchw ");
  EXPECT_EQ(layouts(offers(Unary{}, {f16({1, 8, 3, 3})}, 1, Layout::plain())), "nchw->nchw ");
  // Beyond what functions can count.
  EXPECT_TRUE(offers(Unary{}, {f16({1 << 16, 1 << 16})}).empty());
}

TEST_F(CudaOffers, OfCopiesAreForExactLayouts) {
  const TensorDesc image = f16({2, 3, 4, 5}), bytes{DType::u8, {2, 3, 4, 5}, Layout::plain()};
  const Layout known[] = {Layout::plain(), Layout::channels_last(), Layout::blocked(4),
                          Layout::channels_last().window_of(24)};
  for (const Layout from : known) {
    for (const Layout to : known) {
      for (const TensorDesc& desc : {image, bytes}) {
        const auto all = offers(Identity{}, {desc}, 1, from, to);
        ASSERT_EQ(all.size(), 1u);
        EXPECT_EQ(all[0].src[0], from.dense());
        EXPECT_EQ(all[0].dst[0], to.dense());
        EXPECT_TRUE(all[0].src_window && all[0].dst_window);
      }
    }
  }
}

TEST_F(CudaOffers, SayWhatTypesMeet) {
  EXPECT_EQ(offers(Cast{DType::f16}, {f32({2, 8, 3, 3})}).size(), 2u);
  EXPECT_TRUE(offers(Cast{DType::f32}, {f32({2, 8, 3, 3})}).empty());
  Softmax softmax;
  softmax.widen = true;
  const auto wide = offers(softmax, {f16({2, 10})});
  ASSERT_EQ(wide.size(), 1u);
  EXPECT_FALSE(wide[0].in_place);
  EXPECT_TRUE(offers(Softmax{}, {f16({2, 10})}).at(0).in_place);
}

TEST_F(CudaOffers, OfParametersThatAreDataTakeNoWindows) {
  const std::vector<TensorDesc> src{f16({2, 8, 3, 3}), f16({8})};
  for (const Offer& offer : offers(Scale{1, 1}, src)) EXPECT_FALSE(offer.src_window);
  for (const Offer& offer : offers(Scale{1, 1}, {src[0], f32({8})}, 1)) EXPECT_TRUE(offer.src_window);
}

TEST_F(CudaOffers, OfBatchNormHaveStatisticsInSinglePrecision) {
  const TensorDesc image = f16({2, 8, 3, 3}), channels = f32({8});
  const BatchNormTraining norm{1e-5, true};
  EXPECT_EQ(layouts(offers(norm, {image, channels, channels})), "nhwc->nhwc nchw->nchw ");
  EXPECT_EQ(layouts(offers(norm, {f32(image.shape), channels, channels})), "nhwc->nhwc nchw->nchw ");
  EXPECT_EQ(layouts(offers(norm, {f16({4, 8}), channels, channels})), "nchw->nchw ");
  EXPECT_TRUE(offers(norm, {image, f16({8}), channels}).empty());
  std::vector<TensorDesc> backward(6, channels);
  backward[0] = backward[1] = image;
  const auto gradients = offers(BatchNormGrad{norm}, backward);
  ASSERT_EQ(gradients.size(), 2u);
  EXPECT_EQ(gradients[0].src[1], Layout::channels_last());
  EXPECT_EQ(gradients[0].src[2], Layout::plain());
  EXPECT_TRUE(gradients[0].in_place && gradients[0].src_window && gradients[0].dst_window);
  backward[2] = f16({8});
  EXPECT_TRUE(offers(BatchNormGrad{norm}, backward).empty());
  // Statistics that are states, when a network is tried while it is trained.
  EXPECT_EQ(offers(BatchNorm{}, {image, channels, channels, f32({1})}).size(), 2u);
  const BatchNorm of_the_batch{1e-5, BatchNorm::Statistics::batch};
  EXPECT_TRUE(offers(of_the_batch, {image, channels, channels, f32({1})}, 1).empty());
}

TEST_F(CudaOffers, OfTrainingAreForWeightsThatAreData) {
  const Window window{{3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const auto names = [](const std::vector<Offer>& all) {
    std::string text;
    for (const Offer& offer : all) text += offer.kernel + " " + offer.src[0].str() + "; ";
    return text;
  };
  for (const DType dtype : {DType::f32, DType::f16}) {
    const auto of = [&](Shape shape) { return TensorDesc{dtype, shape, Layout::plain()}; };
    const TensorDesc data = of({2, 16, 9, 9}), weight = of({24, 16, 3, 3}), result = of({2, 24, 9, 9});
    EXPECT_EQ(names(offers(Conv{24, window}, {data, weight, of({24})})),
              "conv nhwc; conv plain nhwc; conv plain nchw; ");
    EXPECT_EQ(names(offers(ConvGradData{window, 1, {9, 9}}, {result, weight})),
              "conv_grad_data nhwc; conv_grad_data plain nhwc; conv_grad_data plain nchw; ");
    EXPECT_EQ(names(offers(ConvGradWeight{window}, {data, result})),
              "conv_grad_weight nhwc; conv_grad_weight plain nhwc; conv_grad_weight plain nchw; ");
    // The first layer's images have 4 channels, as Preprocess gives them.
    EXPECT_EQ(names(offers(ConvGradWeight{window}, {of({2, 3, 9, 9}), result})),
              "conv_grad_weight nChw4c; conv_grad_weight plain nhwc; conv_grad_weight plain nchw; ");
    EXPECT_EQ(names(offers(InnerProduct{5}, {of({2, 7}), of({5, 7}), of({5})})),
              "inner_product_training nchw; ");
    EXPECT_EQ(names(offers(InnerProductGradData{false, {2, 7}}, {of({2, 5}), of({5, 7})})),
              "inner_product_training nchw; ");
    EXPECT_EQ(names(offers(InnerProductGradWeight{}, {of({2, 7}), of({2, 5})})),
              "inner_product_training nchw; ");
  }
  // What tiles take, they are preferred for.
  const auto all =
      offers(ConvGradWeight{window, 1, true}, {f16({8, 64, 28, 28}), f16({8, 96, 28, 28})});
  EXPECT_EQ(std::ranges::min_element(all, {}, &Offer::seconds)->kernel, "conv_grad_weight");
}

// One pixel of four halves is eight bytes, and the second of two such parts begins behind them.
TEST_F(CudaOffers, OfBlocksOfFourTakeThemAtAnyBlock) {
  const Op op = Conv{8, Window{{1, 1}, {1, 1}, {0, 0}, {1, 1}}};
  const std::vector<TensorDesc> src{f16({1, 4, 1, 1}).with(Layout::blocked(4)), f32({8, 4, 1, 1}),
                                    f32({8})};
  const std::vector<TensorDesc> dst{f16({1, 8, 1, 1}).with(Layout::channels_last())};
  const bool constant[] = {false, true, true};
  const Call call{op, src, dst, constant};
  const std::vector<Offer> all = device().offers(call);
  ASSERT_FALSE(all.empty());
  ASSERT_EQ(all[0].src[0], Layout::blocked(4));
  const auto kernel = device().compile(call, all[0]);
  const Heap& heap = *device().heaps()[0];
  const Buffer parts = heap.allocate(16, "a test"), rest = heap.allocate(1024, "a test");
  for (const std::size_t begin : {0, 8}) {
    const Tensor from[] = {{src[0], &parts, begin}, {src[1], &rest, 0}, {src[2], &rest, 512}};
    const Tensor to[] = {{dst[0], &rest, 768}};
    const auto launch = kernel->bind(from, to, {});
    const auto& launches = static_cast<const CudaLaunch&>(*launch).all();
    ASSERT_EQ(launches.size(), 1u);
    ConvParams params{};
    ASSERT_EQ(launches[0].params.size(), sizeof params);
    std::memcpy(&params, launches[0].params.data(), sizeof params);
    EXPECT_EQ(params.src, static_cast<const std::byte*>(parts.native()) + begin);
  }
}

TEST_F(CudaOffers, OfPhotosHaveTheLayoutOfTheFirstConvolution) {
  const std::vector<TensorDesc> photos{{DType::u8, {2, 4096}, Layout::plain()},
                                       {DType::i32, {2, 4}, Layout::plain()}};
  EXPECT_EQ(layouts(offers(Preprocess{16, 16}, photos)), "nchw->nChw4c nchw->nhwc nchw->nchw ");
}

TEST_F(CudaOffers, OfJoinsGoByChannelsToo) {
  const std::vector<TensorDesc> two{f16({2, 8, 3, 3}), f16({2, 5, 3, 3})};
  EXPECT_EQ(layouts(offers(Concat{}, two)), "nhwc->nhwc nchw->nchw ");
  EXPECT_EQ(layouts(offers(Concat{0}, {two[0], two[0]})), "nchw->nchw ");
}

TEST_F(CudaOffers, OfBothInOneAreForMaximaOfSmallWindows) {
  const auto op = [](Pool::Kind kind, std::int64_t kernel, PoolLrn::Order order) {
    return PoolLrn{order, Pool{kind, Window{{kernel, kernel}, {2, 2}, {0, 0}, {1, 1}}}, Lrn{}};
  };
  using Kind = Pool::Kind;
  using Order = PoolLrn::Order;
  const std::vector<TensorDesc> image{f16({1, 64, 19, 19})};
  EXPECT_EQ(layouts(offers(op(Kind::max, 3, Order::pool_first), image)), "nhwc->nhwc ");
  EXPECT_EQ(layouts(offers(op(Kind::max, 3, Order::lrn_first), image)), "nhwc->nhwc ");
  EXPECT_EQ(layouts(offers(op(Kind::average, 3, Order::pool_first), image)), "nhwc->nhwc ");
  EXPECT_TRUE(offers(op(Kind::average, 3, Order::lrn_first), image).empty());
  EXPECT_TRUE(offers(op(Kind::max, 9, Order::lrn_first), image).empty());
}

TEST(CudaElements, RowsAreAsLongAsWindowsAllow) {
  const TensorDesc dense = f16({2, 24, 3, 5}).with(Layout::channels_last());
  const TensorDesc window = dense.with(Layout::channels_last().window_of(64));
  const TensorDesc plain = f16({2, 24, 3, 5}), plain_window = plain.with(Layout::plain().window_of(64));
  const auto text = [](std::vector<TensorDesc> tensors) {
    const Rows rows = rows_of(tensors, 8);
    return fmt::format("{} rows of {} in {}, {} apart", rows.count, rows.run, rows.vectors,
                       row_stride(tensors.back(), rows));
  };
  EXPECT_EQ(text({dense, dense}), "1 rows of 720 in 90, 0 apart");
  EXPECT_EQ(text({dense, window}), "30 rows of 24 in 3, 64 apart");
  EXPECT_EQ(text({window, dense}), "30 rows of 24 in 3, 24 apart");
  EXPECT_EQ(text({plain, plain_window}), "2 rows of 360 in 45, 960 apart");
  EXPECT_EQ(text({f16({7}), f16({7})}), "1 rows of 7 in 1, 0 apart");
}

}  // namespace
}  // namespace maru::cuda
