// A function of each element with parameters of its channel. Blocked: x: pixel; y: block; z: image. Plain:
// x: element of the middle and inner axes; z: outer axes; the parameters lie along the middle ones.
// SHARED: one parameter for all.

#define APPLY_scale(x) ((x) * A)
#define APPLY_affine(x) ((x) * A + B)
#define APPLY_bias(x) ((x) + A)
#define APPLY_prelu(x) select(A * (x), x, (x) > 0.0f)
// Mean and variance are sums; `factor` says of how much.
#define APPLY_batch_norm(x) (((x)-A * inverse) / sqrt(B * inverse + epsilon))

// The begin of a vector of parameters, which are floats whatever tensors are.
static floatv load_some(int count, __global const float* pointer) {
  float lanes[V];
  for (int i = 0; i < V; ++i) lanes[i] = i < count ? pointer[i] : 0.0f;
  return LOADV(0, lanes);
}

MARU_KERNEL channelwise(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                        __global const float* a, ulong a_offset, __global const float* b, ulong b_offset,
                        __global const float* factor, ulong factor_offset, ulong src_stride, ulong dst_stride,
                        ulong inner, ulong middle, float epsilon) {
  const size_t i = get_global_id(0);
#if BLOCK == 1
  if (i >= inner * middle) return;
  const size_t channel = i / inner, at = i;
#else
  if (i >= inner) return;
  const size_t channel = get_global_id(1) * V, at = get_global_id(1) * inner + i;
#endif
  src += src_offset + get_global_id(2) * src_stride;
  dst += dst_offset + get_global_id(2) * dst_stride;
  a += a_offset;
  b += b_offset;
  const float sums = factor[factor_offset];
  const float inverse = sums == 0.0f ? 0.0f : 1.0f / sums;
#if defined(SHARED)
  const real A = (real)(a[0]), B = (real)(b[0]);
#elif BLOCK == 1
  const real A = a[channel], B = b[channel];
#else
  const int count = min(V, (int)(middle - channel));
  const real A = count == V ? LOADV(0, a + channel) : load_some(count, a + channel);
  const real B = count == V ? LOADV(0, b + channel) : load_some(count, b + channel);
#endif
  real y = APPLY(LOAD(at, src));
#if BLOCK != 1
  y = only_channels(y, (int)channel, (int)middle);
#endif
  STORE(y, at, dst);
}
