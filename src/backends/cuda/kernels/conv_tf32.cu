// Convolutions of tf32 (conv.h).
#include "backends/cuda/kernels/conv_tile.cuh"

namespace maru::cuda {
namespace {

MARU_CUDA_CONV("conv_tf32", Tf32, 128, 128, 3)
MARU_CUDA_CONV("conv_tf32", Tf32, 128, 64, 3)
MARU_CUDA_CONV("conv_tf32", Tf32, 64, 64, 4)
MARU_CUDA_CONV("conv_tf32", Tf32, 64, 32, 5)
MARU_CUDA_CONV("conv_tf32", Tf32, 32, 32, 8)

}  // namespace
}  // namespace maru::cuda
