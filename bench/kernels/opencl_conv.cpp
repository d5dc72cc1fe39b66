// Convolution in OpenCL: src/backends/opencl/kernels/conv.cl on layers of known networks, tile by tile,
// against OpenBLAS's sgemm of the same product (outputs x pixels x inputs * taps; without im2col, which
// a convolution by sgemm pays on top). The floor is the multiply-adds at the rate of the processor.
//
//   build/release/bench/kernels/opencl_conv [layers, e.g. "3a 5b" or all] [tiles, e.g. "7x2 7x1"]
//
// Predicted: 0.6 of OpenBLAS, 110 to 200 GFLOP/s on two cores of Zen 4 (EPYC, AVX-512) with PoCL 3.1.
// Versions, GFLOP/s there on 3a's 3x3 (96 to 128 channels, 28x28; OpenBLAS 190) and 4a's 1x1 (OpenBLAS
// 166):
//   1  an offset for each pixel, looked up for each input: 102 and -. LLVM keeps no 14 addresses in
//      registers; tiles of 7x4 and 9x3 (28 sums) spill: 148 and 114.
//   2  pixels of a row, one address and constant distances; at the edges of the image a copied line
//   with
//      zeros: 203 to 216; 1x1 over all pixels as one row: 190 to 209. 14 sums are enough.
//   3  a line copied for each column of the kernel, pixels from anywhere: 167; any stride, any width.
//   4  version 3, and with stride 1 the line copied once for all columns, always: 213. One function for
//      everything; the copy costs less than the code that avoids it.
//   5  version 4 with results stored by a loop: as fast, and 0.8 s to compile where it was 1.3.
//   6  Winograd's F(4x4, 3x3) around version 5 (winograd.cl; bench/kernels/conv measures it): 3b's 3x3
//   in
//      0.55 ms where it took 1.7, the second convolution in 1.3 where it took 3.3.
// GoogLeNet's 39 convolutions together: 15.1 ms with version 5, 11.7 with 6 (bench/kernels/conv, best
// of 90). Two vCPUs sometimes share a core here and halve everything; the best of many runs stands.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "backends/opencl/handles.h"

namespace {

using maru::opencl::check;
using Clock = std::chrono::steady_clock;

struct Layer {
  const char* name;
  int inputs, size, outputs, kernel, stride, pad;

