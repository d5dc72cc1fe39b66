// Convolution of plain images by plain weights, floats always, one result a work item: for what the others cannot do.
// x: pixel; y: output; z: image.

MARU_KERNEL conv_plain(__global const stored* src, ulong src_offset, __global stored* dst,
                       ulong dst_offset, __global const float* weights, ulong weights_offset,
                       __global const float* biases, ulong biases_offset, int has_bias,
                       ulong src_stride, ulong dst_stride, int group_inputs, int group_outputs,
                       float alpha, float scale, float shift, int height, int width,
                       int kernel_height, int kernel_width, int stride_y, int stride_x, int pad_y,
                       int pad_x, int dilation_y, int dilation_x, int dst_height, int dst_width) {
  const int pixel = get_global_id(0), output = get_global_id(1);
  if (pixel >= dst_height * dst_width) return;
  const int top = pixel / dst_width * stride_y - pad_y, left = pixel % dst_width * stride_x - pad_x;
  const int taps = kernel_height * kernel_width;
  src += src_offset + get_global_id(2) * src_stride +
         (ulong)(output / group_outputs) * group_inputs * height * width;
  weights += weights_offset + (ulong)output * group_inputs * taps;
  float sum = has_bias ? biases[biases_offset + output] : 0.0f;
  for (int channel = 0; channel < group_inputs; ++channel) {
    for (int ky = 0; ky < kernel_height; ++ky) {
      const int y = top + ky * dilation_y;
      if (y < 0 || y >= height) continue;
      for (int kx = 0; kx < kernel_width; ++kx) {
        const int x = left + kx * dilation_x;
        if (x < 0 || x >= width) continue;
        sum += READ((channel * height + y) * width + x, src) *
               weights[(channel * kernel_height + ky) * kernel_width + kx];
      }
    }
  }
  dst += dst_offset + get_global_id(2) * dst_stride + (ulong)output * dst_height * dst_width;
  WRITE(ACTIVATE(sum, alpha, scale, shift), pixel, dst);
}
