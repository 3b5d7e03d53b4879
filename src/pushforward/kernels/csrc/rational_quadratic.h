/* The monotone rational-quadratic spline (arXiv:1906.04032) on BLOCK numbers of one feature.
 *
 * maps/splines/rational_quadratic.py defines it. Positions are in units of the box; only what the
 * bin of a number needs is computed of its slopes, and backward computes again rather than read. */

#define EACH_ROW for (int v = 0; v < BLOCK; v++)

/* The bin that each number falls in, and what of its parameters the bin depends on. */
typedef struct {
  REAL u[BLOCK], over[BLOCK];                      /* position in the box, and how far outside it */
  REAL x0[BLOCK], x1[BLOCK], y0[BLOCK], y1[BLOCK]; /* knots */
  REAL free0[BLOCK], free1[BLOCK];                 /* parameters of the slopes at the knots, */
  REAL seen0[BLOCK], seen1[BLOCK];                 /* what softplus sees of them, */
  REAL bend0[BLOCK], bend1[BLOCK];                 /* and its derivative by the parameter */
  REAL slope0[BLOCK], slope1[BLOCK];
  INT index[BLOCK];
} FN(bin);

static ALWAYS void FN(spline_box)(const map_t *m, int64_t feature, REAL *low, REAL *size) {
  int64_t at = feature * m->box_step;
  *low = ((const REAL *)m->low)[at];
  *size = ((const REAL *)m->high)[at] - *low;
}

/* Shares of the box from their logits, [terms][BLOCK]: a softmax. */
static ALWAYS void FN(spline_shares)(int bins, const REAL *logits, REAL *share) {
  REAL top[BLOCK], sum[BLOCK];
  EACH_ROW top[v] = logits[v], sum[v] = 0;
  for (int j = 1; j < bins; j++)
    EACH_ROW top[v] = FN(larger)(logits[j * BLOCK + v], top[v]);
  for (int j = 0; j < bins; j++)
    EACH_ROW {
      REAL e = FN(exp)(logits[j * BLOCK + v] - top[v]);
      share[j * BLOCK + v] = e;
      sum[v] += e;
    }
  EACH_ROW sum[v] = (REAL)1 / sum[v];
  for (int j = 0; j < bins; j++)
    EACH_ROW share[j * BLOCK + v] *= sum[v];
}

/* Knots, [bins + 1][BLOCK]; the first is exactly 0, the last exactly 1. */
static ALWAYS void FN(spline_knots)(int bins, REAL least, const REAL *share, REAL *knot) {
  REAL rest = (REAL)1 - bins * least;
  EACH_ROW knot[v] = 0;
  for (int j = 1; j < bins; j++)
    EACH_ROW knot[j * BLOCK + v] =
        knot[(j - 1) * BLOCK + v] + (share[(j - 1) * BLOCK + v] * rest + least);
  EACH_ROW knot[bins * BLOCK + v] = 1;
}

/* The parameters of the slope at a knot; `fixed`, zeros, where there are none. */
static ALWAYS const REAL *FN(slope_of)(const map_t *m, const REAL *raw, int knot,
                                       const REAL *fixed) {
  int bins = (int)m->terms;
  const REAL *slopes = raw + 2 * bins * BLOCK;
  if (m->tails == IDENTITY)
    return knot == 0 || knot == bins ? fixed : slopes + (knot - 1) * BLOCK;
  return slopes + (m->tails == CIRCULAR ? knot % bins : knot) * BLOCK;
}

/* A linear tail's slope is bounded: what softplus sees is 2 tanh(free / 2). */
static ALWAYS REAL FN(bounded_end)(REAL free, REAL *bend) {
  REAL t = FN(tanh)((REAL)0.5 * free);
  *bend = (REAL)1 - t * t;
  return (REAL)2 * t;
}

