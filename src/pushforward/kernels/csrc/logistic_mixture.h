/* The logit of a mixture of logistic distribution functions (arXiv:1902.00275) on BLOCK numbers,
 * scaled and shifted. maps/sigmoidal/logistic_mixture.py defines it.
 *
 * With a_j = softmax(log w_j + log sigmoid(u_j)), b_j = softmax(log w_j + log sigmoid(-u_j)) and
 * u_j = (x - mean_j) s_j the slope of the logit is a sum of positive numbers,
 *     R = sum_j a_j s_j sigmoid(-u_j) + sum_j b_j s_j sigmoid(u_j). */

#define MIXTURE_BOUND ((REAL)3)

/* exp(3 tanh(raw / 3)), and its derivative's share of it. */
static ALWAYS REAL FN(bounded_exp)(REAL raw, REAL *log, REAL *bend) {
  REAL t = FN(tanh)(raw / MIXTURE_BOUND);
  *bend = (REAL)1 - t * t;
  *log = MIXTURE_BOUND * t;
  return FN(exp)(*log);
}

/* What backward reads besides the results: all [terms][BLOCK]. */
typedef struct {
  REAL weight[MOST_TERMS * BLOCK], up[MOST_TERMS * BLOCK], down[MOST_TERMS * BLOCK];
  REAL slope[MOST_TERMS * BLOCK], bend[MOST_TERMS * BLOCK], u[MOST_TERMS * BLOCK];
  REAL gate[MOST_TERMS * BLOCK], shut[MOST_TERMS * BLOCK]; /* sigmoid(u), sigmoid(-u) */
  REAL logit[BLOCK], rise_up[BLOCK], rise_down[BLOCK];
} FN(mixture);

static void FN(mixture_read)(const map_t *m, const REAL *x, const REAL *raw,
                                    FN(mixture) *s) {
  int terms = (int)m->terms;
  const REAL *place = (const REAL *)m->low, *steep = (const REAL *)m->high;
  REAL top[BLOCK], bottom[BLOCK], up_sum[BLOCK], down_sum[BLOCK], most[BLOCK], total[BLOCK];
  EACH_ROW most[v] = raw[v], total[v] = 0, up_sum[v] = 0, down_sum[v] = 0;
  for (int j = 1; j < terms; j++)
    EACH_ROW most[v] = FN(larger)(raw[j * BLOCK + v], most[v]);
  for (int j = 0; j < terms; j++)
    EACH_ROW {
      REAL e = FN(exp)(raw[j * BLOCK + v] - most[v]);
      s->weight[j * BLOCK + v] = e;
      total[v] += e;
    }
  EACH_ROW most[v] += FN(log)(total[v]), total[v] = (REAL)1 / total[v];
  for (int j = 0; j < terms; j++)
    EACH_ROW {
      int i = j * BLOCK + v;
      REAL log, bend, mean = raw[(terms + j) * BLOCK + v] + place[j];
      REAL slope = steep[j] * FN(bounded_exp)(-raw[(2 * terms + j) * BLOCK + v], &log, &bend);
      REAL u = (x[v] - mean) * slope, log_weight = raw[i] - most[v];
      REAL e = FN(exp)(-FN(absolute)(u)), both = FN(log1p)(e);
      REAL log_up = -(FN(larger)(-u, (REAL)0) + both), log_down = log_up - u;
      REAL near = (REAL)1 / ((REAL)1 + e), far = e * near;
      s->weight[i] *= total[v];
      s->slope[i] = slope, s->bend[i] = bend, s->u[i] = u;
      s->gate[i] = u < 0 ? far : near, s->shut[i] = u < 0 ? near : far;
      s->up[i] = log_weight + log_up, s->down[i] = log_weight + log_down;
      top[v] = j == 0 ? s->up[i] : FN(larger)(s->up[i], top[v]);
      bottom[v] = j == 0 ? s->down[i] : FN(larger)(s->down[i], bottom[v]);
    }
  for (int j = 0; j < terms; j++)
    EACH_ROW {
      int i = j * BLOCK + v;
      s->up[i] = FN(exp)(s->up[i] - top[v]), s->down[i] = FN(exp)(s->down[i] - bottom[v]);
      up_sum[v] += s->up[i], down_sum[v] += s->down[i];
    }
  EACH_ROW {
    s->logit[v] = (top[v] - bottom[v]) + FN(log)(up_sum[v] / down_sum[v]);
    up_sum[v] = (REAL)1 / up_sum[v], down_sum[v] = (REAL)1 / down_sum[v];
    s->rise_up[v] = s->rise_down[v] = 0;
  }
  for (int j = 0; j < terms; j++)
    EACH_ROW {
      int i = j * BLOCK + v;
      s->up[i] *= up_sum[v], s->down[i] *= down_sum[v];
      s->rise_up[v] += s->up[i] * (s->slope[i] * s->shut[i]);
      s->rise_down[v] += s->down[i] * (s->slope[i] * s->gate[i]);
    }
}

