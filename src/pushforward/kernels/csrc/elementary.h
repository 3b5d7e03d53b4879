/* Elementary functions, written without branches so that a loop over them becomes vector code.
 *
 * They are the polynomials of the Cephes library (single precision) and series long enough for
 * 1e-16 (double precision). nan goes in and out; nothing relies on -ffast-math, which would switch
 * on flush-to-zero in the whole process. */

static ALWAYS REAL FN(absolute)(REAL x) { return x < 0 ? -x : x; }
static ALWAYS REAL FN(larger)(REAL a, REAL b) { return a > b ? a : b; }
/* The value between two ends; a nan stays one. */
static ALWAYS REAL FN(clamped)(REAL x, REAL low, REAL high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

#ifdef SINGLE
#define REAL_EPS 1.1920929e-7f
#define REAL_TINY 1.17549435e-38f

static ALWAYS float FN(bits_to_real)(int32_t i) {
  union { int32_t i; float x; } u;
  u.i = i;
  return u.x;
}
static ALWAYS int32_t FN(real_to_bits)(float x) {
  union { int32_t i; float x; } u;
  u.x = x;
  return u.i;
}

static ALWAYS float FN(exp)(float x) {
  const float magic = 12582912.0f; /* adding it rounds to a whole number */
  x = FN(clamped)(x, -104.0f, 89.0f);
  float t = x * 1.44269504088896341f + magic;
  int32_t n = FN(real_to_bits)(t) - 0x4B400000;
  float whole = t - magic;
  float r = x - whole * 0.693359375f;
  r = r + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  /* in two steps, so that the ends become subnormal numbers and infinity by themselves */
  int32_t half = n >> 1; /* shifts of unsigned numbers: nan has given any n */
  return p * FN(bits_to_real)((int32_t)((uint32_t)(half + 127) << 23))
         * FN(bits_to_real)((int32_t)((uint32_t)(n - half + 127) << 23));
}

static ALWAYS float FN(log)(float x) {
  float scaled = x < REAL_TINY ? x * 8388608.0f : x; /* subnormal numbers */
  float shift = x < REAL_TINY ? 23.0f : 0.0f;
  int32_t bits = FN(real_to_bits)(scaled);
  int32_t e = ((bits >> 23) & 0xFF) - 126;
  float m = FN(bits_to_real)((bits & 0x007FFFFF) | 0x3F000000); /* from 1/2 to 1 */
  int32_t small = m < 0.70710678118654752f;
  float f = small ? m + m - 1.0f : m - 1.0f;
  float k = (float)(e - small) - shift;
  float s = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = p * f * s;
  y = y - 2.12194440e-4f * k;
  y = y - 0.5f * s;
  float result = f + y + 0.693359375f * k;
  result = x == 0.0f ? -__builtin_inff() : result;
  result = x < 0.0f ? __builtin_nanf("") : result;
  return x < __builtin_inff() ? result : x; /* infinity, and nan */
}

static ALWAYS float FN(tanh_near)(float x) {
  float s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  return x + x * (s * p);
}
#define FAR_OUT 1.0e4f
#else
#define REAL_EPS 2.220446049250313e-16
#define REAL_TINY 2.2250738585072014e-308

static ALWAYS double FN(bits_to_real)(int64_t i) {
  union { int64_t i; double x; } u;
  u.i = i;
  return u.x;
}
static ALWAYS int64_t FN(real_to_bits)(double x) {
  union { int64_t i; double x; } u;
  u.x = x;
  return u.i;
}

static ALWAYS double FN(exp)(double x) {
  const double magic = 6755399441055744.0;
  x = FN(clamped)(x, -746.0, 710.0);
  double t = x * 1.4426950408889634074 + magic;
  int64_t n = FN(real_to_bits)(t) - 0x4338000000000000LL;
  double whole = t - magic;
  double r = x - whole * 6.93145751953125e-1;
  r = r - whole * 1.42860682030941723212e-6;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r + 1.0;
  /* halves of n without an arithmetic shift of 64 bits, which vector units lack */
  double half = (whole * 0.5 + magic) - magic;
  int64_t a = FN(real_to_bits)(half + magic) - 0x4338000000000000LL;
  return p * FN(bits_to_real)((int64_t)((uint64_t)(a + 1023) << 52))
         * FN(bits_to_real)((int64_t)((uint64_t)(n - a + 1023) << 52));
}

static ALWAYS double FN(log)(double x) {
  double scaled = x < REAL_TINY ? x * 18014398509481984.0 : x;
  double shift = x < REAL_TINY ? 54.0 : 0.0;
  int64_t bits = FN(real_to_bits)(scaled);
  double m = FN(bits_to_real)((bits & 0x000FFFFFFFFFFFFFLL) | 0x3FE0000000000000LL);
  /* the exponent as a number, without a conversion of 64 bits, which vector units lack */
  int64_t exponent = (int64_t)((uint64_t)bits >> 52) & 0x7FF;
  double e = FN(bits_to_real)(exponent | 0x4330000000000000LL) - 4503599627370496.0;
  double small = m < 0.70710678118654752440 ? 1.0 : 0.0;
  double f = m + small * m;
  double k = e - 1022.0 - small - shift;
  double g = (f - 1.0) / (f + 1.0), s = g * g;
  double p = 1.0 / 23.0;
  p = p * s + 1.0 / 21.0;
  p = p * s + 1.0 / 19.0;
  p = p * s + 1.0 / 17.0;
  p = p * s + 1.0 / 15.0;
  p = p * s + 1.0 / 13.0;
  p = p * s + 1.0 / 11.0;
  p = p * s + 1.0 / 9.0;
  p = p * s + 1.0 / 7.0;
  p = p * s + 1.0 / 5.0;
  p = p * s + 1.0 / 3.0;
  double y = 2.0 * g + 2.0 * g * (s * p) + k * 1.42860682030941723212e-6;
  double result = y + k * 6.93145751953125e-1;
  result = x == 0.0 ? -__builtin_inf() : result;
  result = x < 0.0 ? __builtin_nan("") : result;
  return x < __builtin_inf() ? result : x;
}

static ALWAYS double FN(tanh_near)(double x) {
  double s = x * x;
  double p = -9.64399179425052238628e-1;
  p = p * s - 9.92877231001918586564e1;
  p = p * s - 1.61468768441708447952e3;
  double q = s + 1.12811678491632931402e2;
  q = q * s + 2.23548839060100448583e3;
  q = q * s + 4.84406305325125486048e3;
  return x + x * (s * (p / q));
}
#define FAR_OUT 1.0e8
#endif

static ALWAYS REAL FN(root)(REAL x) { return SQRT(x); }

/* log(1 + e) for e from 0 up, to the last digits of small e. */
static ALWAYS REAL FN(log1p)(REAL e) {
  REAL w = (REAL)1 + e;
  REAL lost = e - (w - (REAL)1); /* what rounding took */
  REAL near = FN(log)(w) + lost / w;
  return e < (REAL)1e15 ? near : FN(log)(e); /* nan and infinity go through log alone */
}

static ALWAYS REAL FN(tanh)(REAL x) {
  REAL a = FN(absolute)(x);
  REAL far = (REAL)1 - (REAL)2 / (FN(exp)(a + a) + (REAL)1);
  far = x < 0 ? -far : far;
  REAL near = FN(tanh_near)(x);
  return a < (REAL)0.625 ? near : (a > (REAL)50 ? (x < 0 ? (REAL)-1 : (REAL)1) : far);
}

static ALWAYS REAL FN(sigmoid)(REAL x) { return (REAL)1 / ((REAL)1 + FN(exp)(-x)); }

static ALWAYS REAL FN(softplus)(REAL x) {
  REAL a = FN(absolute)(x);
  return FN(larger)(x, (REAL)0) + FN(log1p)(FN(exp)(-a));
}

/* What networks are shown of a number that may lie anywhere: 4 asinh(x / 4). */
static ALWAYS REAL FN(reach)(REAL x) {
  REAL t = x * (REAL)0.25, a = FN(absolute)(t);
  REAL near = FN(clamped)(a, (REAL)0, FAR_OUT); /* whose square does not overflow */
  REAL square = near * near;
  REAL close = FN(log1p)(near + square / ((REAL)1 + FN(root)((REAL)1 + square)));
  REAL far = FN(log)(a) + (REAL)0.693147180559945309417;
  REAL value = (REAL)4 * (a > FAR_OUT ? far : close);
  return t < 0 ? -value : value;
}

static ALWAYS REAL FN(reach_slope)(REAL x) {
  REAL a = FN(absolute)(x * (REAL)0.25);
  REAL near = FN(clamped)(a, (REAL)0, FAR_OUT);
  return a > FAR_OUT ? (REAL)1 / a : (REAL)1 / FN(root)((REAL)1 + near * near);
}