static ALWAYS void FN(spline_slopes)(const map_t *m, FN(bin) *b) {
  INT last = m->tails == LINEAR ? (INT)m->terms - 1 : -1, first = m->tails == LINEAR ? 0 : -1;
  REAL offset = (REAL)m->offset, least = (REAL)m->min_slope;
  if (m->tails == LINEAR && last > 0) { /* at most one of the two knots of a bin is an end */
    EACH_ROW {
      int left = b->index[v] == first, right = b->index[v] == last;
      REAL f0 = b->free0[v], f1 = b->free1[v], bend;
      REAL value = FN(bounded_end)(left ? f0 : f1, &bend);
      b->seen0[v] = (left ? value : f0) + offset;
      b->seen1[v] = (right ? value : f1) + offset;
      b->bend0[v] = left ? bend : (REAL)1;
      b->bend1[v] = right ? bend : (REAL)1;
    }
  } else if (m->tails == LINEAR) {
    EACH_ROW {
      b->seen0[v] = FN(bounded_end)(b->free0[v], &b->bend0[v]) + offset;
      b->seen1[v] = FN(bounded_end)(b->free1[v], &b->bend1[v]) + offset;
    }
  } else {
    EACH_ROW {
      b->seen0[v] = b->free0[v] + offset;
      b->seen1[v] = b->free1[v] + offset;
      b->bend0[v] = b->bend1[v] = 1;
    }
  }
  EACH_ROW {
    b->slope0[v] = FN(softplus)(b->seen0[v]) + least;
    b->slope1[v] = FN(softplus)(b->seen1[v]) + least;
  }
}

/* Where numbers stand in their box, and their bins; `upward` looks along y, for the inverse.
 * share: [2 bins][BLOCK], filled with the shares of widths, then of heights. */
static void FN(spline_find)(const map_t *m, int64_t feature, const REAL *x, const REAL *raw,
                            int upward, REAL *share, FN(bin) *b) {
  int bins = (int)m->terms;
  REAL knot[2 * (MOST_TERMS + 1) * BLOCK], fixed[BLOCK], low, size;
  REAL *across = knot, *up = knot + (bins + 1) * BLOCK;
  FN(spline_box)(m, feature, &low, &size);
  if (m->tails == CIRCULAR) {
    EACH_ROW {
      REAL u = (x[v] - low) / size;
      b->u[v] = FN(clamped)(u - FLOOR(u), (REAL)0, (REAL)1);
      b->over[v] = 0;
    }
  } else {
    REAL high = ((const REAL *)m->high)[feature * m->box_step];
    EACH_ROW {
      REAL at = FN(clamped)(x[v], low, high);
      b->over[v] = x[v] == at ? (REAL)0 : x[v] - at;
      b->u[v] = (at - low) / size;
    }
  }
  EACH_ROW fixed[v] = 0;
  FN(spline_shares)(bins, raw, share);
  FN(spline_shares)(bins, raw + bins * BLOCK, share + bins * BLOCK);
  FN(spline_knots)(bins, (REAL)m->min_width, share, across);
  FN(spline_knots)(bins, (REAL)m->min_height, share + bins * BLOCK, up);
  EACH_ROW {
    b->index[v] = 0;
    b->x0[v] = b->y0[v] = b->free0[v] = b->free1[v] = 0;
    b->x1[v] = b->y1[v] = 1;
  }
  /* Knots rise: the left one is the largest behind the number, the right one the smallest ahead.
   * What is compared so that the second operand wins lets nan through. */
  for (int j = 1; j < bins; j++) {
    const REAL *along = (upward ? up : across) + j * BLOCK;
    const REAL *xs = across + j * BLOCK, *ys = up + j * BLOCK;
    EACH_ROW {
      int behind = b->u[v] >= along[v];
      REAL ax = xs[v], ay = ys[v];
      REAL x0 = behind ? ax : (REAL)0, y0 = behind ? ay : (REAL)0;
      REAL x1 = behind ? (REAL)1 : ax, y1 = behind ? (REAL)1 : ay;
      b->index[v] += behind;
      b->x0[v] = FN(larger)(b->x0[v], x0);
      b->y0[v] = FN(larger)(b->y0[v], y0);
      b->x1[v] = b->x1[v] < x1 ? b->x1[v] : x1;
      b->y1[v] = b->y1[v] < y1 ? b->y1[v] : y1;
    }
  }
  for (int j = 0; j < bins; j++) {
    const REAL *left = FN(slope_of)(m, raw, j, fixed);
    const REAL *right = FN(slope_of)(m, raw, j + 1, fixed);
    EACH_ROW {
      REAL l = left[v], r = right[v];
      b->free0[v] += b->index[v] == j ? l : (REAL)0;
      b->free1[v] += b->index[v] == j ? r : (REAL)0;
    }
  }
  FN(spline_slopes)(m, b);
}