  int dst_size() const { return (size + 2 * pad - kernel) / stride + 1; }
  int pixels() const { return dst_size() * dst_size(); }
  int length() const { return inputs * kernel * kernel; }
  double flops() const { return 2.0 * pixels() * outputs * length(); }
};

// GoogLeNet with its sibling 1x1 layers merged, SqueezeNet 1.1, and some of VGG, ResNet, AlexNet, SSD.
constexpr Layer kLayers[] = {
    {"1", 3, 224, 64, 7, 2, 3},
    {"2r", 64, 56, 64, 1, 1, 0},
    {"2", 64, 56, 192, 3, 1, 1},
    {"3a1", 192, 28, 176, 1, 1, 0},
    {"3a3", 96, 28, 128, 3, 1, 1},
    {"3a5", 16, 28, 32, 5, 1, 2},
    {"3ap", 192, 28, 32, 1, 1, 0},
    {"3b1", 256, 28, 288, 1, 1, 0},
    {"3b3", 128, 28, 192, 3, 1, 1},
    {"3b5", 32, 28, 96, 5, 1, 2},
    {"3bp", 256, 28, 64, 1, 1, 0},
    {"4a1", 480, 14, 304, 1, 1, 0},
    {"4a3", 96, 14, 208, 3, 1, 1},
    {"4a5", 16, 14, 48, 5, 1, 2},
    {"4ap", 480, 14, 64, 1, 1, 0},
    {"4b1", 512, 14, 296, 1, 1, 0},
    {"4b3", 112, 14, 224, 3, 1, 1},
    {"4b5", 24, 14, 64, 5, 1, 2},
    {"4bp", 512, 14, 64, 1, 1, 0},
    {"4c1", 512, 14, 280, 1, 1, 0},
    {"4c3", 128, 14, 256, 3, 1, 1},
    {"4c5", 24, 14, 64, 5, 1, 2},
    {"4cp", 512, 14, 64, 1, 1, 0},
    {"4d1", 512, 14, 288, 1, 1, 0},
    {"4d3", 144, 14, 288, 3, 1, 1},
    {"4d5", 32, 14, 64, 5, 1, 2},
    {"4dp", 512, 14, 64, 1, 1, 0},
    {"4e1", 528, 14, 448, 1, 1, 0},
    {"4e3", 160, 14, 320, 3, 1, 1},
    {"4e5", 32, 14, 128, 5, 1, 2},
    {"4ep", 528, 14, 128, 1, 1, 0},
    {"5a1", 832, 7, 448, 1, 1, 0},
    {"5a3", 160, 7, 320, 3, 1, 1},
    {"5a5", 32, 7, 128, 5, 1, 2},
    {"5ap", 832, 7, 128, 1, 1, 0},
    {"5b1", 832, 7, 624, 1, 1, 0},
    {"5b3", 192, 7, 384, 3, 1, 1},
    {"5b5", 48, 7, 128, 5, 1, 2},
    {"5bp", 832, 7, 128, 1, 1, 0},
    {"squeeze1", 3, 227, 64, 3, 2, 0},
    {"squeeze2s", 64, 56, 16, 1, 1, 0},
    {"squeeze2e", 16, 56, 64, 3, 1, 1},
    {"squeeze10", 512, 14, 1000, 1, 1, 0},
    {"vgg3", 256, 56, 256, 3, 1, 1},
    {"res1s2", 512, 28, 256, 1, 2, 0},
    {"res3s2", 64, 56, 64, 3, 2, 1},
    {"alex1", 3, 227, 96, 11, 4, 0},
    {"alex3", 256, 13, 384, 3, 1, 1},
    {"ssd10", 256, 10, 512, 3, 2, 1},
    {"ssd38", 512, 38, 16, 3, 1, 1},
    {"tiny", 256, 3, 256, 3, 1, 1},
};
constexpr std::size_t kGooglenetLayers = 39;

struct Tile {
  int pixels, blocks;
};

// The best of many runs, seconds: what the machine's other work adds is never negative.
template <class F>
double best_of(const F& work) {
  constexpr double kSeconds = 0.05;
  constexpr int kLeast = 5, kMost = 200;
  double best = 1e9, sum = 0;
  work();
  for (int i = 0; i < kMost && (i < kLeast || sum < kSeconds); ++i) {
    const auto start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    sum += seconds;
  }
  return best;
}

std::vector<float> draw(std::size_t count) {
  static std::mt19937 random(1);
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> result(count);
  for (float& value : result) value = values(random);
  return result;
}

std::string text_of(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// OpenBLAS where it is installed; it is no dependency.
using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                       float*, int);
Sgemm find_sgemm() {
  void* library = dlopen("libopenblas.so.0", RTLD_NOW);
  return library == nullptr ? nullptr : reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
}

// The input as the columns that sgemm multiplies, [inputs * taps][pixels].
std::vector<float> columns_of(const Layer& layer, const std::vector<float>& src) {
  const int size = layer.dst_size();
  std::vector<float> columns;
  columns.reserve(static_cast<std::size_t>(layer.length()) * layer.pixels());
  for (int row = 0; row < layer.length(); ++row) {
    const int kx = row % layer.kernel, ky = row / layer.kernel % layer.kernel;
    const int channel = row / layer.kernel / layer.kernel;
    for (int pixel = 0; pixel < layer.pixels(); ++pixel) {
      const int y = pixel / size * layer.stride - layer.pad + ky;
      const int x = pixel % size * layer.stride - layer.pad + kx;
      const bool inside = y >= 0 && x >= 0 && y < layer.size && x < layer.size;
      columns.push_back(inside ? src[(channel * layer.size + y) * layer.size + x] : 0.0f);
    }
  }
  return columns;
}

class Lab {
 public:
  explicit Lab(const std::vector<Tile>& tiles) : tiles_(tiles), sgemm_(find_sgemm()) {
    cl_platform_id platform = nullptr;
    check(clGetPlatformIDs(1, &platform, nullptr), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device_, nullptr), "clGetDeviceIDs");
    cl_int code = 0;
    context_ =
        maru::opencl::ContextHandle(clCreateContext(nullptr, 1, &device_, nullptr, nullptr, &code));
    check(code, "clCreateContext");
    queue_ = maru::opencl::QueueHandle(clCreateCommandQueue(context_.get(), device_, 0, &code));
    check(code, "clCreateCommandQueue");
    const auto width = maru::opencl::device_info<cl_uint>(device_, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    block_ = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    const std::string folder = "src/backends/opencl/kernels/";
    const std::string text = text_of(folder + "common.cl") + text_of(folder + "conv.cl");
    const char* data = text.c_str();
    for (const Tile& tile : tiles) {
      programs_.emplace_back(clCreateProgramWithSource(context_.get(), 1, &data, nullptr, &code));
      check(code, "clCreateProgramWithSource");
      const std::string options =
          fmt::format("-cl-std=CL1.2 -DV={} -DP={} -DB={} -DSINGLE -DACTIVATION=ACTIVATE_relu", block_,
                      tile.pixels, tile.blocks);
      check(clBuildProgram(programs_.back().get(), 1, &device_, options.c_str(), nullptr, nullptr),
            "clBuildProgram");
    }
  }

