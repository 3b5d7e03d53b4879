/* z = exp(s) x + t with s = bound tanh(raw / bound), and z = x + t, on BLOCK numbers.
 * maps/affine.py and maps/additive.py define them. */

static ALWAYS REAL FN(log_scale)(const map_t *m, REAL raw, REAL *bend) {
  REAL t = FN(tanh)(raw / (REAL)m->bound);
  *bend = (REAL)1 - t * t;
  return (REAL)m->bound * t;
}

static ALWAYS void FN(affine_forward)(const map_t *m, const REAL *x, const REAL *raw, REAL *z,
                                      REAL *log_derivative) {
  EACH_ROW {
    REAL bend, s = FN(log_scale)(m, raw[v], &bend);
    z[v] = x[v] * FN(exp)(s) + raw[BLOCK + v];
    log_derivative[v] = s;
  }
}

static ALWAYS void FN(affine_inverse)(const map_t *m, const REAL *z, const REAL *raw, REAL *x,
                                      REAL *log_derivative) {
  EACH_ROW {
    REAL bend, s = FN(log_scale)(m, raw[v], &bend);
    x[v] = (z[v] - raw[BLOCK + v]) * FN(exp)(-s);
    log_derivative[v] = -s;
  }
}

/* As spline_backward. */
static ALWAYS void FN(affine_backward)(const map_t *m, int inverse, const REAL *x, const REAL *raw,
                                       const REAL *grad_value, const REAL *grad_log,
                                       REAL *grad_given, REAL *grad_raw) {
  EACH_ROW {
    REAL bend, s = FN(log_scale)(m, raw[v], &bend);
    REAL up = grad_value[v], gl = grad_log[v], scale = FN(exp)(s);
    REAL back = inverse ? up * FN(exp)(-s) : up * scale;
    grad_given[v] = back;
    up = inverse ? -back : up;
    gl = inverse ? -gl : gl;
    grad_raw[v] = (up * x[v] * scale + gl) * bend;
    grad_raw[BLOCK + v] = up;
  }
}

static ALWAYS void FN(additive_move)(const REAL *x, const REAL *raw, REAL sign, REAL *z,
                                     REAL *log_derivative) {
  EACH_ROW {
    z[v] = x[v] + sign * raw[v];
    log_derivative[v] = 0;
  }
}

static ALWAYS void FN(additive_backward)(int inverse, const REAL *grad_value, REAL *grad_given,
                                         REAL *grad_raw) {
  EACH_ROW {
    grad_given[v] = grad_value[v];
    grad_raw[v] = inverse ? -grad_value[v] : grad_value[v];
  }
}