/* What is outside the box, as numbers, so that loops have no branches: the slope there is
 * `own` times that of the outermost knot, plus `fixed`. */
typedef struct {
  REAL own, fixed;
} FN(tail);

static ALWAYS FN(tail) FN(tail_of)(const map_t *m) {
  FN(tail) tail = {m->tails == LINEAR ? (REAL)1 : (REAL)0, m->tails == IDENTITY ? (REAL)1 : (REAL)0};
  return tail;
}

static ALWAYS void FN(spline_forward)(const map_t *m, int64_t feature, const REAL *x,
                                      const REAL *raw, REAL *z, REAL *log_derivative) {
  REAL share[2 * MOST_TERMS * BLOCK], low, size;
  FN(bin) b;
  FN(spline_box)(m, feature, &low, &size);
  FN(spline_find)(m, feature, x, raw, 0, share, &b);
  FN(tail) outer = FN(tail_of)(m);
  EACH_ROW {
    REAL w = b.x1[v] - b.x0[v], h = b.y1[v] - b.y0[v], s = h / w;
    REAL xi = FN(clamped)((b.u[v] - b.x0[v]) / w, (REAL)0, (REAL)1);
    REAL q = xi * ((REAL)1 - xi), rest = (REAL)1 - xi;
    REAL below = s + (b.slope1[v] + b.slope0[v] - (REAL)2 * s) * q;
    REAL rise = h * (s * xi * xi + b.slope0[v] * q) / below;
    REAL above = b.slope1[v] * xi * xi + (REAL)2 * s * q + b.slope0[v] * rest * rest;
    REAL ratio = s / below, value = low + size * (b.y0[v] + rise), over = b.over[v];
    REAL s0 = b.slope0[v], s1 = b.slope1[v];
    REAL tail = outer.own * (over > 0 ? s1 : s0) + outer.fixed;
    /* where there is no tail, the logarithm of 0 says that there is nothing */
    REAL within = ratio * ratio * above, slope = over == 0 ? within : tail;
    z[v] = value + over * tail;
    log_derivative[v] = FN(log)(slope);
  }
}

/* Root in [0, 1] of a xi^2 + b xi + c, on the branch that does not cancel. */
static ALWAYS REAL FN(spline_root)(REAL a, REAL b, REAL c) {
  REAL small = REAL_EPS * b, least = small * small + REAL_TINY;
  REAL disc = FN(larger)(b * b - (REAL)4 * a * c, least);
  REAL far = FN(absolute)(b) + FN(root)(disc);
  REAL above = b >= 0 ? (REAL)-2 * c : far, below = b >= 0 ? far : (REAL)2 * a;
  int safe = FN(absolute)(below) > REAL_TINY;
  REAL root = above / (safe ? below : (REAL)1);
  return FN(clamped)(safe ? root : (REAL)0, (REAL)0, (REAL)1);
}

/* Where in its bin the spline has risen so far, by the formula and one Newton step, which takes the
 * last digits back; on a flat piece the slope may round to 0. */
static ALWAYS REAL FN(spline_position)(REAL rise, REAL h, REAL s, REAL d0, REAL d1) {
  REAL excess = d1 + d0 - (REAL)2 * s, bend = rise * excess;
  REAL xi = FN(spline_root)(h * (s - d0) + bend, h * d0 - bend, -s * rise);
  REAL q = xi * ((REAL)1 - xi), turn = (REAL)1 - (REAL)2 * xi;
  REAL gap = h * (s * xi * xi + d0 * q) - rise * (s + excess * q);
  REAL steep = h * ((REAL)2 * s * xi + d0 * turn) - rise * excess * turn;
  xi = xi - gap / FN(larger)(steep, REAL_EPS * h * (s + d0 + d1));
  return FN(clamped)(xi, (REAL)0, (REAL)1);
}

