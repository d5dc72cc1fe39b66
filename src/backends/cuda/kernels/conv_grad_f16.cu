// Gradients of weights of convolutions of f16 (conv_grad.h).
#include "backends/cuda/kernels/conv_grad.cuh"

namespace maru::cuda {
namespace {

MARU_CUDA_CONV_GRAD("conv_grad_f16", HalfGrads, 128, 128)
MARU_CUDA_CONV_GRAD("conv_grad_f16", HalfGrads, 128, 64)
MARU_CUDA_CONV_GRAD("conv_grad_f16", HalfGrads, 64, 128)
MARU_CUDA_CONV_GRAD("conv_grad_f16", HalfGrads, 64, 64)
MARU_CUDA_FUNCTION("conv_grad_f16_pixels_64x128", conv_grad<HalfGrads, 64, 128, true>)
MARU_CUDA_FUNCTION("conv_grad_f16_pixels_64x64", conv_grad<HalfGrads, 64, 64, true>)

}  // namespace
}  // namespace maru::cuda
