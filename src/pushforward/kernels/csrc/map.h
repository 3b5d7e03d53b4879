/* Any map on BLOCK numbers of one feature: x, z, log-derivative [BLOCK], raw [width][BLOCK]. */

static void FN(map_move)(const map_t *m, int64_t feature, int inverse, const REAL *x,
                         const REAL *raw, REAL *z, REAL *log_derivative) {
  if (m->kind == RATIONAL_QUADRATIC && inverse)
    FN(spline_inverse)(m, feature, x, raw, z, log_derivative);
  else if (m->kind == RATIONAL_QUADRATIC)
    FN(spline_forward)(m, feature, x, raw, z, log_derivative);
  else if (m->kind == AFFINE && inverse)
    FN(affine_inverse)(m, x, raw, z, log_derivative);
  else if (m->kind == AFFINE)
    FN(affine_forward)(m, x, raw, z, log_derivative);
  else if (m->kind == ADDITIVE)
    FN(additive_move)(x, raw, inverse ? (REAL)-1 : (REAL)1, z, log_derivative);
  else /* the inverse of a mixture is numeric, and not asked for here */
    FN(mixture_forward)(m, x, raw, z, log_derivative);
}

/* Gradients; `x` is the number on the side of the data, `given` what the direction was applied to,
 * which is the same but for an inverse. */
static void FN(map_backward)(const map_t *m, int64_t feature, int inverse, const REAL *x,
                             const REAL *given, const REAL *raw, const REAL *grad_value,
                             const REAL *grad_log, REAL *grad_given, REAL *grad_raw) {
  if (m->kind == RATIONAL_QUADRATIC)
    FN(spline_backward)(m, feature, inverse, x, given, raw, grad_value, grad_log, grad_given,
                        grad_raw);
  else if (m->kind == AFFINE)
    FN(affine_backward)(m, inverse, x, raw, grad_value, grad_log, grad_given, grad_raw);
  else if (m->kind == ADDITIVE)
    FN(additive_backward)(inverse, grad_value, grad_given, grad_raw);
  else
    FN(mixture_backward)(m, inverse, x, raw, grad_value, grad_log, grad_given, grad_raw);
}