static ALWAYS void FN(spline_inverse)(const map_t *m, int64_t feature, const REAL *z,
                                      const REAL *raw, REAL *x, REAL *log_derivative) {
  REAL share[2 * MOST_TERMS * BLOCK], low, size;
  FN(bin) b;
  FN(spline_box)(m, feature, &low, &size);
  FN(spline_find)(m, feature, z, raw, 1, share, &b);
  FN(tail) outer = FN(tail_of)(m);
  EACH_ROW {
    REAL w = b.x1[v] - b.x0[v], h = b.y1[v] - b.y0[v], s = h / w;
    REAL d0 = b.slope0[v], d1 = b.slope1[v], excess = d1 + d0 - (REAL)2 * s;
    REAL xi = FN(spline_position)(b.u[v] - b.y0[v], h, s, d0, d1);
    REAL q = xi * ((REAL)1 - xi);
    REAL rest = (REAL)1 - xi, below = s + excess * q;
    REAL above = d1 * xi * xi + (REAL)2 * s * q + d0 * rest * rest;
    REAL ratio = s / below, value = low + size * (b.x0[v] + xi * w), over = b.over[v];
    REAL tail = outer.own * (over > 0 ? d1 : d0) + outer.fixed;
    REAL flat = tail == 0 ? (REAL)1 : tail, beyond = tail == 0 ? (REAL)0 : over / flat;
    REAL within = ratio * ratio * above;
    REAL log_slope = FN(log)(over == 0 ? within : flat);
    x[v] = value + beyond;
    log_derivative[v] = (over != 0) & (tail == 0) ? -(REAL)__builtin_inf() : -log_slope;
  }
}

/* Gradients from those of the results, at the number x on the side of the data. For the inverse,
 * with A = grad_x - grad_log l' where l is the log-slope, those of the function theorem:
 * grad_z = A / h', and the parameters get what forward would give them for (-A / h', -grad_log).
 * `given` is what the direction was applied to. */
