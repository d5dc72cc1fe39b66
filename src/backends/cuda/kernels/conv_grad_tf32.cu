// Gradients of weights of convolutions of tf32 (conv_grad.h).
#include "backends/cuda/kernels/conv_grad.cuh"

namespace maru::cuda {
namespace {

MARU_CUDA_CONV_GRAD("conv_grad_tf32", Tf32Grads, 128, 128)
MARU_CUDA_CONV_GRAD("conv_grad_tf32", Tf32Grads, 128, 64)
MARU_CUDA_CONV_GRAD("conv_grad_tf32", Tf32Grads, 64, 128)
MARU_CUDA_CONV_GRAD("conv_grad_tf32", Tf32Grads, 64, 64)

}  // namespace
}  // namespace maru::cuda