  // Seconds of OpenBLAS and of our best tile.
  std::pair<double, double> measure(const Layer& layer) {
    src_ = draw(static_cast<std::size_t>(layer.inputs) * layer.size * layer.size);
    weight_ = draw(static_cast<std::size_t>(layer.outputs) * layer.length());
    expected_.assign(static_cast<std::size_t>(layer.outputs) * layer.pixels(), 0);
    double blas = 0;
    if (sgemm_ != nullptr) {
      const std::vector<float> columns = columns_of(layer, src_);
      blas = best_of([&] {
        constexpr int kRowMajor = 101, kNoTranspose = 111;
        sgemm_(kRowMajor, kNoTranspose, kNoTranspose, layer.outputs, layer.pixels(), layer.length(), 1,
               weight_.data(), layer.length(), columns.data(), layer.pixels(), 0, expected_.data(),
               layer.pixels());
      });
    }
    fmt::print("{:9} {:4} x {:3}^2 -> {:4} {:2}x{:<2} /{} | blas {:4.0f} |", layer.name, layer.inputs,
               layer.size, layer.outputs, layer.kernel, layer.kernel, layer.stride,
               blas > 0 ? layer.flops() / blas / 1e9 : 0);
    double best = 1e9;
    for (std::size_t i = 0; i < tiles_.size(); ++i) {
      const bool is_flat = layer.kernel == 1 && layer.stride == 1 && layer.pixels() >= tiles_[i].pixels;
      const bool is_first = layer.inputs <= 3;
      const char* function = is_first ? "conv_first" : is_flat ? "conv_flat" : "conv_line";
      best = std::min(best, measure(layer, i, function, !is_flat));
      if (!is_first && !is_flat) best = std::min(best, measure(layer, i, function, false));
    }
    fmt::print(" GFLOP/s\n");
    std::fflush(stdout);
    return {blas, best};
  }

 private:
  double measure(const Layer& layer, std::size_t which, const char* function, bool by_rows) {
    const Tile tile = tiles_[which];
    const bool is_first = layer.inputs <= 3, is_flat = std::string(function) == "conv_flat";
    const int lanes = tile.blocks * block_, out_tiles = (layer.outputs + lanes - 1) / lanes;
    const int size = layer.dst_size(), row_tiles = (size + tile.pixels - 1) / tile.pixels;
    const int pixel_tiles =
        by_rows ? row_tiles * size : (layer.pixels() + tile.pixels - 1) / tile.pixels;
    const std::vector<float> blocked = is_first ? src_ : blocked_source(layer);
    const auto dst_count = static_cast<std::size_t>(layer.outputs + block_) * layer.pixels();
    const auto src = buffer(blocked), dst = buffer(std::vector<float>(dst_count, 777.0f));
    const auto weight = buffer(packed(layer, lanes, is_first));
    cl_int code = 0;
    const maru::opencl::KernelHandle kernel(clCreateKernel(programs_[which].get(), function, &code));
    check(code, "clCreateKernel");
    cl_uint next = 0;
    const auto argument = [&]<class... T>(const T&... values) {
      (check(clSetKernelArg(kernel.get(), next++, sizeof values, &values), "clSetKernelArg"), ...);
    };
    const cl_ulong zero = 0;
    const cl_float slope = 0, one = 1;
    argument(src.get(), zero, dst.get(), zero, weight.get(), zero, weight.get(), zero, cl_int{0}, zero,
             zero, layer.inputs, layer.outputs, out_tiles, pixel_tiles, cl_int{1}, slope, one, slope);
    if (is_flat) {
      argument(layer.pixels());
    } else {
      argument(by_rows ? row_tiles : 0, layer.size, layer.size, layer.kernel, layer.kernel,
               layer.stride, layer.stride, layer.pad, layer.pad, cl_int{1}, cl_int{1}, size, size);
    }
    const std::size_t global = static_cast<std::size_t>(pixel_tiles) * out_tiles, local = 1;
    const double seconds = best_of([&] {
      check(clEnqueueNDRangeKernel(queue_.get(), kernel.get(), 1, nullptr, &global, &local, 0, nullptr,
                                   nullptr),
            "clEnqueueNDRangeKernel");
      check(clFinish(queue_.get()), "clFinish");
    });
    fmt::print(" {}{}x{} {:4.0f}{}",
               is_flat || is_first ? ""
               : by_rows           ? "rows "
                                   : "all ",
               tile.pixels, tile.blocks, layer.flops() / seconds / 1e9,
               is_right(layer, dst.get()) ? "" : " WRONG");
    return seconds;
  }

