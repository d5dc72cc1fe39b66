// Put before every program. V: floats in the device's vectors. BLOCK, where a program has it: channels in
// a block of the layout that it is for, V or 1.

#define MARU_KERNEL __attribute__((reqd_work_group_size(64, 1, 1))) __kernel void

// For functions whose work items have much to do: a processor (SINGLE) gains nothing from groups of them.
#ifdef SINGLE
#define MARU_LARGE_KERNEL __attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
#else
#define MARU_LARGE_KERNEL MARU_KERNEL
#endif
#define UNROLL _Pragma("unroll")

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
typedef CAT(float, V) floatv;
typedef CAT(int, V) intv;
#define LOADV(index, pointer) CAT(vload, V)(index, pointer)
#define STOREV(value, index, pointer) CAT(vstore, V)(value, index, pointer)

// Elements of tensors in memory: floats, or halves (HALF), which are floats as soon as they are read. One,
// or V of them.
#ifdef HALF
typedef half stored;
#define READ(index, pointer) vload_half(index, pointer)
#define WRITE(value, index, pointer) vstore_half(value, index, pointer)
#define READV(index, pointer) CAT(vload_half, V)(index, pointer)
#define WRITEV(value, index, pointer) CAT(vstore_half, V)(value, index, pointer)
#else
typedef float stored;
#define READ(index, pointer) ((pointer)[index])
#define WRITE(value, index, pointer) ((pointer)[index] = (value))
#define READV(index, pointer) LOADV(index, pointer)
#define WRITEV(value, index, pointer) STOREV(value, index, pointer)
#endif

// The channels of one block at one pixel.
#ifdef BLOCK
#if BLOCK == 1
typedef float real;
typedef int truth;
#define LOAD(index, pointer) READ(index, pointer)
#define STORE(value, index, pointer) WRITE(value, index, pointer)
#else
typedef floatv real;
typedef intv truth;
#define LOAD(index, pointer) READV(index, pointer)
#define STORE(value, index, pointer) WRITEV(value, index, pointer)
#endif
#endif

#if V == 4
#define LANES ((intv)(0, 1, 2, 3))
#elif V == 8
#define LANES ((intv)(0, 1, 2, 3, 4, 5, 6, 7))
#else
#define LANES ((intv)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#endif

// Padding is zero: what a kernel computed for channels that are not there is dropped.
static floatv only_channels(floatv value, int first, int channels) {
  return select((floatv)(0.0f), value, LANES + (intv)(first) < (intv)(channels));
}

// The begin of a vector; the rest is zero.
static floatv read_some(int count, __global const stored* pointer) {
  float lanes[V];
  for (int i = 0; i < V; ++i) lanes[i] = i < count ? READ(i, pointer) : 0.0f;
  return LOADV(0, lanes);
}
static void write_some(floatv value, int count, __global stored* pointer) {
  float lanes[V];
  STOREV(value, 0, lanes);
  for (int i = 0; i < count; ++i) WRITE(lanes[i], i, pointer);
}

// Unary functions, ACTIVATE(x, alpha, scale, shift) by ACTIVATION: unary.h says which and with what. x is
// of ACTIVATED, a float or a vector.
#ifndef ACTIVATED
#define ACTIVATED floatv
#endif
#define ACTIVATE_none(x, alpha, scale, shift) (x)
#define ACTIVATE_relu(x, alpha, scale, shift) select((alpha) * (x), x, (x) > 0.0f)
#define ACTIVATE_relu0(x, alpha, scale, shift) fmax(x, 0.0f)
#define ACTIVATE_elu(x, alpha, scale, shift) select((alpha) * expm1(x), x, (x) > 0.0f)
#define ACTIVATE_sigmoid(x, alpha, scale, shift) (1.0f / (1.0f + exp(-(x))))
#define ACTIVATE_tanh(x, alpha, scale, shift) tanh(x)
#define ACTIVATE_power(x, alpha, scale, shift) pow((shift) + (scale) * (x), (ACTIVATED)(alpha))
#define ACTIVATE_square(x, alpha, scale, shift) (((shift) + (scale) * (x)) * ((shift) + (scale) * (x)))
#define ACTIVATE_root(x, alpha, scale, shift) sqrt((shift) + (scale) * (x))
#define ACTIVATE_linear(x, alpha, scale, shift) ((shift) + (scale) * (x))
#define ACTIVATE_abs(x, alpha, scale, shift) fabs(x)
// alpha: the logarithm of the base, and for log its inverse.
#define ACTIVATE_exp(x, alpha, scale, shift) exp(((shift) + (scale) * (x)) * (alpha))
#define ACTIVATE_log(x, alpha, scale, shift) (log((shift) + (scale) * (x)) * (alpha))
#define ACTIVATE_bnll(x, alpha, scale, shift) (fmax(x, 0.0f) + log1p(exp(-fabs(x))))
#ifdef ACTIVATION
#define ACTIVATE(x, alpha, scale, shift) ACTIVATION(x, alpha, scale, shift)
#endif
