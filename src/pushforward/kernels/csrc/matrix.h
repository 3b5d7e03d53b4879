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
                                    const REAL *bias, int64_t end, const REAL *in, REAL *out) {
  for (int c = 0; c < BLOCK; c += PAIR) {
    FN(vector) low[TALL], high[TALL];
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) low[m] = high[m] = FN(spread)(bias ? bias[m] : (REAL)0);
    const REAL *from = in + c;
    for (int64_t k = 0; k < end; k++, from += BLOCK) {
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

/* One output alone, with all rows at once, so that sums need not wait for each other. */
static ALWAYS void FN(product_row)(const REAL *weight, const REAL *bias, int64_t end,
                                   const REAL *in, REAL *out) {
  FN(vector) sum[BLOCK / LANES];
#pragma GCC unroll 16
  for (int c = 0; c < BLOCK / LANES; c++) sum[c] = FN(spread)(bias ? *bias : (REAL)0);
  for (int64_t k = 0; k < end; k++, in += BLOCK) {
    REAL w = weight[k];
#pragma GCC unroll 16
    for (int c = 0; c < BLOCK / LANES; c++) sum[c] += w * FN(load)(in + c * LANES);
  }
#pragma GCC unroll 16
  for (int c = 0; c < BLOCK / LANES; c++) FN(store)(out + c * LANES, sum[c]);
}

/* How many of `left` outputs the next tile takes, so that tiles are of nearly equal size. */
static ALWAYS int64_t FN(share_of)(int64_t left) {
  int64_t tiles = (left + TALL - 1) / TALL;
  return (left + tiles - 1) / tiles;
}

/* Outputs first … last of a linear layer; out holds the first of them. With `limit`, output o reads
 * the inputs before limit[o]. */
static void FN(product)(const REAL *weight, const REAL *bias, int64_t inputs, const int64_t *limit,
                        int64_t first, int64_t last, const REAL *in, REAL *out) {
  for (int64_t o = first; o < last;) {
    int64_t take = FN(share_of)(last - o);
    int64_t end = limit ? limit[o + take - 1] : inputs;
    const REAL *w = weight + o * inputs, *b = bias ? bias + o : 0;
    REAL *to = out + (o - first) * BLOCK;
    switch (take) {
      case 1: FN(product_row)(w, b, end, in, to); break;
      case 2: FN(product_tile)(2, w, inputs, b, end, in, to); break;
      case 3: FN(product_tile)(3, w, inputs, b, end, in, to); break;
      case 4: FN(product_tile)(4, w, inputs, b, end, in, to); break;
      case 5: FN(product_tile)(5, w, inputs, b, end, in, to); break;
      default: FN(product_tile)(6, w, inputs, b, end, in, to); break;
    }
    o += take;
  }
}

/* out[m] = sum over o of weight[o][m] g[o], for `tall` inputs: the way back. */
static ALWAYS void FN(back_tile)(const int tall, const REAL *weight, int64_t pitch, int64_t begin,
                                 int64_t end, const REAL *g, REAL *out) {
  for (int c = 0; c < BLOCK; c += PAIR) {
    FN(vector) low[TALL], high[TALL];
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) low[m] = high[m] = FN(spread)(0);
    const REAL *from = g + begin * BLOCK + c, *w = weight + begin * pitch;
    for (int64_t o = begin; o < end; o++, from += BLOCK, w += pitch) {
      FN(vector) a = FN(load)(from), b = FN(load)(from + LANES);
#pragma GCC unroll 6
      for (int m = 0; m < tall; m++) {
        REAL one = w[m];
        low[m] += one * a;
        high[m] += one * b;
      }
    }
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) {
      FN(store)(out + m * BLOCK + c, low[m]);
      FN(store)(out + m * BLOCK + c + LANES, high[m]);
    }
  }
}

/* Gradients of all inputs of a linear layer; with `start`, input k is read by outputs from start[k]
 * on. */
static void FN(back_product)(const REAL *weight, int64_t inputs, int64_t outputs,
                             const int64_t *start, const REAL *g, REAL *out) {
  for (int64_t k = 0; k < inputs;) {
    int64_t take = FN(share_of)(inputs - k), begin = start ? start[k] : 0;
    const REAL *w = weight + k;
    REAL *to = out + k * BLOCK;
    switch (take) {
      case 1: FN(back_tile)(1, w, inputs, begin, outputs, g, to); break;
      case 2: FN(back_tile)(2, w, inputs, begin, outputs, g, to); break;
      case 3: FN(back_tile)(3, w, inputs, begin, outputs, g, to); break;
      case 4: FN(back_tile)(4, w, inputs, begin, outputs, g, to); break;
      case 5: FN(back_tile)(5, w, inputs, begin, outputs, g, to); break;
      default: FN(back_tile)(6, w, inputs, begin, outputs, g, to); break;
    }
    k += take;
  }
}

/* The two sides of a product of blocks: g [outputs][BLOCK], blocks `step` numbers apart, and turned
 * [BLOCK][pitch], block after block. */