  maru::opencl::MemoryHandle buffer(const std::vector<float>& values) {
    cl_int code = 0;
    maru::opencl::MemoryHandle memory(clCreateBuffer(context_.get(), CL_MEM_COPY_HOST_PTR,
                                                     values.size() * sizeof(float),
                                                     const_cast<float*>(values.data()), &code));
    check(code, "clCreateBuffer");
    return memory;
  }

  std::vector<float> blocked_source(const Layer& layer) const {
    const int pixels = layer.size * layer.size, blocks = (layer.inputs + block_ - 1) / block_;
    std::vector<float> blocked(static_cast<std::size_t>(blocks) * pixels * block_);
    for (int i = 0; i < layer.inputs * pixels; ++i) {
      const int channel = i / pixels;
      blocked[static_cast<std::size_t>((channel / block_ * pixels + i % pixels) * block_ +
                                       channel % block_)] = src_[static_cast<std::size_t>(i)];
    }
    return blocked;
  }

  std::vector<float> packed(const Layer& layer, int lanes, bool is_first) const {
    const int taps = layer.kernel * layer.kernel, step = is_first ? 1 : block_;
    std::vector<float> result;
    for (int first = 0; first < layer.outputs; first += lanes) {
      for (int begin = 0; begin < layer.inputs; begin += step) {
        const int count = std::min(step, layer.inputs - begin);
        for (int i = 0; i < taps * (is_first ? 1 : (count + 3) / 4 * 4); ++i) {
          const int padded = is_first ? 1 : (count + 3) / 4 * 4;
          const int tap = i / padded, channel = begin + i % padded;
          for (int output = first; output < first + lanes; ++output) {
            const bool is_there = output < layer.outputs && channel < layer.inputs;
            result.push_back(
                is_there
                    ? weight_[static_cast<std::size_t>((output * layer.inputs + channel) * taps + tap)]
                    : 0.0f);
          }
        }
      }
    }
    return result;
  }

  bool is_right(const Layer& layer, cl_mem dst) {
    if (sgemm_ == nullptr) return true;
    std::vector<float> got(static_cast<std::size_t>(layer.outputs + block_) * layer.pixels());
    check(clEnqueueReadBuffer(queue_.get(), dst, CL_TRUE, 0, got.size() * sizeof(float), got.data(), 0,
                              nullptr, nullptr),
          "clEnqueueReadBuffer");
    for (int i = 0; i < layer.outputs * layer.pixels(); ++i) {
      const int channel = i / layer.pixels(), pixel = i % layer.pixels();
      const int at = (channel / block_ * layer.pixels() + pixel) * block_ + channel % block_;
      const float expected = std::max(0.0f, expected_[static_cast<std::size_t>(i)]);
      if (!(std::fabs(got[static_cast<std::size_t>(at)] - expected) < 1e-3f)) return false;
    }
    return true;
  }

  std::vector<Tile> tiles_;
  Sgemm sgemm_;
  cl_device_id device_ = nullptr;
  maru::opencl::ContextHandle context_;
  maru::opencl::QueueHandle queue_;
  std::vector<maru::opencl::ProgramHandle> programs_;
  int block_ = 4;
  std::vector<float> src_, weight_, expected_;
};

}  // namespace

int main(int argc, char** argv) try {
  const std::string wanted = argc > 1 ? argv[1] : "all";
  std::vector<Tile> tiles;
  std::istringstream words(argc > 2 ? argv[2] : "7x2 7x1");
  Tile tile{};
  char cross = 0;
  while (words >> tile.pixels >> cross >> tile.blocks) tiles.push_back(tile);
  Lab lab(tiles);
  double blas = 0, ours = 0;
  for (std::size_t i = 0; i < std::size(kLayers); ++i) {
    const std::string name = kLayers[i].name;
    std::istringstream all(wanted);
    std::string word;
    bool is_wanted = wanted == "all";
    while (all >> word) is_wanted |= name.starts_with(word);
    if (!is_wanted) continue;
    const auto [of_blas, of_ours] = lab.measure(kLayers[i]);
    if (i < kGooglenetLayers) {
      blas += of_blas;
      ours += of_ours;
    }
  }
  fmt::print("GoogLeNet's layers among these: OpenBLAS {:.2f} ms, ours {:.2f} ms\n", blas * 1e3,
             ours * 1e3);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
