#include "ops/softmax.h"

#include "backends/opencl/provider.h"
#include "ops/reference.h"

namespace maru::opencl {
namespace {

class SoftmaxProvider final : public Provider {
 public:
  std::string name() const override { return "softmax.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Softmax>() == nullptr) return;
    if (!has_floats(call, runtime) && !(widens(call) && runtime.has_halves())) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       memory_seconds(static_cast<double>(call.src[0].bytes()) * 4)));
    offers.back().in_place = !widens(call);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Shape& shape = call.src[0].shape;
    const std::size_t axis = shape.axis(call.op.as<Softmax>()->axis);
    const auto [outer, middle, inner] = extents_around(shape, axis, axis + 1);
    const cl_program program =
        runtime.program("softmax", (widens(call) ? "-DWIDEN" : "") + half_option(call));
    const auto along = static_cast<cl_uint>(middle), apart = static_cast<cl_uint>(inner);
    const std::int64_t rows = outer * inner;
    // A group is worth it where a row has something to do for each of its items.
    const bool is_long = middle >= 2 * static_cast<std::int64_t>(kGroup);
    if (is_long) {
      return std::make_unique<OpenclKernel>(
          "softmax.cl rows",
          std::vector{stage(program, "softmax_rows", rows * static_cast<std::int64_t>(kGroup), 1, 1,
                            {src(0), dst(0), along, apart})});
    }
    return std::make_unique<OpenclKernel>(
        "softmax.cl columns",
        std::vector{stage(program, "softmax_columns", rows, 1, 1,
                          {src(0), dst(0), along, apart, static_cast<cl_ulong>(rows)})});
  }

 private:
  // f32 from f16.
  static bool widens(const Call& call) {
    return call.src[0].dtype == DType::f16 && call.dst[0].dtype == DType::f32;
  }
};

}  // namespace

std::unique_ptr<Provider> softmax_provider() { return std::make_unique<SoftmaxProvider>(); }

}  // namespace maru::opencl