typedef struct {
  const REAL *g, *turned;
  int64_t step, blocks, pitch;
} FN(sides);

/* sum[m][k] (+)= sum over rows of g[m][row] turned[row][k], for `tall` outputs and k < width. */
static ALWAYS void FN(outer_tile)(const int tall, const FN(sides) *of, int64_t first,
                                  int64_t width, int anew, REAL *sum) {
  int64_t pitch = of->pitch;
  for (int64_t k = 0; k < width; k += PAIR) {
    FN(vector) low[TALL], high[TALL];
#pragma GCC unroll 6
    for (int m = 0; m < tall; m++) low[m] = high[m] = FN(spread)(0);
    const REAL *from = of->turned + k, *g = of->g + first * BLOCK;
    for (int64_t block = 0; block < of->blocks; block++, g += of->step)
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
      REAL *to = sum + m * pitch + k; /* added only now: sums of sums round less */
      if (!anew) low[m] += FN(load)(to), high[m] += FN(load)(to + LANES);
      FN(store)(to, low[m]);
      FN(store)(to + LANES, high[m]);
    }
  }
}

/* What blocks add to the gradient of a weight, or begin it with. The pitch is a whole number of
 * tiles; what is beyond `limit` means nothing. */
static void FN(outer)(const FN(sides) *of, int64_t inputs, const int64_t *limit, int64_t outputs,
                      int anew, REAL *sum) {
  for (int64_t o = 0; o < outputs;) {
    int64_t take = FN(share_of)(outputs - o), width = limit ? limit[o + take - 1] : inputs;
    REAL *to = sum + o * of->pitch;
    switch (take) {
      case 1: FN(outer_tile)(1, of, o, width, anew, to); break;
      case 2: FN(outer_tile)(2, of, o, width, anew, to); break;
      case 3: FN(outer_tile)(3, of, o, width, anew, to); break;
      case 4: FN(outer_tile)(4, of, o, width, anew, to); break;
      case 5: FN(outer_tile)(5, of, o, width, anew, to); break;
      default: FN(outer_tile)(6, of, o, width, anew, to); break;
    }
    o += take;
  }
}

static ALWAYS int64_t FN(pitch_of)(int64_t inputs) {
  return (inputs + PAIR - 1) / PAIR * PAIR;
}

#if defined(SINGLE) && defined(__GNUC__) && !defined(__clang__)
#define SQUARE 8
typedef float FN(eight) __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t FN(order) __attribute__((vector_size(32)));

/* Eight units of eight rows: neighbours change places in pairs, then pairs, then halves. */
static ALWAYS void FN(turn_square)(const REAL *block, int64_t pitch, REAL *turned) {
  const FN(order) one = {0, 8, 1, 9, 4, 12, 5, 13}, other = {2, 10, 3, 11, 6, 14, 7, 15};
  const FN(order) pair = {0, 1, 8, 9, 4, 5, 12, 13}, rest = {2, 3, 10, 11, 6, 7, 14, 15};
  const FN(order) low = {0, 1, 2, 3, 8, 9, 10, 11}, high = {4, 5, 6, 7, 12, 13, 14, 15};
  FN(eight) r[8], t[8], u[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) r[i] = *(const FN(eight) *)(block + i * BLOCK);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shuffle(r[i], r[i + 1], one);
    t[i + 1] = __builtin_shuffle(r[i], r[i + 1], other);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = __builtin_shuffle(t[i], t[i + 2], pair);
    u[i + 1] = __builtin_shuffle(t[i], t[i + 2], rest);
    u[i + 2] = __builtin_shuffle(t[i + 1], t[i + 3], pair);
    u[i + 3] = __builtin_shuffle(t[i + 1], t[i + 3], rest);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    *(FN(eight) *)(turned + i * pitch) = __builtin_shuffle(u[i], u[i + 4], low);
    *(FN(eight) *)(turned + (i + 4) * pitch) = __builtin_shuffle(u[i], u[i + 4], high);
  }
}
#else
#define SQUARE 1
static ALWAYS void FN(turn_square)(const REAL *block, int64_t pitch, REAL *turned) {
  (void)pitch;
  turned[0] = block[0];
}
#endif

/* [units][BLOCK] as [BLOCK][pitch], with zeros behind the units. */
static void FN(turn)(const REAL *block, int64_t units, int64_t pitch, REAL *turned) {
  int64_t whole = units / SQUARE * SQUARE;
  for (int64_t k = 0; k < whole; k += SQUARE)
    for (int v = 0; v < BLOCK; v += SQUARE)
      FN(turn_square)(block + k * BLOCK + v, pitch, turned + v * pitch + k);
  for (int64_t k = whole; k < units; k++)
    for (int v = 0; v < BLOCK; v++) turned[v * pitch + k] = block[k * BLOCK + v];
  for (int v = 0; v < BLOCK; v++)
    for (int64_t k = units; k < pitch; k++) turned[v * pitch + k] = 0;
}
#undef SQUARE

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
