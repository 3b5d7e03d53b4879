/* Gradients of couplings and masked autoregressions. */

/* Gradients of the parameters of all moved features, and of what moved. */
static void FN(maps_backward)(const FN(job) *job, int64_t block, int64_t count, const REAL *raw,
                              REAL *grad_raw, REAL *grad_x) {
  const layer_t *l = job->layer;
  int64_t at = block * BLOCK * l->features, width = l->map.width;
  const REAL *data = (const REAL *)(l->inverse ? l->z : l->x), *given = (const REAL *)l->x;
  REAL x[BLOCK], was[BLOCK], gz[BLOCK], gl[BLOCK], gx[BLOCK];
  FN(column)((const REAL *)l->grad_logdet + block * BLOCK, 1, count, gl);
  for (int64_t j = 0; j < l->moved; j++) {
    int64_t k = at + l->moved_features[j];
    FN(column)(data + k, l->features, count, x);
    FN(column)(given + k, l->features, count, was);
    FN(column)((const REAL *)l->grad_z + k, l->features, count, gz);
    FN(map_backward)(&job->map, FN(box_of)(l, j), (int)l->inverse, x, was,
                     raw + j * width * BLOCK, gz, gl, gx, grad_raw + j * width * BLOCK);
    for (int64_t v = 0; grad_x && v < count; v++) grad_x[k + v * l->features] = gx[v];
  }
}

/* Gradients of what the network read, added to those of x, and those of the context. */
static void FN(inputs_backward)(const FN(job) *job, int64_t block, int64_t count, const REAL *g) {
  const layer_t *l = job->layer;
  int64_t at = block * BLOCK * l->features;
  const REAL *x = (const REAL *)l->x + at;
  REAL *grad_x = l->grad_x ? (REAL *)l->grad_x + at : 0;
  for (int64_t j = 0; grad_x && j < l->seen; j++) {
    const REAL *from = g + (FN(features_at)(l) + j) * BLOCK;
    REAL value[BLOCK];
    FN(column)(x + l->seen_features[j], l->features, count, value);
    EACH_ROW value[v] = from[v] * FN(reach_slope)(value[v]);
    for (int64_t v = 0; v < count; v++) grad_x[v * l->features + l->seen_features[j]] += value[v];
  }
  if (!l->grad_context) return;
  const REAL *c = (const REAL *)l->context_values + block * BLOCK * l->context_row;
  REAL *grad_context = (REAL *)l->grad_context + block * BLOCK * l->context;
  for (int64_t j = 0; j < l->context; j++) {
    const REAL *from = g + (FN(context_at)(l) + j) * BLOCK;
    for (int64_t v = 0; v < count; v++)
      grad_context[v * l->context + j] = from[v] * FN(reach_slope)(c[v * l->context_row + j]);
  }
}

/* What a block adds to the gradients of one linear layer. */
static void FN(linear_backward)(const linear_t *linear, const REAL *g, const REAL *in, int anew,
                                REAL *turned, REAL *sum, REAL *bias) {
  int64_t pitch = FN(pitch_of)(linear->inputs);
  FN(turn)(in, linear->inputs, pitch, turned);
  FN(outer)(g, turned, pitch, linear->inputs, linear->limit, linear->outputs, anew, sum);
  for (int64_t o = 0; o < linear->outputs; o++) {
    REAL half[BLOCK / 2]; /* in pairs, which rounds less than one after the other */
    for (int v = 0; v < BLOCK / 2; v++)
      half[v] = g[o * BLOCK + v] + g[o * BLOCK + BLOCK / 2 + v];
    for (int width = BLOCK / 4; width > 0; width /= 2)
      for (int v = 0; v < width; v++) half[v] += half[v + width];
    bias[o] = anew ? half[0] : bias[o] + half[0];
  }
}

/* Where a thread adds up the gradient of a weight whose numbers begin at `place`: the first one
 * where the gradient is wanted, if it lies in memory as tiles need it. */
static int FN(in_place)(const linear_t *linear) {
  return !linear->limit && FN(pitch_of)(linear->inputs) == linear->inputs;
}
static REAL *FN(sum_of)(const FN(job) *job, int64_t thread, int64_t i, int64_t place) {
  if (thread == 0 && FN(in_place)(&job->layer->linear[i])) return job->layer->grad_weight[i];
  return job->gradients + thread * job->gradient_step + place;
}

static int64_t FN(widest)(const layer_t *l) {
  int64_t most = 0;
  for (int64_t i = 0; i < l->layers; i++) {
    int64_t inputs = FN(pitch_of)(l->linear[i].inputs);
    if (inputs > most) most = inputs;
  }
  return most;
}

