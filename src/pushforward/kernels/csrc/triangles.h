/* z = L U x + shift: L unit lower, U upper triangular with a positive diagonal.
 * transforms/linear/lu.py defines it.
 *
 * Of the layer's fields weight[0] is L, weight[1] U, bias[0] what the diagonal is made of, bias[1] the
 * shift, which may be absent. Nothing is saved: backward has x, and computes U x again. */

/* A thread's blocks [features][BLOCK], the diagonal, and its logarithms added up. */
typedef struct {
  const layer_t *layer;
  const REAL *lower, *upper, *shift;
  REAL *diagonal, *a, *b, *c, *turned;
  REAL log;
} FN(triangles);

/* In double precision: logarithms of numbers near 1 are added up for every row. */
static double FN(diagonal_of)(const layer_t *l, int64_t i) {
  double raw = (double)((const REAL *)l->bias[0])[i] + l->map.offset;
  return (raw > 0 ? raw : 0) + log1p(exp(-fabs(raw))) + l->map.min_slope;
}

static int FN(triangles_begin)(const layer_t *l, FN(triangles) *t) {
  int64_t n = l->features, pitch = FN(pitch_of)(n);
  REAL *scratch = scratch_of((n + (3 * n + pitch) * BLOCK) * (int64_t)sizeof(REAL));
  if (!scratch) return 0;
  t->layer = l;
  t->lower = l->weight[0], t->upper = l->weight[1], t->shift = l->bias[1];
  t->a = scratch, t->b = t->a + n * BLOCK, t->c = t->b + n * BLOCK;
  t->turned = t->c + n * BLOCK, t->diagonal = t->turned + pitch * BLOCK;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double one = FN(diagonal_of)(l, i);
    t->diagonal[i] = (REAL)one;
    sum += log(one);
  }
  t->log = (REAL)sum;
  return 1;
}

static void FN(read_block)(const layer_t *l, const void *from, int64_t block, int64_t count,
                           REAL *to) {
  const REAL *x = (const REAL *)from + block * BLOCK * l->features;
  for (int64_t i = 0; i < l->features; i++)
    FN(column)(x + i, l->features, count, to + i * BLOCK);
}

static void FN(write_block)(const layer_t *l, const REAL *from, int64_t block, int64_t count,
                            void *to) {
  REAL *z = (REAL *)to + block * BLOCK * l->features;
  for (int64_t i = 0; i < l->features; i++)
    for (int64_t v = 0; v < count; v++) z[v * l->features + i] = from[i * BLOCK + v];
}

/* y = U x. */
static void FN(times_upper)(const FN(triangles) *t, const REAL *x, REAL *y) {
  int64_t n = t->layer->features;
  for (int64_t i = 0; i < n; i++) {
    const REAL *row = t->upper + i * n;
    FN(product_row)(row + i + 1, 0, n - i - 1, x + (i + 1) * BLOCK, y + i * BLOCK);
    EACH_ROW y[i * BLOCK + v] += t->diagonal[i] * x[i * BLOCK + v];
  }
}

/* z = L y + shift. */
static void FN(times_lower)(const FN(triangles) *t, const REAL *y, REAL *z) {
  int64_t n = t->layer->features;
  for (int64_t i = 0; i < n; i++) {
    FN(product_row)(t->lower + i * n, t->shift ? t->shift + i : 0, i, y, z + i * BLOCK);
    EACH_ROW z[i * BLOCK + v] += y[i * BLOCK + v];
  }
}

/* y such that L y + shift = z, in its place. */
static void FN(solve_lower)(const FN(triangles) *t, REAL *y) {
  int64_t n = t->layer->features;
  REAL known[BLOCK];
  for (int64_t i = 0; i < n; i++) {
    FN(product_row)(t->lower + i * n, t->shift ? t->shift + i : 0, i, y, known);
    EACH_ROW y[i * BLOCK + v] -= known[v];
  }
}

/* x such that U x = y, in its place. */
static void FN(solve_upper)(const FN(triangles) *t, REAL *x) {
  int64_t n = t->layer->features;
  REAL known[BLOCK];
  for (int64_t i = n - 1; i >= 0; i--) {
    const REAL *row = t->upper + i * n;
    FN(product_row)(row + i + 1, 0, n - i - 1, x + (i + 1) * BLOCK, known);
    EACH_ROW x[i * BLOCK + v] = (x[i * BLOCK + v] - known[v]) / t->diagonal[i];
  }
}