static ALWAYS void FN(mixture_forward)(const map_t *m, const REAL *x, const REAL *raw, REAL *z,
                                       REAL *log_derivative) {
  FN(mixture) s;
  FN(mixture_read)(m, x, raw, &s);
  const REAL *last = raw + 3 * m->terms * BLOCK;
  REAL share = (REAL)m->min_slope;
  EACH_ROW {
    REAL log, bend, scale = FN(bounded_exp)(last[v], &log, &bend);
    REAL value = s.logit[v] + share * (x[v] - s.logit[v]);
    REAL rise = s.rise_up[v] + s.rise_down[v];
    rise = rise + share * ((REAL)1 - rise);
    z[v] = value * scale + last[BLOCK + v];
    log_derivative[v] = FN(log)(rise) + log;
  }
}

/* As spline_backward. */
static ALWAYS void FN(mixture_backward)(const map_t *m, int inverse, const REAL *x,
                                        const REAL *raw, const REAL *grad_value,
                                        const REAL *grad_log, REAL *grad_given, REAL *grad_raw) {
  int terms = (int)m->terms;
  FN(mixture) s;
  FN(mixture_read)(m, x, raw, &s);
  const REAL *last = raw + 3 * terms * BLOCK;
  REAL share = (REAL)m->min_slope;
  REAL gy[BLOCK], gr[BLOCK], gx[BLOCK], curve[BLOCK], sum[BLOCK];
  EACH_ROW curve[v] = sum[v] = 0;
  if (inverse)
    for (int j = 0; j < terms; j++) /* the derivative of R by x */
      EACH_ROW {
        int i = j * BLOCK + v;
        REAL p = s.slope[i] * s.shut[i], q = s.slope[i] * s.gate[i];
        REAL by_u = s.up[i] * (p - s.rise_up[v]) * s.shut[i]
                    - s.down[i] * (q - s.rise_down[v]) * s.gate[i]
                    + (s.down[i] - s.up[i]) * s.slope[i] * s.gate[i] * s.shut[i];
        curve[v] += by_u * s.slope[i];
      }
  EACH_ROW {
    REAL log, bend, scale = FN(bounded_exp)(last[v], &log, &bend);
    REAL value = s.logit[v] + share * (x[v] - s.logit[v]);
    REAL rise = s.rise_up[v] + s.rise_down[v];
    rise = rise + share * ((REAL)1 - rise);
    REAL up = grad_value[v], gl = grad_log[v], keep = (REAL)1 - share;
    if (inverse) {
      REAL back = (up - gl * keep * curve[v] / rise) / (rise * scale);
      grad_given[v] = back;
      up = -back;
      gl = -gl;
    }
    grad_raw[3 * terms * BLOCK + v] = (up * value * scale + gl) * bend;
    grad_raw[(3 * terms + 1) * BLOCK + v] = up;
    gy[v] = up * scale * keep;
    gx[v] = up * scale * share;
    gr[v] = gl * keep / rise;
  }
  for (int j = 0; j < terms; j++)
    EACH_ROW {
      int i = j * BLOCK + v;
      REAL p = s.slope[i] * s.shut[i], q = s.slope[i] * s.gate[i];
      REAL ga = s.up[i] * (gy[v] + gr[v] * (p - s.rise_up[v]));
      REAL gb = s.down[i] * (gr[v] * (q - s.rise_down[v]) - gy[v]);
      REAL gp = gr[v] * s.up[i], gq = gr[v] * s.down[i];
      REAL gu = ga * s.shut[i] - gb * s.gate[i]
                + (gq - gp) * s.slope[i] * s.gate[i] * s.shut[i];
      REAL gs = gp * s.shut[i] + gq * s.gate[i] + gu * s.u[i] / s.slope[i];
      sum[v] += ga + gb;
      gx[v] += gu * s.slope[i];
      grad_raw[i] = ga + gb;
      grad_raw[(terms + j) * BLOCK + v] = -gu * s.slope[i];
      grad_raw[(2 * terms + j) * BLOCK + v] = -gs * s.slope[i] * s.bend[i];
    }
  for (int j = 0; j < terms; j++)
    EACH_ROW grad_raw[j * BLOCK + v] -= s.weight[j * BLOCK + v] * sum[v];
  if (!inverse)
    EACH_ROW grad_given[v] = gx[v];
}