static void FN(layer_backward_blocks)(void *argument, int64_t first, int64_t last,
                                      int64_t thread) {
  FN(job) *job = argument;
  const layer_t *l = job->layer;
  int64_t widest = FN(widest)(l);
  REAL *scratch = scratch_of((job->inputs + job->hidden + job->raw + 3 * widest) * BLOCK
                             * (int64_t)sizeof(REAL));
  if (!scratch) { job->failed = 1; return; }
  REAL *in = scratch, *activated = in + job->inputs * BLOCK;
  REAL *grad_raw = activated + job->hidden * BLOCK, *turned = grad_raw + job->raw * BLOCK;
  REAL *buffer[2] = {turned + widest * BLOCK, turned + 2 * widest * BLOCK};
  REAL *gradients = job->gradients + thread * job->gradient_step;
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block);
    const REAL *saved = (const REAL *)l->saved + block * job->saved_step;
    FN(read_inputs)(l, block, count, in);
    if (FN(keeps_sums)(l)) FN(activate)(l->activation, job->hidden * BLOCK, saved, activated);
    const REAL *gave = FN(keeps_sums)(l) ? activated : saved;
    FN(maps_backward)(job, block, count, saved + job->hidden * BLOCK, grad_raw,
                      (REAL *)l->grad_x);
    if (l->grad_x) FN(copy_kept)(l, block, count, l->grad_z, l->grad_x);
    const REAL *g = grad_raw;
    int64_t at = job->hidden, place = job->gradient_step;
    for (int64_t i = l->layers - 1; i >= 0; i--) {
      const linear_t *linear = &l->linear[i];
      at -= i > 0 ? linear->inputs : 0;
      place -= linear->outputs * (FN(pitch_of)(linear->inputs) + 1);
      const REAL *from = i == 0 ? in : gave + at * BLOCK;
      FN(linear_backward)(linear, g, from, block == first, turned,
                          FN(sum_of)(job, thread, i, place),
                          gradients + place + linear->outputs * FN(pitch_of)(linear->inputs));
      REAL *to = buffer[i & 1];
      if (i > 0 || l->grad_x || l->grad_context)
        FN(back_product)(job->weight[i], linear->inputs, linear->outputs, job->start[i], g, to);
      if (i > 0) {
        const REAL *known = l->activation == SILU ? saved : gave;
        FN(through_activation)(l->activation, linear->inputs * BLOCK, known + at * BLOCK, to);
        if (l->residual && i + 1 < l->layers) FN(add)(linear->inputs * BLOCK, g, to);
      }
      g = to;
    }
    FN(inputs_backward)(job, block, count, g);
  }
}

/* Gradients of all threads added up, in the order of memory of the weights. */
typedef struct {
  FN(job) *job;
  int64_t used; /* threads that hold gradients */
} FN(total);

static void FN(gradient_rows)(void *argument, int64_t first, int64_t last, int64_t thread) {
  const FN(total) *total = argument;
  const FN(job) *job = total->job;
  const layer_t *l = job->layer;
  int64_t place = 0, before = 0;
  (void)thread;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, pitch = FN(pitch_of)(inputs);
    int64_t begin = first > before ? first - before : 0;
    int64_t end = last - before < linear->outputs ? last - before : linear->outputs;
    for (int64_t o = begin; o < end; o++) {
      REAL *sum = FN(sum_of)(job, 0, i, place) + o * pitch, bias = 0;
      for (int64_t t = 1; t < total->used; t++) {
        const REAL *more = FN(sum_of)(job, t, i, place) + o * pitch;
        for (int64_t k = 0; k < inputs; k++) sum[k] += more[k];
      }
      for (int64_t t = 0; t < total->used; t++)
        bias += job->gradients[t * job->gradient_step + place + linear->outputs * pitch + o];
      int64_t row = linear->rows ? linear->rows[o] : o;
      int64_t seen = linear->limit ? linear->limit[o] : inputs;
      REAL *to = (REAL *)l->grad_weight[i] + row * inputs;
      ((REAL *)l->grad_bias[i])[row] = bias;
      if (FN(in_place)(linear)) continue;
      for (int64_t k = 0; k < seen; k++) to[linear->columns ? linear->columns[k] : k] = sum[k];
      for (int64_t k = seen; k < inputs; k++) to[linear->columns ? linear->columns[k] : k] = 0;
    }
    place += linear->outputs * (pitch + 1);
    before += linear->outputs;
  }
}
