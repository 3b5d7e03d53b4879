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
    for (int64_t v = 0; v < count; v++) {
      REAL one = from[v] * FN(reach_slope)(c[v * l->context_row + j]);
      REAL *to = grad_context + v * l->context + j;
      *to = l->adds ? *to + one : one;
    }
  }
}

/* The sum of a block's rows, in pairs, which rounds less than one after the other. */
static ALWAYS REAL FN(added_up)(const REAL *g) {
  REAL half[BLOCK / 2];
  for (int v = 0; v < BLOCK / 2; v++) half[v] = g[v] + g[BLOCK / 2 + v];
  for (int width = BLOCK / 4; width > 0; width /= 2)
    for (int v = 0; v < width; v++) half[v] += half[v + width];
  return half[0];
}

/* Adds to a sum, and keeps apart what rounding took: many blocks are added up. */
static ALWAYS void FN(add_exactly)(REAL more, REAL *sum, REAL *lost) {
  REAL part = more - *lost, total = *sum + part;
  REAL rest = (total - *sum) - part;
  *lost = rest - rest == 0 ? rest : (REAL)0; /* of what is not finite nothing is lost */
  *sum = total;
}

/* What blocks add to the gradients of one linear layer: g [outputs][BLOCK] and what the layer read,
 * [inputs][BLOCK], blocks that many numbers apart. */
