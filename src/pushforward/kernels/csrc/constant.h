/* What has neither a network nor anything that is trained: a scaling of features, and the log-density
 * of independent normal features. transforms/linear/standardize.py and bases/normal.py define them.
 *
 * Of the layer's fields `low` and `high` are centre and width of each feature; of a density location
 * and log-scale. A density writes no z. */

#define LOG_SQRT_2PI 0.91893853320467274178

static int FN(is_constant)(const layer_t *l) { return l->kind == SCALING || l->kind == NORMAL; }

/* Rows of these blocks, the first and the one behind the last. */
static int64_t FN(row_behind)(const layer_t *l, int64_t last) {
  return last * BLOCK < l->rows ? last * BLOCK : l->rows;
}

static void FN(scale_row)(const layer_t *l, const REAL *x, REAL *z) {
  const REAL *centre = l->low, *width = l->high;
  if (l->inverse)
    for (int64_t i = 0; i < l->features; i++) z[i] = centre[i] + x[i] * width[i];
  else
    for (int64_t i = 0; i < l->features; i++) z[i] = (x[i] - centre[i]) / width[i];
}

static void FN(scaling_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  double sum = 0; /* of logarithms near 0, for every row the same */
  for (int64_t i = 0; i < l->features; i++) sum += log((double)((const REAL *)l->high)[i]);
  REAL logdet[BLOCK];
  EACH_ROW logdet[v] = (REAL)(l->inverse ? sum : -sum);
  for (int64_t r = first * BLOCK; r < FN(row_behind)(l, last); r++)
    FN(scale_row)(l, (const REAL *)l->x + r * l->features, (REAL *)l->z + r * l->features);
  for (int64_t block = first; block < last; block++)
    FN(write_logdet)(l, block, FN(rows_in)(l, block), logdet);
}

/* exp(-log-scale) of each feature; what does not depend on x, added to `constant`. */
static const REAL *FN(normal_begin)(const layer_t *l, double *constant) {
  const REAL *log_scale = l->high;
  REAL *factor = scratch_of(l->features * (int64_t)sizeof(REAL));
  for (int64_t i = 0; factor && i < l->features; i++) {
    factor[i] = (REAL)exp(-(double)log_scale[i]);
    *constant -= LOG_SQRT_2PI + (double)log_scale[i];
  }
  return factor;
}

/* Squares are added up in double precision: images have thousands of features. */
static void FN(normal_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  const REAL *centre = l->low;
  double constant = 0;
  const REAL *factor = FN(normal_begin)(l, &constant);
  if (!factor) { job->failed = 1; return; }
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block);
    const REAL *x = (const REAL *)l->x + block * BLOCK * l->features;
    REAL h[BLOCK], density[BLOCK];
    double sum[BLOCK];
    EACH_ROW sum[v] = 0;
    for (int64_t i = 0; i < l->features; i++) {
      FN(column)(x + i, l->features, count, h);
      EACH_ROW h[v] = (h[v] - centre[i]) * factor[i];
      EACH_ROW sum[v] += (double)h[v] * (double)h[v];
    }
    EACH_ROW density[v] = (REAL)(constant - 0.5 * sum[v]);
    FN(write_logdet)(l, block, count, density);
  }
}

static void FN(constant_blocks)(FN(job) *job, int64_t first, int64_t last) {
  if (job->layer->kind == SCALING)
    FN(scaling_blocks)(job, first, last);
  else
    FN(normal_blocks)(job, first, last);
}

static void FN(scaling_backward)(const layer_t *l, int64_t row) {
  const REAL *width = l->high, *g = (const REAL *)l->grad_z + row * l->features;
  REAL *grad = (REAL *)l->grad_x + row * l->features;
  if (l->inverse)
    for (int64_t i = 0; i < l->features; i++) grad[i] = g[i] * width[i];
  else
    for (int64_t i = 0; i < l->features; i++) grad[i] = g[i] / width[i];
}

static void FN(normal_backward)(const layer_t *l, const REAL *factor, int64_t row) {
  const REAL *centre = l->low, *x = (const REAL *)l->x + row * l->features;
  REAL g = -((const REAL *)l->grad_logdet)[row];
  REAL *grad = (REAL *)l->grad_x + row * l->features;
  for (int64_t i = 0; i < l->features; i++)
    grad[i] = g * ((x[i] - centre[i]) * factor[i]) * factor[i];
}

static void FN(constant_backward_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  const REAL *factor = 0;
  double constant = 0;
  if (!l->grad_x) return;
  if (l->kind == NORMAL && !(factor = FN(normal_begin)(l, &constant))) { job->failed = 1; return; }
  for (int64_t r = first * BLOCK; r < FN(row_behind)(l, last); r++) {
    if (factor)
      FN(normal_backward)(l, factor, r);
    else
      FN(scaling_backward)(l, r);
  }
}
