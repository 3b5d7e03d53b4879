/* Products of a weight with BLOCK rows at once, and of two blocks with each other.
 *
 * Blocks are [units][BLOCK]. A tile of up to TALL outputs and two vectors of rows stays in
 * registers while the inputs go by. */

typedef REAL FN(vector)
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define PAIR (2 * LANES)
#define TALL 6

static ALWAYS FN(vector) FN(load)(const REAL *p) { return *(const FN(vector) *)p; }
static ALWAYS void FN(store)(REAL *p, FN(vector) v) { *(FN(vector) *)p = v; }
static ALWAYS FN(vector) FN(spread)(REAL s) { return s - (FN(vector)){}; }

/* out[m] = bias[m] + sum over k of weight[m][k] in[k], for `tall` outputs. */
static ALWAYS void FN(product_tile)(const int tall, const REAL *weight, int64_t pitch,
                                    const REAL *bias, int64_t begin, int64_t end, const REAL *in,
                                    REAL *out) {
  for (int c = 0; c < BLOCK; c += PAIR) {
    FN(vector) low[TALL], high[TALL];
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) low[m] = high[m] = FN(spread)(bias ? bias[m] : (REAL)0);
    const REAL *from = in + begin * BLOCK + c;
    for (int64_t k = begin; k < end; k++, from += BLOCK) {
      FN(vector) a = FN(load)(from), b = FN(load)(from + LANES);
#pragma GCC unroll 6
      for (int m = 0; m < tall; m++) {
        REAL w = weight[m * pitch + k];
        low[m] += w * a;
        high[m] += w * b;
      }
    }
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) {
      FN(store)(out + m * BLOCK + c, low[m]);
      FN(store)(out + m * BLOCK + c + LANES, high[m]);
    }
  }
}

/* How many of `left` outputs the next tile takes, so that tiles are of nearly equal size. */
static ALWAYS int64_t FN(share_of)(int64_t left) {
  int64_t tiles = (left + TALL - 1) / TALL;
  return (left + tiles - 1) / tiles;
}

/* Outputs first … last of a linear layer; out holds the first of them. With `limit`, output o reads
 * the inputs before limit[o]; with `start` those from start[o] on. */
static void FN(product)(const REAL *weight, int64_t pitch, const REAL *bias, int64_t inputs,
                        const int64_t *limit, const int64_t *start, int64_t first, int64_t last,
                        const REAL *in, REAL *out) {
  for (int64_t o = first; o < last;) {
    int64_t take = FN(share_of)(last - o);
    int64_t end = limit ? limit[o + take - 1] : inputs, begin = start ? start[o] : 0;
    const REAL *w = weight + o * pitch, *b = bias ? bias + o : 0;
    REAL *to = out + (o - first) * BLOCK;
    switch (take) {
      case 1: FN(product_tile)(1, w, pitch, b, begin, end, in, to); break;
      case 2: FN(product_tile)(2, w, pitch, b, begin, end, in, to); break;
      case 3: FN(product_tile)(3, w, pitch, b, begin, end, in, to); break;
      case 4: FN(product_tile)(4, w, pitch, b, begin, end, in, to); break;
      case 5: FN(product_tile)(5, w, pitch, b, begin, end, in, to); break;
      default: FN(product_tile)(6, w, pitch, b, begin, end, in, to); break;
    }
    o += take;
  }
}

/* sum[m][k] += sum over rows of g[m][row] turned[row][k], for `tall` outputs and k < width. */
static ALWAYS void FN(outer_tile)(const int tall, const REAL *g, const REAL *turned, int64_t pitch,
                                  int64_t width, REAL *sum) {
  for (int64_t k = 0; k < width; k += PAIR) {
    FN(vector) low[TALL], high[TALL];
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) low[m] = high[m] = FN(spread)(0);
    const REAL *from = turned + k;
    for (int v = 0; v < BLOCK; v++, from += pitch) {
      FN(vector) a = FN(load)(from), b = FN(load)(from + LANES);
#pragma GCC unroll 6
      for (int m = 0; m < tall; m++) {
        REAL s = g[m * BLOCK + v];
        low[m] += s * a;
        high[m] += s * b;
      }
    }
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) {
      REAL *to = sum + m * pitch + k; /* only now: sums of sums round less */
      FN(store)(to, FN(load)(to) + low[m]);
      FN(store)(to + LANES, FN(load)(to + LANES) + high[m]);
    }
  }
}