static void FN(triangles_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  FN(triangles) t;
  if (!FN(triangles_begin)(l, &t)) { job->failed = 1; return; }
  REAL logdet[BLOCK];
  EACH_ROW logdet[v] = l->inverse ? -t.log : t.log;
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block);
    FN(read_block)(l, l->x, block, count, t.a);
    if (l->inverse) {
      FN(solve_lower)(&t, t.a);
      FN(solve_upper)(&t, t.a);
    } else {
      FN(times_upper)(&t, t.a, t.b);
      FN(times_lower)(&t, t.b, t.a);
    }
    FN(write_block)(l, t.a, block, count, l->z);
    FN(write_logdet)(l, block, count, logdet);
  }
}

/* to[i] += by s times from. */
static ALWAYS void FN(add_times)(REAL s, const REAL *from, REAL *to) {
  EACH_ROW to[v] += s * from[v];
}

/* Gradients of y from those of x such that U x = y, in their place. */
static void FN(solve_back_upper)(const FN(triangles) *t, REAL *g) {
  int64_t n = t->layer->features;
  for (int64_t k = 0; k < n; k++) {
    EACH_ROW g[k * BLOCK + v] /= t->diagonal[k];
    for (int64_t i = k + 1; i < n; i++)
      FN(add_times)(-t->upper[k * n + i], g + k * BLOCK, g + i * BLOCK);
  }
}

/* Gradients of z from those of y such that L y + shift = z, in their place. */
static void FN(solve_back_lower)(const FN(triangles) *t, REAL *g) {
  int64_t n = t->layer->features;
  for (int64_t k = n - 1; k >= 0; k--)
    for (int64_t i = 0; i < k; i++)
      FN(add_times)(-t->lower[k * n + i], g + k * BLOCK, g + i * BLOCK);
}

/* Gradients of y = U x from those of z. */
static void FN(back_lower)(const FN(triangles) *t, const REAL *g, REAL *gy) {
  int64_t n = t->layer->features;
  for (int64_t i = 0; i < n * BLOCK; i++) gy[i] = g[i];
  for (int64_t k = 0; k < n; k++)
    for (int64_t i = 0; i < k; i++)
      FN(add_times)(t->lower[k * n + i], g + k * BLOCK, gy + i * BLOCK);
}

/* Gradients of x from those of y = U x. */
static void FN(back_upper)(const FN(triangles) *t, const REAL *gy, REAL *gx) {
  int64_t n = t->layer->features;
  for (int64_t i = 0; i < n; i++)
    EACH_ROW gx[i * BLOCK + v] = t->diagonal[i] * gy[i * BLOCK + v];
  for (int64_t k = 0; k < n; k++)
    for (int64_t i = k + 1; i < n; i++)
      FN(add_times)(t->upper[k * n + i], gy + k * BLOCK, gx + i * BLOCK);
}

/* Gradients of a thread: of all of L and U, [features][pitch]; of the shift and of all logdets, and
 * what these sums lost. */
static int64_t FN(triangles_step)(const layer_t *l) {
  return 2 * l->features * FN(pitch_of)(l->features) + 2 * (l->features + 1);
}

/* Where a thread adds up gradients. */
typedef struct {
  REAL *lower, *upper, *shift, *log, *lost;
  int anew;
} FN(triangle_sums);

static void FN(add_product)(const FN(triangles) *t, const REAL *g, const REAL *of, int anew,
                            REAL *sum) {
  int64_t n = t->layer->features, pitch = FN(pitch_of)(n);
  FN(turn)(of, n, pitch, t->turned);
  FN(outer)(&(FN(sides)){g, t->turned, 0, 1, pitch}, n, 0, n, anew, sum);
}

static void FN(add_shift)(const FN(triangles) *t, const REAL *g, const FN(triangle_sums) *to) {
  for (int64_t i = 0; i < t->layer->features; i++)
    FN(add_exactly)(FN(added_up)(g + i * BLOCK), &to->shift[i], to->lost + i);
}