static void FN(linear_backward)(const linear_t *linear, int64_t blocks, const REAL *g,
                                int64_t g_step, const REAL *in, int64_t in_step, int anew,
                                REAL *turned, REAL *sum, REAL *bias) {
  int64_t pitch = FN(pitch_of)(linear->inputs);
  for (int64_t b = 0; b < blocks; b++)
    FN(turn)(in + b * in_step, linear->inputs, pitch, turned + b * BLOCK * pitch);
  FN(sides) of = {g, turned, g_step, blocks, pitch};
  FN(outer)(&of, linear->inputs, linear->limit, linear->outputs, anew, sum);
  for (int64_t o = 0; o < linear->outputs; o++) {
    REAL *lost = bias + linear->outputs + o;
    if (anew) bias[o] = *lost = 0;
    for (int64_t b = 0; b < blocks; b++)
      FN(add_exactly)(FN(added_up)(g + b * g_step + o * BLOCK), &bias[o], lost);
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

/* Blocks that go back together: gradients of weights, which are larger than what is near the
 * processor, are read and written once for all of them. */
#define TOGETHER 2

/* Memory of a thread for TOGETHER blocks, [units][BLOCK] each. */
typedef struct {
  REAL *in, *activated, *grad_raw, *turned, *buffer[2];
  int64_t widest;
} FN(way_back);

static int FN(prepare)(const FN(job) *job, FN(way_back) *back) {
  int64_t widest = FN(widest)(job->layer), size = TOGETHER * BLOCK;
  int64_t units = job->inputs + job->hidden + job->raw + 3 * widest;
  REAL *next = scratch_of(units * size * (int64_t)sizeof(REAL));
  if (!next) return 0;
  back->widest = widest;
  back->in = next, next += job->inputs * size;
  back->activated = next, next += job->hidden * size;
  back->grad_raw = next, next += job->raw * size;
  back->turned = next, next += widest * size;
  back->buffer[0] = next, back->buffer[1] = next + widest * size;
  return 1;
}

/* A block up to the gradients of its maps' parameters. */
static void FN(block_backward)(const FN(job) *job, const FN(way_back) *back, int64_t block,
                               int64_t b) {
  const layer_t *l = job->layer;
  int64_t count = FN(rows_in)(l, block);
  const REAL *saved = (const REAL *)l->saved + block * job->saved_step;
  FN(read_inputs)(job, block, count, back->in + b * job->inputs * BLOCK);
  if (FN(keeps_sums)(l))
    FN(activate)(l->activation, job->hidden * BLOCK, saved,
                 back->activated + b * job->hidden * BLOCK);
  FN(maps_backward)(job, block, count, saved + job->hidden * BLOCK,
                    back->grad_raw + b * job->raw * BLOCK, (REAL *)l->grad_x);
  if (l->grad_x) FN(copy_kept)(l, block, count, l->grad_z, l->grad_x);
}

/* Blocks back through the network; returns the gradients of what it read, `widest` units apart. */
static const REAL *FN(network_backward)(const FN(job) *job, const FN(way_back) *back,
                                        int64_t block, int64_t blocks, int anew, int64_t thread) {
  const layer_t *l = job->layer;
  const REAL *saved = (const REAL *)l->saved + block * job->saved_step, *g = back->grad_raw;
  const REAL *gave = FN(keeps_sums)(l) ? back->activated : saved;
  int64_t gave_step = FN(keeps_sums)(l) ? job->hidden * BLOCK : job->saved_step;
  int64_t g_step = job->raw * BLOCK, at = job->hidden, place = job->gradient_step;
  const REAL *known = l->activation == SILU ? saved : gave;
  int64_t known_step = l->activation == SILU ? job->saved_step : gave_step;
  for (int64_t i = l->layers - 1; i >= 0; i--) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, wide = back->widest * BLOCK;
    REAL *to = back->buffer[i & 1];
    at -= i > 0 ? inputs : 0;
    place -= FN(gradients_of)(linear);
    FN(linear_backward)(linear, blocks, g, g_step, i == 0 ? back->in : gave + at * BLOCK,
                        i == 0 ? job->inputs * BLOCK : gave_step, anew, back->turned,
                        FN(sum_of)(job, thread, i, place),
                        job->gradients + thread * job->gradient_step + place
                            + linear->outputs * FN(pitch_of)(inputs));
    for (int64_t b = 0; b < blocks; b++) {
      REAL *out = to + b * wide;
      if (i > 0 || l->grad_x || l->grad_context)
        FN(back_product)(job->weight[i], inputs, linear->outputs, job->start[i], g + b * g_step,
                         out);
      if (i == 0) continue;
      FN(through_activation)(l->activation, inputs * BLOCK, known + b * known_step + at * BLOCK,
                             out);
      if (l->residual && i + 1 < l->layers) FN(add)(inputs * BLOCK, g + b * g_step, out);
    }
    g = to, g_step = wide;
  }
  return g;
}

static void FN(layer_backward_blocks)(FN(job) *job, int64_t first, int64_t last, int64_t thread) {
  const layer_t *l = job->layer;
  FN(way_back) back;
  if (!FN(prepare)(job, &back)) { job->failed = 1; return; }
  for (int64_t block = first; block < last; block += TOGETHER) {
    int64_t blocks = last - block < TOGETHER ? last - block : TOGETHER;
    for (int64_t b = 0; b < blocks; b++) FN(block_backward)(job, &back, block + b, b);
    const REAL *g = FN(network_backward)(job, &back, block, blocks, block == first, thread);
    for (int64_t b = 0; b < blocks; b++)
      FN(inputs_backward)(job, block + b, FN(rows_in)(l, block + b), g + b * back.widest * BLOCK);
  }
}

/* This thread's share of the gradients of all threads added up, in the order of memory of the
 * weights. */
static void FN(gradient_rows)(const FN(job) *job, team_t team) {
  const layer_t *l = job->layer;
  int64_t place = 0;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, pitch = FN(pitch_of)(inputs);
    int64_t last = linear->outputs * (team.number + 1) / team.count;
    for (int64_t o = linear->outputs * team.number / team.count; o < last; o++) {
      REAL *sum = FN(sum_of)(job, 0, i, place) + o * pitch, bias = 0;
      for (int64_t t = 1; t < team.count; t++) {
        const REAL *more = FN(sum_of)(job, t, i, place) + o * pitch;
        for (int64_t k = 0; k < inputs; k++) sum[k] += more[k];
      }
      for (int64_t t = 0; t < team.count; t++)
        bias += job->gradients[t * job->gradient_step + place + linear->outputs * pitch + o];
      int64_t row = linear->rows ? linear->rows[o] : o;
      int64_t seen = linear->limit ? linear->limit[o] : inputs;
      REAL *to = (REAL *)l->grad_weight[i] + row * inputs;
      ((REAL *)l->grad_bias[i])[row] = bias;
      if (FN(in_place)(linear)) continue;
      for (int64_t k = 0; k < seen; k++) to[linear->columns ? linear->columns[k] : k] = sum[k];
      for (int64_t k = seen; k < inputs; k++) to[linear->columns ? linear->columns[k] : k] = 0;
    }
    place += FN(gradients_of)(linear);
  }
}