/* What a block adds to the gradient of a weight: g [outputs][BLOCK], turned [BLOCK][pitch], whose
 * pitch is a whole number of tiles; entries beyond `limit` are left to the reader to drop. */
static void FN(outer)(const REAL *g, const REAL *turned, int64_t pitch, int64_t inputs,
                      const int64_t *limit, int64_t outputs, REAL *sum) {
  for (int64_t o = 0; o < outputs;) {
    int64_t take = FN(share_of)(outputs - o), width = limit ? limit[o + take - 1] : inputs;
    const REAL *from = g + o * BLOCK;
    REAL *to = sum + o * pitch;
    switch (take) {
      case 1: FN(outer_tile)(1, from, turned, pitch, width, to); break;
      case 2: FN(outer_tile)(2, from, turned, pitch, width, to); break;
      case 3: FN(outer_tile)(3, from, turned, pitch, width, to); break;
      case 4: FN(outer_tile)(4, from, turned, pitch, width, to); break;
      case 5: FN(outer_tile)(5, from, turned, pitch, width, to); break;
      default: FN(outer_tile)(6, from, turned, pitch, width, to); break;
    }
    o += take;
  }
}

static ALWAYS int64_t FN(pitch_of)(int64_t inputs) {
  return (inputs + PAIR - 1) / PAIR * PAIR;
}

/* [units][BLOCK] as [BLOCK][pitch], with zeros behind the units. */
static void FN(turn)(const REAL *block, int64_t units, int64_t pitch, REAL *turned) {
  for (int64_t k = 0; k < units; k++)
    for (int v = 0; v < BLOCK; v++) turned[v * pitch + k] = block[k * BLOCK + v];
  for (int v = 0; v < BLOCK; v++)
    for (int64_t k = units; k < pitch; k++) turned[v * pitch + k] = 0;
}

/* Hidden units of BLOCK rows, in place. */
static void FN(activate)(int64_t kind, int64_t count, const REAL *before, REAL *after) {
  if (kind == RELU)
    for (int64_t i = 0; i < count; i++) after[i] = before[i] < 0 ? (REAL)0 : before[i];
  else if (kind == TANH)
    for (int64_t i = 0; i < count; i++) after[i] = FN(tanh)(before[i]);
  else if (kind == ELU)
    for (int64_t i = 0; i < count; i++) {
      REAL x = before[i], a = FN(absolute)(x);
      /* exp(x) - 1 without cancellation: 2 tanh(x/2) / (1 - tanh(x/2)) */
      REAL t = FN(tanh)((REAL)-0.5 * a);
      after[i] = x > 0 ? x : (REAL)2 * t / ((REAL)1 - t);
    }
  else
    for (int64_t i = 0; i < count; i++) after[i] = before[i] * FN(sigmoid)(before[i]);
}

/* Gradients of hidden units times the slope of the activation; `kept` is what SiLU was given, and
 * what the others gave. */
static void FN(through_activation)(int64_t kind, int64_t count, const REAL *kept, REAL *g) {
  if (kind == RELU)
    for (int64_t i = 0; i < count; i++) g[i] = kept[i] <= 0 ? (REAL)0 : g[i];
  else if (kind == TANH)
    for (int64_t i = 0; i < count; i++) g[i] *= (REAL)1 - kept[i] * kept[i];
  else if (kind == ELU)
    for (int64_t i = 0; i < count; i++) g[i] *= kept[i] > 0 ? (REAL)1 : kept[i] + (REAL)1;
  else
    for (int64_t i = 0; i < count; i++) {
      REAL s = FN(sigmoid)(kept[i]);
      g[i] *= s * ((REAL)1 + kept[i] * ((REAL)1 - s));
    }
}
