// Convolutions of f16 (conv.h).
#include "backends/cuda/kernels/conv_tile.cuh"

namespace maru::cuda {
namespace {

MARU_CUDA_CONV("conv_f16", Halves, 128, 128, 3)
MARU_CUDA_CONV("conv_f16", Halves, 128, 64, 3)
MARU_CUDA_CONV("conv_f16", Halves, 64, 64, 4)
MARU_CUDA_CONV("conv_f16", Halves, 64, 32, 5)
MARU_CUDA_CONV("conv_f16", Halves, 32, 32, 8)
MARU_CUDA_FUNCTION("conv_f16_pixels_128x64", conv_tile<Halves, 128, 64, 3, true>)
MARU_CUDA_FUNCTION("conv_f16_pixels_64x64", conv_tile<Halves, 64, 64, 4, true>)
MARU_CUDA_FUNCTION("conv_f16_pixels_64x32", conv_tile<Halves, 64, 32, 5, true>)

}  // namespace
}  // namespace maru::cuda