static void FN(multiplied_backward)(const FN(triangles) *t, int64_t block, int64_t count,
                                    const FN(triangle_sums) *to) {
  const layer_t *l = t->layer;
  REAL *g = t->a, *y = t->b, *x = t->c;
  FN(read_block)(l, l->grad_z, block, count, g);
  FN(read_block)(l, l->x, block, count, x);
  FN(times_upper)(t, x, y);
  FN(add_shift)(t, g, to);
  FN(add_product)(t, g, y, to->anew, to->lower);
  FN(back_lower)(t, g, y);
  FN(add_product)(t, y, x, to->anew, to->upper);
  if (!l->grad_x) return;
  FN(back_upper)(t, y, x);
  FN(write_block)(l, x, block, count, l->grad_x);
}

/* y is found from z, and its gradient from that of x, since U x and L^T of z's gradient, which are
 * the same numbers, may have lost their digits. */
static void FN(solved_backward)(const FN(triangles) *t, int64_t block, int64_t count,
                                const FN(triangle_sums) *to) {
  const layer_t *l = t->layer;
  int64_t size = l->features * BLOCK;
  REAL *g = t->a, *other = t->b, *x = t->c;
  FN(read_block)(l, l->grad_z, block, count, g);
  FN(solve_back_upper)(t, g);
  for (int64_t i = 0; i < size; i++) other[i] = -g[i];
  FN(read_block)(l, l->z, block, count, x);
  FN(add_product)(t, other, x, to->anew, to->upper);
  FN(solve_back_lower)(t, g);
  if (l->grad_x) FN(write_block)(l, g, block, count, l->grad_x);
  for (int64_t i = 0; i < size; i++) g[i] = -g[i];
  FN(add_shift)(t, g, to);
  FN(read_block)(l, l->x, block, count, other);
  FN(solve_lower)(t, other);
  FN(add_product)(t, g, other, to->anew, to->lower);
}

static void FN(triangles_backward_blocks)(FN(job) *job, int64_t first, int64_t last,
                                          int64_t thread) {
  const layer_t *l = job->layer;
  FN(triangles) t;
  if (!FN(triangles_begin)(l, &t)) { job->failed = 1; return; }
  int64_t n = l->features, size = n * FN(pitch_of)(n);
  FN(triangle_sums) to = {.lower = job->gradients + thread * job->gradient_step};
  to.upper = to.lower + size, to.shift = to.upper + size;
  to.log = to.shift + n, to.lost = to.log + 1;
  for (int64_t i = 0; i < 2 * (n + 1); i++) to.shift[i] = 0;
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block);
    REAL gl[BLOCK];
    FN(column)((const REAL *)l->grad_logdet + block * BLOCK, 1, count, gl);
    FN(add_exactly)(FN(added_up)(gl), to.log, to.lost + n);
    to.anew = block == first;
    if (l->inverse)
      FN(solved_backward)(&t, block, count, &to);
    else
      FN(multiplied_backward)(&t, block, count, &to);
  }
}

/* This thread's share of the gradients of all threads, in the order of memory of the parameters. */
static void FN(triangles_gradients)(const FN(job) *job, team_t team) {
  const layer_t *l = job->layer;
  int64_t n = l->features, pitch = FN(pitch_of)(n), last = n * (team.number + 1) / team.count;
  for (int64_t i = n * team.number / team.count; i < last; i++) {
    REAL *lower = (REAL *)l->grad_weight[0] + i * n, *upper = (REAL *)l->grad_weight[1] + i * n;
    REAL own = 0, shift = 0, log = 0, raw = ((const REAL *)l->bias[0])[i];
    for (int64_t k = 0; k < n; k++) lower[k] = upper[k] = 0;
    for (int64_t t = 0; t < team.count; t++) {
      const REAL *from = job->gradients + t * job->gradient_step, *more = from + n * pitch;
      for (int64_t k = 0; k < i; k++) lower[k] += from[i * pitch + k];
      for (int64_t k = i + 1; k < n; k++) upper[k] += more[i * pitch + k];
      own += more[i * pitch + i];
      shift += from[2 * n * pitch + i];
      log += from[2 * n * pitch + n];
    }
    own += (l->inverse ? -log : log) / (REAL)FN(diagonal_of)(l, i);
    ((REAL *)l->grad_bias[0])[i] = own * FN(sigmoid)(raw + (REAL)l->map.offset);
    if (l->grad_bias[1]) ((REAL *)l->grad_bias[1])[i] = shift;
  }
}