static ALWAYS void FN(spline_backward)(const map_t *m, int64_t feature, int inverse, const REAL *x,
                                       const REAL *given, const REAL *raw, const REAL *grad_value,
                                       const REAL *grad_log, REAL *grad_given, REAL *grad_raw) {
  int bins = (int)m->terms;
  int64_t tails = m->tails;
  REAL share[2 * MOST_TERMS * BLOCK], low, size;
  REAL gx0[BLOCK], gx1[BLOCK], gy0[BLOCK], gy1[BLOCK], g0[BLOCK], g1[BLOCK];
  FN(bin) b;
  FN(spline_box)(m, feature, &low, &size);
  REAL high = ((const REAL *)m->high)[feature * m->box_step];
  /* The place in the bin is that of what was given, more exact than what x was rounded to. */
  REAL place[BLOCK];
  FN(spline_find)(m, feature, given, raw, inverse, share, &b);
  if (inverse)
    EACH_ROW {
      REAL h = b.y1[v] - b.y0[v], s = h / (b.x1[v] - b.x0[v]);
      place[v] = FN(spline_position)(b.u[v] - b.y0[v], h, s, b.slope0[v], b.slope1[v]);
      b.over[v] = x[v] - FN(clamped)(x[v], low, high);
    }
  else
    EACH_ROW place[v] = FN(clamped)((b.u[v] - b.x0[v]) / (b.x1[v] - b.x0[v]), (REAL)0, (REAL)1);
  FN(tail) outer = FN(tail_of)(m);
  /* What lay outside is told by what was given: x may have been rounded to an end of the box. */
  REAL least = tails == CIRCULAR ? -(REAL)__builtin_inf() : low;
  REAL most = tails == CIRCULAR ? (REAL)__builtin_inf() : high;
  REAL turned = inverse ? (REAL)1 : (REAL)0;
  EACH_ROW {
    REAL w = b.x1[v] - b.x0[v], h = b.y1[v] - b.y0[v], s = h / w;
    REAL d0 = b.slope0[v], d1 = b.slope1[v], over = b.over[v], xi = place[v];
    REAL rest = (REAL)1 - xi, q = xi * rest, turn = (REAL)1 - (REAL)2 * xi;
    REAL excess = d1 + d0 - (REAL)2 * s, below = s + excess * q;
    REAL numerator = s * xi * xi + d0 * q;
    REAL above = d1 * xi * xi + (REAL)2 * s * q + d0 * rest * rest;
    REAL ib = (REAL)1 / below, ia = (REAL)1 / above, ratio = s * ib;
    REAL was = given[v];
    int under = was < least, past = was > most, outside = under | past;
    REAL edge = past ? d1 : d0;
    REAL tail = outer.own * edge + outer.fixed;
    REAL within = ratio * ratio * above, slope = outside ? tail : within;
    /* of the log-slope by xi */
    REAL log_xi = ((REAL)2 * (d1 * xi - d0 * rest + s * turn)) * ia
                  - (REAL)2 * excess * turn * ib;
    REAL up = grad_value[v], gl = grad_log[v], given_up = up;
    REAL along = up - gl * (outside ? (REAL)0 : log_xi / (w * size));
    REAL divisor = slope == 0 ? (REAL)1 : slope;
    REAL back = slope == 0 ? (REAL)0 : along / divisor;
    up = turned == 0 ? up : -back;
    gl = turned == 0 ? gl : -gl;
    REAL gv = outside ? (REAL)0 : up * size, gi = outside ? (REAL)0 : gl;
    /* of the inverse what the logarithm adds cancels; its rounding would not */
    REAL along_bin = turned == 0 ? gv * (w * within) + gi * log_xi : -given_up * (size * w);
    REAL gxi = outside ? (REAL)0 : along_bin;
    REAL flat = h * ib * ib;
    REAL gs = gv * flat * (xi * xi * below - numerator * ((REAL)1 - (REAL)2 * q))
              + gi * ((REAL)2 / s - (REAL)2 * ((REAL)1 - (REAL)2 * q) * ib + (REAL)2 * q * ia);
    REAL gd0 = gv * flat * q * (below - numerator) + gi * (rest * rest * ia - (REAL)2 * q * ib);
    REAL gd1 = -gv * flat * q * numerator + gi * (xi * xi * ia - (REAL)2 * q * ib);
    REAL iw = (REAL)1 / w;
    REAL gw = -gxi * xi * iw - gs * s * iw, gh = gv * numerator * ib + gs * iw;
    gx0[v] = -gxi * iw - gw;
    int last = b.index[v] == bins - 1; /* whose right knot is pinned */
    gx1[v] = last ? (REAL)0 : gw;
    gy0[v] = gv - gh;
    gy1[v] = last ? (REAL)0 : gh;
    REAL inner = gxi * iw / size, tailed = up * tail;
    REAL ahead = outside ? tailed : inner;
    grad_given[v] = turned == 0 ? ahead : back;
    /* a linear tail goes on with the slope of the outermost knot */
    REAL by_tail = outer.own * (up * over + gl / edge);
    gd0 += under ? by_tail : (REAL)0;
    gd1 += past ? by_tail : (REAL)0;
    g0[v] = gd0 * b.bend0[v] * FN(sigmoid)(b.seen0[v]);
    g1[v] = gd1 * b.bend1[v] * FN(sigmoid)(b.seen1[v]);
  }
  for (int axis = 0; axis < 2; axis++) {
    const REAL *p = share + axis * bins * BLOCK, *ga = axis ? gy0 : gx0, *gb = axis ? gy1 : gx1;
    REAL rest = (REAL)1 - bins * (REAL)(axis ? m->min_height : m->min_width);
    REAL before[BLOCK], at[BLOCK], mean[BLOCK];
    EACH_ROW before[v] = at[v] = 0;
    for (int j = 0; j < bins; j++)
      EACH_ROW {
        REAL one = p[j * BLOCK + v];
        before[v] += j < b.index[v] ? one : (REAL)0;
        at[v] += j == b.index[v] ? one : (REAL)0;
      }
    EACH_ROW mean[v] = (ga[v] + gb[v]) * before[v] + gb[v] * at[v];
    for (int j = 0; j < bins; j++)
      EACH_ROW {
        REAL right = gb[v], both = ga[v] + right;
        REAL own = j < b.index[v] ? both : (REAL)0;
        own = j == b.index[v] ? right : own;
        grad_raw[(axis * bins + j) * BLOCK + v] = rest * p[j * BLOCK + v] * (own - mean[v]);
      }
  }
  int slopes = (int)m->width - 2 * bins;
  REAL *grad_slopes = grad_raw + 2 * bins * BLOCK;
  int shift = tails == IDENTITY ? 1 : 0;
  INT wrap = tails == CIRCULAR ? bins - 1 : bins; /* the bin whose right knot is the first one */
  for (int j = 0; j < slopes; j++)
    EACH_ROW {
      INT knot = j + shift, left = b.index[v], right = left == wrap ? 0 : left + 1;
      REAL a = g0[v], c = g1[v];
      grad_slopes[j * BLOCK + v] = (left == knot ? a : (REAL)0) + (right == knot ? c : (REAL)0);
    }
}
